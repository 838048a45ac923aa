"""Configuration: the shipped files, independent suites side by side, listeners of every kind."""

import pathlib
import socket
import subprocess

import pytest
from support import suite as suites

SHIPPED = suites.SOURCE / "conf"


def posthouse(config, *arguments):
    return subprocess.run([suites.BUILD / "bin" / "posthouse", "-c", config, *arguments], capture_output=True, text=True,
                          timeout=30, stdin=subprocess.DEVNULL)


def test_shipped_files_are_right_and_say_the_defaults(tmp_path):
    shipped = posthouse(SHIPPED, "config", "show")
    assert shipped.returncode == 0, shipped.stderr
    assert posthouse(SHIPPED, "config", "check").returncode == 0
    empty = posthouse(tmp_path, "config", "show")
    assert shipped.stdout == empty.stdout


def test_two_suites_side_by_side(world):
    inbox = world.sink("example.test")
    first, second = world.suite().start(), world.suite().start()
    first.user("app", "one")
    second.user("app", "two")
    a = first.submit("a@example.test", listener="submission", login=("app", "one"))
    b = second.submit("b@example.test", listener="submission", login=("app", "two"))
    inbox.wait_to("a@example.test")
    inbox.wait_to("b@example.test")
    assert not second.log_lines(a) and not first.log_lines(b)
    first.stop()
    second.submit("c@example.test")
    inbox.wait_to("c@example.test")


def test_listeners(world):
    """Several addresses in one listener, IPv6, a Unix socket, trusted networks per listener, a tenant per listener."""
    inbox = world.sink("example.test")
    relay = world.suite()
    second, path = world.network.address(3), relay.folder / "smtp.sock"
    _, x, y, _ = map(int, relay.address.split("."))
    ipv6 = f"[::1]:{1025 + (x * 256 + y) % 60000}"
    relay.configure({"smtpd.conf": {
        "listener smtp": {"address": f"{relay.address}:2525 {second}:2626", "trusted_networks": "127.0.0.1/32"},
        "listener six": {"address": ipv6, "trusted_networks": "::1", "tenant": "six"},
        "listener local": {"address": f"unix:{path}", "tls": "none", "trusted_networks": "127.0.0.0/8 ::1"},
        "listener closed": {"address": f"{world.network.address(4)}:2525", "trusted_networks": "192.0.2.0/24"},
    }})
    relay.start()
    relay.submit("smtp@example.test")
    for family, where in ((socket.AF_INET, (second, 2626)), (socket.AF_INET6, ("::1", int(ipv6.rpartition(":")[2])))):
        with socket.socket(family) as raw:
            raw.connect(where)
            assert raw.recv(100).startswith(b"220")
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(path))
        assert raw.recv(100).startswith(b"220")
    with socket.create_connection((world.network.address(4), 2525)) as raw, raw.makefile("rwb") as file:
        for line, want in ((b"EHLO x.test", b"250"), (b"MAIL FROM:<a@sender.test>", b"250"), (b"RCPT TO:<b@example.test>", b"550 5.7.1")):
            reply = file.readline() if line.startswith(b"EHLO") else b""
            file.write(line + b"\r\n")
            file.flush()
            reply = file.readline()
            while reply[3:4] == b"-":
                reply = file.readline()
            assert reply.startswith(want) or reply.startswith(b"530"), reply
    inbox.wait_to("smtp@example.test")


@pytest.mark.parametrize("file", sorted(p.name for p in SHIPPED.glob("*.conf")))
def test_garbage_is_an_error_with_line_numbers(tmp_path, file):
    (tmp_path / file).write_bytes(b"# fine\n\xff\xfe\x00garbage = {\n= 3\n" + b"x" * 100_000 + b"\n")
    done = posthouse(tmp_path, "config", "check")
    assert done.returncode != 0 and f"{file}:" in done.stdout + done.stderr, done.stderr[:300]
    assert pathlib.Path(tmp_path / file).exists()
