"""Bounded waits."""

import time


class Timeout(AssertionError):
    """What was waited for did not come."""


def until(condition, seconds, what, every=0.05):
    """The first true value of condition(); Timeout after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Timeout(f"not seen within {seconds:g} s: {what}")
        time.sleep(every)
