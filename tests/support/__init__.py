"""What tests and the demo share: loopback networks, certificates, a DNS server, a mail sink, a whole suite."""
