"""Who is served when: lanes, tenants, rates, and sites that hang."""
import collections
import smtplib
import time

from support import sink, suite

GATE = {"*": sink.Rule(delay=3)}  # holds the first delivery until everything is queued; then the test opens it
BULK_PORT, OTHER_PORT = 2587, 2588
ONE_AT_A_TIME = {"site_concurrency_start": 1, "site_concurrency_max": 1}


def listener(address, port, **parameters):
    return {"address": f"{address}:{port}", "tls": "none", "trusted_networks": "127.0.0.0/8", **parameters}


def world_suite(world, qmgr, **listeners):
    relay = world.suite({"qmgr.conf": qmgr})
    relay.configure({"smtpd.conf": {f"listener {name}": listener(relay.address, port, **parameters)
                                    for name, (port, parameters) in listeners.items()}})
    return relay.start()


def submit_many(relay, port, recipients):
    client = smtplib.SMTP(relay.address, port, local_hostname="app.test", timeout=30)
    client.ehlo()
    ids = [relay.submit(recipient, client=client) for recipient in recipients]
    client.quit()
    return ids


def arrival(server, recipient, seconds=30):
    server.wait_to(recipient, seconds)
    return next(i for i, m in enumerate(server.messages) if recipient in m.recipients)


def test_transactional_mail_leaves_before_a_campaign(world):
    server = world.sink("example.test", rules=GATE)
    relay = world_suite(world, ONE_AT_A_TIME, bulk=(BULK_PORT, {"lane": "bulk"}))
    submit_many(relay, BULK_PORT, [f"bulk{n}@example.test" for n in range(80)])
    relay.submit("reset@example.test")
    now = len(server.messages)
    server.rules.clear()
    # One was in flight, one more may have left while the message was signed.
    assert arrival(server, "reset@example.test") <= now + 2
    relay.wait_empty(60)
    assert len(server.messages) == 81


def test_tenants_take_turns(world):
    server = world.sink("example.test", rules=GATE)
    relay = world_suite(world, ONE_AT_A_TIME, big=(BULK_PORT, {"tenant": "big"}), small=(OTHER_PORT, {"tenant": "small"}))
    submit_many(relay, BULK_PORT, [f"big{n}@example.test" for n in range(80)])
    submit_many(relay, OTHER_PORT, ["small@example.test"])
    now = len(server.messages)
    server.rules.clear()
    # One turn is ten recipients.
    assert arrival(server, "small@example.test") <= now + 12
    relay.wait_empty(60)
    assert len(server.messages) == 81


def test_a_tenant_of_more_weight_gets_more(world):
    server = world.sink("example.test", rules=GATE)
    relay = world_suite(world, {**ONE_AT_A_TIME, "tenant heavy": {"weight": 4}},
                        heavy=(BULK_PORT, {"tenant": "heavy"}), light=(OTHER_PORT, {"tenant": "light"}))
    submit_many(relay, OTHER_PORT, [f"light{n}@example.test" for n in range(100)])
    submit_many(relay, BULK_PORT, [f"heavy{n}@example.test" for n in range(100)])
    already = len(server.messages)
    server.rules.clear()
    last_heavy = max(arrival(server, f"heavy{n}@example.test", 60) for n in range(100))
    light_before = sum(m.recipients[0].startswith("light") for m in server.messages[:last_heavy])
    # Four of the heavy to one of the light: a quarter of a hundred, and a turn more or less.
    assert already <= light_before <= already + 45
    relay.wait_empty(60)
    assert len(server.messages) == 200


def test_rate_of_a_site_is_kept(world):
    server = world.sink("example.test")
    other = world.sink("free.test")
    relay = world.suite({"qmgr.conf": {"site mx.example.*": {"messages_per_minute": 300}}}).start()
    for n in range(12):
        relay.submit(f"user{n}@example.test")
    relay.submit("free@free.test")
    other.wait_to("free@free.test", 5)
    for n in range(12):
        server.wait_to(f"user{n}@example.test", 30)
    times = sorted(m.received for m in server.messages)
    # Five a second, five of them at once at most: the other seven take 1.4 s.  Sooner would be a fault, later is the machine.
    assert times[-1] - times[0] >= 1.2


def test_connections_to_a_site_are_limited(world):
    server = world.sink("example.test", rules={"*": sink.Rule(delay=0.05)})
    relay = world.suite({"qmgr.conf": {"site_concurrency_start": 20, "site mx.example.*": {"connections_max": 2}}}).start()
    submit_many(relay, 2525, [f"user{n}@example.test" for n in range(30)])
    relay.wait_empty(60)
    assert server.connections <= 2 and len(server.messages) == 30


def test_new_connections_to_a_site_have_a_rate(world):
    server = world.sink("example.test")
    limits = {"connections_per_minute": 120, "messages_per_connection": 2}
    relay = world.suite({"qmgr.conf": {"site mx.example.*": limits}}).start()
    submit_many(relay, 2525, [f"user{n}@example.test" for n in range(12)])
    relay.wait_empty(60)
    carried = collections.Counter(m.connection for m in server.messages)
    assert max(carried.values()) == 2 and sum(carried.values()) == 12
    times = sorted({m.connection: m.received for m in reversed(server.messages)}.values())
    # Two a second, two of them at once at most.
    assert all(later - first >= 0.9 for first, later in zip(times, times[3:]))


def test_recipients_of_one_delivery_are_limited(world):
    server = world.sink("example.test")
    relay = world.suite({"qmgr.conf": {"site mx.example.*": {"recipients_per_message": 2, "recipients_per_minute": 60}}}).start()
    begin = time.monotonic()
    relay.submit([f"user{n}@example.test" for n in range(5)])
    relay.wait_empty(30)
    assert sorted(len(m.recipients) for m in server.messages) == [1, 2, 2]
    assert time.monotonic() - begin >= 2.5  # one a second: the last waits for the four before it


def test_the_lane_of_a_credential(world):
    server = world.sink("example.test", rules=GATE)
    relay = world.suite({"qmgr.conf": ONE_AT_A_TIME}).start()
    relay.user("news", "a pass word", "--lane", "bulk", "--tenant", "shop")
    relay.user("orders", "a pass word", "--tenant", "shop")
    session = relay.connect("submission", ("news", "a pass word"))
    for n in range(40):
        relay.submit(f"bulk{n}@example.test", client=session)
    relay.submit("reset@example.test", listener="submission", login=("orders", "a pass word"))
    now = len(server.messages)
    server.rules.clear()
    assert arrival(server, "reset@example.test") <= now + 2
    relay.wait_empty(60)
    assert len(server.messages) == 41
    # An administrator may think again.
    relay.ctl("user", "lane", "news", "transactional")
    assert "transactional" in relay.ctl("user", "list").stdout and "bulk" not in relay.ctl("user", "list").stdout
    assert "transactional or bulk" in relay.ctl("user", "lane", "news", "fast", check=False).stderr


def test_the_lane_that_a_header_asks_for(world):
    server = world.sink("example.test", rules=GATE)
    relay = world.suite({"qmgr.conf": {**ONE_AT_A_TIME, "tenant slow": {"lane": "bulk"}},
                         "smtpd.conf": {"lane_header": "X-Priority"}})
    relay.configure({"smtpd.conf": {"listener slow": listener(relay.address, BULK_PORT, tenant="slow")}})
    relay.start()
    text = suite.message(recipients=["x@example.test"])
    low, high = (f"X-Priority: {value}\r\n{text.decode()}".encode() for value in ("5 (Lowest)", "1"))
    client = smtplib.SMTP(relay.address, 2525, local_hostname="app.test", timeout=30)
    client.ehlo()
    for n in range(40):
        relay.submit(f"bulk{n}@example.test", low, client=client)
    # Even where everything else is bulk.
    client = smtplib.SMTP(relay.address, BULK_PORT, local_hostname="app.test", timeout=30)
    client.ehlo()
    relay.submit("reset@example.test", high, client=client)
    now = len(server.messages)
    server.rules.clear()
    assert arrival(server, "reset@example.test") <= now + 2
    relay.wait_empty(60)
    assert len(server.messages) == 41 and not any("X-Priority" in m.text for m in server.messages)


def test_a_site_that_hangs_delays_nobody_else(world):
    hanging = world.sink("hangs.test", rules={"*": sink.Rule(delay=20)})
    healthy = [world.sink(f"healthy{n}.test") for n in range(3)]
    relay = world.suite({"posthouse.conf": {"shutdown_timeout": "1s"}}).start()
    for n in range(40):
        relay.submit(f"user{n}@hangs.test")
    begin = time.monotonic()
    for n in range(30):
        relay.submit(f"user{n}@healthy{n % 3}.test")
    for n in range(30):
        healthy[n % 3].wait_to(f"user{n}@healthy{n % 3}.test", 15)
    assert not hanging.messages or time.monotonic() - begin > 20
