"""posthouse queue audit: what adds up, and what it says of what does not."""

import itertools
import json
import os
import threading
import time

import pytest
from support import sink, suite as suites, wait

OK, GONE, BUSY = "ok@example.test", "gone@example.test", "busy@example.test"


@pytest.fixture
def relay(world):
    rules = {"gone@": sink.Rule(rcpt="550 5.1.1 no such user"),
             "slow@": sink.Rule(delay=5, times=1), "busy@": sink.Rule(rcpt="450 4.2.1 later")}
    world.inbox, world.home = world.sink("example.test", rules=rules), world.sink("sender.test")
    world.sink("closed.test", rules={"*": rules["gone@"]})
    return world.suite({"posthouse.conf": {"log_level": "info"}}).start()


def audit(relay, *options, want=0):
    done = relay.ctl("queue", "audit", "--json", *options, check=False)
    assert done.returncode == want, f"{done.returncode}\n{done.stdout}{done.stderr}\n{relay.tail()}"
    books = json.loads(done.stdout)
    ends = sum(books[name] for name in ("sent", "bounced", "expired", "suppressed", "removed", "queued", "missing"))
    assert books["accepted"] + books["before_log"] == ends, books
    assert books["adds_up"] == (not books["problems"]) == (want != 1)
    return books


def fill(relay):
    """One delivered, one refused (and a notice of it), one deleted, one that waits, two of a message of which one waits."""
    relay.submit([OK, GONE])
    deleted = relay.submit(BUSY)
    relay.wait_log(f"{deleted}: .*status=deferred")
    relay.ctl("queue", "delete", deleted)
    for one in relay.submit(BUSY), relay.submit([OK, BUSY]):
        relay.wait_log(f"{one}: .*status=deferred")
    wait.until(lambda: len(relay.queue_files()) == 2, 20, "all but what waits to be gone")
    return deleted


def test_every_class(relay):
    assert audit(relay)["accepted"] == 0
    fill(relay)
    books = audit(relay)
    want = {"accepted": 7, "messages": 5, "sent": 3, "bounced": 1, "removed": 1, "queued": 2, "missing": 0, "unlogged": 0}
    assert {name: books[name] for name in want} == want
    assert "Every recipient is accounted for." in relay.ctl("queue", "audit").stdout


def test_what_is_missing_is_named(relay):
    deleted = fill(relay)
    text = relay.log.read_text()
    # The end of one message is cut out of the log, and the beginning of another.
    relay.log.write_text("".join(l for l in text.splitlines(True) if f"{deleted}: to=" not in l or "removed (" not in l))
    problem, = audit(relay, want=1)["problems"]
    assert problem["queue_id"] == deleted and problem["missing"] == 1 and "neither" in problem["reason"]
    assert deleted in relay.ctl("queue", "audit", check=False).stdout
    relay.log.write_text("".join(l for l in text.splitlines(True) if f"{deleted}: accepted:" not in l))
    problem, = audit(relay, want=1)["problems"]
    assert problem["queue_id"] == deleted and "accepted" in problem["reason"]
    relay.log.write_text(text)
    # A file that somebody took out of the queue.
    lost = relay.queue_files("deferred")[0]
    lost.unlink()
    relay.ctl("queue", "retry", "ALL")
    relay.wait_log("is gone, forgetting it")
    problem, = audit(relay, want=1)["problems"]
    assert problem["queue_id"] == lost.name[:13] and problem["missing"] == 1


def test_rotated_log_and_what_came_before_it(relay):
    fill(relay)
    os.rename(relay.log, f"{relay.log}.1")  # the programs write on into the old file
    relay.submit(OK)
    wait.until(lambda: len(relay.queue_files()) == 2, 20, "the last one to be delivered")
    relay.log.write_text("")
    assert audit(relay)["accepted"] == 8
    # Without the old one the log begins behind the acceptance of what waits.
    relay.stop()
    os.remove(f"{relay.log}.1")
    relay.log.write_text("")
    relay.start()
    books = audit(relay)
    assert (books["accepted"], books["messages"], books["queued"]) == (0, 2, 2), books
    assert books["before_log"] in (2, 3), books  # qmgr may have said by now that one recipient was done before


def test_since(relay):
    fill(relay)
    assert audit(relay, "--since", "1h")["accepted"] == 7
    assert relay.ctl("queue", "audit", "--since", "soon", check=False).returncode == 2


def test_stopped(relay):
    fill(relay)
    relay.stop()
    books = audit(relay, want=75)
    assert books["queued"] == 2 and books["running"] is False


def test_no_false_alarm_while_it_runs(relay):
    """Audits, one after the other, while mail comes in and goes out."""
    over, numbers = threading.Event(), itertools.count()

    def send():
        session = relay.connect()
        while not over.is_set():
            n = next(numbers)
            relay.submit([OK, f"nobody{n}@closed.test"] if n % 4 == 0 else [OK, BUSY], client=session)
        session.close()

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    try:
        accepted = [audit(relay)["accepted"] for _ in range(12)]
    finally:
        over.set()
        for sender in senders:
            sender.join()
    assert accepted == sorted(accepted) and accepted[-1] > accepted[0]
    refused = len(range(0, next(numbers), 4))
    relay.wait_log("status=bounced", count=refused)
    books = audit(relay)
    assert (books["bounced"], books["missing"], books["unlogged"]) == (refused, 0, 0), books


def test_delivered_again_is_no_error(relay):
    """smtp-out dies with a delivery in flight, whose reply nobody will know."""
    relay.submit("slow@example.test")
    time.sleep(1)  # it waits for the reply to the final dot now
    for child in relay.children("smtp-out"):
        relay.kill("smtp-out", child.slot)
    relay.wait_empty()
    books = audit(relay)
    assert (books["sent"], books["doubtful"], books["missing"]) == (1, 1, 0), books
