"""The shipped configuration says what is true: every file is read without an error, as it is and with the comment signs
of its parameters taken off, and names every parameter with the default of the tables in lib/settings.

usage: check-defaults.py POSTHOUSE-PARAMETERS FOLDER-OF-FILES"""
import pathlib
import re
import subprocess
import sys
import tempfile

# A parameter or a block; the comments for people have a blank behind their '#' and end in a full stop.
SETTING = re.compile(r"^#(|  +)(?:([a-z][a-z0-9_]*) *=(.*)|([a-z_]+) \"[^\"]*\" \{|\})$")


def problems(tool, folder):
    run = subprocess.run([tool, "check", folder], capture_output=True, text=True)
    return run.stdout.splitlines() if run.returncode != 0 else []


def settings(text):
    """(block, name, value) of everything that is commented out."""
    block = ""
    for line in text.splitlines():
        match = SETTING.match(line)
        if match is None:
            continue
        if match[2] is not None:
            yield block, match[2], match[3].strip()
        else:
            block = match[4] or ""


def uncommented(text):
    """The parameters outside of blocks; what stands in a block is an example that somebody has to fill in."""
    return "".join(f"{name} = {value}\n" for block, name, value in settings(text) if not block)


def compare(tables, path):
    said = list(settings(path.read_text()))
    for _, block, name, _, default, *_ in tables[path.name]:
        values = [v for b, n, v in said if (b, n) == (block, name)]
        if not values:
            yield f"{path.name}: {name}{' of ' + block if block else ''} is not listed"
        elif default not in values and not block:
            yield f"{path.name}: {name} = {values[0]}, but the default is {default or 'empty'}"
    known = {(row[1], row[2]) for row in tables[path.name]}
    for block, name, _ in said:
        if (block, name) not in known:
            yield f"{path.name}: {name}{' of ' + block if block else ''}: there is no such parameter"


def main():
    tool, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    tables = {}
    for line in subprocess.run([tool], check=True, capture_output=True, text=True).stdout.splitlines():
        row = line.split("\t")
        tables.setdefault(row[0], []).append(row)
    files = [path for path in sorted(folder.glob("*.conf")) if path.name in tables]
    found = problems(tool, folder)
    with tempfile.TemporaryDirectory() as bare:
        for path in files:
            found += compare(tables, path)
            (pathlib.Path(bare) / path.name).write_text(uncommented(path.read_text()))
        found += problems(tool, bare)
    for problem in found:
        print(problem)
    print(f"{len(files)} files compared")
    sys.exit(1 if found or not files else 0)


main()
