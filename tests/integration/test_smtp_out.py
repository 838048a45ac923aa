"""smtp-out: which server, over which connection, with what TLS, and what it makes of the answers."""

import re
import time

import pytest
from support import sink, suite as suites


def relay_of(world, **smtp_out):
    return world.suite({"smtp-out.conf": smtp_out}).start()


def delivered(relay, queue_id, status="sent"):
    """The last delivery line of a message with this status."""
    return relay.wait_log(f"{queue_id}: to=.*status={status}", 30)[-1]


def test_mx_order_and_fallback(world):
    """The best server is down, the second greets with 421, the third takes it."""
    down = world.address()
    busy = world.sink("busy-mx.test", banner="421 4.3.2 too busy")
    good = world.sink("good-mx.test")
    last = world.sink("last-mx.test")
    world.record(("example.test", "MX", "10 down.example.test."), ("down.example.test", "A", down),
                 ("example.test", "MX", f"20 {busy.host}."), ("example.test", "MX", f"30 {good.host}."),
                 ("example.test", "MX", f"40 {last.host}."))
    relay = relay_of(world)
    line = delivered(relay, relay.submit("ann@example.test"))
    assert f"relay={good.host}[{good.address}]:2525" in line
    assert busy.connections >= 1 and not last.connections


def test_domain_without_mx_is_its_own_server(world):
    own = world.sink("example.test", mx=False, host="example.test")
    relay = relay_of(world)
    relay.submit("ann@example.test")
    assert own.wait_to("ann@example.test")


def test_address_literal(world):
    own = world.sink("example.test")
    relay = relay_of(world)
    relay.submit(f"ann@[{own.address}]")
    own.wait_to(f"ann@[{own.address}]")


@pytest.mark.parametrize("records, code", [
    ([("example.test", "MX", "0 .")], "5.1.10"),  # RFC 7505
    ([], "5.1.2"),  # no such domain
    ([("example.test", "TXT", "no mail here")], r"5\.[14]\.\d"),
    ([("example.test", "MX", "10 nowhere.example.test.")], r"5\.4\.4"),
])
def test_domains_that_take_no_mail(world, records, code):
    world.record(*records)
    home = world.sink("sender.test")
    relay = relay_of(world)
    queue_id = relay.submit("ann@example.test")
    assert re.search(f"dsn={code}", delivered(relay, queue_id, "bounced"))
    home.wait_for(lambda m: m.sender == "" and queue_id in m.text, 20)


@pytest.mark.parametrize("kind", ["silent", "refused"])
def test_dns_trouble_defers(world, kind):
    getattr(world.dns, kind).append("example.test")
    relay = relay_of(world, dns_timeout="300ms", dns_attempts=1)
    queue_id = relay.submit("ann@example.test")
    assert "dsn=4.4.3" in delivered(relay, queue_id, "deferred")


def test_large_dns_answers_come_over_tcp(world):
    """More MX records than fit into a datagram."""
    good = world.sink("good-mx.test")
    for i in range(60):
        world.record(("example.test", "MX", f"50 a-rather-long-host-name-number-{i:03d}.example.test."))
    world.record(("example.test", "MX", f"5 {good.host}."))
    relay = relay_of(world)
    relay.submit("ann@example.test")
    good.wait_to("ann@example.test")


def test_one_connection_for_many_messages(world):
    """Also for all domains of one provider, which are one site."""
    provider = world.sink("provider.test")
    world.record(("one.test", "MX", f"10 {provider.host}."), ("two.test", "MX", f"10 {provider.host}."))
    relay = world.suite({"master.conf": {"smtp_out_workers": 1}}).start()
    for i in range(10):
        relay.submit(f"user{i}@{'one' if i % 2 else 'two'}.test")
        provider.wait_to(f"user{i}@{'one' if i % 2 else 'two'}.test")
    assert provider.connections <= 2
    sites = {re.search(r"site=([^,]*)", line).group(1) for line in relay.log_lines("status=sent")}
    assert len(sites) == 1


def test_recipients_of_one_site_share_a_transaction(world):
    provider = world.sink("example.test")
    relay = relay_of(world)
    everybody = [f"user{i}@example.test" for i in range(50)]
    relay.submit(everybody)
    provider.wait_to(everybody[-1])
    assert len(provider.messages) == 1 and provider.messages[0].recipients == everybody


def test_server_that_closes_after_each_message(world):
    closing = world.sink("example.test", messages_per_connection=1)
    relay = world.suite({"master.conf": {"smtp_out_workers": 1}}).start()
    for i in range(5):
        relay.submit(f"user{i}@example.test")
    for i in range(5):
        closing.wait_to(f"user{i}@example.test", 30)
    relay.wait_empty()
    assert len(closing.messages) == 5


@pytest.mark.parametrize("policy, options, want", [
    ("opportunistic", {"tls": False}, "none"),
    ("opportunistic", {"broken_tls": True}, "none"),
    ("opportunistic", {}, r"TLSv1\.\d/"),
    ("none", {}, "none"),
    ("required", {}, r"TLSv1\.\d/"),
    ("verify", {}, r"TLSv1\.\d/.*/verified"),
])
def test_tls_policies_that_deliver(world, policy, options, want):
    server = world.sink("example.test", **options)
    relay = relay_of(world, tls=policy)
    line = delivered(relay, relay.submit("ann@example.test"))
    assert re.search(f"tls={want}", line), line
    assert bool(server.wait_to("ann@example.test").tls) == (want != "none")


@pytest.mark.parametrize("policy, options", [("required", {"tls": False}), ("required", {"broken_tls": True})])
def test_tls_policies_that_defer(world, policy, options):
    server = world.sink("example.test", **options)
    relay = relay_of(world, tls=policy)
    assert re.search(r"dsn=4\.7\.\d", delivered(relay, relay.submit("ann@example.test"), "deferred"))
    assert not server.messages


def test_verify_wants_the_name_of_the_host(world):
    server = world.sink("example.test")
    world.record(("other.test", "MX", "10 alias.test."), ("alias.test", "A", server.address))
    relay = relay_of(world, tls="verify")
    assert "dsn=4.7.5" in delivered(relay, relay.submit("ann@other.test"), "deferred")
    assert not server.messages


def test_smarthost_with_login(world, tmp_path):
    """A route for one domain, one for the rest, with port, TLS policy and AUTH."""
    secret = tmp_path / "secret"
    secret.write_text("relay-user\nrelay pass\n")
    secret.chmod(0o600)
    direct = world.sink("direct.test")
    smart = world.sink("smarthost.test", port=2600, users={"relay-user": "relay pass"})
    relay = world.suite({"smtp-out.conf": {
        "route *": {"hosts": smart.host, "port": 2600, "tls": "verify", "credentials_file": secret},
        "route direct.test": {"tls": "default"},
    }}).start()
    relay.submit("ann@anywhere.test")
    arrived = smart.wait_to("ann@anywhere.test")
    assert arrived.login == "relay-user" and arrived.tls
    relay.submit("bob@direct.test")
    direct.wait_to("bob@direct.test")
    assert "relay pass" not in relay.log.read_text()


def test_smarthost_that_refuses_the_login_defers(world, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("relay-user\nwrong\n")
    secret.chmod(0o600)
    smart = world.sink("smarthost.test", users={"relay-user": "right"})
    relay = world.suite({"smtp-out.conf": {"route *": {"hosts": smart.host, "tls": "required",
                                                       "credentials_file": secret}}}).start()
    delivered(relay, relay.submit("ann@anywhere.test"), "deferred")
    assert not smart.messages


@pytest.mark.parametrize("rule, tries", [
    (sink.Rule(drop="rcpt", times=1), 2),
    (sink.Rule(drop="data", times=1), 2),
    (sink.Rule(drop="content", times=1), 2),
    (sink.Rule(drop="dot", times=1), 2),
    (sink.Rule(dot="452 4.3.1 disk full", times=1), 2),
    (sink.Rule(data="451 4.3.0 later", times=1), 2),
])
def test_trouble_in_the_transaction_is_tried_again(world, rule, tries):
    server = world.sink("example.test", rules={"ann@": rule})
    relay = relay_of(world)
    queue_id = relay.submit("ann@example.test")
    server.wait_to("ann@example.test", 30)
    delivered(relay, queue_id)
    relay.wait_empty()
    assert len(relay.log_lines(f"{queue_id}: to=.*status=")) == tries and len(server.messages) == 1


def test_timeout_of_a_silent_server(world):
    server = world.sink("example.test", rules={"ann@": sink.Rule(delay=10, times=1)})
    relay = relay_of(world, end_timeout="1s")
    queue_id = relay.submit("ann@example.test")
    assert "dsn=4.4" in delivered(relay, queue_id, "deferred")
    server.wait_to("ann@example.test", 30)


def test_a_dead_site_delays_nobody_else(world):
    good = world.sink("example.test")
    world.record(("dead.test", "MX", "10 mx.dead.test."), ("mx.dead.test", "A", world.address()))
    world.sink("stuck.test", rules={"*": sink.Rule(delay=30)})
    relay = relay_of(world)
    for i in range(30):
        relay.submit(f"user{i}@dead.test")
        relay.submit(f"user{i}@stuck.test")
    relay.submit("ann@example.test")
    good.wait_to("ann@example.test", 20)
    for item in ("deferred", ""):
        relay.ctl("queue", "list", *([item] if item else []))
    relay.ctl("queue", "delete", "ALL")


def test_eight_bit_without_8bitmime_comes_back(world):
    old = world.sink("example.test", hide=["8BITMIME"])
    home = world.sink("sender.test")
    relay = relay_of(world)
    content = "From: app@sender.test\r\nSubject: 8\r\n\r\nGrüße\r\n".encode()
    queue_id = relay.submit("ann@example.test", content, mail_options=["BODY=8BITMIME"])
    assert "dsn=5.6.3" in delivered(relay, queue_id, "bounced")
    home.wait_for(lambda m: m.sender == "" and queue_id in m.text, 20)
    assert not old.messages


def test_size_is_told_and_heeded(world):
    server = world.sink("example.test")
    relay = relay_of(world)
    relay.submit("ann@example.test", suites.message(size=50_000))
    told = [p for p in server.wait_to("ann@example.test").sender_parameters if p.startswith("SIZE=")]
    assert told and int(told[0][5:]) >= 49_000
