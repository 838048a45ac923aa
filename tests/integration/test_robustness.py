"""Clients that want too much or give too little: crowds that say nothing, bytes that trickle, lines, messages and command
sequences without end.  Others are served meanwhile, the codes are right and smtpd's memory stays what it was."""

import itertools
import os
import pathlib
import re
import resource
import socket
import ssl
import threading
import time

import pytest
from support import suite as suites, wait

LONG = bool(os.environ.get("POSTHOUSE_LONG"))  # scripts/test-long
LOGIN = ("app@sender.test", "a password")
MIB = 1 << 20
LIMIT = 50 * MIB if LONG else 2 * MIB  # max_message_size
LINE = 100 * MIB if LONG else 4 * MIB
MESSAGE = 2048 * MIB if LONG else 16 * MIB
COMMANDS = 1_000_000 if LONG else 20_000
GROWTH = 6 * MIB
# Memory that was given back must show as such: the sanitizer would keep it to find its use.
FRUGAL = ":quarantine_size_mb=0:thread_local_quarantine_size_kb=0"


class Raw:
    """A connection byte by byte."""

    def __init__(self, relay, listener="smtp", source=None, greeted=True):
        self.socket = socket.create_connection((relay.address, suites.PORTS[listener]), 60, (source, 0) if source else None)
        self.replies = self.socket.makefile("rb")
        if greeted:
            self.expect(220)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.replies.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def reply(self):
        """(code, text of the last line), (0, "") when the server closed."""
        while line := self.replies.readline():
            if line[3:4] == b" ":
                return int(line[:3]), line[4:].decode().rstrip("\r\n")
        return 0, ""

    def expect(self, code, text=""):
        got, said = self.reply()
        assert got == code and text in said, f"{got} {said}, {code} {text} expected"

    def say(self, line, code, text=""):
        self.send(line.encode() + b"\r\n")
        self.expect(code, text)

    def envelope(self, parameters=""):
        self.say("EHLO client.test", 250)
        self.say("MAIL FROM:<a@sender.test>" + parameters, 250)
        self.say("RCPT TO:<b@example.test>", 250)

    def send_aside(self, parts):
        """Sends in a thread while replies are read; what the server does not take any more is nobody's trouble."""
        def run():
            try:
                for part in parts:
                    self.socket.sendall(part)
            except OSError:
                pass

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def count(self, parts):
        """Sends it all and counts the replies by their codes until the server closes or so many codes 221 came."""
        sender, counts = self.send_aside(parts), {}
        while (code := self.reply()[0]) not in (0, 221):
            counts[code] = counts.get(code, 0) + 1
        sender.join()
        return counts


def memory(pid, key):
    return int(re.search(rf"^{key}:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M).group(1)) * 1024


class Watched:
    """How much memory smtpd took at most while the block ran, beyond what it had."""

    def __init__(self, relay):
        self.pid = relay.children("smtpd")[0].pid

    def __enter__(self):
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # the peak begins anew
        self.before = memory(self.pid, "VmRSS")
        return self

    def __exit__(self, kind, *_):
        grown = memory(self.pid, "VmHWM") - self.before
        assert kind is not None or grown < GROWTH, f"{grown / MIB:.1f} MiB more"


@pytest.fixture(scope="module", autouse=True)
def inbox(shared):
    return shared.sink("example.test")


@pytest.fixture(scope="module")
def small(shared):
    """One smtpd, warm: what a session needs once in the life of the process is there."""
    relay = shared.suite({"master.conf": {"smtpd_workers": 1}, "smtpd.conf": {"max_message_size": LIMIT}},
                         sanitizer_options=FRUGAL).start()
    for _ in range(3):
        relay.submit("b@example.test", suites.message(size=LIMIT // 2))
    relay.wait_empty()
    return relay


def portions(data, total):
    """So many bytes of it, over and over."""
    chunk = data * (MIB // 4 // len(data))
    yield from itertools.repeat(chunk, total // len(chunk))
    yield chunk[:total % len(chunk)]


def test_a_command_line_without_end(small):
    with Raw(small) as client, Watched(small):
        sender = client.send_aside(itertools.chain([b"NOOP "], portions(b"x", LINE), [b"\r\nNOOP\r\n"]))
        client.expect(500, "5.5.2 line too long")
        client.expect(250)
        sender.join()


@pytest.mark.parametrize("head, code, text", [
    (b"Subject: ", 554, "5.6.0 the message header is too large"),
    (b"Subject: long\r\n\r\n", 552, "5.3.4"),
    (b"no field at all", 554, "5.6.0"),
])
def test_a_line_of_content_without_end(small, head, code, text):
    with Raw(small) as client, Watched(small):
        client.envelope()
        client.say("DATA", 354)
        sender = client.send_aside(itertools.chain([head], portions(b"x", LINE), [b"\r\n.\r\n"]))
        client.expect(code, text)
        sender.join()
        client.say("NOOP", 250)


def test_a_long_line_within_the_limit_is_taken(small):
    with Raw(small) as client, Watched(small):
        client.envelope()
        client.say("DATA", 354)
        sender = client.send_aside(itertools.chain([b"From: a@sender.test\r\n\r\n"], portions(b"x", LIMIT // 2), [b"\r\n.\r\n"]))
        client.expect(250)
        sender.join()


def test_a_message_far_beyond_the_limit_by_data(small):
    with Raw(small) as client, Watched(small):
        client.envelope()
        client.say("DATA", 354)
        body = portions(b"A line of the message.\r\n", MESSAGE)
        sender = client.send_aside(itertools.chain([b"From: a@sender.test\r\n\r\n"], body, [b"\r\n.\r\n"]))
        client.expect(552, "5.3.4")
        sender.join()
        client.say("RCPT TO:<b@example.test>", 503)


def test_a_message_far_beyond_the_limit_by_bdat(small):
    with Raw(small) as client, Watched(small):
        client.envelope()
        head = b"From: a@sender.test\r\n\r\n"
        sender = client.send_aside(itertools.chain([f"BDAT {len(head) + MESSAGE} LAST\r\n".encode(), head],
                                                   portions(b"A line of the message.\r\n", MESSAGE)))
        client.expect(552, "5.3.4")
        sender.join()
        client.say("RCPT TO:<b@example.test>", 503)


def test_a_message_far_beyond_the_limit_in_chunks(small):
    """The chunk with which it becomes too large is refused, and ends the transaction; what follows is nobody's."""
    chunk = MIB // 4
    with Raw(small) as client, Watched(small):
        client.envelope()
        field = b"From: a@sender.test\r\n\r\n"
        client.send(f"BDAT {len(field)}\r\n".encode() + field)
        client.expect(250)
        counts = client.count(itertools.chain(itertools.chain.from_iterable(
            (f"BDAT {chunk}\r\n".encode(), b"x" * chunk) for _ in range(MESSAGE // chunk)), [b"QUIT\r\n"]))
        taken = (LIMIT - len(field)) // chunk
        assert counts == {250: taken, 552: 1, 503: MESSAGE // chunk - taken - 1}  # all of it is one error


def test_a_message_that_tells_its_size(small):
    with Raw(small) as client, Watched(small):
        client.say("EHLO client.test", 250)
        client.say(f"MAIL FROM:<a@sender.test> SIZE={MESSAGE}", 552, "5.3.4")
        client.say(f"MAIL FROM:<a@sender.test> SIZE={2**64}", 552, "5.3.4")
        client.say(f"MAIL FROM:<a@sender.test> SIZE={LIMIT}", 250)


def pipelined(commands):
    """So many commands, these in turn, and QUIT."""
    group = b"".join(commands)
    yield from itertools.repeat(group * (1000 // len(commands)), COMMANDS // 1000)
    yield b"QUIT\r\n"


def test_commands_without_end(small):
    for commands in ([b"NOOP\r\n"], [b"MAIL FROM:<a@sender.test>\r\n", b"RSET\r\n"], [b"EHLO client.test\r\n", b"RSET\r\n"],
                     [b"MAIL FROM:<a@sender.test>\r\n", b"RCPT TO:<b@example.test>\r\n", b"RCPT TO:<c@example.test>\r\n",
                      b"RSET\r\n"]):
        with Raw(small) as client, Watched(small):
            client.say("EHLO client.test", 250)
            assert client.count(pipelined(commands)) == {250: COMMANDS}, commands


@pytest.mark.parametrize("command, code", [(b"FOO\r\n", 500), (b"RCPT TO:<b@example.test>\r\n", 503), (b"\r\n", 500)])
def test_errors_without_end(small, command, code):
    with Raw(small) as client, Watched(small):
        client.say("EHLO client.test", 250)
        assert client.count(pipelined([command])) == {code: 20, 421: 1}


def test_recipients_without_end(small):
    """A client that does not look at the replies is told a thousand times that these are too many; then they are errors."""
    with Raw(small) as client, Watched(small):
        client.say("EHLO client.test", 250)
        client.say("MAIL FROM:<a@sender.test>", 250)
        counts = client.count(itertools.chain((f"RCPT TO:<r{i}@example.test>\r\n".encode() for i in range(COMMANDS)),
                                              [b"QUIT\r\n"]))
        assert counts == {250: 1000, 452: 1020, 421: 1}


def test_a_client_that_does_not_read(shared):
    relay = shared.suite({"smtpd.conf": {"idle_timeout": "2s"}}).start()
    with Raw(relay) as client:
        client.send_aside([b"EHLO client.test\r\n" * 200_000])
        relay.wait_log(r"disconnect: .*reason=the peer does not read what is sent to it")
        assert Raw(relay).socket


@pytest.mark.parametrize("first, dribble, text", [
    ("", b"N", "4.4.2 relay.posthouse.test the command took too long"),
    ("DATA", b"x\r\n", "4.4.2 relay.posthouse.test the message comes too slowly"),
    ("BDAT 1000", b"x", "4.4.2 relay.posthouse.test the message comes too slowly"),
])
def test_bytes_that_trickle(trickled, first, dribble, text):
    """None of them is silent for long, and all are let go."""
    with Raw(trickled) as client:
        client.envelope()
        client.send(first.encode() + b"\r\n" if first else b"")
        if first == "DATA":
            client.expect(354)
        stop = threading.Event()
        sender = client.send_aside(iter(lambda: dribble if not stop.wait(0.1) else None, None))
        begun = time.monotonic()
        client.expect(421, text)
        assert time.monotonic() - begun > 0.9
        stop.set()
        sender.join()


def test_a_chunk_nobody_wants_that_trickles(trickled):
    with Raw(trickled) as client:
        client.say("EHLO client.test", 250)
        client.send(b"BDAT 1000000 LAST\r\n")
        stop = threading.Event()
        sender = client.send_aside(iter(lambda: b"x" if not stop.wait(0.1) else None, None))
        client.expect(421, "4.4.2 relay.posthouse.test the message comes too slowly")
        stop.set()
        sender.join()


@pytest.fixture(scope="module")
def trickled(shared):
    return shared.suite({"smtpd.conf": {"idle_timeout": "2s", "command_time_limit": "1s", "min_data_rate": "1k"}}).start()


def test_content_as_slow_as_allowed_is_taken(trickled):
    with Raw(trickled) as client:
        client.envelope()
        client.say("DATA", 354)
        client.send(b"From: a@sender.test\r\n\r\n")
        for _ in range(30):
            client.send(b"x" * 158 + b"\r\n")
            time.sleep(0.1)
        client.say(".", 250)


def test_plain_text_where_tls_is_expected(trickled):
    with Raw(trickled, "submissions", greeted=False) as waiting:
        assert waiting.reply() == (0, "")
    trickled.wait_log(r"ended: .*listener=submissions, reason=no TLS handshake in time; .*does not speak TLS")
    with Raw(trickled, "submissions", greeted=False) as speaking:
        speaking.send(b"EHLO client.test\r\n")
        try:
            while speaking.socket.recv(100):
                pass
        except ConnectionResetError:
            pass
    trickled.wait_log(r"disconnect: .*listener=submissions, .*reason=TLS handshake: the peer does not speak TLS")


def hello(context):
    """A TLS client that has said its first words, and these."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="relay.posthouse.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return client, incoming, outgoing, outgoing.read()


def test_a_handshake_byte_by_byte(trickled, shared):
    client, incoming, outgoing, first = hello(ssl.create_default_context(cafile=shared.authority.certificate))
    with Raw(trickled, "submissions", greeted=False) as raw:
        raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in first:
            raw.send(bytes([byte]))
            time.sleep(0.0005)
        while True:
            incoming.write(raw.socket.recv(65536))
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.send(outgoing.read())
        for byte in outgoing.read():
            raw.send(bytes([byte]))
        while True:
            try:
                assert client.read(1000).startswith(b"220 ")
                break
            except ssl.SSLWantReadError:
                incoming.write(raw.socket.recv(65536))


@pytest.mark.parametrize("length", [1, 4, 5, 6, 100])
def test_half_a_handshake(trickled, shared, length):
    """Nothing but the connection is there for it, and it ends in time; at once when the client leaves."""
    first = hello(ssl.create_default_context(cafile=shared.authority.certificate))[-1]
    before = len(trickled.log_lines("no TLS handshake in time"))
    with Raw(trickled, "submissions", greeted=False) as waiting, Raw(trickled, "submissions", greeted=False) as leaving:
        waiting.send(first[:length])
        leaving.send(first[:length])
        leaving.socket.shutdown(socket.SHUT_WR)
        assert leaving.reply() == (0, "")
        assert waiting.reply() == (0, "")
    wait.until(lambda: len(trickled.log_lines("no TLS handshake in time")) == before + 1, 5, "the reason in the log")


@pytest.mark.parametrize("part", ["nothing", "a part", "all of the hello"])
def test_half_a_handshake_after_starttls(trickled, shared, part):
    """A client that has the other half of it costs forty kilobytes, and no longer than a command."""
    first = hello(ssl.create_default_context(cafile=shared.authority.certificate))[-1]
    before = len(trickled.log_lines("no TLS handshake in time after STARTTLS"))
    with Raw(trickled, "submission") as client:
        client.say("EHLO client.test", 250)
        client.say("STARTTLS", 220)
        client.send({"nothing": b"", "a part": first[:100], "all of the hello": first}[part])
        while client.replies.read(4096):
            pass
    wait.until(lambda: len(trickled.log_lines("no TLS handshake in time after STARTTLS")) == before + 1, 5, "the reason in the log")


# -- crowds


def crowd_of(relay, source, count, says):
    """Sessions that stand open; each was greeted."""
    crowd = []
    for _ in range(count):
        client = Raw(relay, source=source)
        client.send(says)
        crowd.append(client)
    return crowd


def ended(clients):
    """Those that were told to go."""
    gone = []
    for client in clients:
        client.socket.setblocking(False)
        try:
            said = client.socket.recv(4096)
        except BlockingIOError:
            continue
        except ConnectionResetError:
            said = b""
        assert said == b"" or b"421 4.3.2" in said, said
        gone.append(client)
    return gone


def test_a_crowd_keeps_nobody_out(shared):
    """Three hundred where two hundred may be: the oldest strangers go, whoever was known or sends a message stays."""
    trusted, strange = shared.network.address(200), shared.network.address(201)
    relay = shared.suite({"smtpd.conf": {"max_connections": 200, "idle_timeout": "10m", "command_time_limit": "10m",
                                         "listener smtp": {"trusted_networks": trusted}}}).start()
    relay.user(*LOGIN)
    known, sending = relay.connect(source=trusted, timeout=60), Raw(relay, source=trusted)
    logged_in = relay.connect("submission", LOGIN, timeout=60)
    sending.envelope()
    sending.say("DATA", 354)
    sending.send(b"From: a@sender.test\r\n\r\nhalf of")
    crowd = crowd_of(relay, strange, 300, b"NO")
    assert len(ended(crowd)) >= 300 + 3 - 200
    assert not ended(crowd[-50:]), "those that came last should be there"
    newcomers = [relay.connect(source=trusted, timeout=60) for _ in range(10)]
    for client in newcomers:
        assert relay.submit("b@example.test", client=client)
    with Raw(relay, source=strange) as stranger:
        stranger.say("EHLO client.test", 250)
    assert known.noop()[0] == 250 and logged_in.noop()[0] == 250
    sending.send(b" the message\r\n.\r\n")
    sending.expect(250)
    relay.wait_log("reason=room was needed for a new client", count=100)
    for client in (*crowd, sending):
        client.__exit__()
    for client in (known, logged_in, *newcomers):
        client.close()
    wait.until(lambda: len(relay.log_lines("disconnect:")) >= 300, 20, "the end of the crowd")
    assert Raw(relay, source=strange).socket


def test_strangers_who_only_chat_go_first(shared):
    """What is more than anybody needs who wants to log in is no progress: with one process the order is plain to see."""
    strange = shared.network.address(201)
    relay = shared.suite({"master.conf": {"smtpd_workers": 1},
                          "smtpd.conf": {"max_connections": 10, "max_errors": 100,
                                         "listener smtp": {"trusted_networks": shared.network.address(200)}}}).start()
    chatting = crowd_of(relay, strange, 5, b"")
    for client in chatting:
        for _ in range(30):
            client.say("NOOP", 250)
    waiting = crowd_of(relay, strange, 5, b"")
    for client in chatting:
        client.say("NOOP", 250)
    crowd = crowd_of(relay, strange, 5, b"")
    assert ended(chatting) == chatting and not ended(waiting)
    crowd += crowd_of(relay, strange, 4, b"")
    assert len(ended(waiting)) == 4
    for client in (*chatting, *waiting, *crowd):
        client.__exit__()


def test_known_clients_are_given_time(shared):
    """All of them may relay and were active just now: then the new one is refused."""
    relay = shared.suite({"master.conf": {"smtpd_workers": 1}, "smtpd.conf": {"max_connections": 5}}).start()
    pool = crowd_of(relay, None, 5, b"")
    with Raw(relay, greeted=False) as another:
        another.expect(421, "4.7.0")
    assert not ended(pool)
    for client in pool:
        client.__exit__()


def test_descriptors_run_out_before_the_limit_does(shared):
    relay = shared.suite({"master.conf": {"smtpd_workers": 1},
                          "smtpd.conf": {"listener smtp": {"trusted_networks": shared.network.address(200)}}}).start()
    resource.prlimit(relay.process.pid, resource.RLIMIT_NOFILE, (120, 120))
    old = relay.kill("smtpd")
    wait.until(lambda: all(c.pid != old for c in relay.children("smtpd")) and relay.is_ready(), 20, "another smtpd")
    crowd = crowd_of(relay, shared.network.address(201), 150, b"NO")
    assert len(ended(crowd)) >= 150 - 120
    assert relay.submit("b@example.test", client=relay.connect(source=shared.network.address(200)))
    for client in crowd:
        client.__exit__()


def test_limit_of_a_network(shared):
    relay = shared.suite({"smtpd.conf": {"max_connections_per_network": 3}}).start()
    held = [Raw(relay, source=shared.network.address(210 + i)) for i in range(3)]
    with Raw(relay, source=shared.network.address(220), greeted=False) as another:
        another.expect(421, "4.7.0 relay.posthouse.test too many connections from your network")
    with Raw(relay, source="127.0.0.1") as elsewhere:
        elsewhere.say("NOOP", 250)
    for client in held:
        client.__exit__()
    wait.until(lambda: len(relay.log_lines("disconnect:")) >= 3, 20, "the end of three sessions")
    assert Raw(relay, source=shared.network.address(220)).socket
