"""Compares every page of a configuration file with the tables of lib/settings: each parameter has an item, whose text
names the default, the range or choices as the table does, and no item names a parameter that does not exist.

usage: check-parameters.py POSTHOUSE-PARAMETERS FOLDER-OF-PAGES"""
import pathlib
import re
import subprocess
import sys

EMPTY = re.compile(r"\b(empty|none|not set|unset)\b", re.I)


def rows(tool):
    out = subprocess.run([tool], check=True, capture_output=True, text=True).stdout
    for line in out.splitlines():
        yield line.split("\t")


def words(text):
    """Page text without macros, quotes and final punctuation, as words."""
    text = re.sub(r"^\.[A-Z][A-Za-z]\b", " ", text, flags=re.M)
    text = text.replace("\\&", "").replace("\\-", "-").replace('"', " ")
    return [re.sub(r"^[(]+|[,.;:)]+$", "", w) for w in text.split()]


def contains(haystack, needle):
    return any(haystack[i:i + len(needle)] == needle for i in range(len(haystack) - len(needle) + 1))


def items(page):
    """(name, text) of every item of a parameter list; a name may come twice when blocks share it."""
    found = re.split(r"^\.It (?=I?[A-Z][a-z] [a-z0-9_]+)", page, flags=re.M)[1:]
    for text in found:
        head, _, body = text.partition("\n")
        body = re.split(r"^\.(?:El|It|Sh|Ss)\b", body, flags=re.M)[0]
        yield head.split()[1], body


def problems_of(row, text):
    _, _, name, kind, default, limits, _ = row
    have = words(text)
    wanted = [w.replace('"', "") for w in re.split(r"[\s]+", default.strip()) if w]
    if wanted and not contains(have, wanted):
        yield f"{name}: the default is {default}, which its text does not say"
    if not wanted and not EMPTY.search(text):
        yield f"{name}: the default is empty, which its text does not say"
    if kind == "enum":
        for choice in limits.split("|"):
            if choice not in have:
                yield f"{name}: the choice {choice} is missing"
    elif limits:
        if not contains(have, limits.split()):
            yield f"{name}: the range is \"{limits}\", which its text does not say"


def check(page, file, table):
    described = {}
    for name, text in items(page):
        described.setdefault(name, []).append(text)
    for row in table:
        if row[2] not in described:
            yield f"{row[2]}: not described"
            continue
        # Of several items with this name one has to fit.
        lists = [list(problems_of(row, text)) for text in described[row[2]]]
        yield from min(lists, key=len)
    known = {row[2] for row in table} | {row[1] for row in table}
    for name in described.keys() - known:
        if "_" in name:
            yield f"{name}: there is no such parameter"


def main():
    tool, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    tables = {}
    for row in rows(tool):
        tables.setdefault(row[0], []).append(row)
    failed = pages = 0
    for file, table in tables.items():
        page = folder / f"{file}.5"
        if not page.exists():
            continue
        pages += 1
        for problem in check(page.read_text(), file, table):
            print(f"{page.name}: {problem}")
            failed = 1
    print(f"{pages} pages compared")
    sys.exit(failed)


main()
