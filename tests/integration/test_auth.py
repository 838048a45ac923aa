"""auth: PLAIN, LOGIN and SCRAM-SHA-256 over the credentials database, and what it does not give away."""

import base64
import smtplib
import sqlite3
import subprocess
import time

import pytest
from support import suite as suites

USERS = {
    "app@sender.test": "a pass word",
    "plain": "simple",
    "odd": " ~!@#$%^&*()_+{}|:\"<>?`-=[]\\;',./ ",
}


@pytest.fixture(scope="module")
def relay(shared):
    shared.inbox = shared.sink("example.test")
    relay = shared.suite({"smtpd.conf": {"failed_logins_per_minute": 0},
                          "auth.conf": {"failures_free": 1000, "failures_per_minute": 0}}).start()
    for name, password in USERS.items():
        relay.user(name, password)
    return relay


def login(relay, mechanism, name, password):
    """(code, reply) of one AUTH by smtplib."""
    with relay.connect("submissions") as client:
        client.user, client.password = name, password
        try:
            return client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))
        except smtplib.SMTPAuthenticationError as refused:
            return refused.smtp_code, refused.smtp_error


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("name", USERS)
def test_login(relay, mechanism, name):
    assert login(relay, mechanism, name, USERS[name])[0] == 235
    assert login(relay, mechanism, name, USERS[name] + "x")[0] == 535


def b64(text):
    return base64.b64encode(text.encode()).decode()


def test_a_login_waits_for_auth_that_begins_again(relay):
    """Killed, or replaced by a reload: no client is told to come again."""
    for _ in range(3):
        relay.kill("auth")
        assert login(relay, "PLAIN", "plain", "simple")[0] == 235
    with relay.connect("submissions") as client:
        for _ in range(3):
            relay.ctl("reload")
            code, reply = client.docmd("AUTH PLAIN", b64("\0plain\0simple"))
            assert code == 235, reply
            client.docmd("QUIT")
            client.close()
            client = relay.connect("submissions")


def test_the_dialogue(relay):
    """Given up, malformed, unknown, without initial response, twice."""
    plain = b64("\0plain\0simple")
    with relay.connect("submissions") as client:
        assert [client.docmd(line)[0] for line in ("AUTH", "AUTH NTLM", "AUTH PLAIN !!!", "AUTH LOGIN", "*")] == \
            [501, 504, 501, 334, 501]
        assert [client.docmd(line)[0] for line in ("AUTH PLAIN", plain, f"AUTH PLAIN {plain}")] == [334, 235, 503]


def test_login_needs_tls_and_mail_needs_login(relay):
    with smtplib.SMTP(relay.address, suites.PORTS["submission"], timeout=20) as client:
        client.ehlo()
        assert "auth" not in client.esmtp_features
        assert client.docmd("AUTH", "PLAIN " + b64("\0plain\0simple"))[0] == 538
        assert client.mail("a@sender.test")[0] == 530


def gsasl(relay, shared, name, password, *options):
    return subprocess.run(["gsasl", "--smtp", "--connect", f"{relay.address}:{suites.PORTS['submission']}", "--mechanism",
                           "SCRAM-SHA-256", "--authentication-id", name, "--password", password, "--no-cb",
                           "--x509-ca-file", str(shared.authority.certificate), *options],
                          capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)


def test_scram(relay, shared):
    good = gsasl(relay, shared, "plain", "simple")
    assert "235" in good.stdout + good.stderr, good.stdout + good.stderr
    bad = gsasl(relay, shared, "plain", "wrong")
    assert bad.returncode != 0 and "535" in bad.stdout + bad.stderr, bad.stdout + bad.stderr
    unknown = gsasl(relay, shared, "nobody", "wrong")
    assert unknown.returncode != 0 and "535" in unknown.stdout + unknown.stderr


def test_a_password_is_one_however_it_is_typed(relay, shared):
    """SASLprep (RFC 4013): of a client that prepares (gsasl) and of one that does not (smtplib)."""
    relay.user("accents", "caf\u00e9 IX")
    for typed in ("cafe\u0301 \u2168", "caf\u00e9\u00a0IX"):
        said = gsasl(relay, shared, "accents", typed)
        assert "235" in said.stdout + said.stderr, said.stdout + said.stderr
        with relay.connect("submissions") as client:
            plain = base64.b64encode(f"\0accents\0{typed}".encode()).decode()
            assert client.docmd("AUTH", f"PLAIN {plain}")[0] == 235


def test_scram_challenge_of_unknown_users_is_steady(relay):
    """The salt of a name is the same each time, whether the name exists or not."""
    def first_challenge(name):
        with relay.connect("submissions") as client:
            initial = base64.b64encode(f"n,,n={name},r=abcdefghijklmnop".encode()).decode()
            code, reply = client.docmd("AUTH", f"SCRAM-SHA-256 {initial}")
            assert code == 334
            fields = dict(f.split("=", 1) for f in base64.b64decode(reply).decode().split(","))
            client.docmd("*")
            return fields["s"], fields["i"]

    for name in ("plain", "ghost", "ghost2"):
        assert first_challenge(name) == first_challenge(name)
    assert first_challenge("ghost")[0] != first_challenge("ghost2")[0]
    assert first_challenge("ghost")[1] == first_challenge("plain")[1]
    assert len(first_challenge("ghost")[0]) == len(first_challenge("plain")[0])


def test_unknown_user_looks_like_wrong_password(relay):
    """That both derive a key is unit.auth_exchange's to show."""
    assert login(relay, "PLAIN", "plain", "wrong") == login(relay, "PLAIN", "ghost", "wrong")


def test_only_verifiers_are_stored(relay):
    for file in (relay.state / "auth").iterdir():
        raw = file.read_bytes()
        for password in USERS.values():
            assert password.encode() not in raw
    rows = sqlite3.connect(f"file:{relay.state}/auth/credentials.db?mode=ro", uri=True).execute(
        "select name from sqlite_master where type = 'table'").fetchall()
    assert rows


def test_changes_count_at_once(relay):
    relay.user("volatile", "first")
    assert login(relay, "PLAIN", "volatile", "first")[0] == 235
    relay.ctl("user", "passwd", "volatile", stdin="second\n")
    assert login(relay, "PLAIN", "volatile", "first")[0] == 535
    assert login(relay, "PLAIN", "volatile", "second")[0] == 235
    relay.ctl("user", "disable", "volatile")
    assert login(relay, "PLAIN", "volatile", "second")[0] == 535
    relay.ctl("user", "remove", "volatile")
    assert login(relay, "PLAIN", "volatile", "second")[0] == 535


def test_no_secret_in_the_log(relay):
    login(relay, "PLAIN", "plain", "s3cretAttempt")
    text = relay.log.read_text()
    for secret in (*USERS.values(), "s3cretAttempt", base64.b64encode(b"\0plain\0s3cretAttempt").decode()):
        assert secret not in text.replace("plain", "") or secret == "simple"


def test_login_works_again_after_auth_was_killed(relay):
    relay.kill("auth")
    end = time.monotonic() + 15
    codes = []
    while time.monotonic() < end:
        codes.append(login(relay, "PLAIN", "plain", "simple")[0])
        if codes[-1] == 235:
            break
        time.sleep(0.2)
    assert codes[-1] == 235 and set(codes) <= {235, 454}, codes


def test_failed_logins_per_minute(shared):
    relay = shared.suite({"smtpd.conf": {"failed_logins_per_minute": 2}}).start()
    relay.user("plain", "simple")
    assert [login(relay, "PLAIN", "plain", "no")[0] for _ in range(2)] == [535, 535]
    code, _ = login(relay, "PLAIN", "plain", "simple")
    assert code in (421, 454)


def test_failures_are_answered_later_and_later(shared):
    relay = shared.suite({"smtpd.conf": {"failed_logins_per_minute": 0},
                          "auth.conf": {"failures_free": 1, "failure_delay": "1s"}}).start()
    relay.user("plain", "simple")
    for wait_s in (0, 1, 2):
        begin = time.monotonic()
        assert login(relay, "PLAIN", "plain", "no")[0] == 535
        assert time.monotonic() - begin >= wait_s
        relay.wait_log(rf"login: .*reason=wrong password, answer after {wait_s}\.000 s")
    relay.ctl("reload")
    with relay.connect("submissions") as guessing:
        guessing.send(f"AUTH PLAIN {base64.b64encode(b'{}plain{}no'.replace(b'{}', bytes(1))).decode()}\r\n")
        relay.wait_log(r"login: .*reason=wrong password, answer after 4\.000 s")
        assert login(relay, "PLAIN", "plain", "simple")[0] == 235
        assert guessing.getreply()[0] == 535
    answers = [line for line in relay.log_lines(r"smtpd\[\d+\]: auth: ") if "result=" in line]
    assert "result=ok" in answers[-2] and "result=failed" in answers[-1], "a right password is not delayed"


def test_database_of_an_older_version_is_brought_up_to_date(world):
    relay = world.suite()
    relay.user("old", "a pass word")
    path = next(relay.state.rglob("credentials.db"))
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (3,)
        db.executescript("DROP TABLE certificates; ALTER TABLE credentials DROP COLUMN senders; PRAGMA user_version = 2")
    db.close()
    relay.start()
    with relay.connect("submissions", ("old", "a pass word")) as client:
        assert client.mail("any@where.test")[0] == 250
    relay.ctl("user", "senders", "old", "only@sender.test")
    with relay.connect("submissions", ("old", "a pass word")) as client:
        assert client.mail("any@where.test")[0] == 550
