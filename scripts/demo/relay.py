"""The suite of the demo: its configuration in a state folder, its programs, its admin command."""

import json
import os
import pathlib
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile

from support import configuration, process, suite, wait

HEAD = "# Written by scripts/run at every start.\n"
RUN_DIRECTORY_MAX = 90  # posthouse.conf: the path of a socket is short


class Trouble(Exception):
    """One clear line for the person who runs the demo."""


class Relay:
    def __init__(self, source, state, ports, internet, certificate, authority):
        self.bin = source / "build" / "release" / "bin"
        self.state, self.ports, self.authority = state, ports, authority
        self.config, self.log = state / "etc", state / "log" / "posthouse.log"
        self.process = None
        self.log.parent.mkdir(parents=True, exist_ok=True)
        run = state / "run"
        if len(str(run)) > RUN_DIRECTORY_MAX:
            run = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-run-"))
        configuration.write(self.config, self._files(run, internet, certificate), HEAD)

    def _files(self, run, internet, certificate):
        plain, submission, tls = self.ports
        return {
            "posthouse.conf": {"hostname": "relay.yourapp.test", "state_directory": self.state / "lib",
                               "run_directory": run, "program_directory": self.bin, "log": self.log,
                               "separate_users": "no"},
            "smtpd.conf": {
                "certificate": certificate[0], "key": certificate[1],
                "listener smtp": {"address": f"127.0.0.1:{plain}", "auth": "optional"},
                "listener submission": {"address": f"127.0.0.1:{submission}", "auth": "required", "role": "submission"},
                "listener submissions": {"address": f"127.0.0.1:{tls}", "tls": "implicit", "auth": "required",
                                         "role": "submission"},
            },
            "qmgr.conf": {"retry_min": "2s", "retry_max": "10s", "lifetime": "10m", "delay_warning": 0},
            "smtp-out.conf": {"dns_servers": f"{internet.dns.address}:{internet.dns.port}",
                              "delivery_port": internet.delivery_port, "ca_file": self.authority.certificate},
        }

    def check_ports(self):
        for port in self.ports:
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    s.bind(("127.0.0.1", port))
                except OSError as error:
                    raise Trouble(f"127.0.0.1:{port} can not be used ({error.strerror}): choose others with "
                                  "--ports PLAIN,SUBMISSION,TLS") from None

    # -- the admin's command

    def ctl(self, *arguments, stdin=""):
        done = subprocess.run([self.bin / "posthouse", "-c", self.config, *arguments], input=stdin, capture_output=True,
                              text=True, timeout=60)
        if done.returncode != 0:
            raise Trouble(f"posthouse {' '.join(arguments)} failed: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def ctl_json(self, *arguments):
        return json.loads(self.ctl(*arguments, "--json"))

    # -- life

    def start(self):
        self.check_ports()
        before = self.log.stat().st_size if self.log.exists() else 0
        with open(self.state / "log" / "stderr", "wb") as err:
            # A session of its own: Ctrl-C is for us, and we stop the suite.
            self.process = subprocess.Popen([self.bin / "posthouse-master", "-c", self.config], stdin=subprocess.DEVNULL,
                                            stdout=err, stderr=err, start_new_session=True, cwd="/",
                                            preexec_fn=process.die_with_parent)

        def ready():
            if self.process.poll() is not None:
                raise Trouble(f"posthouse-master ended with status {self.process.returncode}: {self._last_line(before)}")
            return self._all_ready(before)

        try:
            wait.until(ready, 30, "all programs of the suite ready", every=0.1)
        except wait.Timeout as late:
            raise Trouble(f"{late}; its log is {self.log}") from None

    def _new_log(self, before):
        if not self.log.exists():
            return ""
        with open(self.log, "rb") as log:
            log.seek(before)
            return log.read().decode(errors="replace")

    def _all_ready(self, before):
        text = self._new_log(before)
        ready = set(re.findall(r"child ready: program=([\w-]+), slot=\d+", text))
        return set(suite.PROGRAMS) <= ready

    def _last_line(self, before):
        text = (self.state / "log" / "stderr").read_text(errors="replace") + self._new_log(before)
        return (text.strip().splitlines() or ["no log line says why"])[-1]

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(45)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise Trouble("the suite did not stop within 45 s and was killed") from None

    # -- what an application does

    def connect(self, tls):
        """A session as a careful application opens it: certificate checked."""
        context = ssl.create_default_context(cafile=self.state / "tls" / "chain.pem")
        _, submission, implicit = self.ports
        if tls:
            return smtplib.SMTP_SSL("127.0.0.1", implicit, context=context, timeout=30, local_hostname="app.yourapp.test")
        client = smtplib.SMTP("127.0.0.1", submission, timeout=30, local_hostname="app.yourapp.test")
        client.starttls(context=context)
        return client
