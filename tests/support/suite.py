"""A whole suite of its own: configuration, state, processes; started, used, ended and checked."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import smtplib
import ssl
import subprocess
import tempfile
import time

from . import configuration, process, wait

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("POSTHOUSE_BUILD", SOURCE / "build" / "dev")).resolve()
PROGRAMS = ("smtpd", "auth", "qmgr", "dkim-signer", "smtp-out", "bounce")
TROUBLE = re.compile(r"ERROR: (Address|Leak)Sanitizer|runtime error:|AddressSanitizer|LeakSanitizer")
PORTS = {"smtp": 2525, "submission": 5870, "submissions": 4650}


@dataclasses.dataclass
class Child:
    role: str
    slot: int
    pid: int


def runs(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Refused(AssertionError):
    """The suite did not take a message."""

    def __init__(self, code, reply):
        super().__init__(f"{code} {reply}")
        self.code, self.reply = code, reply


class Suite:
    """changes: {"qmgr.conf": {"retry_min": "2s"}, "smtpd.conf": {"listener smtp": {"tls": "none"}}} over the defaults here;
    a value of None takes a parameter away."""

    def __init__(self, address, dns, certificate, ca_file="", changes=None, folder=None, sanitizer_options="",
                 environment=None):
        self.address, self.certificate, self.ca_file = address, certificate, ca_file
        self._own_folder = folder is None
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="posthouse-test-"))
        self.config, self.state = self.folder / "etc", self.folder / "state"
        self.log, self.stderr = self.folder / "log", self.folder / "stderr"
        self.sanitizer_options = sanitizer_options
        self.environment = dict(environment or {})  # of every program
        self.process = None
        self.parameters = configuration.merge(self._defaults(dns), changes or {})
        configuration.write(self.config, self.parameters)

    def _defaults(self, dns):
        chain, key = self.certificate
        return {
            "posthouse.conf": {
                "hostname": "relay.posthouse.test",
                "state_directory": self.state,
                "program_directory": BUILD / "bin",
                "log": self.log,
                "log_level": "debug",
                "separate_users": "no",
                "shutdown_timeout": "10s",
                "journal_segment_size": "1M",
            },
            "master.conf": {"smtpd_workers": 2, "dkim_signer_workers": 1, "smtp_out_workers": 2},
            "smtpd.conf": {
                "certificate": chain,
                "key": key,
                "min_free_space": 0,
                "listener smtp": {
                    "address": f"{self.address}:{PORTS['smtp']}",
                    "trusted_networks": "127.0.0.0/8",
                },
                "listener submission": {
                    "address": f"{self.address}:{PORTS['submission']}",
                    "auth": "required",
                    "role": "submission",
                },
                "listener submissions": {
                    "address": f"{self.address}:{PORTS['submissions']}",
                    "tls": "implicit",
                    "auth": "required",
                    "role": "submission",
                },
            },
            "qmgr.conf": {
                "retry_min": "1s",
                "retry_max": "4s",
                "lifetime": "2m",
                "delay_warning": 0,
                "scan_interval": "2s",
            },
            "smtp-out.conf": {
                "dns_servers": f"{dns[0]}:{dns[1]}",
                "dns_timeout": "1s",
                "delivery_port": PORTS["smtp"],
                "connect_timeout": "5s",
                "ca_file": self.ca_file or None,
            },
        }

    def configure(self, changes):
        """Other settings from the next start or reload on."""
        self.parameters = configuration.merge(self.parameters, changes)
        configuration.write(self.config, self.parameters)

    # -- life

    def _environment(self):
        options = "exitcode=77:abort_on_error=0:detect_leaks=1" + self.sanitizer_options
        return {**os.environ, "ASAN_OPTIONS": options, "UBSAN_OPTIONS": "print_stacktrace=1", "LC_ALL": "C.UTF-8",
                **self.environment}

    def spawn(self):
        """Starts master and does not wait."""
        with open(self.stderr, "ab") as err:
            self.process = subprocess.Popen([BUILD / "bin" / "posthouse-master", "-c", self.config],
                                            stdin=subprocess.DEVNULL, stdout=err, stderr=err, env=self._environment(),
                                            start_new_session=True, preexec_fn=process.die_with_parent, cwd="/")
        self.session = self.process.pid
        return self

    def start(self):
        self.spawn()
        try:
            return self.wait_ready()
        except AssertionError:
            self.stop()
            raise

    def wait_ready(self, seconds=30):
        """Until every program runs and said so, by master's log and /proc."""
        wait.until(self.is_ready, seconds, f"the suite to be ready\n{self.tail()}", every=0.1)
        return self

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"posthouse-master ended with {self.process.returncode}: {self.tail()}")
        ready = {int(re.search(r"pid=(\d+)", line).group(1)) for line in self.log_lines(r"master\[\d+\]: child ready:")}
        children = self.children()
        return {c.role for c in children} == set(PROGRAMS) and all(c.pid in ready for c in children)

    def stop(self):
        """Orderly; then nothing of the suite may run any more."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill_everything()
                raise AssertionError("posthouse-master did not end within 30 s of SIGTERM") from None
        self.process = None
        try:
            wait.until(lambda: not self.pids_of_session(), 15, "the end of every process of the suite")
        finally:
            self.kill_everything()

    def kill_everything(self):
        """SIGKILL to every process of the suite at once."""
        for pid in self.pids_of_session():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.process is not None:
            self.process.wait(10)
            self.process = None

    def check(self):
        """No sanitizer may have reported anything."""
        text = self.stderr.read_text(errors="replace") if self.stderr.exists() else ""
        assert not TROUBLE.search(text), f"a sanitizer reported:\n{text[-6000:]}"

    def close(self, keep):
        """Ends and checks; the folder stays when the test failed."""
        failed = None
        try:
            self.stop()
            self.check()
        except AssertionError as trouble:
            failed = trouble
        if self._own_folder and not keep and failed is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            print(f"\nkept for you: {self.folder}\n{self.tail(60)}")
        if failed is not None:
            raise failed

    # -- processes

    def pids_of_session(self):
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.session and fields[0] != "Z":
                found.append(int(entry.name))
        return found

    def children(self, role=None):
        """What runs under master by /proc, whatever the suite says of itself."""
        found = []
        for pid in self.pids_of_session():
            try:
                words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                parent = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            name = os.path.basename(words[0].decode()).removeprefix("posthouse-")
            if int(parent) != self.process.pid or name not in PROGRAMS:
                continue
            slot = int(words[words.index(b"-s") + 1]) if b"-s" in words else 0
            if role in (None, name):
                found.append(Child(name, slot, pid))
        return sorted(found, key=lambda c: (c.role, c.slot))

    def kill(self, role, slot=0, signo=signal.SIGKILL):
        """The pid that was killed; of SIGKILL nothing runs any more then."""
        child = next(c for c in self.children(role) if c.slot == slot)
        os.kill(child.pid, signo)
        if signo == signal.SIGKILL:
            wait.until(lambda: not runs(child.pid), 20, f"the end of {role}", every=0.001)
        return child.pid

    # -- the admin's command

    def ctl(self, *arguments, stdin="", check=True, timeout=60):
        """posthouse ARGUMENTS; a CompletedProcess with text."""
        done = subprocess.run([BUILD / "bin" / "posthouse", "-c", self.config, *map(str, arguments)], input=stdin,
                              capture_output=True, text=True, env=self._environment(), timeout=timeout)
        assert not TROUBLE.search(done.stderr), done.stderr
        if check:
            assert done.returncode == 0, f"posthouse {' '.join(map(str, arguments))}: {done.returncode}\n" \
                                         f"{done.stdout}{done.stderr}"
        return done

    def status(self, check=True):
        done = self.ctl("status", "--json", check=check)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def user(self, name, password, *options):
        return self.ctl("user", "add", name, *options, stdin=password + "\n")

    # -- logs and files

    def tail(self, lines=30):
        text = ""
        for file in (self.stderr, self.log):
            if file.exists():
                text += f"--- {file.name}\n" + "\n".join(file.read_text(errors="replace").splitlines()[-lines:]) + "\n"
        return text

    def log_lines(self, pattern=""):
        if not self.log.exists():
            return []
        return [line for line in self.log.read_text(errors="replace").splitlines() if re.search(pattern, line)]

    def wait_log(self, pattern, seconds=20, count=1):
        """The lines with this pattern, once there are so many."""
        found = lambda: (lambda lines: lines if len(lines) >= count else None)(self.log_lines(pattern))
        return wait.until(found, seconds, f"{count} log line(s) with {pattern!r}\n{self.tail()}", every=0.1)

    def queue_files(self, *states):
        """Queue files by state folder, all states without arguments."""
        root = self.state / "queue"
        return sorted(p for state in states or ("new", "deferred", "hold") for p in (root / state).rglob("*")
                      if p.is_file())

    def wait_empty(self, seconds=30):
        """Until no message is left in the queue."""
        wait.until(lambda: not self.queue_files(), seconds, f"an empty queue, left: {self.queue_files()[:5]}")

    # -- mail

    def connect(self, listener="smtp", login=None, tls=None, source=None, timeout=30):
        """A smtplib session on one of the listeners; login = (user, password); tls defaults to what the listener needs."""
        context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        context.check_hostname = False
        where = {"host": self.address, "port": PORTS[listener], "timeout": timeout, "local_hostname": "app.test",
                 "source_address": (source, 0) if source else None}
        if listener == "submissions":
            client = smtplib.SMTP_SSL(context=context, **where)
        else:
            client = smtplib.SMTP(**where)
            if tls or (tls is None and listener == "submission"):
                client.starttls(context=context)
        client.ehlo_or_helo_if_needed()
        if login:
            client.login(*login)
        return client

    def submit(self, recipients, content=None, sender="app@sender.test", listener="smtp", login=None, client=None,
               mail_options=(), rcpt_options=()):
        """Sends one message and returns its queue id; Refused with the reply when it is not taken."""
        recipients = [recipients] if isinstance(recipients, str) else recipients
        session = client or self.connect(listener, login)
        try:
            for code, reply in [session.mail(sender, list(mail_options)),
                                *(session.rcpt(r, list(rcpt_options)) for r in recipients)]:
                if code >= 400:
                    session.rset()
                    raise Refused(code, reply.decode())
            code, reply = session.data(content if content is not None else message(sender, recipients))
            if code != 250:
                raise Refused(code, reply.decode())
        finally:
            if client is None:
                session.close()
        found = re.search(rb"queued as ([0-9A-Z]{13})", reply)
        assert found, reply
        return found.group(1).decode()


def message(sender="app@sender.test", recipients=("someone@example.test",), subject="Hello", body="A line.\r\n", size=0):
    """A plain message as bytes, padded to about `size` bytes."""
    head = (f"From: Application <{sender or 'app@sender.test'}>\r\nTo: {', '.join(recipients)}\r\nSubject: {subject}\r\n"
            f"Date: {time.strftime('%a, %d %b %Y %H:%M:%S +0000', time.gmtime())}\r\n"
            f"Message-ID: <{time.time_ns():x}.{os.getpid()}@sender.test>\r\n\r\n{body}").encode()
    line = b"0123456789" * 7 + b"\r\n"
    return head + line * (max(0, size - len(head)) // len(line))
