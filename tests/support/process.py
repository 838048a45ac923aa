"""Programs that end with us, whatever ends us."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def die_with_parent():
    """For preexec_fn: SIGTERM when the thread that started the program ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
