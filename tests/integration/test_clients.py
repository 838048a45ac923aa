"""The clients applications use: swaks, msmtp, smtplib, each over STARTTLS and TLS with each login."""

import smtplib
import ssl
import subprocess
from email.message import EmailMessage

import pytest
from support import suite as suites

USER, PASSWORD = "app@sender.test", "a pass word"


@pytest.fixture(scope="module")
def relay(shared):
    shared.inbox = shared.sink("example.test")
    relay = shared.suite().start()
    relay.user(USER, PASSWORD)
    relay.inbox = shared.inbox
    return relay


def run(*words, stdin=""):
    done = subprocess.run([str(w) for w in words], input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def arrived(relay, recipient):
    message = relay.inbox.wait_to(recipient)
    assert message.sender == USER
    return message


@pytest.mark.parametrize("how", ["starttls", "tls"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks(relay, how, mechanism):
    port = suites.PORTS["submission" if how == "starttls" else "submissions"]
    to = f"swaks-{how}-{mechanism.lower()}@example.test"
    out = run("swaks", "--server", relay.address, "--port", port, "--tls" if how == "starttls" else "--tls-on-connect",
              "--tls-verify", "--tls-ca-path", relay.ca_file, "--auth", mechanism, "--auth-user", USER, "--auth-password", PASSWORD,
              "--from", USER, "--to", to, "--header", "Subject: swaks", "--body", "line\n.dot\nend", "--ehlo", "app.test")
    assert "queued as" in out
    assert b"\r\n.dot\r\nend" in arrived(relay, to).data


def test_swaks_pipelines(relay):
    run("swaks", "--server", relay.address, "--port", suites.PORTS["smtp"], "--pipeline", "--from", USER, "--to",
        "swaks-pipeline@example.test", "--ehlo", "app.test")
    arrived(relay, "swaks-pipeline@example.test")


@pytest.mark.parametrize("how", ["starttls", "tls"])
@pytest.mark.parametrize("mechanism", ["plain", "login", "scram-sha-256"])
def test_msmtp(relay, how, mechanism):
    port = suites.PORTS["submission" if how == "starttls" else "submissions"]
    to = f"msmtp-{how}-{mechanism}@example.test"
    run("msmtp", "--file=/dev/null", f"--host={relay.address}", f"--port={port}", "--tls=on",
        f"--tls-starttls={'on' if how == 'starttls' else 'off'}", f"--tls-trust-file={relay.ca_file}", f"--auth={mechanism}",
        f"--user={USER}", f"--passwordeval=echo '{PASSWORD}'", f"--from={USER}", "--domain=app.test", "--timeout=30", to,
        stdin=f"From: {USER}\nTo: {to}\nSubject: msmtp\n\nGrüße\n")
    assert "Grüße" in arrived(relay, to).text


@pytest.mark.parametrize("how", ["starttls", "tls"])
def test_smtplib(relay, how):
    to = f"smtplib-{how}@example.test"
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = USER, to, "smtplib – grüße"
    message.set_content("hello\n.dot\n" + "x" * 2000)
    context = ssl.create_default_context(cafile=relay.ca_file)
    if how == "tls":
        client = smtplib.SMTP_SSL(relay.address, suites.PORTS["submissions"], context=context)
    else:
        client = smtplib.SMTP(relay.address, suites.PORTS["submission"])
        client.starttls(context=context)
    with client:
        client.login(USER, PASSWORD)
        assert client.send_message(message) == {}
    arrived(relay, to)
