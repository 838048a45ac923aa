"""The crash table of docs/QUEUE.md, walked: each program is killed right before, in the middle of and right after every call
of its that anybody else can see - on a file below the state directory, to another program, to the network - while one message
passes; then the same with every program killed at once.

Whatever the client was told 250 for arrives, whole; what was not acknowledged the client sends again.  A message or a notice may
come twice where the table says so, and nowhere else.  The steps are not listed here: a first message shows them."""

import collections
import dataclasses
import itertools
import os
import re
import smtplib
import time

import pytest
from support import killat, sink, suite as suites, wait

LOGIN = ("app@sender.test", "a pass word")
QUIET_S = 0.15  # after the last thing a program does for a message


@dataclasses.dataclass
class Walk:
    """One kind of message, and the program that is watched while it passes."""

    program: str
    kind: str
    recipients: tuple  # {} = the number of the message: nobody meets the suppression of another's
    size: int = 0
    login: bool = False
    journal: str = "as it comes"  # "none", or "ready": wait for it before each message

    def __str__(self):
        return f"{self.program}-{self.kind}"


OK, GONE, BUSY = "ok{}@example.test", "gone{}@example.test", "busy{}@example.test"
WALKS = [
    Walk("smtpd", "flushed", (OK,), journal="none"),
    Walk("smtpd", "journal", (OK,), journal="ready"),
    Walk("smtpd", "large", (OK,), size=400_000),
    Walk("auth", "login", (OK,), login=True),
    Walk("qmgr", "delivered", (OK,)),
    Walk("qmgr", "refused", (OK, GONE)),
    Walk("qmgr", "deferred", (BUSY,)),
    Walk("dkim-signer", "small", (OK,)),
    Walk("smtp-out", "delivered", (OK,)),
    Walk("bounce", "refused", (GONE,)),
]


def first(done, *beginnings):
    """Whether one of these calls was made; "tell X" = a record with an X in it."""
    told = {f"tell {name}" for label in done if label.startswith("tell ") for name in label[5:].split(", ")}
    return bool(told.intersection(beginnings)) or any(label.startswith(beginnings) for label in done)


def came_to_new(done):
    return any(re.match(r"((rename|link) .* ?|write )queue/new/", label) for label in done)


def allowed(walk, done, everybody):
    """What may come twice, by docs/QUEUE.md, "What a crash leaves behind": "again" = sent again by the client, "delivered" again
    by us, "told" again."""
    may = set()
    if walk.program == "smtpd" and came_to_new(done) and not first(done, "send 250 2.0.0 queued"):
        may.add("again")  # 3c to 4: it is in new/, and the client has not read its 250
    if walk.program == "smtp-out" and first(done, "send MAIL", "send DKIM") and not first(done, "tell RESULT"):
        may.add("delivered")  # 5: the remote server may have it, and qmgr has not heard of it
    if walk.program == "bounce" and came_to_new(done) and not first(done, "tell BOUNCED"):
        may.add("told")  # 7: the notice is committed and qmgr does not know
    if walk.program == "qmgr" and first(done, "tell BOUNCE"):
        may.add("told")  # 7: asked for, and the recipient not yet marked bounced
    if everybody:
        may.add("again")  # smtpd announces a message before it answers
        if walk.program in ("smtp-out", "bounce") or first(done, "tell DELIVER"):
            may.add("delivered")  # nobody is left who knows of a result that qmgr has not written down
        if walk.program == "bounce" or first(done, "tell BOUNCE"):
            may.add("told")
    return may


class Scene:
    """A suite with a preload that kills, two mail servers, and a client that does not give up."""

    def __init__(self, world, journal):
        # A connection for each message: kept ones would hide the steps of a new one.
        self.inbox = world.sink("example.test", tls=False, messages_per_connection=1)
        self.home = world.sink("sender.test", tls=False)
        self.inbox.rule_for = self.rule_for
        self.kill = killat.KillAt(world.folder / "killat", "")
        self.relay = world.suite({
            "posthouse.conf": {"log_level": "info", "journal_segment_size": 0 if journal == "none" else "1M"},
            # One smtp-out: two would keep connections that the other one's messages do not use.
            "master.conf": {"restart_delay_min": "10ms", "restart_delay_max": "20ms", "smtp_out_workers": 1,
                            "smtpd_workers": 1},
            "qmgr.conf": {"scan_interval": "1s", "retry_min": "1s", "retry_max": "1s", "greylist_retry": "1s"},
        }, environment=self.kill.environment, sanitizer_options=self.kill.sanitizer_options)
        self.kill.folder = str(self.relay.state).encode()
        self.relay.ctl("dkim", "generate", "sender.test")
        self.relay.start()
        self.relay.user(*LOGIN)
        self.number = 0
        self.busy = set()

    def rule_for(self, recipient):
        """Refuses gone…, puts busy… off once."""
        if recipient.startswith("gone"):
            return sink.Rule(rcpt="550 5.1.1 no such user")
        if recipient.startswith("busy") and recipient not in self.busy:
            self.busy.add(recipient)
            return sink.Rule(rcpt="450 4.2.1 later")
        return None

    def restart(self):
        """After everything was killed, once the last process let go of its sockets."""
        self.relay.kill_everything()
        wait.until(lambda: not self.relay.pids_of_session(), 10, "the end of every killed process")
        self.relay.start()

    def submit(self, walk, recipients, content, end):
        """As an application does: again and again, until it reads 250.  How often it tried."""
        for tries in itertools.count(1):
            try:
                where = {"listener": "submissions", "login": LOGIN} if walk.login else {}
                session = self.relay.connect(timeout=10, **where)
                try:
                    self.relay.submit(recipients, content, client=session)
                    return tries
                finally:
                    session.close()
            except (smtplib.SMTPException, OSError, AssertionError):  # half a reply is none
                assert time.monotonic() < end, f"not accepted\n{self.relay.tail()}"
                if self.relay.process.poll() is not None:
                    self.restart()
                time.sleep(0.02)

    def warm(self, walk):
        """Until smtpd commits through its journal: a new process takes its predecessor's over first."""
        end = time.monotonic() + 20
        while True:
            self.kill.arm("smtpd")
            self.submit(walk, ["warm@example.test"], suites.message(), end)
            labels = self.kill.labels()
            self.kill.disarm()
            if any("queue/journal/" in label and label.startswith("pwrite") for label in labels):
                break
            time.sleep(0.05)
        self.relay.wait_empty()

    def pass_one(self, walk, at, when, everybody):
        """One message from submission to the end, with one death on the way.  (calls, tries of the client, arrivals, notices)"""
        self.number += 1
        recipients = [r.format(self.number) for r in walk.recipients]
        content = suites.message(recipients=recipients, subject=f"number {self.number}", size=walk.size,
                                 body=f"{os.urandom(40).hex()}\r\n")
        wait.until(self.relay.is_ready, 20, f"every program ready\n{self.relay.tail()}")
        if walk.journal == "ready":
            self.warm(walk)
        self.kill.arm(walk.program, at, when, everybody)
        end = time.monotonic() + 30
        tries = self.submit(walk, recipients, content, end)
        taken = [r for r in recipients if not r.startswith("gone")]
        arrived = lambda: [m for m in list(self.inbox.messages) if m.recipients[0] in taken]
        told = lambda: [m for m in list(self.home.messages) if f"number {self.number}\r\n" in m.text]

        nudged = time.monotonic()

        def over():
            """Looks after the suite, and does not wait the 10 s until qmgr asks bounce again."""
            nonlocal nudged
            if self.relay.process.poll() is not None:
                self.restart()
            if self.kill.fired and walk.kind == "refused" and time.monotonic() > nudged + 0.5:
                nudged = time.monotonic()
                for file in self.relay.queue_files():
                    self.relay.ctl("queue", "retry", file.name[:13], check=False)
            return (not taken or arrived()) and (len(taken) == len(recipients) or told()) and not self.relay.queue_files()

        what = f"{walk} killed {killat.WHEN[when]} call {at} of {self.kill.labels()}"
        wait.until(over, 30, f"the message and its end: {what}\n{self.relay.tail()}", every=0.02)
        end = time.monotonic() + (QUIET_S if at == 0 or not self.kill.fired else 0)
        wait.until(lambda: self.kill.fired or time.monotonic() > end, 5, "quiet", every=0.02)
        self.kill.disarm()
        if everybody and self.kill.fired:
            self.restart()
        assert all(m.data.endswith(content) for m in arrived()), f"not what was sent: {what}"
        assert not list((self.relay.state / "queue" / "corrupt").iterdir()), what
        return self.kill.labels(), tries, arrived(), told()


def steps(labels):
    """Every place to die: (number of the call, when).  Right before one call is right after the one before it."""
    yield 1, killat.BEFORE
    for at, label in enumerate(labels, 1):
        if is_stream(label):
            yield at, killat.HALFWAY
        yield at, killat.AFTER


def is_stream(label):
    """Whether there is a middle to be killed in."""
    return label.startswith(("write", "pwrite", "send"))


def copies(messages):
    """Copies beyond the first: by other queue ids, by the same queue id."""
    ids = collections.Counter(m.header("Received").rpartition(" id ")[2][:13] for m in messages)
    return max(0, len(ids) - 1), sum(ids.values()) - len(ids)


def check_one(scene, walk, at, when, everybody):
    """Whether it died, and what came twice."""
    labels, tries, arrived, told = scene.pass_one(walk, at, when, everybody)
    if not scene.kill.fired:
        return None
    made = when == killat.AFTER or (when == killat.HALFWAY and not is_stream(labels[at - 1]))
    done = labels[:at if made else at - 1]
    by_client, by_us = copies(arrived)
    # A client that sends again has its notices twice as well.
    twice = {"again": by_client, "delivered": by_us, "told": max(0, len(told) - tries)}
    too_often = {name for name, n in twice.items() if n > (name in allowed(walk, done, everybody))}
    assert not too_often, f"{twice}: {walk}, {'all' if everybody else 'it'} killed {killat.WHEN[when]} call {at}, " \
                          f"{labels[at - 1]!r}, after {done}\n{scene.relay.tail()}"
    return twice


# Everybody at once takes as long again: the quick run does it where mail is accepted and where it is delivered,
# scripts/test-long for every kind.
EVERYBODY = WALKS if os.environ.get("POSTHOUSE_LONG") else [w for w in WALKS if str(w) in ("smtpd-journal", "qmgr-delivered")]


@pytest.mark.parametrize("walk,everybody",
                         [(w, False) for w in WALKS] + [(w, True) for w in EVERYBODY],
                         ids=lambda value: str(value) if isinstance(value, Walk) else "all" if value else "one")
def test_killed_at_every_step(world, walk, everybody, capsys):
    scene = Scene(world, walk.journal)
    labels, _, arrived, told = scene.pass_one(walk, 0, killat.BEFORE, False)
    assert len(arrived) <= 1 and len(told) <= 1 and labels
    places = [s for s in steps(labels) if not everybody or s[1] == killat.AFTER]
    results = [check_one(scene, walk, at, when, everybody) for at, when in places]
    died = [r for r in results if r is not None]
    # A message may take a shorter way than the first did, not often.
    assert len(died) >= len(places) // 2, f"died at {len(died)} of {len(places)} places\n{labels}"
    tmp = lambda: [p for p in (scene.relay.state / "queue" / "tmp").rglob("*") if p.is_file()]
    left = len(tmp())
    scene.relay.stop()
    scene.relay.start()
    assert not tmp(), "tmp/ is not swept at the start"
    scene.relay.ctl("queue", "audit")
    with capsys.disabled():
        print(f"\n{walk}: {'all' if everybody else 'it'} killed at {len(died)} of {len(places)} places among {len(labels)} calls; "
              f"lost 0; twice: {', '.join(f'{name} {sum(r[name] for r in died)}' for name in died[0])}; "
              f"left in tmp/ {left}", end="")
