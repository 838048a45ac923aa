"""Odd dialogues: valid, borderline and hostile ones, made from tables by subject.

A dialogue is a name `subject/what/detail` and the steps of a client, each with the number of replies that a server should give
when it goes on.  What is sent before the steps that are judged is valid and plain.  The names are what the rules of
differences.md match, so they tell the class of what is odd, and no two are the same.
"""

import dataclasses
import importlib
import pathlib

FROM, TO = "app@sender.test", "ann@example.test"
CONTENT = b"From: <app@sender.test>\r\nTo: <ann@example.test>\r\nSubject: odd\r\n\r\nA line.\r\n"


@dataclasses.dataclass(frozen=True)
class Step:
    data: bytes
    replies: int = 1


@dataclasses.dataclass(frozen=True)
class Dialogue:
    name: str
    before: tuple
    steps: tuple


def as_bytes(text):
    """Text with escapes as in tests/dialogue is plain Python here: code points below 256 are bytes."""
    return text if isinstance(text, bytes) else text.encode("latin-1")


def line(text):
    return Step(as_bytes(text) + b"\r\n")


def raw(data, replies=1):
    return Step(as_bytes(data), replies)


def group(*lines, last=b""):
    """Commands in one packet, and what follows the last of them."""
    return Step(b"".join(as_bytes(one) + b"\r\n" for one in lines) + last, len(lines) + bool(last))


EHLO = (line("EHLO app.test"),)
HELO = (line("HELO app.test"),)
MAIL = (*EHLO, line(f"MAIL FROM:<{FROM}>"))
RCPT = (*MAIL, line(f"RCPT TO:<{TO}>"))
DATA = (*RCPT, line("DATA"))


def dialogue(name, before, *steps):
    return Dialogue(name, tuple(before), tuple(one if isinstance(one, Step) else line(one) for one in steps))


def one_of_its_kind(code):
    """Bytes beyond ASCII are much the same: some of them are enough, and letters and digits are no oddity."""
    return not chr(code).isalnum() if code < 128 else code < 144 or code % 16 == 0


def char_class(code):
    """What RFC 5321 makes of a byte in a local part that is not quoted."""
    char = chr(code)
    if code < 32 or code == 127:
        return "control"
    if code > 127:
        return "eight-bit"
    if char.isalnum() or char in "!#$%&'*+-/=?^_`{|}~":
        return "atext"
    return {" ": "blank", ".": "dot", '"': "quote", "\\": "backslash", "@": "at", "<": "angle", ">": "angle"}.get(char,
        "special")


def everything():
    """All dialogues, by name."""
    found = {}
    for path in sorted(pathlib.Path(__file__).parent.glob("[a-z]*.py")):
        for one in importlib.import_module(f"odd.{path.stem}").dialogues():
            assert one.name not in found, f"two dialogues are named {one.name}"
            found[one.name] = one
    return found
