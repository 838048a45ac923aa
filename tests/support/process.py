"""Programs that end with us, whatever ends us."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def die_with_parent(signo=signal.SIGTERM):
    """For preexec_fn: the signal when the thread that started the program ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signo)
