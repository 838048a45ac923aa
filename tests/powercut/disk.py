"""What a disk may hold after a power cut.

Replays a trace up to a moment and keeps, for every file, what was flushed and each change since.  An image takes of those changes
any: a page of 4096 bytes as any of its states since the flush, or every 512 bytes of it as another one; the length as any since
then; the name as any since then, a rename in one piece.  Files do not know of each other: no order between them is kept, which
is less than any journalling file system does.

Names: fsync of a file makes its name durable too, as on ext4, XFS and btrfs; with strict only fsync of the folder does, as POSIX
has it.  fdatasync never does.  syncfs makes everything durable that ended before it began."""

import bisect
import os
import pathlib
import random

from tracefile import (ALLOCATE, CREATE, FDATASYNC, FOLDER, FRESH, FSYNC, LINK, RENAME, SYNC, SYNCFS, TRUNCATE, UNLINK, WRITE,
                       ZEROS)

PAGE, SECTOR = 4096, 512
NOTHING = b"\0" * PAGE
MOODS = ("none", "all", "mixed", "torn")  # what became of the changes that were not flushed
WEIGHTS = (3, 1, 4, 4)


class File:
    """pages: number → bytes, absent = zeros."""

    def __init__(self, key):
        self.key = key
        self.pages, self.size = {}, 0  # as programs see it
        self.safe_pages, self.safe_size = {}, 0
        self.pending = []  # (end, {page: bytes}, size) since the flush, in order
        self.names = [(0, None)]  # (end, name)
        self.safe_name = 0  # index into names

    @property
    def name(self):
        return self.names[-1][1]

    def content(self):
        return b"".join(self.pages.get(n, NOTHING) for n in range((self.size + PAGE - 1) // PAGE))[:self.size]

    def change(self, op):
        """(pages, size) after the operation."""
        if op.kind == TRUNCATE:
            cut = {n: b"" for n in self.pages if n * PAGE >= op.offset}
            if op.offset % PAGE and op.offset // PAGE in self.pages:
                n = op.offset // PAGE
                cut[n] = self.pages[n][:op.offset % PAGE].ljust(PAGE, b"\0")
            return cut, op.offset
        if op.kind == ALLOCATE:
            return {}, max(self.size, op.offset + op.length)
        end, changed = op.offset + op.length, {}
        for n in range(op.offset // PAGE, (end + PAGE - 1) // PAGE):
            start, stop = max(op.offset, n * PAGE), min(end, (n + 1) * PAGE)
            if op.flags & ZEROS and (stop - start == PAGE or n not in self.pages):
                if n in self.pages:
                    changed[n] = b""
                continue
            old = self.pages.get(n, NOTHING)
            new = bytes(stop - start) if op.flags & ZEROS else op.data[start - op.offset:stop - op.offset]
            changed[n] = old[:start - n * PAGE] + new + old[stop - n * PAGE:]
        return changed, max(self.size, end)

    @staticmethod
    def _put(pages, changed):
        for n, data in changed.items():
            if data:
                pages[n] = data
            else:
                pages.pop(n, None)

    def write(self, op):
        changed, self.size = self.change(op)
        self._put(self.pages, changed)
        self.pending.append((op.end, changed, self.size))

    def flush(self, before):
        """What ended before this is on the disk."""
        n = 0
        while n < len(self.pending) and self.pending[n][0] <= before:
            self._put(self.safe_pages, self.pending[n][1])
            self.safe_size = self.pending[n][2]
            n += 1
        del self.pending[:n]

    def flush_name(self, before):
        while self.safe_name + 1 < len(self.names) and self.names[self.safe_name + 1][0] <= before:
            self.safe_name += 1

    @property
    def settled(self):
        """Gone for good."""
        return self.safe_name == len(self.names) - 1 and self.name is None and self.safe_name > 0

    def pick_name(self, mood, dice, flying):
        names = [name for _, name in self.names[self.safe_name:]] + [name for name in flying if dice.random() < 0.5]
        return names[0] if mood == "none" else names[-1] if mood == "all" else dice.choice(names)

    def pick_content(self, mood, dice, flying):
        """(pages, size)"""
        changes = [(changed, size) for _, changed, size in self.pending]
        changes += [self.change(op) for op in flying if dice.random() < 0.5]
        pages = dict(self.safe_pages)
        if mood == "none" or not changes:
            return pages, self.safe_size
        states = {}
        for changed, _ in changes:
            for n, data in changed.items():
                states.setdefault(n, [self.safe_pages.get(n, NOTHING)]).append(data or NOTHING)
        for n, versions in states.items():
            if mood == "all":
                pages[n] = versions[-1]
            elif mood == "mixed":
                pages[n] = dice.choice(versions)
            else:
                pages[n] = b"".join(dice.choice(versions)[s:s + SECTOR] for s in range(0, PAGE, SECTOR))
        sizes = [self.safe_size] + [size for _, size in changes]
        if mood == "all":
            return pages, sizes[-1]
        size = dice.choice(sizes)
        if size > self.safe_size and dice.random() < 0.5:
            size = max(self.safe_size, size // PAGE * PAGE)
        return pages, size


class Disk:
    """Moves forward through a trace only."""

    def __init__(self, ops, strict=False):
        self.strict = strict
        self._by_end = sorted(ops, key=lambda op: op.end)
        self._begins, self._by_begin = [op.begin for op in ops], ops
        self._next = 0
        self.files, self._names, self._inodes = set(), {}, {}  # by name and by inode, as programs see them
        self.ever = {}  # name → File that had it last

    def advance(self, moment):
        while self._next < len(self._by_end) and self._by_end[self._next].end <= moment:
            self._apply(self._by_end[self._next])
            self._next += 1

    def _apply(self, op):
        file = self._inodes.get(op.inode)
        if op.kind == CREATE:
            self._create(op)
        elif op.kind in (WRITE, TRUNCATE, ALLOCATE) and file is not None:
            file.write(op)
            if op.flags & SYNC:
                file.flush(op.end)
        elif op.kind == RENAME:
            self._rename(op)
        elif op.kind == UNLINK:
            self._set_name(self._names.pop(op.path, None), None, op)
        elif op.kind == LINK:
            raise NotImplementedError("link: files of two names are not modelled")
        elif op.kind in (FSYNC, FDATASYNC) and op.flags & FOLDER:
            self._flush_folder(op)
        elif op.kind in (FSYNC, FDATASYNC) and file is not None:
            file.flush(op.begin)
            if op.kind == FSYNC and not self.strict:
                file.flush_name(op.begin)
        elif op.kind == SYNCFS:
            for file in self.files:
                file.flush(op.begin)
                file.flush_name(op.begin)
        self._forget_settled(op)

    def _create(self, op):
        if not op.flags & FRESH:
            return
        file = self._names.get(op.path)
        if file is not None:  # O_TRUNC
            file.write(op._replace(kind=TRUNCATE, offset=0))
            return
        file = File(op.inode)
        self.files.add(file)
        self._inodes[op.inode] = self._names[op.path] = file
        self._set_name(file, op.path, op)

    def _rename(self, op):
        file, other = self._names.pop(op.path, None), self._names.get(op.path2)
        if other is not None and other is not file:
            self._set_name(other, None, op)
        if file is not None:
            self._names[op.path2] = file
            self._set_name(file, op.path2, op)

    def _set_name(self, file, name, op):
        if file is not None:
            file.names.append((op.end, name))
            if name is not None:
                self.ever[name] = file

    def _flush_folder(self, op):
        """Every change of a name in it, to it or from it."""
        for file in self.files:
            for n in range(len(file.names) - 1, file.safe_name, -1):
                end, name = file.names[n]
                before = file.names[n - 1][1]
                if end <= op.begin and op.path in {os.path.dirname(p) for p in (name, before) if p is not None}:
                    file.safe_name = n
                    break

    def _forget_settled(self, op):
        if op.kind in (FSYNC, SYNCFS):
            self.files = {file for file in self.files if not file.settled}

    def image(self, moment, dice):
        """{name: (pages, size)} after a cut at this moment, to which advance has come; and how the dice fell."""
        flying_names, flying_data = {}, {}
        for op in self._by_begin[max(0, bisect.bisect_left(self._begins, moment) - 2000):bisect.bisect_left(self._begins, moment)]:
            if op.end <= moment:
                continue
            if op.kind in (WRITE, TRUNCATE, ALLOCATE):
                flying_data.setdefault(self._inodes.get(op.inode), []).append(op)
            elif op.kind == RENAME:
                flying_names.setdefault(self._names.get(op.path), []).append(op.path2)
            elif op.kind == UNLINK:
                flying_names.setdefault(self._names.get(op.path), []).append(None)
        whole_mood = dice.choices(MOODS, WEIGHTS)[0]
        files = {}
        for file in self.files:
            mood = whole_mood if dice.random() < 0.5 else dice.choices(MOODS, WEIGHTS)[0]
            name = file.pick_name(mood, dice, flying_names.get(file, ()))
            if name is not None:
                files[name] = file.pick_content(mood, dice, flying_data.get(file, ()))
        return files, whole_mood


def write_image(files, folder):
    """As files of a file system."""
    folder = pathlib.Path(folder)
    made = set()
    for name, (pages, size) in files.items():
        place = folder / name
        if place.parent not in made:
            place.parent.mkdir(parents=True, exist_ok=True)
            made.add(place.parent)
        fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o660)
        for n, data in pages.items():
            if n * PAGE < size:
                os.pwrite(fd, data[:size - n * PAGE], n * PAGE)
        os.ftruncate(fd, size)
        os.close(fd)
