"""Reads what the preload record wrote down; trace.h tells the layout."""

import collections
import ctypes
import mmap
import struct

HEADER = 4096
RECORD = struct.Struct("<QQQQQQqIIII")
CREATE, WRITE, TRUNCATE, ALLOCATE, RENAME, LINK, UNLINK, MKDIR, RMDIR, FSYNC, FDATASYNC, SYNCFS = range(12)
ZEROS, FRESH, SYNC, FOLDER = 1, 2, 4, 8

Op = collections.namedtuple("Op", "kind begin end inode offset length result flags path path2 data")


class Trace:
    """environment goes to the suite; folder: whose files are written down."""

    def __init__(self, file, folder, library, size=4 << 30):
        with open(file, "w+b") as made:
            made.truncate(size)
            self._map = mmap.mmap(made.fileno(), size)
        self._clock = ctypes.c_uint64.from_buffer(self._map, 0)
        self._clock.value = 1  # 0 is no time
        struct.pack_into("<QQ", self._map, 8, HEADER, size)
        self.environment = {"LD_PRELOAD": str(library), "POSTHOUSE_TRACE": str(file), "POSTHOUSE_TRACE_FOLDER": str(folder)}

    def now(self):
        """What ended before this was read has a smaller time."""
        return self._clock.value

    def ops(self):
        """All of them, successful or unfinished, by their begin."""
        _, tail, _, lost = struct.unpack_from("<QQQQ", self._map)
        assert lost == 0, f"{lost} records did not fit into the trace"
        found, at = [], HEADER
        while at < tail:
            size, begin, end, inode, offset, length, result, kind, flags, n1, n2 = RECORD.unpack_from(self._map, at)
            if end == 0 or result >= 0:
                text = at + RECORD.size
                path, path2 = (self._map[a:b].decode() for a, b in ((text, text + n1), (text + n1, text + n1 + n2)))
                stored = kind == WRITE and not flags & ZEROS
                data = self._map[text + n1 + n2:text + n1 + n2 + length] if stored else b""
                if kind == WRITE and end != 0:
                    data, length = data[:result], result
                found.append(Op(kind, begin, end or 1 << 62, inode, offset, length, result, flags, path, path2, data))
            at += size
        return sorted(found, key=lambda op: op.begin)
