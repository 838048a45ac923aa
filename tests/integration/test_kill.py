"""2,000 messages of 20 sessions while every program is killed in turn: whatever was acknowledged arrives.

Prints how many arrived twice and why: sent again by the client, which never read the 250 of the first (another queue id), or
delivered again by us, who never recorded the answer of the server (the same queue id)."""

import collections
import json
import random
import smtplib
import threading
import time

from support import sink, suite as suites, wait

SESSIONS, MESSAGES, REFUSED = 20, 2000, 40
LOGIN = ("app@sender.test", "a pass word")
KILL_EVERY_S = 0.2
PAUSE_MAX_S = 0.2  # between two messages of a client, so that every program is hit several times


class Client(threading.Thread):
    """One application: sends its share, and sends again what was not acknowledged."""

    def __init__(self, relay, recipients):
        super().__init__(daemon=True)
        self.relay, self.recipients = relay, recipients
        self.acknowledged, self.retries, self.session = {}, 0, None

    def run(self):
        for number, recipient in self.recipients:
            while number not in self.acknowledged:
                try:
                    self.send(number, recipient)
                    time.sleep(random.uniform(0, PAUSE_MAX_S))
                except (smtplib.SMTPException, suites.Refused, OSError):
                    self.drop()
                    self.retries += 1
                    time.sleep(random.uniform(0.02, 0.1))
        self.drop()

    def send(self, number, recipient):
        if self.session is None:
            self.session = self.relay.connect("submission", LOGIN, timeout=20)
        content = suites.message(recipients=(recipient,), subject=f"number {number}", size=2000)
        self.acknowledged[number] = self.relay.submit(recipient, content, client=self.session)

    def drop(self):
        if self.session is not None:
            self.session.close()
        self.session = None


def kill_in_turn(relay, is_busy):
    """SIGKILL to one program after the other, as long as mail is coming in; how often each role was hit."""
    hits = collections.Counter()
    while is_busy():
        for child in relay.children():
            try:
                relay.kill(child.role, child.slot)
                hits[child.role] += 1
            except (StopIteration, ProcessLookupError):
                pass  # it waits for its restart
            time.sleep(KILL_EVERY_S)
    return hits


def count_duplicates(messages):
    """(sent again by clients, delivered again by us) beyond the first of each."""
    ids = collections.defaultdict(collections.Counter)
    for message in messages:
        queue_id = message.header("Received").rpartition(" id ")[2][:13]
        ids[message.header("Subject")][queue_id] += 1
    return sum(len(seen) - 1 for seen in ids.values()), sum(n - 1 for seen in ids.values() for n in seen.values())


def test_no_acknowledged_message_is_lost(world, capsys):
    servers = [world.sink(f"domain{i}.test") for i in range(4)]
    closed = world.sink("closed.test", rules={"*": sink.Rule(rcpt="550 5.1.1 no such user")})
    home = world.sink("sender.test")
    relay = world.suite({
        "posthouse.conf": {"log_level": "info"},
        "master.conf": {"restart_delay_min": "50ms", "restart_delay_max": "300ms"},
        "qmgr.conf": {"scan_interval": "1s", "retry_min": "1s", "retry_max": "2s", "lifetime": "10m"},
    })
    relay.ctl("dkim", "generate", "sender.test")
    relay.start()
    relay.user(*LOGIN)

    work = [(n, f"user{n}@domain{n % 4}.test") for n in range(MESSAGES)]
    work += [(MESSAGES + n, f"gone{n}@closed.test") for n in range(REFUSED)]
    random.shuffle(work)
    clients = [Client(relay, work[i::SESSIONS]) for i in range(SESSIONS)]
    begin = time.monotonic()
    for client in clients:
        client.start()
    hits = kill_in_turn(relay, lambda: any(c.is_alive() for c in clients) and time.monotonic() - begin < 200)
    for client in clients:
        client.join(20)
        assert not client.is_alive(), f"{len(client.acknowledged)} of {len(client.recipients)} acknowledged\n{relay.tail()}"
    sent_s = time.monotonic() - begin

    def arrived():
        return {m.header("Subject") for server in servers for m in list(server.messages)}

    expected = {f"number {n}" for n in range(MESSAGES)}
    wait.until(lambda: expected <= arrived(), 90, "the rest of 2000 messages", every=0.5)
    told = lambda: {n for n in range(REFUSED) if any(f"gone{n}@closed.test" in m.text for m in list(home.messages))}
    wait.until(lambda: len(told()) == REFUSED, 60, "a notice for each refused recipient", every=0.5)
    relay.wait_empty(60)

    books = json.loads(relay.ctl("queue", "audit", "--json").stdout)  # whatever a killed program could not log
    messages = [m for server in servers for m in server.messages]
    by_client, by_us = count_duplicates(messages)
    with capsys.disabled():
        print(f"\n{MESSAGES} messages, {SESSIONS} sessions, {sent_s:.0f} s; killed: "
              f"{', '.join(f'{role} {n}' for role, n in sorted(hits.items()))}; clients tried again "
              f"{sum(c.retries for c in clients)} times; lost 0; arrived twice: {by_client + by_us} "
              f"({by_client} sent again by a client that got no reply, {by_us} delivered again by us); "
              f"notices {len(home.messages)} for {REFUSED} refused recipients; refused connections {closed.connections}; "
              f"audit: {books}")
    assert set(hits) == set(suites.PROGRAMS), hits
    assert books["missing"] == books["queued"] == 0 and books["sent"] >= MESSAGES and books["bounced"] >= REFUSED, books
    # What a killed smtp-out had handed to the network is delivered all the same, and again: at most what it had in flight,
    # which is the concurrency of each site (20 by default).  No other program's death repeats a delivery.
    assert by_us <= hits["smtp-out"] * 20, by_us
