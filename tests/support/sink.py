"""A mail server that keeps what it gets, and misbehaves on request.

    sink = Sink([("127.1.2.10", 2525)], tls=(chain, key), rules={"busy@": Rule(rcpt="450 4.2.1 later", times=1)})
    with sink:
        ...
        message = sink.wait_for(lambda m: "ann@example.test" in m.recipients, 10)

It runs its loop in a thread of its own; `messages` may be read at any time.  Rules are looked up by "local@domain",
"local@", "@domain" and "*", in this order, and each counts its uses per recipient.
"""

import argparse
import asyncio
import base64
import dataclasses
import json
import pathlib
import re
import signal
import ssl
import threading
import time

from . import wait

LINE_MAX = 70000
EXTENSIONS = ("PIPELINING", "SIZE 104857600", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "CHUNKING", "BINARYMIME",
              "DELIVERBY 1", "MT-PRIORITY")


@dataclasses.dataclass
class Rule:
    """What to do instead of accepting; `times` = so many attempts of each recipient, None = always."""

    rcpt: str = ""  # the reply to RCPT
    data: str = ""  # the reply to DATA
    dot: str = ""  # the reply to the final dot; the message is not kept
    drop: str = ""  # hang up at "rcpt", "data", "content" (in the middle of it), "dot" (message not kept) or "kept"
    delay: float = 0  # seconds before the reply to the final dot
    times: int | None = None


@dataclasses.dataclass
class Message:
    """One accepted message, with the dialogue around it."""

    number: int
    server: str
    connection: int
    client: str
    helo: str
    tls: str  # "TLSv1.3", "" = none
    login: str  # user name of AUTH, "" = none
    sender: str
    sender_parameters: list
    recipients: list
    recipient_parameters: dict
    data: bytes
    received: float

    @property
    def text(self):
        return self.data.decode("utf-8", "replace")

    def header(self, name):
        """The unfolded value of a field's first appearance, None = not there."""
        head = self.data.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
        found = re.search(rf"^{re.escape(name)}:[ \t]*([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", head, re.I | re.M)
        return re.sub(r"\r\n[ \t]+", " ", found.group(1)).strip() if found else None

    def as_json(self):
        fields = dataclasses.asdict(self)
        fields["data"] = self.data.decode("latin-1")  # byte for byte
        return json.dumps(fields, indent=1)


class HangUp(Exception):
    """The sink ends the connection without a word."""


class _Session:
    """One connection."""

    def __init__(self, sink, reader, writer):
        self.sink, self.reader, self.writer = sink, reader, writer
        sink.connections += 1
        self.number = sink.connections
        name = writer.get_extra_info("sockname")
        self.server = f"{name[0]}:{name[1]}"
        self.client = "%s:%s" % writer.get_extra_info("peername")[:2]
        self.helo, self.tls, self.login = "", "", ""
        self.taken = 0
        self.reset()

    def reset(self):
        self.sender, self.sender_parameters = None, []
        self.recipients, self.recipient_parameters = [], {}
        self.rules, self.chunks = [], b""

    async def say(self, *lines):
        for line in lines[:-1]:
            self.writer.write(f"{line[:3]}-{line[4:]}\r\n".encode())
        self.writer.write(f"{lines[-1]}\r\n".encode())
        await self.writer.drain()

    async def line(self):
        raw = await self.reader.readline()
        if not raw:
            raise ConnectionResetError
        return raw.rstrip(b"\r\n").decode("utf-8", "surrogateescape")

    async def run(self):
        banner = self.sink.take_banner()
        await self.say(banner)
        if not banner.startswith("2"):
            return
        while True:
            line = await self.line()
            verb, _, rest = line.partition(" ")
            self.sink.note(self, line)
            handler = getattr(self, "do_" + verb.lower(), None)
            if handler is None:
                await self.say("502 5.5.2 unknown command")
            elif await handler(rest.strip()) == "end":
                return

    async def do_helo(self, rest):
        self.helo = rest
        self.reset()
        await self.say(f"250 {self.sink.name}")

    async def do_ehlo(self, rest):
        self.helo = rest
        self.reset()
        offers = [e for e in EXTENSIONS if e.split()[0] not in self.sink.hide] + self.sink.offer
        if self.sink.context is not None and not self.tls and "STARTTLS" not in self.sink.hide:
            offers.append("STARTTLS")
        if self.tls and "REQUIRETLS" not in self.sink.hide:
            offers.append("REQUIRETLS")
        if self.sink.users and self.tls:
            offers.append("AUTH PLAIN LOGIN")
        await self.say(f"250 {self.sink.name}", *(f"250 {o}" for o in offers))

    async def do_starttls(self, rest):
        if self.sink.context is None or self.tls:
            return await self.say("454 4.7.0 no TLS here")
        await self.say("220 2.0.0 go on")
        if self.sink.broken_tls:
            self.writer.write(b"this is no handshake\r\n")
            await self.writer.drain()
            raise HangUp
        await self.writer.start_tls(self.sink.context, ssl_handshake_timeout=10)
        self.tls = self.writer.get_extra_info("ssl_object").version()
        self.reset()

    async def do_auth(self, rest):
        mechanism, _, initial = rest.partition(" ")
        if mechanism.upper() == "PLAIN":
            if not initial:
                await self.say("334 ")
                initial = await self.line()
            _, user, password = base64.b64decode(initial).decode().split("\0")
        elif mechanism.upper() == "LOGIN":
            await self.say("334 VXNlcm5hbWU6")
            user = base64.b64decode(await self.line()).decode()
            await self.say("334 UGFzc3dvcmQ6")
            password = base64.b64decode(await self.line()).decode()
        else:
            return await self.say("504 5.5.4 unknown mechanism")
        if self.sink.users.get(user) != password:
            return await self.say("535 5.7.8 wrong")
        self.login = user
        await self.say("235 2.7.0 welcome")

    @staticmethod
    def path(rest, keyword):
        found = re.match(rf"{keyword}:\s*<([^>]*)>(.*)", rest, re.I)
        return (found.group(1), found.group(2).split()) if found else (None, [])

    async def do_mail(self, rest):
        sender, parameters = self.path(rest, "FROM")
        if sender is None or self.sender is not None:
            return await self.say("503 5.5.1 bad MAIL")
        if self.sink.users and not self.login:
            return await self.say("530 5.7.0 log in first")
        self.sender, self.sender_parameters = sender, parameters
        await self.say("250 2.1.0 ok")

    async def do_rcpt(self, rest):
        recipient, parameters = self.path(rest, "TO")
        if recipient is None or self.sender is None:
            return await self.say("503 5.5.1 bad RCPT")
        rule = self.sink.rule_for(recipient)
        if rule is not None and rule.drop == "rcpt":
            raise HangUp
        if rule is not None and rule.rcpt:
            return await self.say(rule.rcpt)
        if rule is not None:
            self.rules.append(rule)
        self.recipients.append(recipient)
        self.recipient_parameters[recipient] = parameters
        await self.say("250 2.1.5 ok")

    async def do_data(self, rest):
        if not self.recipients:
            return await self.say("503 5.5.1 no recipients" if self.sender is None else "554 5.5.1 no valid recipients")
        for rule in self.rules:
            if rule.drop == "data":
                raise HangUp
            if rule.data:
                self.reset()
                return await self.say(rule.data)
        await self.say("354 go on")
        data = await self.content()
        await self.finish(data)

    async def content(self):
        """Only CRLF . CRLF ends it: what a sender lets through of other line ends is seen in the message."""
        lines, fresh = [], True
        while True:
            line = await self.reader.readline()
            if not line:
                raise ConnectionResetError
            if fresh and line == b".\r\n":
                return b"".join(lines)
            lines.append(line[1:] if fresh and line.startswith(b".") else line)
            fresh = line.endswith(b"\r\n")
            if any(rule.drop == "content" for rule in self.rules):
                raise HangUp

    async def finish(self, data):
        for rule in self.rules:
            if rule.delay:
                await asyncio.sleep(rule.delay)
            if rule.drop == "dot":
                raise HangUp
            if rule.dot:
                self.reset()
                return await self.say(rule.dot)
        message = self.sink.keep(self, data)
        if any(rule.drop == "kept" for rule in self.rules):
            raise HangUp
        self.reset()
        self.taken += 1
        await self.say(f"250 2.0.0 kept as {message.number}")
        if self.sink.messages_per_connection and self.taken >= self.sink.messages_per_connection:
            await self.say("421 4.3.2 enough for one connection")
            raise HangUp

    async def do_bdat(self, rest):
        size, _, last = rest.partition(" ")
        chunk = await self.reader.readexactly(int(size))
        if not self.recipients:
            return await self.say("503 5.5.1 no recipients")
        self.chunks += chunk
        if not last:
            return await self.say("250 2.0.0 chunk taken")
        await self.finish(self.chunks)

    async def do_rset(self, rest):
        self.reset()
        await self.say("250 2.0.0 ok")

    async def do_noop(self, rest):
        await self.say("250 2.0.0 ok")

    async def do_quit(self, rest):
        await self.say("221 2.0.0 bye")
        return "end"


class Sink:
    """See the head of the file.  tls = (chain, key) or None; users = {name: password} makes AUTH compulsory."""

    def __init__(self, listen, name="sink.test", tls=None, rules=None, folder=None, hide=(), offer=(), banner="", banner_times=None,
                 broken_tls=False, users=None, messages_per_connection=0):
        self.listen, self.name, self.rules = list(listen), name, dict(rules or {})
        self.hide, self.broken_tls, self.users = set(hide), broken_tls, dict(users or {})
        self.offer = list(offer)
        self.banner, self.banner_times = banner, banner_times
        self.messages_per_connection = messages_per_connection
        self.context = None
        if tls is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*map(str, tls))
        self.folder = pathlib.Path(folder) if folder else None
        self.messages, self.commands, self.connections = [], [], 0
        self._uses = {}
        self._thread = self._loop = self._servers = None
        self._tasks = set()

    # -- what sessions ask

    def take_banner(self):
        if self.banner and self.banner_times != 0:
            if self.banner_times is not None:
                self.banner_times -= 1
            return self.banner
        return f"220 {self.name} ESMTP sink"

    def rule_for(self, recipient):
        local, _, domain = recipient.lower().rpartition("@")
        for key in (f"{local}@{domain}", f"{local}@", f"@{domain}", "*"):
            rule = self.rules.get(key)
            if rule is None:
                continue
            used = self._uses.get((key, recipient), 0)
            self._uses[key, recipient] = used + 1
            return rule if rule.times is None or used < rule.times else None
        return None

    def note(self, session, line):
        self.commands.append((session.number, line))

    def keep(self, s, data):
        message = Message(len(self.messages) + 1, s.server, s.number, s.client, s.helo, s.tls, s.login, s.sender,
                          s.sender_parameters, s.recipients, s.recipient_parameters, data, time.time())
        self.messages.append(message)
        if self.folder is not None:
            place = self.folder / f"{message.number:06d}.json"
            place.with_suffix(".tmp").write_text(message.as_json())
            place.with_suffix(".tmp").rename(place)
        return message

    # -- life

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            await _Session(self, reader, writer).run()
        except (HangUp, OSError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.CancelledError, ValueError):
            writer.transport.abort()
        finally:
            # Not wait_closed: after start_tls it never returns in Python 3.11.
            writer.close()
            self._tasks.discard(task)

    async def _open(self):
        self._servers = [await asyncio.start_server(self._serve, address, port, limit=LINE_MAX, backlog=1000)
                         for address, port in self.listen]

    async def _close(self):
        for server in self._servers or ():
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self):
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name=f"sink {self.name}")
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)
        return self

    def stop(self):
        """Hangs up on everybody and frees the ports; start() opens them again."""
        if self._loop is None:
            return
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self._loop = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()

    # -- what tests ask

    def to(self, recipient):
        """Messages that arrived for this recipient."""
        return [m for m in list(self.messages) if recipient in m.recipients]

    def wait_for(self, match, seconds, what="a matching message in the sink"):
        """The first message for which match(message) is true."""
        return wait.until(lambda: next((m for m in list(self.messages) if match(m)), None), seconds, what)

    def wait_to(self, recipient, seconds=20, count=1):
        """The newest message for this recipient, once `count` arrived."""
        wait.until(lambda: len(self.to(recipient)) >= count, seconds, f"{count} message(s) to {recipient} in {self.name}")
        return self.to(recipient)[-1]


def main():
    parser = argparse.ArgumentParser(description="Keep every message that arrives as a JSON file.")
    parser.add_argument("--listen", action="append", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--folder", required=True)
    parser.add_argument("--tls", nargs=2, metavar=("CHAIN", "KEY"))
    parser.add_argument("--name", default="sink.test")
    options = parser.parse_args()
    listen = [(a, int(p)) for a, _, p in (text.rpartition(":") for text in options.listen)]
    with Sink(listen, name=options.name, tls=options.tls, folder=options.folder):
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
