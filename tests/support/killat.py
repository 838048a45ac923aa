"""The test's end of the preload killat (tests/powercut/killat.c): arm a program, read what it did, see it die."""

import mmap
import os
import pathlib
import re
import struct

from . import suite

LIBRARY = suite.BUILD / "tests" / "powercut" / "killat.so"
LABELS, LABEL_SIZE, LABELS_AT = 512, 120, 320
HEAD = "<IIIII12x32s256s"  # struct order
IDLE, ARMED, FIRED = range(3)
BEFORE, HALFWAY, AFTER = range(3)
WHEN = ("before", "in the middle of", "after")


def message_names():
    """The catalogue's numbers and names of messages between programs."""
    text = (pathlib.Path(suite.SOURCE) / "lib" / "ipc" / "catalogue.def").read_text()
    return dict(enumerate(re.findall(r"^MESSAGE\((\w+)", text, re.M), 1))


class KillAt:
    """environment goes to the suite; folder: whose files count."""

    def __init__(self, file, folder):
        self.folder = str(folder).encode()
        size = LABELS_AT + LABELS * LABEL_SIZE
        with open(file, "w+b") as made:
            made.truncate(size)
            self._map = mmap.mmap(made.fileno(), size)
        # Sanitizers want to come first; these preloads do not mind.
        self.environment = {"LD_PRELOAD": str(LIBRARY), "POSTHOUSE_KILLAT": str(file)}
        self.sanitizer_options = ":verify_asan_link_order=0"
        self._names = message_names()

    def arm(self, program, at=0, when=BEFORE, everybody=False):
        """Counts from now on; dies at the call `at`, the first is 1, 0 = never."""
        head = struct.pack(HEAD, IDLE, 0, at, when, everybody, f"posthouse-{program}".encode(), self.folder)
        self._map[:len(head)] = head
        self._map[:4] = struct.pack("<I", ARMED)

    def disarm(self):
        if not self.fired:
            self._map[:4] = struct.pack("<I", IDLE)

    @property
    def fired(self):
        return struct.unpack_from("<I", self._map)[0] == FIRED

    @property
    def seen(self):
        return min(struct.unpack_from("<I", self._map, 4)[0], LABELS)

    def labels(self):
        """What the calls were, in order: "rename queue/tmp/0/ID queue/new/K/ID", "tell SUBMITTED, SUBMITTED", "send 250 2.0.0 …"."""
        found = []
        for n in range(self.seen):
            text = self._map[LABELS_AT + n * LABEL_SIZE:LABELS_AT + (n + 1) * LABEL_SIZE].partition(b"\0")[0].decode()
            told = re.fullmatch(r"tell( \d+)+", text)
            found.append("tell " + ", ".join(self._names.get(int(n), "?") for n in text.split()[1:]) if told else text)
        return found
