"""Plays odd dialogues (odd/) against one server, many at a time, and tells what became of each step.

The outcome of a dialogue is one letter for each reply from the first step that is judged to the end:

    a  accept (2xx, 3xx)        c  closed without a reply, or behind the last one
    t  temporary (4xx)          s  silent: no reply came
    r  refuse (5xx)             ?  something that is no reply

Each step waits for its replies.  QUIT ends a dialogue, or the 354 that is its last reply; QUIT's own 221 is left out, anything
else is not: more letters than replies asked for are replies to what the server took for commands.  Steps before the judged ones
must be accepted, else `!` and what happened is the outcome.
"""

import asyncio
import logging
import re

SILENCE_S = 6

# Servers that hang up while we speak are what this is about.
logging.getLogger("asyncio").setLevel(logging.ERROR)
CLASSES = {"2": "a", "3": "a", "4": "t", "5": "r"}
REPLY = re.compile(rb"[2-5][0-9][0-9][ -]|[2-5][0-9][0-9]\r?$")


class Gone(Exception):
    """`letter`: why there is no reply."""

    def __init__(self, letter):
        super().__init__(letter)
        self.letter = letter


class _Talk:
    def __init__(self, reader, writer, texts):
        self.reader, self.writer, self.texts = reader, writer, texts

    async def reply(self):
        """The class of the next reply."""
        text = b""
        while True:
            try:
                line = await asyncio.wait_for(self.reader.readline(), SILENCE_S)
            except asyncio.TimeoutError:
                raise Gone("s") from None
            except (OSError, ValueError):
                line = b""
            if not line:
                raise Gone("c")
            text += line
            if not REPLY.match(line.rstrip(b"\n")):
                return "?"
            if line[3:4] != b"-":
                self.texts.append(text)
                return CLASSES[line[:1].decode()]

    async def send(self, data):
        try:
            self.writer.write(data)
            await self.writer.drain()
        except OSError:
            pass  # the replies that came before are there still

    async def play(self, dialogue):
        seen = await self.reply()
        for step in (*dialogue.before, *dialogue.steps):
            await self.send(step.data)
            for _ in range(step.replies):
                seen += await self.reply()
            yield seen
        # Where a message is waited for there is nothing more to say.
        if self.texts[-1].startswith(b"354"):
            return
        await self.send(b"QUIT\r\n")
        while True:
            seen += await self.reply()
            yield seen


async def outcome(port, dialogue, texts=None):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    seen, end = "", ""
    talk = _Talk(reader, writer, texts if texts is not None else [])
    try:
        async for seen in talk.play(dialogue):
            pass
    except Gone as gone:
        seen, end = "".join(CLASSES[t[:1].decode()] for t in talk.texts), gone.letter
    finally:
        writer.transport.abort()
    prelude = 1 + sum(step.replies for step in dialogue.before)
    asked = prelude + sum(step.replies for step in dialogue.steps)
    if set(seen[:prelude]) != {"a"} or len(seen) < prelude:
        return "!" + seen + end
    seen = seen[prelude:]
    # The orderly end: 221 to our QUIT, then the connection.
    if end == "c" and asked < len(talk.texts) and talk.texts[-1].startswith(b"221"):
        return seen[:-1]
    return seen + end


async def _play_all(port, dialogues, at_a_time, keep):
    gate = asyncio.Semaphore(at_a_time)

    async def one(d):
        async with gate:
            texts = []
            result = await outcome(port, d, texts)
            if keep is not None:
                keep[d.name] = texts
            return d.name, result

    return dict(await asyncio.gather(*(one(d) for d in dialogues)))


def play_all(port, dialogues, at_a_time=24, keep=None):
    """{name: outcome}; keep = a dict for {name: replies}.  Who was silent may have been busy: it is asked again in peace."""
    outcomes = asyncio.run(_play_all(port, dialogues, at_a_time, keep))
    silent = [d for d in dialogues if "s" in outcomes[d.name]]
    return {**outcomes, **asyncio.run(_play_all(port, silent, 4, keep))}
