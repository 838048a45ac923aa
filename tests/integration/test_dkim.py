"""dkim-signer: what leaves is signed by every key of its domain, and dkimpy agrees."""

import json
import re

import dkim
import pytest
from support import dns, suite as suites


@pytest.fixture
def relay(world):
    world.inbox = world.sink("example.test")
    relay = world.suite()
    relay.ctl("dkim", "generate", "sender.test")
    for key in json.loads(relay.ctl("dkim", "dns", "--json").stdout):
        world.record((key["name"], "TXT", key["record"]))
    world.dns.change(world.dns.records)
    relay.lookup = dns.txt_lookup(world.dns.address, world.dns.port)
    relay.inbox = world.inbox
    return relay.start()


def algorithms(message):
    return sorted(re.findall(r"^DKIM-Signature:.*?\ba=([\w-]+)", message.text, re.M | re.S))


def verify(relay, message):
    """Every signature must be good; how many there are."""
    count = len(algorithms(message))
    for i in range(count):
        assert dkim.DKIM(message.data).verify(idx=i, dnsfunc=relay.lookup), f"signature {i + 1} of {message.data!r}"
    return count


CONTENTS = {
    "plain": suites.message(),
    "empty-body": b"From: app@sender.test\r\nSubject: x\r\n\r\n",
    "no-body-at-all": b"From: app@sender.test\r\nSubject: x\r\n",
    "trailing-blank-lines": suites.message(body="x\r\n\r\n\r\n"),
    "dots": suites.message(body=".\r\n..\r\n.x\r\n"),
    "blanks": suites.message(body="  a \t b  \r\n \r\n\t\r\n"),
    "folded": b"From: app@sender.test\r\nSubject: a\r\n  b\r\n\tc\r\nTo: x@example.test,\r\n y@example.test\r\n\r\nz\r\n",
    "eight-bit": "From: app@sender.test\r\nSubject: 8\r\n\r\nGrüße\r\n".encode(),
    "latin-1": "From: app@sender.test\r\nSubject: 8\r\n\r\nGrüße\r\n".encode("latin-1"),
    "large": suites.message(size=500_000),
    "no-line-end": b"From: app@sender.test\r\nSubject: x\r\n\r\nend",
}


def test_both_keys_sign_whatever_the_content(relay):
    for name, content in CONTENTS.items():
        relay.submit(f"{name}@example.test", content, mail_options=["BODY=8BITMIME"])
    for name in CONTENTS:
        message = relay.inbox.wait_to(f"{name}@example.test")
        assert verify(relay, message) == 2, name
        assert algorithms(message) == ["ed25519-sha256", "rsa-sha256"]


def test_additions_break_the_signature(relay):
    """From and Subject are signed once more than present."""
    relay.submit("ann@example.test")
    message = relay.inbox.wait_to("ann@example.test")
    forged = message.data.replace(b"\r\nFrom:", b"\r\nSubject: forged\r\nFrom:", 1)
    assert not dkim.DKIM(forged).verify(dnsfunc=relay.lookup)


def test_domains_without_key_are_not_signed(relay):
    queue_id = relay.submit("ann@example.test", suites.message("x@elsewhere.test"), sender="x@elsewhere.test")
    assert algorithms(relay.inbox.wait_to("ann@example.test")) == []
    line, = relay.wait_log(f"{queue_id}: to=.*status=sent")
    assert "dkim=none" in line


def test_key_of_a_new_domain_counts_after_reload(relay, world):
    relay.ctl("dkim", "generate", "second.test", "s1", "--bits", "3072")
    relay.ctl("reload")
    relay.submit("ann@example.test", suites.message("x@second.test"), sender="x@second.test")
    assert algorithms(relay.inbox.wait_to("ann@example.test")) == ["ed25519-sha256", "rsa-sha256"]
    mode = {p.name: oct(p.stat().st_mode & 0o777) for p in (relay.state / "dkim").iterdir()}
    assert mode and set(mode.values()) == {"0o600"}


def test_a_dead_signer_delays_and_loses_nothing(relay):
    pid = relay.kill("dkim-signer")
    relay.submit("ann@example.test")
    assert verify(relay, relay.inbox.wait_to("ann@example.test", 40)) == 2, pid


def test_broken_keys_are_told_before_anything_is_replaced(relay):
    (relay.config / "key-table").write_text("sender.test s1 /no/such/file.pem\n")
    told = relay.ctl("check", check=False)
    assert told.returncode != 0 and "/no/such/file.pem" in told.stdout + told.stderr
