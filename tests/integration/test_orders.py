"""Rules for mail of a domain, site, tenant or sender; orders by filter; dry runs."""

import json
import re
import time

import pytest
from support import sink, wait

SLOW = {"retry_min": "10m", "retry_max": "1h", "lifetime": "1d"}  # nothing is tried again but by order


@pytest.fixture
def relay(world):
    world.inbox = world.sink("example.test")
    world.other = world.sink("other.test")
    world.home = world.sink("sender.test")
    relay = world.suite({"qmgr.conf": SLOW}).start()
    relay.inbox, relay.other, relay.home = world.inbox, world.other, world.home
    return relay


def rules(relay):
    return json.loads(relay.ctl("queue", "rules", "--json").stdout)


def listed(relay, *arguments):
    return {row["queue_id"] for row in json.loads(relay.ctl("queue", *arguments, "--json").stdout)}


def wait_suspended(relay, queue_id):
    relay.wait_log(f"{queue_id}: to=.*status=suspended")
    wait.until(lambda: queue_id in listed(relay, "list", "deferred"), 10, f"{queue_id} to be put off")


def test_suspend_and_resume_a_domain(relay):
    relay.ctl("queue", "suspend", "--domain", "example.test", "--reason", "server moves")
    rule, = rules(relay)
    assert (rule["action"], rule["kind"], rule["what"], rule["reason"]) == ("suspend", "domain", "example.test",
                                                                            "server moves")
    assert rule["expires"] is None and rule["since"]
    both = relay.submit(["ann@example.test", "bob@other.test"])
    alone = relay.submit("cid@example.test")
    relay.other.wait_to("bob@other.test")
    for queue_id in (both, alone):
        wait_suspended(relay, queue_id)
    shown = json.loads(relay.ctl("queue", "show", alone, "--json").stdout)
    assert shown["attempts"] == 0 and "server moves" in shown["history"][-1]["reply"]
    assert rules(relay)[0]["recipients"] == 2
    assert relay.inbox.connections == 0
    relay.ctl("queue", "resume", "--domain", "EXAMPLE.test")
    for user in ("ann", "cid"):
        relay.inbox.wait_to(f"{user}@example.test")
    relay.wait_empty()
    assert len(relay.other.messages) == 1 and rules(relay) == []
    for event in ("set: suspend, domain=example.test, reason=server moves", "applied for the first time",
                  "removed by the administrator"):
        assert len(relay.log_lines(f"rule 1 {event}")) == 1, event
    assert relay.ctl("queue", "resume", "1", check=False).returncode == 1


def test_each_of_two_rules_ends_by_itself(relay):
    relay.ctl("queue", "suspend", "--domain", "example.test")
    relay.ctl("queue", "suspend", "--domain", "other.test")
    queue_id = relay.submit(["ann@example.test", "bob@other.test"])
    wait_suspended(relay, queue_id)
    relay.ctl("queue", "resume", "--domain", "example.test")
    relay.inbox.wait_to("ann@example.test")
    wait.until(lambda: queue_id in listed(relay, "list", "deferred"), 10, f"{queue_id} to be put off again")
    relay.ctl("queue", "resume", "--domain", "other.test")
    relay.other.wait_to("bob@other.test")
    relay.wait_empty()
    assert len(relay.inbox.messages) == len(relay.other.messages) == 1


def test_queued_mail_is_stopped_before_its_next_delivery(world):
    inbox = world.sink("example.test", rules={"*": sink.Rule(delay=2)})
    relay = world.suite({"qmgr.conf": {**SLOW, "site_concurrency_start": 1, "site_concurrency_max": 1}}).start()
    ids = [relay.submit(f"user{n}@example.test") for n in range(10)]
    wait.until(lambda: any("DATA" in line for _, line in inbox.commands), 15, "the first delivery")
    relay.ctl("queue", "suspend", "--site", "mx.example.*")
    inbox.rules.clear()
    wait.until(lambda: len(listed(relay, "list", "deferred")) == 9, 20, "nine messages to be put off")
    assert len(inbox.messages) == 1
    relay.ctl("queue", "resume", "--site", "mx.example.*")
    wait.until(lambda: len(inbox.messages) == 10, 20, "all of them")
    relay.wait_empty()
    assert ids


def test_a_rule_expires(relay):
    relay.ctl("queue", "suspend", "--domain", "example.test", "--for", "4s")
    queue_id = relay.submit("ann@example.test")
    wait_suspended(relay, queue_id)
    assert not relay.inbox.messages
    relay.inbox.wait_to("ann@example.test", 20)
    relay.wait_log("rule 1 expired: suspend, domain=example.test")
    assert rules(relay) == []


def test_lifetime_and_warning_go_on(world):
    inbox, home = world.sink("example.test"), world.sink("sender.test")
    relay = world.suite({"qmgr.conf": {"lifetime": "7s", "delay_warning": "2s"}}).start()
    relay.ctl("queue", "suspend", "--domain", "example.test", "--reason", "server moves")
    queue_id = relay.submit("ann@example.test")
    home.wait_for(lambda m: "Action: delayed" in m.text and queue_id in m.text, 20)
    notice = home.wait_for(lambda m: "Action: failed" in m.text and queue_id in m.text, 20)
    assert "server moves" in notice.text
    relay.wait_log(f"{queue_id}: to=<ann@example.test>.*status=expired")
    relay.wait_empty()
    assert not inbox.messages and inbox.connections == 0


def test_tenant_and_sender(relay):
    relay.user("shop", "secret", "--tenant", "acme")
    relay.ctl("queue", "suspend", "--tenant", "acme")
    relay.ctl("queue", "suspend", "--sender", "@noisy.test")
    relay.ctl("queue", "suspend", "--sender", "<>")
    ids = [relay.submit("tenant@example.test", listener="submission", login=("shop", "secret")),
           relay.submit("noisy@example.test", sender="app@noisy.test"),
           relay.submit("null@example.test", sender="")]
    for queue_id in ids:
        wait_suspended(relay, queue_id)
    relay.submit("free@example.test")
    relay.inbox.wait_to("free@example.test")
    assert len(relay.inbox.messages) == 1
    assert listed(relay, "list", "--tenant", "acme") == {ids[0]}
    relay.ctl("queue", "resume", "--tenant", "acme")
    relay.inbox.wait_to("tenant@example.test")
    relay.ctl("queue", "resume", "--sender", "@noisy.test")
    relay.inbox.wait_to("noisy@example.test")
    relay.ctl("queue", "resume", "3")
    relay.inbox.wait_to("null@example.test")
    relay.wait_empty()


def test_bounce_tells_the_sender_why(relay):
    relay.inbox.rules["*"] = sink.Rule(rcpt="450 4.2.1 later")
    waiting = relay.submit("early@example.test")
    relay.wait_log(f"{waiting}: .*status=deferred")
    relay.ctl("queue", "bounce", "--domain", "example.test", "--reason", "the company is gone")
    relay.submit(["late@example.test", "bob@other.test"])
    relay.other.wait_to("bob@other.test")
    for user in ("early", "late"):
        notice = relay.home.wait_for(lambda m, user=user: m.sender == "" and f"rfc822; {user}@example.test" in m.text, 20)
        assert "the company is gone" in notice.text and "5.7.1" in notice.text
    relay.wait_empty()
    assert relay.ctl("suppress", "list", "--json").stdout.strip() in ("[]", "[\n]")


def test_reroute_to_host_and_route(world):
    inbox, home = world.sink("example.test"), world.sink("sender.test")
    host, smart = world.sink("plain.test", port=2600), world.sink("smart.test")
    relay = world.suite({"qmgr.conf": SLOW,
                         "smtp-out.conf": {"route smart.test": {"hosts": smart.host}}}).start()
    for address, port in ((f"{host.address}:2600", 2600), (f"{host.host}:2600", 2600)):
        relay.ctl("queue", "reroute", "--domain", "example.test", "--to", address)
        relay.submit("ann@example.test")
        host.wait_to("ann@example.test")
        host.messages.clear()
    relay.ctl("queue", "reroute", "--domain", "example.test", "--to", "route:smart.test")
    assert len(rules(relay)) == 1
    relay.submit(["ann@example.test", "bob@example.test", "cid@smart.test"])
    for user in ("ann@example.test", "bob@example.test", "cid@smart.test"):
        smart.wait_to(user)
    relay.ctl("queue", "resume", "--domain", "example.test")
    relay.ctl("queue", "reroute", "--site", "mx.example.test", "--to", "route:smart.test")
    relay.submit("site@example.test")
    smart.wait_to("site@example.test")
    assert not inbox.messages
    assert relay.ctl("queue", "reroute", "--domain", "x.test", "--to", "route:none", check=False).returncode == 1
    assert relay.ctl("queue", "reroute", "--domain", "x.test", check=False).returncode == 2
    relay.wait_empty()
    assert home.messages == []


def test_rules_survive(relay):
    relay.ctl("queue", "suspend", "--domain", "example.test", "--reason", "blanks and ümläuts", "--for", "1h")
    queue_id = relay.submit("ann@example.test")
    wait_suspended(relay, queue_id)
    before = rules(relay)
    pid = relay.kill("qmgr")
    wait.until(lambda: any(c.pid != pid for c in relay.children("qmgr")), 20, "another qmgr")
    relay.wait_log("rule 1 is in force: suspend, domain=example.test")
    wait.until(relay.is_ready, 20, "the suite")
    assert [{**r, "recipients": 0} for r in before] == rules(relay)
    other = relay.submit("bob@example.test")
    wait_suspended(relay, other)
    assert relay.inbox.connections == 0
    relay.ctl("queue", "resume", "--domain", "example.test")
    for user in ("ann", "bob"):
        relay.inbox.wait_to(f"{user}@example.test")
    relay.wait_empty()


def test_a_broken_file_is_set_aside(relay):
    relay.ctl("queue", "suspend", "--domain", "example.test")
    relay.stop()
    file = relay.state / "queue" / "rules" / "rules"
    broken = file.read_bytes().replace(b"suspend", b"expend!")
    file.write_bytes(broken)
    relay.start()
    relay.wait_log(r"rules/rules:2: not a file of rules: set aside as rules/broken-\d+")
    kept, = file.parent.glob("broken-*")
    assert kept.read_bytes() == broken and rules(relay) == []


def test_filters_and_dry_run(relay):
    relay.inbox.rules["*"] = relay.other.rules["*"] = sink.Rule(rcpt="450 4.2.1 later")
    one = relay.submit(["ann@example.test", "bob@example.test"])
    two = relay.submit("cid@other.test", sender="noisy@sender.test")
    for queue_id in (one, two):
        relay.wait_log(f"{queue_id}: .*status=deferred")
    wait.until(lambda: listed(relay, "list", "deferred") == {one, two}, 10, "both to be deferred")
    for filters, found in ((["--domain", "example.test"], {one}), (["--domain", ".test"], {one, two}),
                           (["--site", "mx.other.test"], {two}), (["--sender", "noisy@sender.test"], {two}),
                           (["--sender", "@sender.test", "--domain", "example.test"], {one}),
                           (["--state", "hold"], set()), (["--state", "deferred"], {one, two}),
                           (["--older-than", "1h"], set()), (["--tenant", "nobody"], set())):
        assert listed(relay, "list", *filters) == found, filters
        assert listed(relay, "delete", "--dry-run", *filters) == found, filters
    row, = json.loads(relay.ctl("queue", "hold", "--dry-run", "--domain", "example.test", "--json").stdout)
    assert (row["sender"], row["recipients"]) == ("app@sender.test", "ann@example.test bob@example.test")
    assert row["queue_id"] in relay.ctl("queue", "hold", one, "--dry-run").stdout
    assert listed(relay, "list", "deferred") == {one, two} and not relay.log_lines("ordered:")

    relay.ctl("queue", "hold", "--domain", "example.test")
    wait.until(lambda: listed(relay, "list", "hold") == {one}, 10, "one on hold")
    relay.ctl("queue", "release", "--sender", "app@sender.test")
    wait.until(lambda: one in listed(relay, "list", "deferred"), 20, "one to be tried and put off again")
    relay.other.rules.clear()
    relay.ctl("queue", "retry", "--site", "mx.other.*")
    relay.other.wait_to("cid@other.test")
    time.sleep(1.1)  # so that it is older than a second on a fast machine too
    relay.ctl("queue", "delete", "--older-than", "1s", "--state", "deferred")
    relay.wait_empty()
    assert not relay.inbox.messages and not relay.home.messages
    assert relay.ctl("queue", "delete", check=False).returncode == 2
    assert relay.ctl("queue", "delete", one, "--domain", "x", check=False).returncode == 2
    assert relay.ctl("queue", "suspend", "--domain", "x", "--site", "y", check=False).returncode == 2
    assert relay.ctl("queue", "suspend", "--domain", "x", "--for", "ever", check=False).returncode == 2
    assert relay.ctl("queue", "suspend", "--sender", "x", check=False).returncode == 1


def test_many_messages_are_walked_in_slices(relay):
    """A filter that has to open files answers with all of them, and mail flows meanwhile."""
    relay.inbox.rules["*"] = sink.Rule(rcpt="450 4.2.1 later")
    client = relay.connect()
    ids = {relay.submit(f"user{n}@example.test", client=client) for n in range(300)}
    client.quit()
    wait.until(lambda: len(listed(relay, "list", "deferred")) == 300, 60, "300 deferred messages")
    assert listed(relay, "list", "--domain", "example.test") == ids
    assert len(listed(relay, "list", "--domain", "example.test", "--limit", "7")) == 7
    told = relay.ctl("queue", "delete", "--domain", "example.test").stderr
    assert re.search("300 messages", told), told
    relay.wait_empty()
    time.sleep(0.5)
    assert not relay.inbox.messages
