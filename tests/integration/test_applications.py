"""What applications send with: each page of docs/applications/ is followed to the letter, on both ports, with the real client.

A page's block behind `<!-- test: … -->` becomes the client's settings file, with host, ports, user, password, CA file and
recipient of this test in place of the page's; the rest is a driver of tests/interop/ or the tool's own command line."""

import base64
import dataclasses
import email
import email.policy
import json
import os
import pathlib
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import typing
from email.header import Header, decode_header, make_header
from email.utils import formataddr, parseaddr
from urllib.parse import quote

import pytest
from support import certs, suite as suites

PAGES = suites.SOURCE / "docs" / "applications"
DRIVERS = suites.SOURCE / "tests" / "interop"
NODE_MODULES = suites.SOURCE / "build" / "interop" / "node_modules"
LISTENERS = {587: "submission", 465: "submissions"}
USER, PASSWORD = "shop@sender.test", "a pass word"
HOST = "relay.posthouse.test"  # the relay's name in its certificate, for the client that takes no address
FROM, TO = "Müller & Söhne", "Jürgen Groß"
JAKARTA = "/usr/share/java/jakarta-mail.jar:/usr/share/java/jakarta-activation.jar"


def block(page, mark):
    """The fenced block behind <!-- test: MARK --> in a page."""
    text = (PAGES / f"{page}.md").read_text()
    found = re.search(rf"<!-- test: {mark} -->\n```\w*\n(.*?)```\n", text, re.S)
    assert found, f"{page}.md has no block for {mark}"
    return found.group(1)


def fill_in(text, relay, host=None, recipient=""):
    """A page's block with the names of this test."""
    names = {"mail.example.com": host or relay.address, "shop@example.com": USER, "shop%40example.com": quote(USER, safe=""),
             "ann@example.org": recipient, "/etc/ssl/certs/ca-certificates.crt": str(relay.ca_file),
             **{str(port): str(suites.PORTS[listener]) for port, listener in LISTENERS.items()}}
    text = re.sub(r":secret@", f":{quote(PASSWORD)}@", text)
    text = re.sub(r"(?<=[\"':\s])secret(?=[\"'\s])", PASSWORD, text)
    return re.sub("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in names), lambda found: names[found.group()], text)


@dataclasses.dataclass
class Mail:
    """One message to send, and to find again in the sink."""

    to: str
    subject: str
    text: str
    name: str = TO
    file: pathlib.Path | None = None
    filename: str = ""

    def eml(self):
        """The message as a file of Unix, for the clients that want it complete."""
        utf8 = not self.to.isascii()
        address = f"{self.name} <{self.to}>" if utf8 else formataddr((self.name, self.to))
        head = (f"From: {formataddr((FROM, USER))}\nTo: {address}\nSubject: {Header(self.subject, 'utf-8').encode()}\n"
                "MIME-Version: 1.0\n")
        if not self.file:
            return f"{head}Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{self.text}".encode()
        head += ("Content-Type: multipart/mixed; boundary=next\n\n--next\nContent-Type: text/plain; charset=utf-8\n"
                 f"Content-Transfer-Encoding: 8bit\n\n{self.text}\n--next\n"
                 "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n"
                 f"Content-Disposition: attachment; filename*=utf-8''{quote(self.filename)}\n\n")
        return head.encode() + base64.encodebytes(self.file.read_bytes()) + b"--next--\n"


@dataclasses.dataclass
class Job:
    """What a client is run for: a folder with its settings, and the messages."""

    relay: suites.Suite
    folder: pathlib.Path
    messages: list

    def run(self, *words, stdin=b""):
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8",
                       "SSL_CERT_FILE": str(self.relay.ca_file), "NODE_EXTRA_CA_CERTS": str(self.relay.ca_file),
                       "MAILRC": str(self.folder / ".mailrc"), "DEAD": os.devnull}
        done = subprocess.run([str(w) for w in words], cwd=self.folder, env=environment, input=stdin, capture_output=True,
                              timeout=120)
        assert done.returncode == 0, f"{shlex.join(map(str, words))}: {done.returncode}\n" \
                                     f"{done.stdout[-3000:].decode()}\n{done.stderr[-3000:].decode()}"

    def write_order(self, complete=False):
        """order.json for the drivers; complete: with each message in a file."""
        order = {"from": {"name": FROM, "address": USER}, "messages": []}
        for number, one in enumerate(self.messages):
            order["messages"].append({"to": {"name": one.name, "address": one.to}, "subject": one.subject, "text": one.text,
                                      "file": str(one.file) if one.file else None, "filename": one.filename})
            if complete:
                order["messages"][-1]["eml"] = f"{number}.eml"
                (self.folder / f"{number}.eml").write_bytes(one.eml())
        (self.folder / "order.json").write_text(json.dumps(order))


# -- how each is run


def driver(*words, complete=False):
    """A program of tests/interop/ that reads order.json."""
    def send(job):
        job.write_order(complete)
        job.run(*words[:-1], DRIVERS / words[-1])
    return send


def javascript(script):
    def send(job):
        (job.folder / "node_modules").symlink_to(NODE_MODULES)
        job.write_order()
        job.run("node", DRIVERS / script)
    return send


def php(script):
    def send(job):
        job.write_order()
        job.run("php", "-d", f"openssl.cafile={job.relay.ca_file}", DRIVERS / script)
    return send


def java(job):
    lines = {"from.name": FROM, "from.address": USER}
    for number, one in enumerate(job.messages):
        fields = {"to.name": one.name, "to.address": one.to, "subject": one.subject, "text": one.text, "file": one.file,
                  "filename": one.filename}
        lines |= {f"{number}.{name}": value for name, value in fields.items() if value}
    text = "".join(f"{name}={value}".replace("\n", "\\n") + "\n" for name, value in lines.items())
    (job.folder / "order.properties").write_text(text)
    (job.folder / "hosts").write_text(f"{job.relay.address} {HOST}\n")
    job.run("keytool", "-importcert", "-noprompt", "-file", job.relay.ca_file, "-alias", "ca", "-keystore",
            "trust.p12", "-storepass", "changeit")
    job.run("javac", "-proc:none", "-cp", JAKARTA, "-d", ".", "Mail.java", DRIVERS / "SendJakarta.java")
    job.run("java", "-Djdk.net.hosts.file=hosts", "-Djavax.net.ssl.trustStore=trust.p12",
            "-Djavax.net.ssl.trustStorePassword=changeit", "-XX:TieredStopAtLevel=1", "-cp", f".:{JAKARTA}", "SendJakarta")


def msmtp(job):
    for one in job.messages:
        job.run("msmtp", "--file=.msmtprc", one.to, stdin=one.eml())


def curl(job):
    for one in job.messages:
        (job.folder / "message.eml").write_bytes(one.eml())
        job.run("curl", "--silent", "--show-error", "--config", "mail.curl", "--mail-rcpt", one.to, "--upload-file", "message.eml")


def swaks(job):
    for one in job.messages:
        text = ["--body", one.text]
        if one.file:
            text = ["--attach-type", "text/plain; charset=utf-8", "--attach-body", one.text, "--attach-type",
                    "application/octet-stream", "--attach-name", Header(one.filename, "utf-8").encode(), "--attach",
                    f"@{one.file}"]
        job.run("swaks", "--config", ".swaksrc", "--silent", "2", "--to", one.to, "--h-From", formataddr((FROM, USER)), "--h-To",
                formataddr((one.name, one.to)), "--h-Subject", Header(one.subject, "utf-8").encode(), *text)


def s_nail(job):
    for one in job.messages:
        attach = []
        if one.file:
            (job.folder / one.filename).symlink_to(one.file)
            attach = ["-a", one.filename]
        job.run("s-nail", "-n", "-S", f"from={FROM} <{USER}>", "-s", one.subject, *attach, f"{one.name} <{one.to}>",
                stdin=one.text.encode())


@dataclasses.dataclass(frozen=True)
class Client:
    """page: its name in docs/applications/; settings: the file its block becomes; needs: commands and files, with the Debian
    package they are in; utf8: takes addresses beyond ASCII; large: the port on which it sends 30 MB (None: another page's client
    does); host: what it calls the relay."""

    page: str
    settings: str
    send: typing.Callable
    needs: dict
    utf8: bool = False
    large: int | None = 587
    host: str | None = None
    lone_dot: str = "."  # what arrives

    def missing(self):
        there = lambda name: os.path.exists(name) if "/" in name else shutil.which(name)
        return ", ".join(f"{name} ({package})" for name, package in self.needs.items() if not there(name))


def npm(package):
    return {"node": "nodejs", f"{NODE_MODULES}/{package}": "npm: scripts/test fetches it"}


RUBY = {"ruby": "ruby"}
PHPMAILER = {"php": "php-cli", "/usr/share/php/libphp-phpmailer": "libphp-phpmailer"}
SYMFONY = {"php": "php-cli", "/usr/share/php/Symfony/Component/Mailer": "php-symfony-mailer"}
CLIENTS = [
    Client("nodemailer", "mail.mjs", javascript("send_nodemailer.mjs"), npm("nodemailer"), utf8=True, large=465),
    Client("emailjs", "mail.mjs", javascript("send_emailjs.mjs"), npm("emailjs")),
    Client("python-smtplib", "mail.py", driver("/usr/bin/python3", "-B", "send_smtplib.py"), {}, utf8=True, large=465),
    Client("django", "settings.py", driver("/usr/bin/python3", "-B", "send_django.py"),
           {"/usr/lib/python3/dist-packages/django": "python3-django"}),
    Client("ruby-net-smtp", "mail.rb", driver("ruby", "send_net_smtp.rb", complete=True), RUBY),
    Client("actionmailer", "mail.rb", driver("ruby", "send_actionmailer.rb"),
           RUBY | {"/usr/share/doc/ruby-actionmailer": "ruby-actionmailer"}, large=465,
           lone_dot=".."),  # the mail gem stuffs it before Net::SMTP does, until 2.8
    Client("phpmailer", "mail.php", php("send_phpmailer.php"), PHPMAILER),
    Client("wordpress", "mail.php", php("send_phpmailer.php"), PHPMAILER, large=None),
    Client("symfony-mailer", ".env", php("send_symfony.php"), SYMFONY),
    Client("laravel", ".env", php("send_symfony.php"), SYMFONY, large=None),
    Client("perl-net-smtp", "mail.pl", driver("perl", "send_net_smtp.pl", complete=True),
           {"/usr/share/perl5/IO/Socket/SSL.pm": "libio-socket-ssl-perl",
            "/usr/share/perl5/Authen/SASL.pm": "libauthen-sasl-perl"}),
    Client("jakarta-mail", "Mail.java", java,
           {"java": "default-jdk-headless", "javac": "default-jdk-headless",
            "/usr/share/java/jakarta-mail.jar": "libjakarta-mail-java"}, utf8=True, large=465, host=HOST),
    Client("msmtp", ".msmtprc", msmtp, {"msmtp": "msmtp"}),
    Client("swaks", ".swaksrc", swaks, {"swaks": "swaks"}, large=465),
    Client("curl", "mail.curl", curl, {"curl": "curl"}, utf8=True),
    Client("s-nail", ".mailrc", s_nail, {"s-nail": "s-nail"}, large=465),
]


# -- the tests


@pytest.fixture(scope="module")
def relay(shared):
    inbox = shared.sink("example.test")
    address = shared.network.address(1)
    # s-nail compares what it was told with the certificate's names and not with its addresses.
    chain, key = shared.authority.issue(address, HOST)
    lines = re.findall(r"(\w+) = (.*)\n", block("printer", "listener"))
    names = {"0.0.0.0:25": f"{address}:{suites.PORTS['smtp']}", "192.0.2.0/24": shared.network.address(0) + "/24"}
    listener = {name: names[value] for name, value in lines}
    relay = shared.suite({"smtpd.conf": {"certificate": chain, "key": key, "listener smtp": listener,
                                         "listener submission": {"client_certificates": "yes"}}}, address).start()
    relay.user(USER, PASSWORD)
    relay.inbox = inbox
    return relay


@pytest.fixture(scope="module")
def files(shared):
    """What is attached: one with every byte, one that makes 30 MB of mail."""
    (shared.folder / "small").write_bytes(bytes(range(256)) * 100)
    (shared.folder / "large").write_bytes(os.urandom(23_000_000))
    return shared.folder


@pytest.fixture
def folder():
    """Not tmp_path, which pytest keeps for three runs, with all the large messages."""
    with tempfile.TemporaryDirectory(prefix="posthouse-test-client-") as name:
        yield pathlib.Path(name)


def attachment(data):
    """The bytes of the longest part; the email module would take seconds for it."""
    return base64.b64decode(max(data.split(b"\r\n\r\n"), key=len).partition(b"\r\n--")[0])


def decoded(field):
    return str(make_header(decode_header(field)))


def mailbox(field):
    name, address = parseaddr(field)
    return decoded(name), address


def check(relay, client, one):
    arrived = relay.inbox.wait_to(one.to, seconds=60)
    assert arrived.sender == USER
    assert arrived.login == "" and arrived.tls  # how the relay delivers
    assert decoded(arrived.header("Subject")) == one.subject
    assert mailbox(arrived.header("From")) == (FROM, USER)
    assert mailbox(arrived.header("To")) == (one.name, one.to)
    data, arrived.data = arrived.data, b""  # large ones would add up
    if one.file and one.file.name == "large":
        assert len(data) > 30_000_000 and attachment(data) == one.file.read_bytes()
        return
    parsed = email.message_from_bytes(data, policy=email.policy.default)
    body = parsed.get_body(("plain",)).get_content()
    assert body.replace("\r\n", "\n").rstrip("\n") == one.text.rstrip("\n").replace("\n.\n", f"\n{client.lone_dot}\n")
    if one.file:
        assert [(part.get_filename(), part.get_content()) for part in parsed.iter_attachments()] == \
            [(one.filename, one.file.read_bytes())]


@pytest.mark.parametrize("port", LISTENERS)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.page)
def test_client(relay, files, folder, client, port):
    if client.missing():
        pytest.skip(f"not installed: {client.missing()}")
    settings = folder / client.settings
    settings.write_text(fill_in(block(client.page, port), relay, client.host))
    settings.chmod(0o600)
    tag = f"{client.page}-{port}@example.test"
    messages = [
        Mail(f"text-{tag}", "Your order 4711", "Thank you.\n.a line with a dot\n.\nend\n", name="Ann Other"),
        Mail(f"file-{tag}", "Rechnung für März – 請求書", "Grüße, wie besprochen – 添付\n", file=files / "small",
             filename="Rechnung für März.pdf"),
    ]
    if client.utf8:
        messages.append(Mail(f"jürgen-{tag}", "Grüße", "Hello.\n"))
    if client.large == port:
        messages.append(Mail(f"large-{tag}", "Large", "As attached.\n", file=files / "large", filename="large.bin"))
    client.send(Job(relay, folder, messages))
    for one in messages:
        check(relay, client, one)


@pytest.mark.parametrize("page", ["msmtp", "curl"])
def test_certificate_instead_of_a_password(relay, shared, files, folder, page):
    """The page's third block: nobody knows a password."""
    client = next(c for c in CLIENTS if c.page == page)
    chain, key = folder / "client.pem", folder / "client.key"
    certs.self_signed(chain, key, f"client of {page}")
    printed = subprocess.run(["openssl", "x509", "-in", chain, "-noout", "-fingerprint", "-sha256"], capture_output=True,
                             text=True, check=True)
    relay.ctl("user", "certificate", USER, printed.stdout.strip())
    one = Mail(f"certificate-{page}@example.test", "By certificate", "Text.\n")
    text = fill_in(block(page, "certificate"), relay, client.host, one.to)
    assert "secret" not in text and PASSWORD not in text
    name = {"msmtp": ".msmtprc", "curl": "mail.curl"}[page]
    settings = folder / name
    settings.write_text(re.sub(r"/etc/\w+/client\.", f"{folder}/client.", text))
    settings.chmod(0o600)
    {"msmtp": msmtp, "curl": curl}[page](Job(relay, folder, [one]))
    check(relay, client, one)
    relay.wait_log(f"auth: result=ok, credential={USER}, mechanism=EXTERNAL")


def printer(relay, source, recipient):
    """Plays the printer's dialogue until it ends; the reply to each line, to DATA and the message."""
    replies = []
    lines = fill_in(block("printer", "dialogue"), relay, recipient=recipient).splitlines()
    with socket.create_connection((relay.address, suites.PORTS["smtp"]), timeout=30, source_address=(source, 0)) as connection:
        stream = connection.makefile("rwb")
        replies.append(stream.readline())
        in_message = False
        for line in lines:
            stream.write(line.encode() + b"\r\n")
            if in_message and line != ".":
                continue
            stream.flush()
            replies.append(stream.readline())
            in_message = line == "DATA" and replies[-1].startswith(b"354")
            if replies[-1].startswith(b"421"):
                break
    return [int(reply[:3]) for reply in replies]


def test_printer(relay, shared):
    """HELO and no TLS, from the trusted network."""
    assert printer(relay, shared.network.address(77), "printer@example.test") == [220, 250, 250, 250, 354, 250, 221]
    arrived = relay.inbox.wait_to("printer@example.test")
    assert arrived.sender == USER and arrived.header("Subject") == "Scan" and arrived.data.endswith(b"\r\n\r\nOne page.\r\n")


def test_printer_of_another_network(relay):
    """It looks at no reply, and is stopped at the first line of its message."""
    assert printer(relay, "127.0.0.1", "stranger@example.test") == [220, 250, 250, 550, 554, 421]


def test_every_page_is_tested_and_listed():
    pages = {page.stem for page in PAGES.glob("*.md")} - {"README"}
    assert pages == {client.page for client in CLIENTS} | {"printer"}
    assert pages == set(re.findall(r"\]\(([\w-]+)\.md\)", (PAGES / "README.md").read_text()))
