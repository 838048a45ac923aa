"""Who may send what: senders bound to credentials and listeners, quotas, and credentials frozen for what bounced."""

import json
import os
import re
import signal
import smtplib

import pytest
from support import suite as suites, wait

SECRET = "a pass word"


@pytest.fixture(scope="module")
def relay(shared):
    shared.inbox = shared.sink("example.test")
    shared.record(("nullmx.test", "MX", "0 ."))
    relay = shared.suite({
        "smtpd.conf": {
            "listener bound": {"address": f"{shared.network.address(1)}:2526", "trusted_networks": "127.0.0.0/8",
                               "role": "submission", "senders": "device@sender.test .devices.test", "add_missing_from": "yes",
                               "tls": "none"},
            "quota each": {"credentials": "*", "messages_per_day": 100},
            "quota small": {"credentials": "small", "messages_per_hour": 3, "recipients_per_day": 5},
            "quota busy": {"credentials": "busy", "sessions": 2},
            "quota acme": {"tenants": "acme", "messages_per_day": 4},
            "quota bound": {"clients": "127.0.0.0/8", "listeners": "bound", "recipients_per_minute": 1000},
        },
        "bounce.conf": {"freeze_percent": 50, "freeze_bounces": 4},
    }).start()
    for name, tenant in (("free", ""), ("bound", ""), ("small", ""), ("busy", ""), ("one", "acme"), ("two", "acme"),
                         ("list", "")):
        relay.user(name, SECRET, *(["--tenant", tenant] if tenant else []))
    relay.ctl("user", "senders", "bound", "app@sender.test", "shop.test", ".lists.test")
    return relay


def content(sender, *fields):
    return ("\r\n".join([f"From: {sender}", *fields]) + "\r\nSubject: Hello\r\n\r\nText.\r\n").encode()


def session(relay, name):
    return relay.connect("submissions", (name, SECRET))


# -- senders


@pytest.mark.parametrize("address,code", [
    ("app@sender.test", 250), ("APP@Sender.test", 250), ("other@sender.test", 550), ("anybody@shop.test", 250),
    ("x@sub.shop.test", 550), ("x@news.lists.test", 250), ("x@lists.test", 550), ("", 250),
])
def test_envelope_sender_of_a_bound_credential(relay, address, code):
    with session(relay, "bound") as client:
        got, reply = client.mail(address)
        assert got == code, reply
        if code == 550:
            assert reply.startswith(b"5.7.1 ") and address.encode() in reply and b"bound" in reply


@pytest.mark.parametrize("head,code", [
    (("App <app@sender.test>",), 250),
    (("app@sender.test, x@shop.test", "Sender: app@sender.test"), 250),
    (("ceo@bank.test",), 550),
    (('"app@sender.test" <ceo@bank.test>',), 550),
    (("app@sender.test, ceo@bank.test",), 550),
    (("app@sender.test", "Sender: ceo@bank.test"), 550),
    (("app@sender.test\r\n <ceo@bank.test>",), 550),
    (("(app@sender.test) ceo@bank.test",), 550),
    (("nothing like an address",), 550),
])
def test_from_of_a_bound_credential(relay, head, code):
    with session(relay, "bound") as client:
        assert client.mail("app@sender.test")[0] == 250
        assert client.rcpt("bound@example.test")[0] == 250
        got, reply = client.data(content(*head))
        assert (got, reply[:6]) == ((250, b"2.0.0 ") if code == 250 else (550, b"5.7.1 ")), reply


def test_bound_credential_needs_a_from(relay):
    with session(relay, "bound") as client:
        client.mail("app@sender.test")
        client.rcpt("bound@example.test")
        assert client.data(b"Subject: Hello\r\n\r\nText.\r\n")[0] == 550


def test_free_credential_sends_as_anybody(relay):
    with session(relay, "free") as client:
        client.mail("any@where.test")
        client.rcpt("free@example.test")
        assert client.data(content("ceo@bank.test"))[0] == 250


@pytest.mark.parametrize("change", [
    ("user", "senders", "later", "only@sender.test"), ("user", "lane", "later", "bulk"), ("user", "passwd", "later"),
    ("user", "disable", "later"), ("user", "remove", "later")])
def test_what_an_admin_changes_counts_in_open_sessions(relay, change):
    """At the next message: the one under way is not taken away."""
    relay.user("later", SECRET)
    with session(relay, "later") as before, session(relay, "free") as other:
        assert before.mail("any@where.test")[0] == 250
        relay.ctl(*change, stdin="another word\n")
        assert before.rcpt("later@example.test")[0] == 250
        assert before.data(content("any@where.test"))[0] == 250
        code, reply = before.mail("any@where.test")
        assert code == 421 and reply == b"4.7.0 relay.posthouse.test your credential was changed, log in again"
        assert other.mail("any@where.test")[0] == 250
    if change[1] == "senders":
        assert "only@sender.test" in relay.ctl("user", "list").stdout
        with session(relay, "later") as after:
            assert after.mail("any@where.test")[0] == 550
            relay.ctl("user", "senders", "later")
        with session(relay, "later") as free:
            assert free.mail("any@where.test")[0] == 250
    relay.ctl("user", "remove", "later", check=False)


def test_bad_senders_are_refused_at_the_command(relay):
    refused = relay.ctl("user", "senders", "bound", "ok.test", "@wrong.test", check=False)
    assert refused.returncode != 0 and "@wrong.test" in refused.stderr


def bound_listener(relay):
    client = smtplib.SMTP(relay.address, 2526, timeout=20, local_hostname="device.test")
    client.ehlo()
    return client


def test_listener_binds_those_without_login(relay):
    with bound_listener(relay) as client:
        assert client.mail("app@sender.test")[0] == 550
        assert client.mail("printer@floor2.devices.test")[0] == 250


def test_missing_from_and_sender_are_added(relay, shared):
    for to, head, want in (("no-from", b"Subject: Scan\r\n", b"From: <device@sender.test>\r\n"),
                           ("two-authors", b"From: device@sender.test, b@floor2.devices.test\r\n", b"Sender: <device@sender.test>\r\n")):
        with bound_listener(relay) as client:
            client.mail("device@sender.test")
            client.rcpt(f"{to}@example.test")
            assert client.data(head + b"\r\nText.\r\n")[0] == 250
        got = shared.inbox.wait_to(f"{to}@example.test")
        assert want in got.data


# -- quotas


def send(client, recipients=("someone@example.test",), sender="app@sender.test"):
    """(code of MAIL, codes of RCPT, code of DATA); None where it did not come so far."""
    code, reply = client.mail(sender)
    if code != 250:
        return code, reply.decode()
    for to in recipients:
        code, reply = client.rcpt(to)
        if code != 250:
            client.rset()
            return code, reply.decode()
    code, reply = client.data(content(sender))
    return code, reply.decode()


def test_messages_of_a_credential(relay):
    relay.user("hourly", SECRET)
    relay.configure({"smtpd.conf": {"quota hourly": {"credentials": "hourly", "messages_per_hour": 3}}})
    relay.ctl("reload")
    with session(relay, "hourly") as one, session(relay, "hourly") as other:
        assert [send(c)[0] for c in (one, other, one)] == [250, 250, 250]
        code, reply = send(other)
        assert code == 450 and re.match(r"4\.7\.1 credential hourly may send 3 messages an hour, try again in \d+ \w+", reply), reply
    relay.stop()
    relay.start()
    with session(relay, "hourly") as client:
        assert send(client)[0] == 450, "the count outlives a restart"
    with session(relay, "free") as client:
        assert send(client)[0] == 250


def test_recipients_of_a_credential(relay):
    with session(relay, "small") as client:
        assert send(client, [f"r{i}@example.test" for i in range(3)])[0] == 250
        code, reply = send(client, [f"r{i}@example.test" for i in range(3)])
        assert code == 450 and "<r2@example.test> credential small may send 5 recipients a day" in reply
        assert send(client, [f"r{i}@example.test" for i in range(2)])[0] == 250
        assert client.mail("app@sender.test")[0] == 450
    row = json.loads(relay.ctl("user", "usage", "small", "--json").stdout)[0]
    assert (row["messages_hour"], row["recipients_day"], row["bounces_day"]) == (2, 5, 0)


def test_refused_message_does_not_count(relay):
    relay.user("careful", SECRET)
    relay.configure({"smtpd.conf": {"quota careful": {"credentials": "careful", "messages_per_day": 1}}})
    relay.ctl("reload")
    with session(relay, "careful") as client:
        for _ in range(3):
            client.mail("app@sender.test")
            client.rcpt("x@example.test")
            assert client.data(b"From: a@b.test\r\nFrom: c@d.test\r\n\r\nText.\r\n")[0] == 554
        assert send(client)[0] == 250
        assert send(client)[0] == 450


def test_tenant_counts_all_its_credentials(relay):
    with session(relay, "one") as one, session(relay, "two") as two:
        assert [send(c)[0] for c in (one, two, one, two)] == [250] * 4
        code, reply = send(one)
        assert code == 450 and "tenant acme may send 4 messages a day" in reply


def test_clients_count_by_address(world):
    world.sink("example.test")
    relay = world.suite({"smtpd.conf": {"quota clients": {"clients": "127.0.0.0/8", "messages_per_day": 2}}}).start()
    with relay.connect("smtp") as client:
        assert [send(client)[0] for _ in range(3)] == [250, 250, 450]
    with relay.connect("smtp", source=world.address()) as other:
        code, reply = send(other)
        assert code == 250, reply


def test_networks_count_all_their_clients(world):
    world.sink("example.test")
    relay = world.suite({"smtpd.conf": {
        "quota networks": {"networks": "127.0.0.0/8", "network_prefix_ipv4": 31, "messages_per_day": 3},
        "quota one": {"clients": f"{world.network.address(203)}/32", "messages_per_day": 1},
    }}).start()

    def send_from(host):
        with relay.connect("smtp", source=world.network.address(host)) as client:
            return send(client)

    assert [send_from(host)[0] for host in (200, 201, 200)] == [250] * 3
    code, reply = send_from(201)
    network = f"{world.network.address(200)}/31"
    assert code == 450 and f"network {network} may send 3 messages a day" in reply
    row, = json.loads(relay.ctl("usage", "network", network, "--json").stdout)
    assert (row["name"], row["messages_day"], row["recipients_day"]) == (network, 3, 3)
    assert [send_from(host)[0] for host in (203, 203, 202)] == [250, 450, 250]
    rows = json.loads(relay.ctl("usage", "client", *map(world.network.address, (203, 202)), "--json").stdout)
    assert [row["messages_day"] for row in rows] == [1, 0], "no quota counts the other"
    assert relay.ctl("usage", "planet", "earth", check=False).returncode == 2
    assert relay.ctl("usage", "client", "somebody", check=False).returncode == 2


def test_sessions_that_finish_together_do_not_exceed_a_quota(relay):
    """Each looked before the others took: what counts is taken at the end."""
    relay.user("racer", SECRET)
    relay.configure({"smtpd.conf": {"quota racer": {"credentials": "racer", "messages_per_day": 2}}})
    relay.ctl("reload")
    clients = [session(relay, "racer") for _ in range(4)]
    for client in clients:
        assert client.mail("app@sender.test")[0] == 250
        assert client.rcpt("x@example.test")[0] == 250
    codes = [client.data(content("app@sender.test"))[0] for client in clients]
    for client in clients:
        client.close()
    assert codes == [250, 250, 450, 450]


def test_sessions_of_a_credential(relay):
    with session(relay, "busy"):
        with session(relay, "busy"):
            with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
                session(relay, "busy")
            assert refused.value.smtp_code == 454 and b"too many sessions" in refused.value.smtp_error
    wait.until(lambda: _can_log_in(relay, "busy"), 10, "the end of one")


def _can_log_in(relay, name):
    try:
        session(relay, name).close()
        return True
    except smtplib.SMTPAuthenticationError:
        return False


# -- frozen


def test_credential_whose_mail_bounces_is_frozen(relay, shared):
    """The domain does not exist: hard failures."""
    with session(relay, "list") as client:
        assert send(client, [f"r{i}@nowhere.test" for i in range(3)])[0] == 250
        assert send(client, ["fine@example.test"] * 1)[0] == 250
        shared.inbox.wait_to("fine@example.test")
        assert client.mail("app@sender.test")[0] == 250, "three are an accident"
        client.rset()
        assert send(client, ["r4@nowhere.test"])[0] == 250
        line = relay.wait_log("frozen: credential=list")[0]
        assert "bounced=4, recipients=5" in line and "user thaw" in line
        code, reply = client.mail("app@sender.test")
        assert code == 450 and reply.startswith(b"4.7.1 credential list is frozen since ")
    rows = relay.ctl("user", "list").stdout.splitlines()
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +\d{4}", next(r for r in rows if r.startswith("list ")))
    relay.ctl("reload")
    with session(relay, "list") as client:
        assert client.mail("app@sender.test")[0] == 450, "it outlives the process"
    relay.ctl("user", "thaw", "list")
    with session(relay, "list") as client:
        assert send(client)[0] == 250
    again = relay.ctl("user", "thaw", "list", check=False)
    assert again.returncode != 0 and "is not frozen" in again.stderr


# -- limits of a listener


def test_listener_has_limits_of_its_own(world):
    world.sink("example.test")
    relay = world.suite({"smtpd.conf": {"listener smtp": {"max_message_size": "10k", "max_recipients": 2, "max_errors": 3,
                                                          "max_connections": 2, "idle_timeout": "2s"}}}).start()
    with relay.connect("smtp") as small:
        assert small.esmtp_features["size"] == "10240" and small.esmtp_features["limits"] == "RCPTMAX=2"
        assert small.mail("app@sender.test", ["SIZE=20000"])[0] == 552
        small.mail("app@sender.test")
        assert [small.rcpt(f"{i}@example.test")[0] for i in range(3)] == [250, 250, 452]
        assert small.data(suites.message(size=12000))[0] == 552
        with relay.connect("smtp"):
            with pytest.raises(smtplib.SMTPConnectError) as refused:
                relay.connect("smtp")
            assert refused.value.smtp_code == 421
            with relay.connect("submissions") as other:
                assert other.esmtp_features["size"] == str(50 << 20)
        assert small.docmd("NONSENSE")[0] == 500
        assert small.getreply()[0] == 421
    with relay.connect("smtp") as silent:
        assert silent.getreply()[0] == 421
        assert relay.log_lines("reply=421 4.7.0 too many connections")


# -- domains of senders and recipients


@pytest.fixture(scope="module")
def asking(shared, relay):
    return shared.suite({"smtpd.conf": {"listener smtp": {"check_recipient_domains": "yes", "check_sender_domain": "yes"}}}).start()


@pytest.mark.parametrize("address,code,text", [
    ("app@sender.test", 550, "5.1.8 <app@sender.test> no notice could reach this sender: "),
    ("x@nullmx.test", 550, "5.7.27 <x@nullmx.test> no notice could reach this sender: "),
    ("x@example.test", 250, "2.1.0"),
    ("x@[127.0.0.99]", 250, "2.1.0"),
    ("", 250, "2.1.0"),
])
def test_sender_that_no_notice_could_reach(asking, address, code, text):
    with asking.connect("smtp") as client:
        got, reply = client.mail(address)
        assert got == code and reply.decode().startswith(text), reply
        assert client.rcpt("y@example.test")[0] == (250 if code == 250 else 503)


@pytest.mark.parametrize("address,code,text", [
    ("x@example.test", 250, "2.1.5"),
    ("x@nullmx.test", 556, "5.1.10 <x@nullmx.test> "),
    ("x@NoSuch.test", 550, "5.1.2 <x@nosuch.test> "),
    ("x@[127.0.0.99]", 250, "2.1.5"),
])
def test_domain_that_takes_no_mail_is_refused_at_rcpt(asking, address, code, text):
    with asking.connect("smtp") as client:
        client.mail("app@example.test")
        for _ in range(2):  # the second time out of qmgr's memory
            got, reply = client.rcpt(address)
            assert got == code and reply.decode().startswith(text), reply
        assert client.rcpt("y@example.test")[0] == 250


def test_pipelined_recipients_are_answered_in_order(asking):
    names = ["a@example.test", "b@gone1.test", "c@example.test", "d@gone2.test", "e@nullmx.test", "f@example.test"]
    with asking.connect("smtp") as client:
        client.send("MAIL FROM:<app@example.test>\r\n" + "".join(f"RCPT TO:<{n}>\r\n" for n in names) + "NOOP\r\n")
        replies = [client.getreply() for _ in range(len(names) + 2)]
        assert [code for code, _ in replies] == [250, 250, 550, 250, 550, 556, 250, 250]
        assert all(n.encode() in replies[i + 1][1] for i, n in enumerate(names) if replies[i + 1][0] != 250)


def test_rule_of_the_admin_counts_before_dns(asking):
    asking.ctl("queue", "reroute", "--to", "127.0.0.1:9", "--domain", "moved.test")
    with asking.connect("smtp") as client:
        client.mail("app@example.test")
        assert client.rcpt("x@moved.test")[0] == 250
    asking.ctl("queue", "resume", "--domain", "moved.test")


def test_recipient_is_taken_when_nobody_answers(shared):
    """After five seconds; the session then has its clocks again."""
    relay = shared.suite({"smtpd.conf": {"idle_timeout": "2s", "listener smtp": {"check_recipient_domains": "yes"}}}).start()
    with relay.connect("smtp") as client:
        client.mail("app@sender.test")
        pid = relay.kill("qmgr", signo=signal.SIGSTOP)
        try:
            assert client.rcpt("x@slow.test")[0] == 250
            assert client.getreply()[0] == 421, "idle for too long"
        finally:
            os.kill(pid, signal.SIGCONT)


def test_recipient_is_taken_when_nobody_can_be_asked(shared):
    """No answer of DNS, and no qmgr."""
    relay = shared.suite({"smtpd.conf": {"listener smtp": {"check_recipient_domains": "yes"}},
                          "smtp-out.conf": {"dns_servers": "127.0.0.1:9", "dns_timeout": "1s"},
                          "master.conf": {"restart_delay_min": "1h", "restart_delay_max": "1h"}}).start()
    with relay.connect("smtp") as client:
        client.mail("app@sender.test")
        assert client.rcpt("x@anything.test")[0] == 250
        relay.kill("qmgr")
        assert client.rcpt("y@anything.test")[0] == 250
