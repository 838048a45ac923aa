#!/usr/bin/python3
"""Plays the dialogues of this folder against posthouse-smtpd.  README.md tells what their lines mean."""

import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
WAIT_S = 10
LISTENERS = {
    "relay": "tls = starttls\n trusted_networks = 127.0.0.0/8",
    "stranger": "tls = starttls",
    "submission": "tls = starttls\n auth = optional\n role = submission\n trusted_networks = 127.0.0.0/8",
    "submissions": "tls = implicit\n auth = required\n role = submission",
    "devices": "tls = none\n trusted_networks = 127.0.0.0/8\n bare_line_ends = normalise",
    "bare": "tls = none\n trusted_networks = 127.0.0.0/8\n banner = mind the gap\n discard_ehlo_keywords = "
            "PIPELINING SIZE 8BITMIME DSN SMTPUTF8 CHUNKING DELIVERBY MT-PRIORITY LIMITS HELP",
    "proxied": "tls = none\n trusted_networks = 192.0.2.0/24 2001:db8::/32\n proxy_networks = 127.0.0.0/8",
    "behind": "tls = none\n trusted_networks = 192.0.2.0/24\n xclient_networks = 127.0.0.0/8",
    "hushed": "tls = starttls\n trusted_networks = 192.0.2.0/24\n greet_wait = 300ms\n proxy_networks = 127.0.0.1",
}


CREDENTIAL, PASSWORD = "joe@app.test", "pass word"


class Failed(Exception):
    pass


class Server:
    """One posthouse-smtpd, started as master would, with a queue of its own."""

    def __init__(self, build, folder, config):
        self.folder = pathlib.Path(folder)
        self.log = self.folder / "log"
        self._make_folders()
        self._make_certificate()
        self.sockets = {name: self._listen() for name in LISTENERS}
        self._write_config(config)
        self.build = build
        self.auth_socket = self._listen_auth()
        self._add_data()
        # smtpd first: who logs in before auth is there has to wait, not to fail.
        self.smtpd = self._start("posthouse-smtpd", {f"listen:{name}:0": s for name, s in self.sockets.items()})
        self.auth = self._start("posthouse-auth", {"serve": self.auth_socket})

    def _make_folders(self):
        for name in ["state/run", "state/auth", "state/suppression", "state/queue/tmp/0", "state/queue/deferred", "state/queue/hold",
                     "state/queue/corrupt", "state/queue/journal/0"]:
            (self.folder / name).mkdir(parents=True)
        for name in "0123456789ABCDEFGHJKMNPQRSTVWXYZ":
            (self.folder / "state/queue/new" / name).mkdir(parents=True)

    def _make_certificate(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "30", "-subj", "/CN=mail.test", "-keyout", self.folder / "key.pem",
                        "-out", self.folder / "chain.pem"], check=True, capture_output=True)

    @staticmethod
    def _listen():
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.bind(("127.0.0.1", 0))
        s.listen(128)
        s.setblocking(False)
        return s

    def _write_config(self, config):
        (self.folder / "posthouse.conf").write_text(
            f"hostname = mail.test\nstate_directory = {self.folder}/state\nlog = {self.log}\nseparate_users = no\n"
            "log_level = debug\n")
        text = f"certificate = {self.folder}/chain.pem\nkey = {self.folder}/key.pem\nmin_free_space = 0\n"
        text += "".join(line + "\n" for line in config)
        for name, options in LISTENERS.items():
            port = self.sockets[name].getsockname()[1]
            text += f'listener "{name}" {{\n address = 127.0.0.1:{port}\n {options}\n}}\n'
        (self.folder / "smtpd.conf").write_text(text)

    def _listen_auth(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.bind(str(self.folder / "state/run/auth.sock"))
        s.listen(16)
        s.setblocking(False)
        return s

    def _add_data(self):
        self.ctl("user", "add", CREDENTIAL, "--tenant", "acme", stdin=PASSWORD + "\n")
        self.ctl("suppress", "add", "old@gone.test")

    def ctl(self, *args, stdin=""):
        done = subprocess.run([self.build / "bin/posthouse", "-c", self.folder, *args], input=stdin, capture_output=True,
                              text=True, timeout=WAIT_S)
        if done.returncode != 0:
            raise Failed(f"posthouse {' '.join(args)}: {done.stderr.strip()}")

    def _start(self, program, sockets):
        """The program with its ready pipe, as master would start it."""
        ours, theirs = socket.socketpair()
        fds = {name: s.fileno() for name, s in sockets.items()}
        fds["ready"] = theirs.fileno()
        environment = dict(os.environ, POSTHOUSE_FDS=" ".join(f"{name}={fd}" for name, fd in fds.items()))
        process = subprocess.Popen([self.build / "bin" / program, "-c", self.folder, "-s", "0"], env=environment,
                                   pass_fds=list(fds.values()), stderr=open(self.folder / "stderr", "ab"))
        theirs.close()
        ours.settimeout(WAIT_S)
        if ours.recv(1) != b"R":
            process.wait()
            raise Failed(f"{program} did not start: " + self.errors())
        process.ready = ours
        return process

    def errors(self):
        log = self.log.read_text() if self.log.exists() else ""
        return (self.folder / "stderr").read_text() + log

    def queue_files(self):
        return sorted((self.folder / "state/queue/new").glob("*/*"), key=lambda p: p.name)

    def stop(self):
        for process in (self.smtpd, self.auth):
            if process.poll() == 0:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                status = process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise Failed("server did not end at SIGTERM")
            if status != 0:
                raise Failed(f"server ended with {status}: {self.errors()}")


def unescape(text):
    letters = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}

    def one(match):
        if match[1][:1] != b"x":
            return letters[match[1]]
        return bytes([int(match[1][1:], 16)])

    try:
        return re.sub(rb"\\(x[0-9a-fA-F]{2}|.)", one, text.encode())
    except (KeyError, ValueError):
        raise Failed(f"not an escape that is known, in {text!r}")


class Dialogue:
    def __init__(self, path, server):
        self.path, self.server = path, server
        self.socket, self.listener, self.input, self.reply = None, "relay", b"", ""
        self.queue_before = {p.name for p in server.queue_files()}
        self.log_before = server.log.stat().st_size if server.log.exists() else 0

    def connect(self):
        if self.socket is None:
            port = self.server.sockets[self.listener].getsockname()[1]
            self.socket = socket.create_connection(("127.0.0.1", port), WAIT_S)
            if self.listener == "submissions":
                self.starttls("")

    def read_line(self):
        while b"\n" not in self.input:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            except TimeoutError:
                raise Failed(f"no reply within {WAIT_S} s; so far {self.input!r}")
            if not data:
                raise Failed("server closed the connection")
            self.input += data
        line, self.input = self.input.split(b"\n", 1)
        return line.decode().rstrip("\r")

    def expect(self, text):
        self.connect()
        lines = [self.read_line()]
        while lines[-1][3:4] == "-":
            lines.append(self.read_line())
        self.reply = "\n".join(line[4:] for line in lines)
        code, _, part = text.partition(" ")
        enhanced = re.match(r"\d\.\d+\.\d+( |$)", part)
        if enhanced:
            part = part[enhanced.end():]
        if lines[-1][:3] != code or not self.reply.startswith(enhanced[0] if enhanced else "") or part not in self.reply:
            raise Failed(f"want {text!r}, got {lines!r}")

    def expect_many(self, text):
        count, _, code = text.partition(" ")
        for _ in range(int(count)):
            self.expect(code)

    def expect_not(self, text):
        if text in self.reply:
            raise Failed(f"the reply holds {text!r}: {self.reply!r}")

    def send(self, data):
        self.connect()
        self.socket.sendall(data)

    def drip(self, text):
        """Each byte in a packet of its own."""
        self.connect()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in unescape(text):
            self.socket.sendall(bytes([byte]))
            time.sleep(0.001)

    def repeat(self, text):
        count, _, line = text.partition(" ")
        self.send((line.encode() + b"\r\n") * int(count))

    def repeat_bytes(self, text):
        count, _, part = text.partition(" ")
        self.send(part.encode() * int(count))

    def starttls(self, _):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)

    def closed(self, _):
        try:
            line = self.read_line()
        except Failed as e:
            if "closed" in str(e):
                self.socket.close()
                self.socket = None
                self.input = b""
                return
            raise
        raise Failed(f"want the end, got {line!r}")

    def newest(self):
        fresh = [p for p in self.server.queue_files() if p.name not in self.queue_before]
        if not fresh:
            raise Failed("nothing was queued")
        return fresh[-1].read_bytes().decode(errors="replace").replace("\r\n", "\n")

    def queue_has(self, text):
        if unescape(text).decode() not in self.newest():
            raise Failed(f"queue file lacks {text!r}:\n{self.newest()}")

    def queue_has_not(self, text):
        if unescape(text).decode() in self.newest():
            raise Failed(f"queue file holds {text!r}:\n{self.newest()}")

    def flags(self, text):
        """Of the first line of a queue file (docs/QUEUE.md)."""
        have = self.newest().split("\n", 1)[0].split(" ")[-1].replace("-", "")
        if have != text.replace("none", ""):
            raise Failed(f"flags are {have!r}")

    def queued(self, text):
        fresh = [p for p in self.server.queue_files() if p.name not in self.queue_before]
        if len(fresh) != int(text):
            raise Failed(f"{len(fresh)} messages queued, want {text}")
        left = list((self.server.folder / "state/queue/tmp/0").iterdir())
        if left:
            raise Failed(f"left behind: {left}")

    def logged(self, text):
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            with open(self.server.log, encoding="utf-8", errors="replace") as f:
                f.seek(self.log_before)
                if text in f.read():
                    return
            time.sleep(0.02)
        raise Failed(f"no log line with {text!r}")

    def use_listener(self, text):
        if self.socket is not None:
            self.socket.close()
        self.socket, self.input, self.listener = None, b"", text

    def run_ctl(self, text):
        self.server.ctl(*text.split())

    def kill_auth(self, _):
        self.server.auth.send_signal(signal.SIGTERM)
        self.server.auth.wait(WAIT_S)

    def drain(self, _):
        self.server.smtpd.send_signal(signal.SIGTERM)

    ACTIONS = [
        (r"C: ?(.*)", lambda d, t: d.send(t.encode() + b"\r\n")),
        (r"C\\ ?(.*)", lambda d, t: d.send(unescape(t))),
        (r"C\* (.*)", repeat),
        (r"C\+ (.*)", repeat_bytes),
        (r"C\| (.*)", drip),
        (r"S: (.*)", expect),
        (r"S\* (.*)", expect_many),
        (r"S! (.*)", expect_not),
        (r"starttls()", starttls),
        (r"closed()", closed),
        (r"Q: (.*)", queue_has),
        (r"Q! (.*)", queue_has_not),
        (r"flags (.*)", flags),
        (r"queued (.*)", queued),
        (r"log: (.*)", logged),
        (r"listener (.*)", use_listener),
        (r"ctl: (.*)", run_ctl),
        (r"no auth()", kill_auth),
        (r"drain()", drain),
    ]

    def line(self, text):
        for pattern, action in self.ACTIONS:
            match = re.fullmatch(pattern, text)
            if match:
                action(self, match[1])
                return
        raise Failed("not a line of a dialogue")

    def play(self, lines):
        for number, text in lines:
            try:
                self.line(text)
            except (Failed, OSError) as e:
                raise Failed(f"{self.path.name}:{number}: {text}: {e}")
        if self.socket is not None:
            self.socket.close()


def read_script(path):
    config, lines = [], []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        if text.startswith("config "):
            config.append(text[len("config "):])
        elif text.strip() and not text.startswith("#"):
            lines.append((number, text))
    return config, lines


def play(build, path, shared):
    """Files with parameters of their own, or that end the server, get one of their own."""
    config, lines = read_script(path)
    own = config or any(text in ("drain", "no auth") for _, text in lines)
    with tempfile.TemporaryDirectory(prefix="posthouse-dialogue-") as folder:
        server = Server(build, folder, config) if own else shared
        try:
            Dialogue(path, server).play(lines)
        finally:
            if own:
                server.stop()


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    paths = [pathlib.Path(p) for p in sys.argv[2:]] or sorted(p for p in HERE.glob("*.txt") if p.name != "CMakeLists.txt")
    failures = 0
    with tempfile.TemporaryDirectory(prefix="posthouse-dialogue-") as folder:
        shared = Server(build, folder, [])
        for path in paths:
            try:
                play(build, path, shared)
                print(f"ok      {path.name}")
            except Failed as e:
                failures += 1
                print(f"FAILED  {e}")
        try:
            shared.stop()
        except Failed as e:
            failures += 1
            print(f"FAILED  {e}")
    print(f"{len(paths)} dialogues, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
