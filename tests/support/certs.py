"""Certificates made with the openssl command: a CA, and servers' certificates signed by it."""

import ipaddress
import pathlib
import subprocess


def _openssl(*args, stdin=None):
    done = subprocess.run(["openssl", *map(str, args)], input=stdin, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {args[0]}: {done.stderr.strip()}")
    return done.stdout


def _alt_name(name):
    if "@" in name:
        return f"email:{name}"
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


class Authority:
    """A CA in a folder; certificate is what clients trust."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.certificate, self._key = self.folder / "ca.pem", self.folder / "ca-key.pem"
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                 "-subj", "/CN=Test CA", "-keyout", self._key, "-out", self.certificate)

    def issue(self, *names, days=30, key_type="ec", file=None):
        """(chain file, key file) for these host names, addresses or mailboxes; the first names the files, if file does not."""
        base = file or names[0].replace("*", "_")
        chain, key = self.folder / f"{base}.pem", self.folder / f"{base}-key.pem"
        request, extensions = self.folder / f"{base}.csr", self.folder / f"{base}.ext"
        extensions.write_text("subjectAltName=" + ",".join(map(_alt_name, names)) +
                              "\ncrlDistributionPoints=URI:http://ca.test/crl\n")
        curve = ["-pkeyopt", "ec_paramgen_curve:P-256"] if key_type == "ec" else []
        _openssl("req", "-newkey", key_type, *curve, "-nodes", "-subj", f"/CN={names[0]}", "-keyout", key, "-out", request)
        _openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial",
                 "-days", days, "-extfile", extensions, "-out", chain)
        return chain, key


def self_signed(chain, key, *names):
    """A certificate nobody vouches for, as a newcomer has one; lasts ten years."""
    _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650", "-subj",
             f"/CN={names[0]}", "-addext", "subjectAltName=" + ",".join(map(_alt_name, names)), "-keyout", key, "-out", chain)
