"""nodemailer, the client of most JavaScript applications, over STARTTLS and TLS with each login."""

import json
import os
import shutil
import subprocess

import pytest
from support import suite as suites

USER, PASSWORD = "app@sender.test", "a pass word"
NODEMAILER = suites.SOURCE / "build" / "interop" / "node_modules" / "nodemailer"
SCRIPT = suites.SOURCE / "tests" / "interop" / "nodemailer.js"

pytestmark = pytest.mark.skipif(not NODEMAILER.exists() or not shutil.which("node"), reason="scripts/test fetches nodemailer")


@pytest.fixture(scope="module")
def relay(shared):
    shared.inbox = shared.sink("example.test")
    relay = shared.suite().start()
    relay.user(USER, PASSWORD)
    relay.inbox = shared.inbox
    return relay


@pytest.mark.parametrize("how", ["starttls", "tls"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_nodemailer(relay, how, mechanism):
    to = f"nodemailer-{how}-{mechanism.lower()}@example.test"
    order = {
        "transport": {"host": relay.address, "port": suites.PORTS["submission" if how == "starttls" else "submissions"],
                      "secure": how == "tls", "requireTLS": how == "starttls", "authMethod": mechanism,
                      "auth": {"user": USER, "pass": PASSWORD}},
        "message": {"from": USER, "to": to, "subject": "nodemailer – grüße", "text": "hello\n.dot\n", "html": "<p>hello",
                    "attachments": [{"filename": "ü.bin", "content": "AAECAw==", "encoding": "base64"}]},
    }
    done = subprocess.run([shutil.which("node"), SCRIPT, json.dumps(order)], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "NODEMAILER": str(NODEMAILER), "NODE_EXTRA_CA_CERTS": str(relay.ca_file)})
    assert done.returncode == 0, done.stderr
    assert "queued as" in json.loads(done.stdout)["response"]
    arrived = relay.inbox.wait_to(to)
    assert arrived.sender == USER and "multipart/mixed" in arrived.text
