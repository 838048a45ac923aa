"""TLS of smtpd: sessions resumed by any worker, certificates by name and by kind of key, taken over without dropping a
session, and clients that log in with a certificate or bind their login to the channel."""

import base64
import hashlib
import hmac
import json
import os
import shutil
import smtplib
import socket
import ssl
import subprocess

import pytest
from support import certs, suite as suites, wait

SECRET = "a pass word"


def openssl_fingerprint(file, *what):
    """By the commands that the man page gives."""
    if what == ("key",):
        key = subprocess.run(["openssl", "x509", "-in", file, "-pubkey", "-noout"], capture_output=True, check=True).stdout
        der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=key, capture_output=True, check=True)
        return subprocess.run(["sha256sum"], input=der.stdout, capture_output=True, check=True).stdout.decode().split()[0]
    done = subprocess.run(["openssl", "x509", "-in", file, "-noout", "-fingerprint", "-sha256"], capture_output=True,
                          text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def relay(shared):
    shared.inbox = shared.sink("example.test")
    clients = certs.Authority(shared.folder / "clients")
    shared.clients = clients
    relay = shared.suite({"master.conf": {"certificate_check": "1s"},
                          "smtpd.conf": {"client_ca": clients.certificate,
                                         "listener submission": {"client_certificates": "yes"},
                                         "listener submissions": {"client_certificates": "yes"},
                                         "failed_logins_per_minute": 0},
                          "auth.conf": {"failures_free": 1000, "failures_per_minute": 0}})
    # Files of its own, to be replaced.
    chain, key = relay.folder / "chain.pem", relay.folder / "key.pem"
    shutil.copy(relay.certificate[0], chain)
    shutil.copy(relay.certificate[1], key)
    relay.certificate_file, relay.key_file = chain, key
    rsa = shared.authority.issue("relay.posthouse.test", relay.address, "localhost", key_type="rsa:2048", file="relay-rsa")
    other = shared.authority.issue("second.posthouse.test")
    relay.configure({"smtpd.conf": {"certificate": chain, "key": key,
                                    "certificate rsa": {"chain": rsa[0], "key": rsa[1]},
                                    "certificate second": {"chain": other[0], "key": other[1]}}})
    relay.start()
    relay.user("app@sender.test", SECRET)
    return relay


def context_for(relay, client=None):
    context = ssl.create_default_context(cafile=str(relay.ca_file))
    context.check_hostname = False
    if client:
        context.load_cert_chain(*client)
    return context


def banner(relay, context, session=None, name=None):
    """(was it resumed, the session to resume, the certificate) of one connection to 465."""
    with socket.create_connection((relay.address, suites.PORTS["submissions"]), 20) as raw, \
            context.wrap_socket(raw, session=session, server_hostname=name) as tls:
        assert tls.recv(200).startswith(b"220 ")
        return tls.session_reused, tls.session, tls.getpeercert(binary_form=True)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_any_worker_resumes_a_session(relay, newest):
    """The kernel spreads connections over the two workers; no ticket may fall on deaf ears."""
    context = context_for(relay)
    context.maximum_version = newest
    _, session, _ = banner(relay, context)
    for _ in range(24):
        resumed, session, _ = banner(relay, context, session)
        assert resumed


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_is_looked_at_in_each_session(relay, shared, newest):
    """Nothing of it is taken from a ticket: it may have expired since."""
    context = context_for(relay, shared.clients.issue("ticket@sender.test", file=f"ticket-{newest.value}"))
    context.maximum_version = newest
    _, session, _ = banner(relay, context)
    for _ in range(4):
        resumed, session, _ = banner(relay, context, session)
        assert not resumed


def test_tickets_outlive_a_reload(relay):
    context = context_for(relay)
    _, session, _ = banner(relay, context)
    relay.ctl("reload")
    assert banner(relay, context, session)[0]


def s_client(relay, *options):
    """The certificate's subject and key that openssl s_client shows."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"{relay.address}:{suites.PORTS['submissions']}", "-brief",
                           "-ign_eof", *options], input=b"QUIT\r\n", capture_output=True, timeout=30)
    return (done.stdout + done.stderr).decode(errors="replace")


@pytest.mark.parametrize("options,want", [
    (["-servername", "second.posthouse.test"], "CN = second.posthouse.test"),
    (["-servername", "relay.posthouse.test"], "CN = relay.posthouse.test"),
    (["-servername", "nobody.posthouse.test"], "CN = relay.posthouse.test"),
    (["-noservername"], "CN = relay.posthouse.test"),
    (["-servername", "relay.posthouse.test"], "Signature type: ECDSA"),
    (["-servername", "relay.posthouse.test", "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "Signature type: RSA-PSS"),
    (["-noservername", "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "Signature type: RSA-PSS"),
    (["-servername", "relay.posthouse.test", "-sigalgs", "rsa_pss_rsae_sha256"], "Signature type: RSA-PSS"),
])
def test_each_client_gets_the_certificate_it_can_use(relay, options, want):
    assert want in s_client(relay, *options)


def replace(file, content):
    """As certbot and its like do it: another file of that name."""
    fresh = file.with_suffix(".new")
    fresh.write_bytes(content)
    os.rename(fresh, file)


def test_new_certificate_drops_no_session(relay, shared):
    context = context_for(relay)
    before = banner(relay, context)[2]
    chain, key = shared.authority.issue("relay.posthouse.test", relay.address, "localhost", file="renewed")
    with relay.connect("submission", ("app@sender.test", SECRET)) as old, relay.connect("smtp") as waiting:
        old.mail("app@sender.test")
        replace(relay.certificate_file, chain.read_bytes())
        replace(relay.key_file, key.read_bytes())
        wait.until(lambda: banner(relay, context)[2] != before, 30, "the new certificate")
        want = ssl.PEM_cert_to_DER_cert(chain.read_text())
        # Workers are replaced one by one.
        wait.until(lambda: all(banner(relay, context)[2] == want for _ in range(8)), 30, "it, from every worker")
        assert old.rcpt("renewed@example.test")[0] == 250
        assert old.data(suites.message(recipients=["renewed@example.test"]))[0] == 250
        assert waiting.noop()[0] == 250
    shared.inbox.wait_to("renewed@example.test")
    wait.until(lambda: len(relay.children("smtpd")) == 2, 20, "the end of the old workers, whose sessions are over")


def test_broken_certificate_changes_nothing(relay):
    context = context_for(relay)
    good = relay.certificate_file.read_bytes()
    before = banner(relay, context)[2]
    seen = len(relay.log_lines("certificate .*chain.pem: "))
    replace(relay.certificate_file, b"not a certificate\n")
    relay.wait_log("certificate .*chain.pem: ", count=seen + 1)
    assert all(banner(relay, context)[2] == before for _ in range(8))
    replace(relay.certificate_file, good)
    wait.until(lambda: relay.ctl("status", check=False).returncode == 0, 30, "every worker to be ready")
    assert all(banner(relay, context)[2] == before for _ in range(8))


# -- an auditor's view


@pytest.mark.skipif(not os.environ.get("POSTHOUSE_LONG"), reason="takes four minutes (scripts/test-long)")
@pytest.mark.skipif(not shutil.which("testssl"), reason="testssl.sh is not installed")
@pytest.mark.parametrize("listener", ["submissions", "submission"])
def test_testssl_finds_nothing(world, listener, tmp_path):
    """Nothing of severity low or above, with an ECDSA and an RSA certificate.  The DNS zone is not ours to judge; and
    openssl s_client, which testssl.sh runs without input, may leave before its TLS 1.3 ticket came."""
    relay = world.suite()
    pairs = {k: world.authority.issue("relay.posthouse.test", relay.address, "localhost", key_type=k, days=300,
                                      file=f"audited-{k[:3]}") for k in ("ec", "rsa:2048")}
    relay.configure({"smtpd.conf": {"certificate": pairs["ec"][0], "key": pairs["ec"][1],
                                    "certificate rsa": {"chain": pairs["rsa:2048"][0], "key": pairs["rsa:2048"][1]}}})
    relay.start()
    found = tmp_path / "found.json"
    starttls = ["--starttls", "smtp"] if listener == "submission" else []
    subprocess.run(["testssl", "--quiet", "--color", "0", "--warnings", "off", "--severity", "LOW", "--add-ca", relay.ca_file,
                    "--jsonfile", found, *starttls, f"{relay.address}:{suites.PORTS[listener]}"], stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, timeout=600)
    rows = json.loads(found.read_text())
    aside = {("LOW", "DNS_CAArecord"), ("WARN", "sessionresumption_ticket")}
    assert [r for r in rows if r["severity"] not in ("DEBUG", "INFO", "OK") and (r["severity"], r["id"].split()[0]) not in aside] == []


# -- client certificates


def external(relay, client, authzid="", listener="submissions"):
    """(mechanisms offered, code) of AUTH EXTERNAL with this client certificate."""
    context = context_for(relay, client)
    where = {"host": relay.address, "port": suites.PORTS[listener], "timeout": 20}
    with smtplib.SMTP_SSL(context=context, **where) if listener == "submissions" else smtplib.SMTP(**where) as session:
        if listener == "submission":
            session.starttls(context=context)
        session.ehlo("client.test")
        offered = session.esmtp_features.get("auth", "").split()
        code = session.docmd("AUTH", f"EXTERNAL {base64.b64encode(authzid.encode()).decode() or '='}")[0]
        if code == 235:
            assert session.mail("app@sender.test")[0] == 250
        return offered, code


@pytest.mark.parametrize("listener", ["submission", "submissions"])
def test_pinned_certificate_logs_in(relay, shared, listener):
    relay.user(f"pinned-{listener}", SECRET)
    chain, key = shared.folder / f"{listener}.pem", shared.folder / f"{listener}-key.pem"
    certs.self_signed(chain, key, "printer")
    assert external(relay, (chain, key), listener=listener)[1] == 535
    relay.ctl("user", "certificate", f"pinned-{listener}", openssl_fingerprint(chain))
    offered, code = external(relay, (chain, key), listener=listener)
    assert "EXTERNAL" in offered and code == 235
    assert external(relay, (chain, key), f"pinned-{listener}", listener)[1] == 235
    assert external(relay, (chain, key), "app@sender.test", listener)[1] == 535, "it may not act for another"
    assert relay.wait_log(f"auth: result=ok, credential=pinned-{listener}, mechanism=EXTERNAL")
    relay.ctl("user", "disable", f"pinned-{listener}")
    assert external(relay, (chain, key), listener=listener)[1] == 535
    relay.ctl("user", "enable", f"pinned-{listener}")
    relay.ctl("user", "certificate", f"pinned-{listener}", openssl_fingerprint(chain), "--remove")
    assert external(relay, (chain, key), listener=listener)[1] == 535


def test_pinned_key_outlives_its_certificate(relay, shared):
    relay.user("keyed", SECRET)
    chain, key = shared.folder / "keyed.pem", shared.folder / "keyed-key.pem"
    certs.self_signed(chain, key, "first")
    relay.ctl("user", "certificate", "keyed", openssl_fingerprint(chain, "key"))
    assert external(relay, (chain, key))[1] == 235
    subprocess.run(["openssl", "req", "-x509", "-new", "-key", key, "-subj", "/CN=second", "-days", "2", "-out", chain],
                   check=True, capture_output=True)
    assert external(relay, (chain, key))[1] == 235


def test_certificate_of_an_authority_logs_in_by_its_name(relay, shared):
    relay.user("device@sender.test", SECRET)
    assert external(relay, shared.clients.issue("device@sender.test"))[1] == 235
    assert external(relay, shared.clients.issue("stranger@sender.test"))[1] == 535
    chain, key = shared.folder / "forged.pem", shared.folder / "forged-key.pem"
    certs.self_signed(chain, key, "device@sender.test")
    assert external(relay, (chain, key))[1] == 535, "signed by nobody we know"


def test_no_certificate_no_external(relay):
    offered, code = external(relay, None)
    assert "EXTERNAL" not in offered and code == 504
    assert "PLAIN" in offered


def test_password_counts_beside_a_certificate(relay, shared):
    context = context_for(relay, shared.clients.issue("somebody@sender.test"))
    with smtplib.SMTP_SSL(relay.address, suites.PORTS["submissions"], context=context, timeout=20) as session:
        session.login("app@sender.test", SECRET)


# -- channel binding


def gsasl(relay, mechanism, *options, password=SECRET):
    done = subprocess.run(["gsasl", "--smtp", "--connect", f"{relay.address}:{suites.PORTS['submission']}", "--x509-ca-file",
                           str(relay.ca_file), "--hostname", "localhost", "--authentication-id", "app@sender.test",
                           "--password", password, "--mechanism", mechanism, "--no-client-first", *options],
                          input="QUIT\r\n", capture_output=True, text=True, timeout=30)
    return done.stdout + done.stderr


def test_login_is_bound_to_the_channel(relay):
    before = len(relay.log_lines("mechanism=SCRAM-SHA-256-PLUS, .*result=ok"))
    gsasl(relay, "SCRAM-SHA-256-PLUS")
    relay.wait_log("login: .*mechanism=SCRAM-SHA-256-PLUS, .*result=ok", count=before + 1)
    gsasl(relay, "SCRAM-SHA-256-PLUS", password="wrong")
    relay.wait_log("login: .*mechanism=SCRAM-SHA-256-PLUS, .*result=failed")


def test_stripped_channel_binding_is_noticed(relay):
    """A client that could bind and was made to believe the server can not ('y', RFC 5802 section 6) must not get in."""
    assert scram(relay, "n") == 235, "one that can not bind"
    assert scram(relay, "y") in (501, 535)


def scram(relay, flag):
    """The code at the end of a right SCRAM-SHA-256 exchange with this channel-binding flag (RFC 5802 sections 3 and 7)."""
    with relay.connect("submissions") as session:
        assert "SCRAM-SHA-256-PLUS" in session.esmtp_features["auth"].split()
        first = "n=app@sender.test,r=rOprNGfwEbeRWgbNEkqO"
        code, challenge = session.docmd("AUTH", "SCRAM-SHA-256 " + base64.b64encode(f"{flag},,{first}".encode()).decode())
        assert code == 334
        challenge = base64.b64decode(challenge).decode()
        nonce, salt, rounds = (part[2:] for part in challenge.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", SECRET.encode(), base64.b64decode(salt), int(rounds))
        key = hmac.digest(salted, b"Client Key", "sha256")
        final = f"c={base64.b64encode(f'{flag},,'.encode()).decode()},r={nonce}"
        signature = hmac.digest(hashlib.sha256(key).digest(), f"{first},{challenge},{final}".encode(), "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
        code, _ = session.docmd(base64.b64encode(f"{final},p={proof}".encode()).decode())
        return session.docmd("")[0] if code == 334 else code


# -- sockets without a network


def test_unix_socket_takes_a_password_without_tls(world):
    inbox = world.sink("example.test")
    relay = world.suite()
    path = relay.folder / "submit.sock"
    relay.configure({"smtpd.conf": {"listener local": {"address": f"unix:{path}", "tls": "none", "auth": "required",
                                                       "auth_without_tls": "yes", "role": "submission"}}})
    relay.start()
    relay.user("app@sender.test", SECRET)
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(20)
        raw.connect(str(path))
        with raw.makefile("rwb") as file:
            def say(line):
                file.write(line + b"\r\n")
                file.flush()
                reply = [file.readline()]
                while reply[-1][3:4] == b"-":
                    reply.append(file.readline())
                return b"".join(reply)
            assert file.readline().startswith(b"220 ")
            offered = say(b"EHLO app")
            assert b"AUTH PLAIN LOGIN SCRAM-SHA-256\r\n" in offered, offered
            assert say(b"MAIL FROM:<app@sender.test>").startswith(b"530 ")
            assert say(b"AUTH PLAIN " + base64.b64encode(b"\0app@sender.test\0" + SECRET.encode())).startswith(b"235 ")
            assert say(b"MAIL FROM:<app@sender.test>").startswith(b"250 ")
            assert say(b"RCPT TO:<local@example.test>").startswith(b"250 ")
            assert say(b"DATA").startswith(b"354 ")
            assert say(suites.message(recipients=["local@example.test"]) + b".").startswith(b"250 ")
    inbox.wait_to("local@example.test")
