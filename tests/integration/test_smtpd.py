"""smtpd with the whole suite behind it: what arrives of what was sent, and the limits.  Replies to commands are the matter of
../dialogue."""

import re
import socket
import ssl
import threading

import pytest
from support import suite as suites, wait

LOGIN = ("app@sender.test", 'a "pass" word')
CHANGES = {"smtpd.conf": {"max_message_size": "100k", "max_recipients": 5, "max_hops": 10,
                          "failed_logins_per_minute": 0, "connections_per_minute": 0}}


@pytest.fixture(scope="module")
def relay(shared):
    shared.inbox = shared.sink("example.test")
    relay = shared.suite(CHANGES)
    chain, key = shared.authority.issue("second.posthouse.test")
    relay.configure({"smtpd.conf": {"certificate second": {"chain": chain, "key": key}}})
    relay.start()
    relay.user(*LOGIN)
    relay.inbox = shared.inbox
    return relay


def test_submission_completes_the_header(relay):
    content = b"From: app@sender.test\r\nBcc: hidden@example.test\r\nSubject: bare\r\n\r\nx\r\n"
    relay.submit("complete@example.test", content, listener="submission", login=LOGIN)
    arrived = relay.inbox.wait_to("complete@example.test")
    assert re.match(r"(\w{3}, )?\d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", arrived.header("Date"))
    assert re.fullmatch(r"<[^<>@\s]+@[^<>@\s]+>", arrived.header("Message-ID"))
    assert arrived.header("Bcc") is None and "hidden@" not in arrived.text


def test_relaying_leaves_the_message_alone(relay):
    content = b"From: app@sender.test\r\nBcc: seen@example.test\r\nSubject: =?utf-8?q?a?=\r\n folded\r\n\r\n..two dots\r\n.\t\r\n\r\n"
    relay.submit("alone@example.test", content)
    arrived = relay.inbox.wait_to("alone@example.test")
    assert arrived.data.endswith(content)
    assert arrived.header("Date") is None


def test_received_tells_how_it_came(relay):
    queue_id = relay.submit("received@example.test", listener="submission", login=LOGIN)
    received = relay.inbox.wait_to("received@example.test").header("Received")
    assert "from app.test" in received and f"id {queue_id}" in received
    assert re.search(r"by relay\.posthouse\.test .*with ESMTPSA", received)


@pytest.mark.parametrize("size, code", [(90_000, 250), (110_000, 552)])
def test_size_limit(relay, size, code):
    with relay.connect() as client:
        said, reply = client.mail("a@sender.test", [f"SIZE={size}"])
        assert said == code, reply
        client.rset()
        client.mail("a@sender.test")
        client.rcpt("size@example.test")
        said, reply = client.data(suites.message(size=size))
        assert said == code, reply


def test_recipient_limit(relay):
    with relay.connect() as client:
        client.mail("a@sender.test")
        codes = [client.rcpt(f"r{i}@example.test")[0] for i in range(6)]
        assert codes == [250] * 5 + [452]


def test_loop_is_cut(relay):
    content = b"Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\n" * 11 + suites.message()
    with pytest.raises(suites.Refused) as refused:
        relay.submit("loop@example.test", content)
    assert refused.value.code == 554 and "5.4.6" in refused.value.reply


def test_eight_bit_and_dots_arrive_byte_for_byte(relay):
    body = "Grüße\r\n.\r\n..\r\n.x\r\n".encode() + b"\xff\xfe" + b"y" * 990 + b"\r\n"
    content = b"From: a@sender.test\r\nSubject: 8bit\r\n\r\n" + body
    relay.submit("bytes@example.test", content, mail_options=["BODY=8BITMIME"])
    arrived = relay.inbox.wait_to("bytes@example.test")
    assert arrived.data.endswith(body) and "BODY=8BITMIME" in arrived.sender_parameters


def test_second_certificate_by_server_name(relay, shared):
    seen = {}
    for name in ("relay.posthouse.test", "second.posthouse.test"):
        context = ssl.create_default_context(cafile=shared.authority.certificate)
        with socket.create_connection((relay.address, suites.PORTS["submissions"]), 10) as raw, \
                context.wrap_socket(raw, server_hostname=name) as tls:
            seen[name] = tls.getpeercert()["subject"][0][0][1]
    assert seen == {name: name for name in seen}


def test_many_sessions_at_once(relay):
    """A hundred open sessions, all served, on two workers."""
    codes = []

    def one(n):
        with relay.connect(timeout=60) as client:
            barrier.wait(60)
            client.mail("a@sender.test")
            client.rcpt("crowd@example.test")
            codes.append(client.data(suites.message(subject=str(n)))[0])

    barrier = threading.Barrier(100)
    threads = [threading.Thread(target=one, args=(n,)) for n in range(100)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(90)
    assert codes == [250] * 100
    wait.until(lambda: len(relay.inbox.to("crowd@example.test")) == 100, 60, "100 messages")


def test_limits_of_clients(shared):
    """Connections per address and in all, idle time, free space."""
    relay = shared.suite({"smtpd.conf": {"max_connections_per_address": 3, "idle_timeout": "2s", "min_free_space": "1000G"}}).start()
    held = [relay.connect() for _ in range(3)]
    try:
        with socket.create_connection((relay.address, suites.PORTS["smtp"]), 10) as fourth:
            assert fourth.recv(100).startswith(b"421 4.7.0")
        # Not enough free space: the client keeps its mail.
        code, reply = held[0].mail("a@sender.test")
        assert (code, reply[:5]) == (452, b"4.3.1")
        assert held[1].getreply()[0] == 421
    finally:
        for client in held:
            client.close()
    wait.until(lambda: relay.connect().noop()[0] == 250, 10, "a session after the others ended")
