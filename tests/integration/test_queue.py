"""The queue and qmgr: retries, per-recipient outcomes, restarts, orders of the admin, broken files."""

import json
import re
import smtplib
import subprocess
import time

import pytest
from support import sink, suite as suites, wait


@pytest.fixture
def relay(world):
    world.inbox = world.sink("example.test", rules={
        "busy@": sink.Rule(rcpt="450 4.2.1 later", times=3),
        "always@": sink.Rule(rcpt="450 4.2.1 never ready"),
        "gone@": sink.Rule(rcpt="550 5.1.1 no such user"),
        "greylisted@": sink.Rule(dot="451 4.7.1 greylisted", times=1),
    })
    world.home = world.sink("sender.test")
    relay = world.suite().start()
    relay.inbox, relay.home = world.inbox, world.home
    return relay


def attempts(relay, queue_id, status="deferred"):
    """Seconds since midnight of the attempts with this status, by the log."""
    times = []
    for line in relay.log_lines(f"qmgr.* {queue_id}: to=.*status={status}"):
        h, m, s = re.search(r"T(\d+):(\d+):([\d.]+)", line).groups()
        times.append(int(h) * 3600 + int(m) * 60 + float(s))
    return times


def test_waits_double(relay):
    queue_id = relay.submit("busy@example.test")
    relay.inbox.wait_to("busy@example.test", 30)
    tries = attempts(relay, queue_id)
    tries += attempts(relay, queue_id, "sent")
    waits = [b - a for a, b in zip(tries, tries[1:])]
    assert len(waits) == 3
    # Nominal 1, 2, 4 s; jitter takes up to a quarter off, waiting rounds to seconds.
    for got, want in zip(waits, (1, 2, 4)):
        assert want * 0.75 - 1 <= got <= want + 1.5, waits
    assert waits[2] > waits[0]


def test_each_recipient_has_its_own_outcome(relay):
    queue_id = relay.submit(["ann@example.test", "gone@example.test", "busy@example.test"])
    relay.inbox.wait_to("ann@example.test")
    relay.wait_log(f"{queue_id}: to=<gone@example.test>.*status=bounced")
    relay.inbox.wait_to("busy@example.test", 30)
    relay.home.wait_for(lambda m: m.sender == "" and queue_id in m.text, 20)
    relay.wait_empty()
    assert len(relay.inbox.to("ann@example.test")) == 1
    notice, = [m for m in relay.home.messages if m.sender == ""]
    assert re.findall(r"^Final-Recipient: rfc822; (\S+)", notice.text, re.M) == ["gone@example.test"]


def test_refused_after_the_content_is_tried_again(relay):
    relay.submit("greylisted@example.test")
    relay.inbox.wait_to("greylisted@example.test", 20)
    relay.wait_empty()


def test_restart_finds_everything(relay):
    """Deferred and fresh messages survive an orderly stop and a SIGKILL of everything."""
    ids = [relay.submit("busy@example.test"), relay.submit("always@example.test")]
    for queue_id in ids:
        relay.wait_log(f"{queue_id}: .*status=deferred")
    relay.stop()
    assert len(relay.queue_files()) == 2
    relay.start()
    relay.inbox.wait_to("busy@example.test", 30)
    fresh = [relay.submit(f"fresh{i}@example.test") for i in range(20)]
    relay.kill_everything()
    relay.start()
    for i in range(20):
        relay.inbox.wait_to(f"fresh{i}@example.test", 30)
    wait.until(lambda: len(relay.queue_files()) == 1, 20, "only the message that nobody takes left")
    assert ids[1] in relay.queue_files()[0].name and fresh


def test_lifetime_ends(world):
    inbox = world.sink("example.test", rules={"*": sink.Rule(rcpt="450 4.2.1 never ready")})
    home = world.sink("sender.test")
    relay = world.suite({"qmgr.conf": {"lifetime": "3s", "retry_max": "1s"}}).start()
    queue_id = relay.submit("late@example.test")
    notice = home.wait_for(lambda m: m.sender == "" and queue_id in m.text, 30)
    assert "450 4.2.1 never ready" in notice.text
    relay.wait_log(f"{queue_id}: to=<late@example.test>.*status=expired")
    relay.wait_empty()
    assert not inbox.messages
    # A mailbox that was only busy is not suppressed.
    assert relay.ctl("suppress", "list", "--json").stdout.strip() in ("[]", "[\n]")


def test_delay_warning_is_sent_once(world):
    world.sink("example.test", rules={"*": sink.Rule(rcpt="450 4.2.1 never ready")})
    home = world.sink("sender.test")
    relay = world.suite({"qmgr.conf": {"delay_warning": "1s", "retry_max": "1s"}}).start()
    queue_id = relay.submit("late@example.test")
    warning = home.wait_for(lambda m: m.sender == "" and queue_id in m.text, 20)
    assert "Action: delayed" in warning.text and "Will-Retry-Until:" in warning.text
    time.sleep(3)
    assert len(home.messages) == 1 and relay.queue_files()


def test_mail_on_hold_grows_old_as_well(world):
    """Its sender is told of the delay, and it is returned when its lifetime ends; a restart in between changes nothing."""
    world.sink("example.test")
    home = world.sink("sender.test")
    relay = world.suite({"qmgr.conf": {"delay_warning": "4s", "lifetime": "9s"}, "posthouse.conf": {"shutdown_timeout": "2s"}})
    relay.start()
    relay.ctl("queue", "suspend", "--domain", "example.test")
    first = relay.submit("first@example.test")
    relay.wait_log(f"{first}: .*status=suspended")
    relay.ctl("queue", "hold", first)
    second = relay.submit("second@example.test")
    relay.wait_log(f"{second}: .*status=suspended")
    relay.ctl("queue", "hold", second)
    warning = home.wait_for(lambda m: m.sender == "" and first in m.text, 20)
    assert "Action: delayed" in warning.text
    listed = {item["queue_id"]: item["state"] for item in json.loads(relay.ctl("queue", "list", "--json").stdout)}
    assert listed[first] == listed[second] == "hold"
    relay.stop()
    relay.start()
    for queue_id in (first, second):
        home.wait_for(lambda m: m.sender == "" and queue_id in m.text and "Action: failed" in m.text, 30)
    relay.wait_empty()
    assert len(home.messages) == 4, [m.header("Subject") for m in home.messages]


def test_orders_of_the_admin(relay):
    held = relay.submit("always@example.test")
    relay.wait_log(f"{held}: .*status=deferred")
    relay.ctl("queue", "hold", held)
    item, = json.loads(relay.ctl("queue", "list", "hold", "--json").stdout)
    assert (item["queue_id"], item["sender"], item["state"]) == (held, "app@sender.test", "hold")
    before = len(attempts(relay, held))
    time.sleep(3)
    assert len(attempts(relay, held)) == before
    relay.stop()
    relay.start()
    time.sleep(2)
    assert len(attempts(relay, held)) == before, "a message on hold was tried after a restart"
    relay.inbox.rules.clear()
    relay.ctl("queue", "release", held)
    relay.inbox.wait_to("always@example.test", 20)
    relay.inbox.rules["*"] = sink.Rule(rcpt="450 4.2.1 no")
    doomed = relay.submit("doomed@example.test")
    relay.wait_log(f"{doomed}: .*status=deferred")
    assert "doomed@example.test" in relay.ctl("queue", "show", doomed).stdout
    relay.ctl("queue", "delete", doomed)
    relay.wait_empty()
    assert relay.ctl("queue", "show", doomed, check=False).returncode != 0
    assert not relay.home.messages


def test_retry_now(world):
    inbox = world.sink("example.test", rules={"*": sink.Rule(rcpt="450 4.2.1 later", times=1)})
    relay = world.suite({"qmgr.conf": {"retry_min": "10m", "retry_max": "1h", "lifetime": "1d"}}).start()
    queue_id = relay.submit("ann@example.test")
    relay.wait_log(f"{queue_id}: .*status=deferred")
    relay.ctl("queue", "retry", queue_id)
    inbox.wait_to("ann@example.test", 10)


def test_broken_files_are_set_aside(relay):
    relay.submit("always@example.test")
    wait.until(lambda: relay.queue_files("deferred"), 20, "a deferred message")
    relay.stop()
    good, = relay.queue_files("deferred")
    folder = next(p for p in sorted((relay.state / "queue" / "new").rglob("*")) if p.is_dir())
    broken = {"0000000000000": b"no queue file at all\n", "0000000000001": good.read_bytes().replace(b"rcpt", b"rcqt")}
    unfinished = {"0000000000002": b"", "0000000000003": good.read_bytes()[:40], "0000000000004": good.read_bytes()[:400]}
    for name, data in (broken | unfinished).items():
        (folder / name).write_bytes(data)
        (good.parent / f"{name[:-1]}Z").write_bytes(b"\0" * 500)
    relay.start()
    relay.submit("fine@example.test")
    relay.inbox.wait_to("fine@example.test", 20)
    names = lambda where: {p.name for p in (relay.state / "queue" / where).iterdir()}
    wait.until(lambda: set(broken) <= names("corrupt"), 20, "the broken files in corrupt/")
    # What a writer left when it was killed, promised to nobody, is swept at the next start.
    wait.until(lambda: set(unfinished) == names("tmp/qmgr"), 20, "the unfinished ones in tmp/qmgr/")
    assert not set(unfinished) & names("corrupt")
    # Its name changes with each attempt, the queue id in it does not.
    assert good.name[:13] in [p.name[:13] for p in relay.queue_files("deferred", "new")]


def test_qmgr_killed_delivers_nothing_twice(relay):
    """smtp-out outlives qmgr: what is in flight is reported to the next one."""
    relay.inbox.rules["slow@"] = sink.Rule(delay=3)
    for _ in range(5):
        relay.submit("slow@example.test")
    wait.until(lambda: sum("DATA" in line for _, line in relay.inbox.commands) >= 1, 10, "a delivery to begin")
    relay.kill("qmgr")
    wait.until(lambda: len(relay.inbox.to("slow@example.test")) == 5, 40, "five messages")
    relay.wait_empty()
    time.sleep(1)
    assert len(relay.inbox.to("slow@example.test")) == 5


def test_full_disk_ends_no_program(world):
    """All that is kept is on it: what is counted of clients, logins, quotas and keys of submissions as well."""
    inbox = world.sink("example.test")
    relay = world.suite({"smtpd.conf": {"connections_per_minute": 1000, "failed_logins_per_minute": 1000,
                                        "quota each": {"credentials": "*", "clients": "127.0.0.0/8", "messages_per_day": 1000}},
                         "auth.conf": {"failure_delay": "1ms", "failure_delay_max": "1ms", "failures_per_minute": 0}})
    relay.state.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", relay.state], capture_output=True).returncode != 0:
        pytest.skip("a small file system can not be mounted here")
    login = ("app@sender.test", "a password")

    def submit(host):
        """The code that one message of a client of its own ends with."""
        with relay.connect("submission", login, source=world.network.address(host)) as client:
            for code in (client.mail("app@sender.test")[0], client.rcpt("x@example.test")[0]):
                if code != 250:
                    return code
            return client.data(f"From: app@sender.test\r\nIdempotency-Key: {host}\r\n\r\nText.\r\n".encode())[0]

    try:
        relay.start()
        relay.user(*login)
        assert submit(199) == 250
        before, filler = relay.children(), relay.state / "filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], capture_output=True)
        for host in range(200, 230):
            with pytest.raises(smtplib.SMTPAuthenticationError):
                relay.connect("submission", (f"nobody{host}", "x"), source=world.network.address(host)).close()
            assert submit(host) == 452
        assert relay.children() == before
        relay.ctl("reload")
        relay.wait_ready()
        assert submit(230) == 452
        filler.unlink()
        assert submit(231) == 250
        inbox.wait_to("x@example.test", count=2)
        relay.stop()
    finally:
        relay.kill_everything()
        subprocess.run(["umount", relay.state], check=True)


def test_full_disk_leaves_the_mail_with_the_client(world):
    """A queue on a file system of its own that runs full: 452 4.3.1, nothing ends, and mail goes on when there is room."""
    inbox = world.sink("example.test", rules={"*": sink.Rule(rcpt="450 4.2.1 later")})
    relay = world.suite()
    queue = relay.state / "queue"
    queue.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", queue], capture_output=True).returncode != 0:
        pytest.skip("a small file system can not be mounted here")
    try:
        relay.start()
        before = relay.children()
        accepted, refused = [], None
        for i in range(50):
            try:
                accepted.append(relay.submit(f"user{i}@example.test", suites.message(size=150_000)))
            except suites.Refused as full:
                refused = full
                break
        assert accepted and (refused.code, refused.reply[:5]) == (452, "4.3.1"), refused
        inbox.rules.clear()
        for i in range(len(accepted)):
            inbox.wait_to(f"user{i}@example.test", 30)
        relay.wait_empty()
        relay.submit("after@example.test", suites.message(size=150_000))
        inbox.wait_to("after@example.test")
        assert relay.children() == before
        relay.stop()
    finally:
        relay.kill_everything()
        subprocess.run(["umount", queue], check=True)
