"""master: starts, restarts, reloads, stops, and refuses what cannot work."""

import os
import re
import smtplib
import socket
import subprocess
import threading
import time

import pytest
from support import sink, suite as suites, wait


@pytest.fixture
def relay(world):
    world.inbox = world.sink("example.test")
    relay = world.suite().start()
    relay.inbox = world.inbox
    return relay


def test_every_child_is_restarted(relay):
    for role in suites.PROGRAMS:
        for child in relay.children(role):
            os.kill(child.pid, 9)
            died, = relay.wait_log(rf"child died: program={role}, slot={child.slot}, pid={child.pid}, ")
            assert "signal 9" in died
            wait.until(lambda: any(c.slot == child.slot and c.pid != child.pid for c in relay.children(role)), 10,
                       f"another {role} in slot {child.slot}")
    relay.wait_ready()
    relay.submit("after@example.test")
    relay.inbox.wait_to("after@example.test")


def test_restarts_back_off(world):
    """A program that dies at once is started after 100, 200, 400 … ms, and the others go on."""
    broken = world.folder / "bin"
    broken.mkdir()
    for program in (suites.BUILD / "bin").glob("posthouse*"):
        (broken / program.name).symlink_to(program)
    (broken / "posthouse-bounce").unlink()
    (broken / "posthouse-bounce").write_text("#!/bin/sh\nexit 3\n")
    (broken / "posthouse-bounce").chmod(0o755)
    inbox = world.sink("example.test")
    relay = world.suite({"posthouse.conf": {"program_directory": broken},
                         "master.conf": {"restart_delay_min": "100ms", "restart_delay_max": "400ms"}}).spawn()
    relay.wait_log("child died: program=bounce, .*exit status 3", count=5)
    waits = [int(re.search(r"in (\d+) ms", line).group(1)) for line in relay.log_lines("child restart: program=bounce")]
    assert waits[:4] == [100, 200, 400, 400]
    wait.until(lambda: all(relay.log_lines(f"child ready: program={p}") for p in suites.PROGRAMS if p != "bounce"), 20,
               "the other programs")
    relay.submit("without-bounce@example.test")
    inbox.wait_to("without-bounce@example.test")


def test_reload_loses_no_connection(relay):
    """Clients come and speak all the while; each gets a whole dialogue, and one that waits is not told to go."""
    trouble, codes, stop = [], [], threading.Event()

    def client():
        while not stop.is_set():
            try:
                with socket.create_connection((relay.address, suites.PORTS["smtp"]), 20) as raw, raw.makefile("rwb") as file:
                    for line in (None, b"HELO app.test", b"MAIL FROM:<a@sender.test>", b"QUIT"):
                        if line:
                            file.write(line + b"\r\n")
                            file.flush()
                        codes.append(int(file.readline()[:3]))
            except (OSError, ValueError) as failed:
                trouble.append(failed)

    threads = [threading.Thread(target=client, daemon=True) for _ in range(3)]
    for t in threads:
        t.start()
    wait.until(lambda: codes.count(220) > 10, 20, "some dialogues")
    before = {c.pid for c in relay.children()}
    relay.configure({"smtpd.conf": {"banner": "Fresh"}})
    with relay.connect("smtp") as waiting:
        relay.ctl("reload")
        wait.until(lambda: len(before & {c.pid for c in relay.children()}) == 1, 20, "the end of all old ones but its own")
        assert waiting.noop()[0] == 250
        assert any("retiring" in c["state"] for c in relay.status()["programs"])
    wait.until(lambda: not before & {c.pid for c in relay.children()}, 20, "the end of every old program")
    stop.set()
    for t in threads:
        t.join(30)
    assert not trouble
    assert codes.count(220) > 10 and set(codes) == {220, 250, 221}
    with socket.create_connection((relay.address, suites.PORTS["smtp"]), 10) as raw:
        assert b"Fresh" in raw.recv(200)


def test_many_reloads_leave_few_old_programs(relay):
    """Each keeps a session; the oldest is told to go when there are too many."""
    held = []
    for _ in range(8):
        held.append(relay.connect("smtp"))
        relay.ctl("reload")
    wait.until(lambda: len(relay.children("smtpd")) <= 2 * (1 + 4), 20, "few old processes")
    told = 0
    for client in held:
        try:
            told += client.noop()[0] == 421
        except smtplib.SMTPServerDisconnected:
            told += 1
        client.close()
    assert told < len(held), "the last ones go on"


def test_reload_with_errors_changes_nothing(relay):
    before = relay.children()
    good = (relay.config / "smtpd.conf").read_text()
    (relay.config / "smtpd.conf").write_text(good + "max_recipients = many\n")
    refused = relay.ctl("reload", check=False)
    assert refused.returncode != 0
    assert re.search(r"smtpd\.conf:\d+: .*max_recipients.*many.*expected", refused.stdout + refused.stderr)
    assert relay.children() == before
    (relay.config / "smtpd.conf").write_text(good)
    relay.ctl("reload")


def test_sighup_reloads(relay):
    before = {c.pid for c in relay.children()}
    relay.process.send_signal(1)
    relay.wait_log("reload complete")
    wait.until(lambda: not before & {c.pid for c in relay.children()}, 20, "the end of every old program")


def test_stop_tells_sessions_and_finishes_deliveries(relay):
    relay.inbox.rules["slow@"] = sink.Rule(delay=2)
    queue_id = relay.submit("slow@example.test")
    wait.until(lambda: any("DATA" in line for _, line in relay.inbox.commands), 10, "the delivery to begin")
    with relay.connect() as session:
        relay.process.terminate()
        code, reply = session.getreply()
        assert code == 421, reply
    relay.process.wait(20)
    assert len(relay.inbox.to("slow@example.test")) == 1
    # The delivery in flight was finished and recorded: the next start does not repeat it.
    relay.stop()
    relay.start()
    time.sleep(2)
    assert len(relay.inbox.to("slow@example.test")) == 1
    assert not relay.queue_files(), queue_id


def run_master(config):
    return subprocess.run([suites.BUILD / "bin" / "posthouse-master", "-c", config], capture_output=True, text=True,
                          timeout=30, stdin=subprocess.DEVNULL)


def test_second_suite_on_one_queue_is_refused(relay):
    second = run_master(relay.config)
    assert second.returncode != 0
    relay.wait_log("another suite runs on")
    relay.submit("still@example.test")
    relay.inbox.wait_to("still@example.test")


@pytest.mark.parametrize("file, line, told", [
    ("smtpd.conf", "max_recipients = many", r"smtpd\.conf:\d+: .*many.*expected a number"),
    ("qmgr.conf", "retry_min = soon", r"qmgr\.conf:\d+: .*soon.*expected"),
    ("posthouse.conf", "nonsense = 1", r"posthouse\.conf:\d+: .*nonsense"),
    ("smtp-out.conf", "delivery_port = 70000", r"smtp-out\.conf:\d+: .*70000.*65535"),
    ("smtpd.conf", 'listener "x" {', r"smtpd\.conf:\d+: "),
])
def test_configuration_errors_start_nothing(world, file, line, told):
    relay = world.suite()
    place = relay.config / file
    place.write_text(place.read_text() + line + "\n")
    done = run_master(relay.config)
    assert done.returncode != 0
    assert re.search(told, done.stderr), done.stderr
    assert not relay.log.exists() or "child started" not in relay.log.read_text()


def test_address_in_use_starts_nothing(world):
    relay = world.suite()
    with socket.create_server((relay.address, suites.PORTS["smtp"])):
        done = run_master(relay.config)
    assert done.returncode != 0
    text = done.stderr + relay.log.read_text()
    assert re.search(r'listener "smtp".*can not listen', text) and "child started" not in text


def test_master_killed_children_end_and_the_next_start_works(relay):
    session = relay.session
    relay.process.kill()
    relay.process.wait()
    wait.until(lambda: not relay.pids_of_session(), 20, f"the end of the children of session {session}")
    relay.process = None
    relay.start()
    relay.submit("again@example.test")
    relay.inbox.wait_to("again@example.test")
