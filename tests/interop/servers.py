"""Mail servers of Debian to compare Posthouse with: fetched, unpacked below build/, and each run in a small world of its own.

The packages conflict with each other and want users, folders and a mail system's place in /etc.  So none is installed: a server
gets namespaces of its own in which its package lies over the machine's files, and nothing of it is left when it ends.  That
takes root, apt-get and unshare.

A relay of 127.0.0.1 takes mail for every domain.  It passes everything on to `smart_host`, a port of 127.0.0.1, or keeps it.
"""

import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "dialogue")]

from support import process, wait  # noqa: E402

HOST = "127.0.0.1"
START_S = 60
RESOLVER = "lookup file\nnameserver 127.0.0.1\n"  # names come from /etc/hosts; nobody is asked

# Over the machine's files: $1 = empty folder, $2 = the package, $3 = what is ours.  A package's /lib would hide the symbolic link
# of that name.  The shell stays and all end with it: the signal it asked for is lost by programs that change users.
WORLD = """
set -e
mount -t tmpfs world "$1"
mkdir "$1/upper" "$1/work" "$1/root"
for part in etc usr var; do [ ! -d "$2/$part" ] || cp -a "$2/$part" "$1/upper/"; done
mount -t overlay world -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cp -r "$3/." "$1/root/"
cat "$1/root/users" >>"$1/root/etc/passwd"
cat "$1/root/groups" >>"$1/root/etc/group"
mount -t proc proc "$1/root/proc"
mount --bind /dev "$1/root/dev"
mount -t tmpfs run "$1/root/run"
chroot "$1/root" /bin/sh -e /start
exit $?
"""


def end_with_us():
    """For preexec_fn; unshare does not listen to SIGTERM."""
    process.die_with_parent(signal.SIGKILL)


def free_port():
    """Below those that the kernel hands out, which a connection of the next moment could be given."""
    while True:
        port = random.randint(20000, 32000)
        with socket.socket() as s:
            try:
                s.bind((HOST, port))
                return port
            except OSError:
                pass


def can_run():
    """Why not, or nothing."""
    if os.geteuid() != 0:
        return "needs root"
    for command in ("apt-get", "dpkg", "unshare"):
        if shutil.which(command) is None:
            return f"needs {command}"
    return ""


def fetch(package, place):
    """The package and what it needs and the machine has not, unpacked on first use."""
    tree, debs = place / package, place / "download" / package
    if not tree.exists():
        (debs / "partial").mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "-q", "-y", "--download-only", "--reinstall", "--no-install-recommends",
                        "-o", f"Dir::Cache::archives={debs}", "install", package], check=True, stdout=subprocess.DEVNULL)
        for deb in debs.glob("*.deb"):
            subprocess.run(["dpkg", "-x", deb, tree], check=True)
    return tree


def version(package, place):
    return next((place / "download" / package).glob(f"{package}_*.deb")).name.split("_")[1].replace("%3a", ":")


class Server:
    """One of them; `files` are laid over its world, `start` is the shell command that becomes it."""

    name = package = users = groups = start_command = ""

    def __init__(self, build, smart_host=0):
        self.place = pathlib.Path(build).resolve().parent / "interop" / "servers"
        self.port, self.smart_host = free_port(), smart_host
        self.process = None

    def files(self):
        return {}

    def version(self):
        return version(self.package, self.place)

    def start(self):
        tree = fetch(self.package, self.place)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-interop-"))
        ours, world = self.folder / "ours", self.folder / "world"
        world.mkdir()
        files = {"etc/resolv.conf": RESOLVER, "users": self.users, "groups": self.groups, "start": self.start_command,
                 **self.files()}
        for path, text in files.items():
            (ours / path).parent.mkdir(parents=True, exist_ok=True)
            (ours / path).write_text(text)
        self.log = self.folder / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private",
                 "sh", "-c", WORLD, "world", world, tree, ours],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=end_with_us)
        wait.until(self._is_up, START_S, f"{self.name} to listen")
        return self

    def _is_up(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} did not start:\n{self.log.read_text(errors='replace')}")
        try:
            with socket.create_connection((HOST, self.port), 10) as s:
                return s.recv(3) == b"220"
        except OSError:
            return False

    def run(self, *command):
        """A command in its world."""
        inside = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0]
        subprocess.run(["nsenter", "-t", inside, "-m", "-p", "chroot", self.folder / "world" / "root", *command],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)

    def try_again(self):
        """What waits, at once."""

    def stop(self):
        """Its whole world ends with the one process that we started."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            shutil.rmtree(self.folder, ignore_errors=True)
            self.process = None


class Postfix(Server):
    name, package = "Postfix", "postfix"
    users = "postfix:x:2001:2001::/var/spool/postfix:/usr/sbin/nologin\n"
    groups = "postfix:x:2001:\npostdrop:x:2002:\n"
    start_command = """
newaliases
chown postfix /var/lib/postfix
touch /var/log/postfix.log
postfix check
exec /usr/lib/postfix/sbin/master -d
"""

    def files(self):
        onward = f"relayhost = [{HOST}]:{self.smart_host}" if self.smart_host else "default_transport = discard"
        main = f"""
compatibility_level = 3.6
myhostname = mail.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = {HOST}
inet_protocols = ipv4
maillog_file = /var/log/postfix.log
smtpd_error_sleep_time = 0
disable_dns_lookups = yes
smtp_host_lookup = native
default_process_limit = 60
{onward}
"""
        master = (self.place / "postfix/usr/share/postfix/master.cf.dist").read_text()
        lines = [f"{HOST}:{self.port} inet n - n - - smtpd"]
        for line in master.splitlines():
            words = line.split()
            if line[:1] not in ("#", " ", "") and words[0] != "smtp" or line.startswith("smtp      unix"):
                lines.append(" ".join(words[:4] + ["n"] + words[5:]))
        return {"etc/postfix/main.cf": main, "etc/postfix/master.cf": "\n".join(lines) + "\n",
                "etc/aliases": "postmaster: root\n"}


class OpenSMTPD(Server):
    name, package = "OpenSMTPD", "opensmtpd"
    users = ("opensmtpd:x:2001:2001::/var/lib/opensmtpd/empty:/usr/sbin/nologin\n"
             "opensmtpq:x:2002:2002::/var/lib/opensmtpd/empty:/usr/sbin/nologin\n")
    groups = "opensmtpd:x:2001:\nopensmtpq:x:2002:\n"
    start_command = "chgrp opensmtpq /usr/sbin/smtpctl\nchmod 2755 /usr/sbin/smtpctl\nexec smtpd -d\n"

    def files(self):
        port = self.smart_host or 9
        return {"etc/smtpd.conf": f"""
mta limit conn-delay-route 0
mta limit reconn-delay-route 0
listen on {HOST} port {self.port} hostname mail.test
action out relay host smtp+notls://{HOST}:{port}
match from any for any action out
"""}

    def try_again(self):
        self.run("smtpctl", "schedule", "all")


class Exim(Server):
    name, package = "Exim", "exim4-daemon-light"
    users = "Debian-exim:x:2001:2001::/var/spool/exim4:/usr/sbin/nologin\n"
    groups = "Debian-exim:x:2001:\n"
    start_command = """
mkdir -p /var/spool/exim4 /var/log/exim4 /run/exim4
chown Debian-exim:Debian-exim /var/spool/exim4 /var/log/exim4 /run/exim4
exec exim4 -bdf -q1h
"""

    def files(self):
        return {"etc/exim4/exim4.conf": f"""
primary_hostname = mail.test
local_interfaces = <; [{HOST}]:{self.port}
domainlist local_domains =
queue_only = {"false" if self.smart_host else "true"}
allow_domain_literals = true
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
tls_advertise_hosts =
smtp_accept_max = 400
smtp_accept_queue_per_connection = 0
host_lookup =
rfc1413_hosts =
keep_environment =
acl_smtp_rcpt = accept
acl_smtp_data = accept
begin routers
onward:
  driver = manualroute
  route_list = * {HOST}
  self = send
  transport = onward
begin transports
onward:
  driver = smtp
  port = {self.smart_host or 9}
  allow_localhost
  hosts_try_fastopen =
  hosts_avoid_tls = *
begin retry
* * F,10m,1s
"""}


FOREIGN = (Postfix, OpenSMTPD, Exim)


class Posthouse:
    """smtpd alone with a listener for those who are trusted, as tests/dialogue starts it."""

    name = "Posthouse"

    def __init__(self, build):
        import run
        self._folder = tempfile.TemporaryDirectory(prefix="posthouse-interop-")
        self.server = run.Server(pathlib.Path(build).resolve(), self._folder.name, [])
        self.port = self.server.sockets["relay"].getsockname()[1]

    def start(self):
        return self

    def version(self):
        return "of this tree"

    def stop(self):
        self.server.stop()
        self._folder.cleanup()
