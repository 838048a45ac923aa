#!/usr/bin/python3
"""The table of messages in docs/ARCHITECTURE.md follows from lib/ipc/catalogue.def.

Fails when they differ; --write puts the table there."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "ARCHITECTURE.md"
BEGIN, END = "<!-- catalogue begin -->\n", "<!-- catalogue end -->\n"
PROGRAMS = {"SMTPD": "smtpd", "AUTH": "auth", "QMGR": "qmgr", "SIGNER": "dkim-signer", "OUT": "smtp-out",
            "BOUNCE": "bounce", "MASTER": "master", "CTL": "posthouse", "ANY": "any"}


def names(expression):
    return ", ".join(PROGRAMS[word] for word in re.findall(r"FROM_(\w+)", expression))


def table():
    source = (ROOT / "lib" / "ipc" / "catalogue.def").read_text()
    rows = ["| message | from | to | fd | meaning |", "|---|---|---|---|---|"]
    pattern = r'^MESSAGE\((\w+), \w+, ([^,]+), ([^,]+), ([01]),\s*"((?:[^"\\]|\\.)*)"\)'
    for name, sender, receiver, descriptor, meaning in re.findall(pattern, source, re.M):
        meaning = meaning.replace('\\"', '"')
        rows.append(f"| `{name}` | {names(sender)} | {names(receiver)} | {'yes' if descriptor == '1' else ''} | {meaning} |")
    return "\n".join(rows) + "\n"


def main():
    text = DOCUMENT.read_text()
    head, rest = text.split(BEGIN, 1)
    old, tail = rest.split(END, 1)
    new = table()
    if len(new.splitlines()) < 20:
        sys.exit("check_catalogue: hardly any message found in lib/ipc/catalogue.def")
    if "--write" in sys.argv:
        DOCUMENT.write_text(head + BEGIN + new + END + tail)
    elif old != new:
        sys.exit("docs/ARCHITECTURE.md: the table of messages differs from lib/ipc/catalogue.def;\n"
                 "run tests/unit/check_catalogue.py --write")


main()
