"""Fixtures: a world is a loopback network with certificates, a name server, mail servers and suites in it."""

import pathlib
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import certs, dns, loopback, sink, suite  # noqa: E402

DNS_PORT = 5353
DELIVERY_PORT = suite.PORTS["smtp"]


class World:
    """Addresses of the network: .1 and on suites, .11 and on mail servers, .53 the name server."""

    def __init__(self):
        self.network = loopback.Network()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-net-"))
        self.authority = certs.Authority(self.folder / "ca")
        self.dns = dns.Server(self.folder / "dns", self.network.address(53), DNS_PORT)
        self.sinks, self.suites, self._hosts = {}, [], 10

    def address(self):
        """A fresh address for a mail server."""
        self._hosts += 1
        return self.network.address(self._hosts)

    def record(self, *records):
        """(name, type, value) for the name server; effective with its next start."""
        self.dns.records += records

    def sink(self, domain, mx=True, tls=True, host=None, port=DELIVERY_PORT, **options):
        """A started mail server with the MX record of its domain; options as for sink.Sink."""
        address, host = self.address(), host or f"mx.{domain}"
        self.record((host, "A", address))
        if mx:
            self.record((domain, "MX", f"10 {host}."))
        pair = self.authority.issue(host, address) if tls else None
        made = sink.Sink([(address, port)], name=host, tls=pair, **options)
        made.address, made.host, made.port = address, host, port
        self.sinks[host] = made
        return made.start()

    def suite(self, changes=None, address=None, **options):
        """A suite that is configured and not started; the name server is up by then."""
        if self.dns.process is None:
            self.dns.start()
        own = address or self.network.address(1 + len(self.suites))
        pair = self.authority.issue("relay.posthouse.test", own, "localhost")
        made = suite.Suite(own, (self.dns.address, self.dns.port), pair, self.authority.certificate, changes, **options)
        self.suites.append(made)
        return made

    def close(self, keep):
        trouble = []
        for one in self.suites:
            try:
                one.close(keep)
            except AssertionError as failed:
                trouble.append(failed)
        for one in self.sinks.values():
            one.stop()
        self.dns.stop()
        self.network.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        if trouble:
            raise trouble[0]


def _world(request):
    before = request.session.testsfailed
    own = World()
    yield own
    own.close(keep=request.session.testsfailed > before)


@pytest.fixture
def world(request):
    """A world for one test."""
    yield from _world(request)


@pytest.fixture(scope="module")
def shared(request):
    """One world for all tests of a file."""
    yield from _world(request)
