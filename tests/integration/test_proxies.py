"""Real proxies in front of smtpd: haproxy, which tells of its clients by PROXY headers, and nginx, which checks their passwords
itself and tells of them by XCLIENT."""

import http.server
import smtplib
import socket
import subprocess
import threading

import pytest
from support import process, suite as suites, wait

BALANCED, BEHIND, HAPROXY_1, HAPROXY_2, NGINX, NGINX_OPEN, AUTH_HTTP = range(2600, 2607)
SECRET = "nginx knows it"


@pytest.fixture(scope="module")
def relay(shared):
    shared.inbox = shared.sink("example.test")
    shared.proxy = shared.network.address(60)
    shared.client = shared.network.address(77)
    own = shared.network.address(1)
    relay = shared.suite({"smtpd.conf": {
        "listener balanced": {"address": f"{own}:{BALANCED}", "tls": "none", "proxy_networks": shared.proxy,
                              "trusted_networks": f"{shared.client}/32"},
        # nginx can not choose its source address.
        "listener behind": {"address": f"{own}:{BEHIND}", "tls": "none", "xclient_networks": "127.0.0.1/32"},
    }}).start()
    relay.user("shop@app.test", "another password", "--tenant", "acme")
    relay.ctl("user", "senders", "shop@app.test", "app.test")
    return relay


def run(command, address, port, output):
    """The running program, once it listens."""
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output.open("wb"), stderr=subprocess.STDOUT,
                               preexec_fn=process.die_with_parent)

    def listens():
        assert program.poll() is None, output.read_text()
        with socket.socket() as probe:
            return probe.connect_ex((address, port)) == 0

    wait.until(listens, 20, f"{command[0]} to listen")
    return program


def end(program):
    program.terminate()
    program.wait(20)


@pytest.fixture(scope="module")
def haproxy(shared, relay):
    def pair(name, port, how):
        return f"""
frontend {name}
    bind {shared.proxy}:{port}
    default_backend {name}
backend {name}
    source {shared.proxy}
    option smtpchk EHLO haproxy.test
    server smtpd {relay.address}:{BALANCED} {how} check check-send-proxy inter 100ms fall 2 rise 1
"""

    shared.haproxy_output = shared.folder / "haproxy.log"
    config = shared.folder / "haproxy.cfg"
    config.write_text("defaults\n    mode tcp\n    timeout connect 10s\n    timeout client 60s\n    timeout server 60s\n" +
                      pair("one", HAPROXY_1, "send-proxy") + pair("two", HAPROXY_2, "send-proxy-v2"))
    program = run(["haproxy", "-db", "-f", str(config)], shared.proxy, HAPROXY_1, shared.haproxy_output)
    yield program
    end(program)


def send(client, sender, recipient, text="Text."):
    """The code and reply that the message ends with, at whichever command."""
    client.ehlo_or_helo_if_needed()
    for command, address in ((client.mail, sender), (client.rcpt, recipient)):
        code, reply = command(address)
        if code != 250:
            return code, reply.decode()
    code, reply = client.data(f"From: {sender}\r\nSubject: by way of a proxy\r\n\r\n{text}\r\n".encode())
    return code, reply.decode()


def connect(shared, port, source):
    return smtplib.SMTP(shared.proxy, port, "app.test", 30, (source, 0))


@pytest.mark.parametrize("port", [HAPROXY_1, HAPROXY_2])
def test_haproxy_tells_who_the_client_is(relay, shared, haproxy, port):
    with connect(shared, port, shared.client) as client:
        code, reply = send(client, "app@sender.test", f"by{port}@example.test")
        assert code == 250, reply
    relay.wait_log(rf"{reply.split()[-1]}: .*client=app.test\[{shared.client}\], ")
    assert f"([{shared.client}])" in shared.inbox.wait_to(f"by{port}@example.test").header("Received")
    with connect(shared, port, shared.network.address(78)) as stranger:
        assert send(stranger, "app@sender.test", "x@example.test")[0] == 550


def test_haproxy_finds_the_server_well(relay, shared, haproxy):
    """Its checks tell of no client (UNKNOWN, LOCAL), and end with QUIT."""
    relay.wait_log(rf"disconnect: client={shared.proxy}, listener=balanced, helo=haproxy\.test, ", count=20)
    for port in (HAPROXY_1, HAPROXY_2):
        with connect(shared, port, shared.client) as client:
            assert client.noop()[0] == 250
    assert "DOWN" not in shared.haproxy_output.read_text()


@pytest.fixture(scope="module")
def nginx(shared, relay):
    class Judge(http.server.BaseHTTPRequestHandler):
        """nginx asks it for each login (auth_http) and is told where to connect."""

        def do_GET(self):
            open_to_all = self.headers["Auth-Method"] == "none"
            self.send_response(200)
            if open_to_all or self.headers.get("Auth-Pass", "").replace("%20", " ") == SECRET:
                self.send_header("Auth-Status", "OK")
                self.send_header("Auth-Server", relay.address)
                self.send_header("Auth-Port", str(BEHIND))
            else:
                self.send_header("Auth-Status", "Invalid login or password")
                self.send_header("Auth-Error-Code", "535 5.7.8")
            self.end_headers()

        def log_message(self, *_):
            pass

    judge = http.server.ThreadingHTTPServer((shared.proxy, AUTH_HTTP), Judge)
    threading.Thread(target=judge.serve_forever, daemon=True).start()
    folder = shared.folder / "nginx"
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(f"""
load_module /usr/lib/nginx/modules/ngx_mail_module.so;
daemon off;
user root;
pid {folder}/pid;
error_log {folder}/error.log info;
events {{ }}
mail {{
    server_name proxy.test;
    auth_http {shared.proxy}:{AUTH_HTTP}/;
    xclient on;
    smtp_capabilities "SIZE 10485760" ENHANCEDSTATUSCODES 8BITMIME;
    server {{ listen {shared.proxy}:{NGINX}; protocol smtp; smtp_auth plain login; }}
    server {{ listen {shared.proxy}:{NGINX_OPEN}; protocol smtp; smtp_auth none; }}
}}
""")
    program = run(["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)], shared.proxy, NGINX,
                  folder / "output")
    yield program
    end(program)
    judge.shutdown()
    judge.server_close()


def test_nginx_tells_who_logged_in(relay, shared, nginx):
    """Its login has the tenant and senders of the credential of that name, though its password is nginx's."""
    with connect(shared, NGINX, shared.client) as client:
        client.login("shop@app.test", SECRET)
        code, reply = send(client, "shop@app.test", "nginx@example.test")
        assert code == 250, reply
        relay.wait_log(rf"{reply.split()[-1]}: .*client=app.test\[{shared.client}\], .*credential=shop@app.test, tenant=acme, proto=ESMTPA")
        code, reply = send(client, "boss@other.test", "nginx@example.test")
        assert code == 550 and reply.startswith("5.7.1 <boss@other.test>"), reply
    arrived = shared.inbox.wait_to("nginx@example.test")
    assert f"from app.test ([{shared.client}])" in arrived.header("Received")


def test_nginx_has_users_of_its_own(relay, shared, nginx):
    with connect(shared, NGINX, shared.client) as client:
        client.login("somebody", SECRET)
        code, reply = send(client, "any@where.test", "own@example.test")
        assert code == 250, reply
    relay.wait_log(rf"{reply.split()[-1]}: .*credential=somebody, tenant=somebody, ")


def test_nginx_refuses_by_itself(relay, shared, nginx):
    with connect(shared, NGINX, shared.client) as client:
        with pytest.raises((smtplib.SMTPAuthenticationError, smtplib.SMTPServerDisconnected)):
            client.login("shop@app.test", "wrong")


def test_disabled_behind_nginx(relay, shared, nginx):
    relay.user("left@app.test", "a password")
    relay.ctl("user", "disable", "left@app.test")
    with connect(shared, NGINX, shared.client) as client:
        with pytest.raises((smtplib.SMTPException, ConnectionError)):
            client.login("left@app.test", SECRET)
            client.docmd("NOOP")
            raise AssertionError("a disabled credential got in")
    relay.wait_log(r"login: .*mechanism=XCLIENT, account=left@app\.test, result=failed, reason=account disabled")


def test_nginx_without_login(relay, shared, nginx):
    """Nobody logged in: a stranger may not relay, wherever the proxy is."""
    with connect(shared, NGINX_OPEN, shared.client) as client:
        code, reply = send(client, "any@where.test", "open@example.test")
        assert code == 550 and "5.7.1" in reply, reply
