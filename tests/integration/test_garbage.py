"""What makes no sense ends one session, lookup or message, and no process: random bytes at every door."""

import os
import random
import re
import socket
import struct
import threading

import pytest
from support import suite as suites, wait

SEED = 20261
GARBAGE = [b"", b"\0" * 5000, b"\r\n" * 3000, b"\xff" * 100_000, b"EHLO " + b"a" * 600_000, b"\x16\x03\x01\x02\x00" + b"\x01" * 517]


def samples():
    dice = random.Random(SEED)
    return GARBAGE + [dice.randbytes(dice.randint(1, 3000)) for _ in range(20)]


@pytest.fixture
def relay(world):
    world.inbox = world.sink("example.test")
    relay = world.suite({"smtpd.conf": {"idle_timeout": "5s"}}).start()
    relay.inbox, relay.before = world.inbox, relay.children()
    return relay


def still_well(relay):
    """Nothing was restarted, and mail flows."""
    relay.submit("fine@example.test")
    relay.inbox.wait_to("fine@example.test")
    assert relay.children() == relay.before, relay.log_lines("child died")


def test_at_the_listeners(relay):
    for port in suites.PORTS.values():
        for sample in samples():
            with socket.create_connection((relay.address, port), 10) as raw:
                try:
                    raw.sendall(sample)
                    raw.shutdown(socket.SHUT_WR)
                    while raw.recv(65536):
                        pass
                except OSError:
                    pass  # hung up on us: as it should
    still_well(relay)


def test_inside_tls_and_transactions(relay):
    for sample in samples():
        client = relay.connect("submission")
        try:
            client.send(b"MAIL FROM:<" + sample + b">\r\nAUTH PLAIN " + sample + b"\r\n")
            client.sock.settimeout(1)
            client.sock.recv(65536)
        except OSError:
            pass
        client.close()
        client = relay.connect()
        client.mail("a@sender.test")
        client.rcpt("garbled@example.test")
        client.docmd("DATA")
        client.send(sample + b"\r\n.\r\n")
        assert client.getreply()[0] in (250, 500, 502, 550, 552, 554)
        client.close()
    still_well(relay)


def test_at_the_sockets_between_programs(relay):
    """As a program of the same user could: no greeting, half a greeting, unknown messages."""
    os.chdir(relay.state / "run")
    dice = random.Random(SEED)
    for name in ("master.sock", "qmgr.sock", "auth.sock"):
        for sample in samples():
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as raw:
                raw.connect(name)
                raw.settimeout(0.5)
                try:
                    greeting = raw.recv(65536)
                    raw.send(sample[:60_000] or b"x")
                    raw.send(greeting)
                    for _ in range(5):
                        raw.send(struct.pack("<HH", dice.randint(0, 60), dice.randint(0, 400)) + sample[:300])
                except OSError:
                    pass
    os.chdir("/")
    still_well(relay)


def serve(address, port, sample, stop):
    """A mail server of sorts: says the sample, reads a little, says it again."""
    server = socket.create_server((address, port), backlog=50)
    server.settimeout(0.2)

    def run():
        while not stop.is_set():
            try:
                raw, _ = server.accept()
            except TimeoutError:
                continue
            with raw:
                raw.settimeout(1)
                try:
                    raw.sendall(sample)
                    raw.recv(1000)
                    raw.sendall(sample)
                except OSError:
                    pass
        server.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_from_mail_servers(world, relay):
    stop = threading.Event()
    sayings = [*samples()[:12], b"220 ok\r\n250-" + b"x" * 100_000 + b"\r\n", b"220-\r\n" * 20_000, b"999 what\r\n", b"220\n250\n",
               b"220 ok\r\n250-STARTTLS\r\n250 SIZE 99999999999999999999999\r\n220 go\r\n\x16\x03\x03\xff\xff garbage",
               b"220 ok\r\n250 PIPELINING\r\n" + b"250 yes\r\n" * 3 + b"354 go\r\n354 go\r\n"]
    threads, ids = [], []
    for i, saying in enumerate(sayings):
        address = world.network.address(100 + i)
        threads.append(serve(address, suites.PORTS["smtp"], saying, stop))
        ids.append(relay.submit(f"x@[{address}]"))
    try:
        for queue_id in ids:
            relay.wait_log(rf"{queue_id}: to=.*status=(deferred|bounced|sent)", 60)
        still_well(relay)
    finally:
        stop.set()
        for thread in threads:
            thread.join(5)


def test_from_the_name_server(world):
    """Answers with the right id and nothing right behind it."""
    address, dice = world.network.address(60), random.Random(SEED)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 5353))
    server.settimeout(0.2)
    stop = threading.Event()

    def answer(query):
        head = query[:2] + struct.pack(">HHHHH", 0x8180, 1, dice.randint(1, 3), 0, 0)
        return dice.choice([query[:2], head, head + b"\x3f" + dice.randbytes(50), query[:2] + dice.randbytes(100),
                            head + query[12:] + b"\xc0\x0c" * 50, head + query[12:] + b"\x3f" + dice.randbytes(50), query])

    def run():
        while not stop.is_set():
            try:
                query, peer = server.recvfrom(2000)
                server.sendto(answer(query), peer)
            except TimeoutError:
                pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    relay = world.suite({"smtp-out.conf": {"dns_servers": f"{address}:5353", "dns_timeout": "200ms"}}).start()
    before = relay.children()
    try:
        ids = [relay.submit(f"x@domain{i}.test") for i in range(30)]
        for queue_id in ids:
            line = relay.wait_log(rf"{queue_id}: to=.*status=", 60)[0]
            assert re.search(r"dsn=4\.4\.\d.*status=deferred", line), line
        assert relay.children() == before
        wait.until(lambda: relay.status(), 10, "an answer of the suite")
    finally:
        stop.set()
        thread.join(5)
        server.close()
