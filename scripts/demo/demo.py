"""The first five minutes: the real suite, an internet of its own, and the life of four messages.  Called by scripts/run."""

import email
import fcntl
import json
import os
import pathlib
import re
import secrets
import signal
import sys
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests"))

import dkim  # noqa: E402
import options as command_line  # noqa: E402
import screen  # noqa: E402
from internet import BUSY, CLOSED, FRIENDLY, HOME, Internet  # noqa: E402
from relay import Relay, Trouble  # noqa: E402
from support import certs, wait  # noqa: E402

USER = f"app@{HOME}"
STEP_SECONDS = 30


class Demo:
    def __init__(self, options):
        self.state = options.state.absolute()
        self.fresh = not (self.state / "lib").exists()
        (self.state / "tls").mkdir(parents=True, exist_ok=True)
        self.lock = open(self.state / "lock", "w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Trouble(f"another scripts/run uses {self.state}: choose another folder with --state DIR") from None
        authority = certs.Authority(self.state / "internet" / "ca")
        self.internet = Internet(self.state / "internet", authority)
        self.relay = Relay(SOURCE, self.state, options.ports, self.internet, self._certificate(), authority)
        self.steps = 0

    def _certificate(self):
        chain, key = self.state / "tls" / "chain.pem", self.state / "tls" / "key.pem"
        if not chain.exists():
            certs.self_signed(chain, key, "localhost", "127.0.0.1")
        return chain, key

    # -- before the first message

    def prepare(self):
        screen.fact("state", f"{self.state} ({'new' if self.fresh else 'from an earlier run'})")
        self._make_keys()
        self.internet.start()
        screen.fact("internet", f"DNS at {self.internet.dns.address}:{self.internet.dns.port}; mail servers of "
                    f"{', '.join(self.internet.sinks)} on port {self.internet.delivery_port}")
        self._make_user()
        self._forget_bounces()
        self.relay.start()
        screen.fact("suite", f"running, pid {self.relay.process.pid}, log {self.relay.log}")

    def _make_keys(self):
        if HOME not in self.relay.ctl("dkim", "list"):
            self.relay.ctl("dkim", "generate", HOME)
        keys = self.relay.ctl_json("dkim", "dns", HOME)
        for key in keys:
            self.internet.publish(key["name"], key["record"])
        screen.fact("DKIM", "keys " + ", ".join(f"{key['selector']} ({key['type']})" for key in keys) +
                    f" of {HOME}, published in the DNS")

    def _make_user(self):
        secret = self.state / "password"
        known = [row["name"] for row in self.relay.ctl_json("user", "list")] if not self.fresh else []
        if USER in known and secret.exists():
            self.password = secret.read_text().strip()
            screen.fact("user", f"{USER}, from an earlier run")
            return
        self.password = secrets.token_hex(10)  # no "-" in front, which would be an option
        secret.touch(mode=0o600)
        secret.write_text(self.password + "\n")
        verb = "passwd" if USER in known else "add"
        self.relay.ctl("user", verb, USER, stdin=self.password + "\n")
        screen.fact("user", f"{USER}, made with: posthouse user {verb} {USER}")

    def _forget_bounces(self):
        """What an earlier run suppressed would spoil the show."""
        if self.fresh:
            return
        for row in self.relay.ctl_json("suppress", "list"):
            if row["address"].endswith(f"@{CLOSED}"):
                self.relay.ctl("suppress", "remove", row["address"])

    # -- one message

    def _message(self, recipient, subject):
        return (f"From: Your application <{USER}>\r\nTo: <{recipient}>\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n"
                "Content-Type: text/plain; charset=utf-8\r\n\r\nWritten by scripts/run.\r\n").encode()

    def submit(self, recipient, subject, tls):
        """The queue id; SMTPReply-like tuple when RCPT was refused."""
        client = self.relay.connect(tls)
        try:
            client.login(USER, self.password)
            client.mail(USER)
            code, reply = client.rcpt(recipient)
            if code != 250:
                return None, f"{code} {reply.decode()}"
            code, reply = client.data(self._message(recipient, subject))
            found = re.search(rb"queued as ([0-9A-Z]{13})", reply)
            if code != 250 or not found:
                raise Trouble(f"message to {recipient} was not accepted: {code} {reply.decode()}")
            client.quit()
        finally:
            client.close()
        queue_id = found.group(1).decode()
        screen.seen(f"accepted: 250 {reply.decode()}")
        return queue_id, None

    def step(self, text):
        self.steps += 1
        screen.step(self.steps, text)

    def wait_for(self, domain, match, what):
        begin = time.monotonic()
        try:
            message = self.internet.sinks[domain].wait_for(match, STEP_SECONDS, what)
        except wait.Timeout as late:
            raise Trouble(f"{late}; see {self.relay.log}") from None
        return message, time.monotonic() - begin

    def wait_arrival(self, domain, recipient, queue_id):
        message, seconds = self.wait_for(domain, lambda m: recipient in m.recipients and queue_id in m.text,
                                         f"the message {queue_id} to {recipient} at mx.{domain}")
        screen.seen(f"arrived at mx.{domain} after {seconds:.1f} s, {message.tls or 'without TLS'}")
        return message

    def verify_dkim(self, message):
        """Every signature by dkimpy, with keys from the DNS of the demo."""
        signatures = re.findall(r"^DKIM-Signature:((?:.*\r\n[ \t])*.*)", message.text, re.M | re.I)
        algorithms = [re.search(r"\ba=([\w-]+)", s).group(1) for s in signatures]
        for i, algorithm in enumerate(algorithms):
            verifier = dkim.DKIM(message.data)
            try:
                good = verifier.verify(idx=i, dnsfunc=self.internet.txt_lookup())
            except dkim.DKIMException as error:
                raise Trouble(f"DKIM signature {i + 1} ({algorithm}) does not verify: {error}") from None
            if not good:
                raise Trouble(f"DKIM signature {i + 1} ({algorithm}) does not verify")
            screen.seen(f"DKIM {algorithm} by {verifier.selector.decode()}._domainkey.{verifier.domain.decode()}: good, says dkimpy")
        if sorted(algorithms) != ["ed25519-sha256", "rsa-sha256"]:
            raise Trouble(f"DKIM signatures found: {', '.join(algorithms) or 'none'}; expected one RSA and one Ed25519")

    def wait_trace(self, queue_id, pattern):
        """The life of the message, once it tells that; printed."""
        def told():
            text = self.relay.ctl("trace", queue_id)
            return text if re.search(pattern, text) else None

        try:
            text = wait.until(told, STEP_SECONDS, f"{pattern!r} in the trace of {queue_id}", every=0.2)
        except wait.Timeout as late:
            raise Trouble(f"{late}; see {self.relay.log}") from None
        screen.note(f"posthouse trace {queue_id}")
        screen.quote(text)
        return text

    # -- the four stories

    def deliver(self, title, recipient, tls):
        self.step(title)
        queue_id, refused = self.submit(recipient, title, tls)
        if refused:
            raise Trouble(f"{recipient} was refused: {refused}")
        message = self.wait_arrival(recipient.partition("@")[2], recipient, queue_id)
        self.verify_dkim(message)
        return queue_id

    def deliver_at_once(self, title, recipient, tls):
        queue_id = self.deliver(title, recipient, tls)
        self.wait_trace(queue_id, "status=sent|removed")

    def deliver_on_retry(self):
        queue_id = self.deliver(f"A mailbox that is busy: mx.{BUSY} answers 450 first", f"carol@{BUSY}", False)
        text = self.wait_trace(queue_id, "(?s)status=deferred.*status=sent")
        if "450" not in text:
            raise Trouble(f"the trace of {queue_id} does not tell of the 450 reply")

    def bounce(self):
        gone = f"nobody@{CLOSED}"
        self.step(f"A recipient that does not exist: mx.{CLOSED} answers 550 5.1.1")
        queue_id, refused = self.submit(gone, "Is anybody there?", True)
        if refused:
            raise Trouble(f"{gone} was refused too early: {refused}")
        notice, seconds = self.wait_for(HOME, lambda m: m.sender == "" and queue_id in m.text,
                                        f"the notice about {queue_id} at mx.{HOME}")
        kind = email.message_from_bytes(notice.data).get_content_type()
        if kind != "multipart/report" or notice.recipients != [USER]:
            raise Trouble(f"the notice about {queue_id} is {kind} to {notice.recipients}, expected multipart/report to {USER}")
        screen.seen(f"a notice came back to {USER} after {seconds:.1f} s: {notice.header('Subject')}")
        self.wait_trace(queue_id, "status=bounced")
        if not any(row["address"] == gone for row in self.relay.ctl_json("suppress", "list")):
            raise Trouble(f"{gone} is not on the suppression list")
        screen.seen(f"{gone} is on the suppression list")

        def refused_now():
            return self.submit(gone, "Once more", True)[1]

        reply = refused_now()
        if reply is None:
            raise Trouble(f"the next message to {gone} was accepted although the address is suppressed")
        screen.seen(f"the next attempt is refused at RCPT: {reply}")

    def run(self):
        plain, submission, tls = self.relay.ports
        self.prepare()
        self.deliver_at_once(f"Submission with STARTTLS and AUTH, port {submission}", f"ann@{FRIENDLY}", False)
        self.deliver_at_once(f"Submission with TLS and AUTH, port {tls}", f"bob@{FRIENDLY}", True)
        self.deliver_on_retry()
        self.bounce()
        self.settings()

    def settings(self):
        plain, submission, tls = self.relay.ports
        screen.title("Settings for your application")
        for name, value in (("host", "127.0.0.1"), ("port", f"{submission} with STARTTLS, or {tls} with TLS"),
                            ("user", USER), ("password", self.password),
                            ("CA file", f"{self.state / 'tls' / 'chain.pem'} (the certificate is self-signed)"),
                            ("sender", f"anything@{HOME} gets signed"),
                            ("recipients", f"anything@{FRIENDLY} arrives as a file in {self.state / 'internet' / FRIENDLY}")):
            screen.fact(name, value)
        screen.title("The admin's command")
        print(f"  {self.relay.bin / 'posthouse'} -c {self.relay.config} status", flush=True)

    def watch(self):
        """Until Ctrl-C: what arrives, and whether the suite still runs."""
        screen.title("Running; Ctrl-C ends it.  Mail that arrives:")
        seen = {domain: len(sink.messages) for domain, sink in self.internet.sinks.items()}
        while True:
            time.sleep(0.5)
            if self.relay.process.poll() is not None:
                raise Trouble(f"posthouse-master ended with status {self.relay.process.returncode}; see {self.relay.log}")
            for domain, sink in self.internet.sinks.items():
                for message in sink.messages[seen[domain]:]:
                    screen.note(f"mx.{domain}: from <{message.sender}> to {', '.join(message.recipients)}: "
                                f"{message.header('Subject')}")
                seen[domain] = len(sink.messages)

    def stop(self):
        try:
            self.relay.stop()
        finally:
            self.internet.stop()


def main():
    options = command_line.parse()

    def interrupt(signo, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    demo, status = None, 0
    try:
        demo = Demo(options)
        demo.run()
        if not options.once:
            demo.watch()
    except KeyboardInterrupt:
        status = 130 if options.once else 0
    except (Trouble, wait.Timeout, RuntimeError, OSError, json.JSONDecodeError) as trouble:
        screen.failed(trouble)
        status = 1
    # A second Ctrl-C must not leave anything behind.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if demo is not None:
        try:
            demo.stop()
            screen.title("Everything is stopped.")
        except Trouble as trouble:
            screen.failed(trouble)
            status = status or 1
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
