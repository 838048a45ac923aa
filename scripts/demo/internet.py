"""The internet of the demo: a name server, and one mail server for each .test domain, on 127.0.0.x."""

import socket

from support import dns, sink

NAME_SERVER = "127.0.0.10"
FIRST_MAIL_SERVER = 11
HOME, FRIENDLY, BUSY, CLOSED = "yourapp.test", "example.test", "busy.test", "closed.test"
DOMAINS = (HOME, FRIENDLY, BUSY, CLOSED)


def _is_free(address, port, kind):
    with socket.socket(socket.AF_INET, kind) as s:
        try:
            s.bind((address, port))
        except OSError:
            return False
    return True


def _free_port(addresses, kinds, first):
    """The first port that is free on all of them: another copy of the demo may run beside us."""
    return next(port for port in range(first, 65536) if all(_is_free(a, port, k) for a in addresses for k in kinds))


class Internet:
    def __init__(self, folder, authority):
        hosts = {domain: f"127.0.0.{FIRST_MAIL_SERVER + i}" for i, domain in enumerate(DOMAINS)}
        self.delivery_port = _free_port(hosts.values(), [socket.SOCK_STREAM], 2526)
        dns_port = _free_port([NAME_SERVER], [socket.SOCK_STREAM, socket.SOCK_DGRAM], 5354)
        self.dns = dns.Server(folder / "dns", NAME_SERVER, dns_port)
        self.sinks = {}
        for domain, address in hosts.items():
            self.dns.records += [(domain, "MX", f"10 mx.{domain}."), (f"mx.{domain}", "A", address),
                                 (domain, "TXT", "v=spf1 ip4:127.0.0.0/8 -all")]
            self.sinks[domain] = sink.Sink([(address, self.delivery_port)], name=f"mx.{domain}",
                                           tls=authority.issue(f"mx.{domain}", address), folder=folder / domain)
        self.sinks[BUSY].rules["*"] = sink.Rule(rcpt="450 4.2.1 mailbox busy, try again", times=1)
        self.sinks[CLOSED].rules["nobody@"] = sink.Rule(rcpt="550 5.1.1 no such user here")

    def publish(self, name, text):
        """A TXT record, before start()."""
        self.dns.records.append((name, "TXT", text))

    def start(self):
        for one in self.sinks.values():
            one.start()
        self.dns.start()

    def stop(self):
        for one in self.sinks.values():
            one.stop()
        self.dns.stop()

    def txt_lookup(self):
        return dns.txt_lookup(self.dns.address, self.dns.port)
