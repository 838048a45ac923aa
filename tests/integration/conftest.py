"""Fixtures: a loopback network, certificates, name server and sinks as the internet, and suites on top."""

import pathlib
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import certs, dns, loopback, sink, suite  # noqa: E402

DNS_PORT = 5353
DELIVERY_PORT = suite.PORTS["smtp"]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if outcome.get_result().failed:
        item.failed = True


@pytest.fixture
def network():
    own = loopback.Network()
    yield own
    own.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return certs.Authority(tmp_path_factory.mktemp("ca"))


class Internet:
    """The name server and the mail servers that suites deliver to.

    sink(domain, …) makes a mail server with the MX record of its domain; records go to `dns` with the first start.
    """

    def __init__(self, network, authority):
        self.network, self.authority = network, authority
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-net-"))
        self.dns = dns.Server(self.folder / "dns", network.address(53), DNS_PORT)
        self.sinks, self._next = {}, 10

    def address(self):
        self._next += 1
        return self.network.address(self._next)

    def record(self, *records):
        self.dns.records += records

    def sink(self, domain, mx=True, tls=True, host=None, **options):
        address, host = self.address(), host or f"mx.{domain}"
        self.record((host, "A", address))
        if mx:
            self.record((domain, "MX", f"10 {host}."))
        pair = self.authority.issue(host, address) if tls else None
        made = sink.Sink([(address, DELIVERY_PORT)], name=host, tls=pair, **options)
        made.address, made.host = address, host
        self.sinks[domain] = made
        return made.start()

    def close(self):
        for made in self.sinks.values():
            made.stop()
        self.dns.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def internet(network, authority):
    net = Internet(network, authority)
    yield net
    net.close()


@pytest.fixture
def make_suite(request, network, internet, authority):
    """make_suite(changes) → a Suite that is not started; the name server is up by then."""
    made = []

    def make(changes=None, address=None, **options):
        if internet.dns.process is None:
            internet.dns.start()
        own = address or network.address(1 + len(made))
        pair = authority.issue("relay.posthouse.test", own, "localhost")
        new = suite.Suite(own, (internet.dns.address, internet.dns.port), pair, authority.certificate, changes, **options)
        made.append(new)
        return new

    yield make
    trouble = []
    for one in made:
        try:
            one.close(keep=getattr(request.node, "failed", False))
        except AssertionError as failed:
            trouble.append(failed)
    if trouble:
        raise trouble[0]
