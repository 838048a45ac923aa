#!/usr/bin/python3
"""Who may include whom: reads the USES of every folder from its CMakeLists.txt and fails where an #include breaks them.

    check_layers.py [ROOT-OF-THE-TREE]

A folder of lib/ includes its own headers and those of the folders in its USES; a program its own and those of the lib/
folders in its USES; nobody includes a program's header from outside; an external library's header appears only in the
folder that wraps it.  Each violation is printed with file and line.
"""
import pathlib
import re
import sys
import tempfile

# Headers of external libraries: pattern, the link name that must stand in USES, the folders or files that may include
# them (docs/ARCHITECTURE.md).  The first pattern that matches counts.
EXTERNAL = [
    (r"event2/", "PkgConfig::EVENT", {"lib/io"}),
    (r"openssl/ssl\.h", "PkgConfig::SSL", {"lib/tls"}),
    (r"openssl/", "PkgConfig::SSL", {"lib/tls", "lib/store/table.c", "lib/store/scram.c", "lib/dkim", "dkim-signer", "smtpd/auth"}),
    (r"sqlite3\.h", "PkgConfig::SQLITE", {"lib/store"}),
    (r"sasl/", "PkgConfig::SASL", {"smtpd/auth", "smtp-out"}),
    (r"ldns/", "PkgConfig::LDNS", {"lib/dns"}),
    (r"opendkim/", "PkgConfig::DKIM", {"dkim-signer"}),
    (r"idn2\.h", "PkgConfig::IDN", {"lib/mail"}),
    (r"uthash\.h", None, {"lib/base"}),
]

TARGET = re.compile(r"posthouse_(library|program)\(\s*([\w.-]+)([^)]*)\)")
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')
KEYWORDS = {"SOURCES", "USES"}


class Folder:
    """One folder with a target: what it is and what it says it uses."""

    def __init__(self, root, path, kind, name, uses):
        self.root, self.path, self.kind, self.name, self.uses = root, path, kind, name, uses
        self.label = path.relative_to(root).as_posix()


def words_after(keyword, text):
    words, taking = [], False
    for word in text.split():
        if word in KEYWORDS:
            taking = word == keyword
        elif taking:
            words.append(word)
    return words


def read_folders(root):
    folders = []
    for cmake in sorted(root.glob("*/CMakeLists.txt")) + sorted(root.glob("*/*/CMakeLists.txt")):
        if cmake.relative_to(root).parts[0] in ("tests", "build", "cmake"):
            continue
        text = re.sub(r"#.*", "", cmake.read_text())
        for kind, name, rest in TARGET.findall(text):
            folders.append(Folder(root, cmake.parent, kind, name, words_after("USES", rest)))
    return folders


class Check:
    def __init__(self, root):
        self.root = root
        self.folders = read_folders(root)
        self.libraries = {f.name: f for f in self.folders if f.kind == "library"}
        self.violations = []

    def complain(self, where, line, text):
        self.violations.append(f"{where.relative_to(self.root)}:{line}: {text}")

    def owner(self, path):
        """The innermost folder with a target that the file stands in, or None."""
        inside = [f for f in self.folders if f.path in path.parents]
        return max(inside, key=lambda f: len(f.path.parts), default=None)

    def check_uses(self):
        programs = {f.name for f in self.folders if f.kind == "program"}
        for f in self.folders:
            cmake = f.path / "CMakeLists.txt"
            for used in f.uses:
                if used in programs or used.removesuffix("-code") in programs:
                    self.complain(cmake, 1, f"{f.label} uses the program {used}")
                elif "::" not in used and used not in self.libraries:
                    self.complain(cmake, 1, f"{f.label} uses {used}, which is no folder of lib/")
            if f.kind == "library" and self.reaches(f.name, f.name, set()):
                self.complain(cmake, 1, f"{f.label} uses itself, by way of others")

    def reaches(self, name, wanted, seen):
        for used in self.libraries[name].uses if name in self.libraries else []:
            if used == wanted:
                return True
            if used not in seen and self.reaches(used, wanted, seen | {used}):
                return True
        return False

    def check_external(self, folder, file, line, header):
        for pattern, link, allowed in EXTERNAL:
            if not re.match(pattern, header):
                continue
            if folder.label not in allowed and file.relative_to(self.root).as_posix() not in allowed:
                self.complain(file, line, f"<{header}> belongs to {' and '.join(sorted(allowed))} alone")
            elif link is not None and link not in folder.uses:
                self.complain(file, line, f"<{header}> without {link} in the USES of {folder.label}")
            return

    def check_own(self, folder, file, line, header):
        first = header.split("/")[0]
        if ".." in header.split("/"):
            self.complain(file, line, f'"{header}" climbs out of its folder')
        elif "/" in header and first in self.libraries:
            if first != folder.name and first not in folder.uses:
                self.complain(file, line, f'"{header}" without {first} in the USES of {folder.label}')
            elif not (self.root / "lib" / header).is_file():
                self.complain(file, line, f'"{header}" does not exist')
        else:
            found = next((p for p in (folder.path / header, self.root / "lib" / header, self.root / header)
                          if p.is_file()), None)
            owner = self.owner(found) if found is not None else None
            if owner is None:
                self.complain(file, line, f'"{header}" is no header of this tree')
            elif owner is not folder:
                self.complain(file, line, f'"{header}" belongs to {owner.label}, which nobody else may include')
            elif folder.kind == "library":
                self.complain(file, line, f'"{header}" is written without its folder')

    def check_file(self, folder, file):
        for number, text in enumerate(file.read_text(errors="replace").splitlines(), 1):
            m = INCLUDE.match(text)
            if m is None:
                continue
            ours = m[1] == '"' or m[2].split("/")[0] in self.libraries
            (self.check_own if ours else self.check_external)(folder, file, number, m[2])

    def run(self):
        self.check_uses()
        files = 0
        for top in sorted({f.path for f in self.folders}):
            for file in sorted(top.glob("*.[ch]")) + sorted(top.glob("*.def")):
                self.check_file(self.owner(file), file)
                files += 1
        return files


def plant(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def self_check():
    """A small tree with one violation of each kind, and the lines that must come out."""
    tree = {
        "lib/base/CMakeLists.txt": "posthouse_library(base SOURCES a.c)\n",
        "lib/base/a.h": "#include <stdint.h>\n",
        "lib/base/a.c": '#include "base/a.h"\n#include "io/b.h"\n#include "mill/m.h"\n#include "a.h"\n',
        "lib/io/CMakeLists.txt": "posthouse_library(io SOURCES b.c USES base PkgConfig::EVENT) # USES tls\n",
        "lib/io/b.h": "\n",
        "lib/io/b.c": '#include <event2/event.h>\n#include "base/a.h"\n#include "base/gone.h"\n'
                      '#include "../base/a.h"\n',
        "lib/tls/CMakeLists.txt": "posthouse_library(tls\n  SOURCES t.c\n  USES io mill)\n",
        "lib/tls/t.c": '#include "io/b.h"\n#include "base/a.h"\n# include <openssl/ssl.h>\n#include <io/b.h>\n',
        "mill/CMakeLists.txt": "posthouse_program(mill bin SOURCES m.c USES base bakery-code rye)\n",
        "mill/m.h": "\n",
        "mill/m.c": '#include "m.h"\n#include "bakery/o.h"\n#include "base/a.h"\n#include <openssl/evp.h>\n',
        "mill/main.c": '#include <io/b.h>\n#include "stone/s.h"\n#include <sqlite3.h>\n#include "nowhere.h"\n',
        "mill/stone/CMakeLists.txt": "posthouse_program(stone bin SOURCES s.c USES base)\n",
        "mill/stone/s.h": '#include "m.h"\n',
        "bakery/CMakeLists.txt": "posthouse_program(bakery bin SOURCES o.c USES base)\n",
        "bakery/o.h": '#include "base/a.h"\n',
        "lib/dns/CMakeLists.txt": "posthouse_library(dns SOURCES d.c USES dkim)\n",
        "lib/dkim/CMakeLists.txt": "posthouse_library(dkim SOURCES d.c USES dns)\n",
    }
    want = {
        "lib/base/a.c:2", "lib/base/a.c:3", "lib/base/a.c:4", "lib/io/b.c:3", "lib/io/b.c:4", "lib/tls/t.c:2",
        "lib/tls/t.c:3", "lib/tls/CMakeLists.txt:1", "mill/m.c:2", "mill/m.c:4", "mill/main.c:1", "mill/main.c:2",
        "mill/main.c:3", "mill/main.c:4", "mill/stone/s.h:1", "mill/CMakeLists.txt:1", "lib/dns/CMakeLists.txt:1",
        "lib/dkim/CMakeLists.txt:1",
    }
    with tempfile.TemporaryDirectory(prefix="posthouse-test-") as name:
        root = pathlib.Path(name)
        plant(root, tree)
        check = Check(root)
        check.run()
        got = {":".join(v.split(":")[:2]) for v in check.violations}
    if got != want:
        print("self-check: not found:", sorted(want - got), "found wrongly:", sorted(got - want))
        print("\n".join(check.violations))
        return False
    return True


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2]).resolve()
    if not self_check():
        return 2
    check = Check(root)
    files = check.run()
    for violation in check.violations:
        print(violation)
    print(f"{files} files in {len(check.folders)} folders, {len(check.violations)} violations")
    return 1 if check.violations or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
