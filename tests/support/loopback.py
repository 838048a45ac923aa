"""Addresses of our own: every user draws a 127.x.y.0/24, so ports can be fixed and parallel runs never meet."""

import random
import socket

RESERVED_PORT = 40999


class Network:
    """One /24 below 127.0.0.0/8, ours as long as the object lives: a bound socket is the reservation."""

    def __init__(self):
        for _ in range(1000):
            self.prefix = f"127.{random.randint(16, 250)}.{random.randint(0, 255)}"
            self._claim = socket.socket()
            try:
                self._claim.bind((self.address(254), RESERVED_PORT))
                return
            except OSError:
                self._claim.close()
        raise RuntimeError("no free loopback network found in 1000 attempts")

    def address(self, host):
        return f"{self.prefix}.{host}"

    def close(self):
        self._claim.close()
