"""A name server that knows a table of records and nothing else: unbound without recursion, on a loopback address."""

import pathlib
import shutil
import socket
import struct
import subprocess

from . import process, wait

CONFIG = """\
server:
    interface: {address}@{port}
    port: {port}
    access-control: 127.0.0.0/8 allow
    do-daemonize: no
    do-ip6: no
    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: ""
    use-syslog: no
    logfile: ""
    verbosity: 0
    num-threads: 1
    msg-cache-size: 1m
    rrset-cache-size: 1m
    module-config: "iterator"
    edns-buffer-size: 1232
    local-zone: "." static
    local-zone: "test." static
    local-zone: "invalid." static
{zones}
{data}
remote-control:
    control-enable: no
"""


def _quote_txt(text):
    """A TXT record's text as character strings of at most 255 bytes."""
    return " ".join(f'"{text[i:i + 255]}"' for i in range(0, len(text), 255)) or '""'


def _local_data(name, kind, value):
    if kind == "TXT":
        value = _quote_txt(value)
    text = f"{name.rstrip('.')}. 60 IN {kind} {value}"
    # unbound takes either quote; records hold double quotes only in TXT.
    return f"    local-data: '{text}'"


def program():
    return shutil.which("unbound") or "/usr/sbin/unbound"


class Server:
    """records: (name, type, value) tuples.  silent: domains whose queries are never answered; refused: answered REFUSED."""

    def __init__(self, folder, address, port, records=(), silent=(), refused=()):
        self.folder, self.address, self.port = pathlib.Path(folder), address, port
        self.records, self.silent, self.refused = list(records), list(silent), list(refused)
        self.process = None

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        zones = [f'    local-zone: "{d}." deny' for d in self.silent]
        zones += [f'    local-zone: "{d}." refuse' for d in self.refused]
        config = self.folder / "unbound.conf"
        config.write_text(CONFIG.format(address=self.address, port=self.port, folder=self.folder, zones="\n".join(zones),
                                        data="\n".join(_local_data(*r) for r in self.records)))
        with open(self.folder / "unbound.log", "ab") as log:
            self.process = subprocess.Popen([program(), "-d", "-c", config], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, preexec_fn=process.die_with_parent)
        try:
            wait.until(self._answers, 10, f"an answer of unbound at {self.address}:{self.port}, see {log.name}")
        except AssertionError:
            self.stop()
            raise
        return self

    def _answers(self):
        if self.process.poll() is not None:
            raise RuntimeError("unbound ended: " + (self.folder / "unbound.log").read_text()[-500:])
        query = struct.pack(">HHHHHH", 1, 0, 1, 0, 0, 0) + b"\x07version\x04bind\x00" + struct.pack(">HH", 16, 3)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.2)
            s.connect((self.address, self.port))
            try:
                s.send(query)
                return len(s.recv(1500)) >= 12
            except OSError:
                return False

    def change(self, records):
        """Another table from now on."""
        self.stop()
        self.records = list(records)
        self.start()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()


def txt_lookup(address, port):
    """A dnsfunc for dkimpy that asks this server only."""
    import dns.resolver

    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.lifetime = [address], port, 5

    def lookup(name, timeout=5):
        name = name.decode() if isinstance(name, bytes) else name
        try:
            answer = resolver.resolve(name, "TXT")
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return None
        return b"".join(answer[0].strings)

    return lookup
