"""What the extensions of SMTP ask for, from submission to delivery: REQUIRETLS, BINARYMIME, FUTURERELEASE, DELIVERBY,
MT-PRIORITY, and what becomes of it where the next server lacks them."""

import json
import time

import pytest
from support import sink, wait

LOGIN = ("app@sender.test", "a pass word")


@pytest.fixture
def relay(world):
    world.inbox = world.sink("example.test")
    world.home = world.sink("sender.test")
    world.old = world.sink("old.test", hide=("CHUNKING", "BINARYMIME", "REQUIRETLS", "DELIVERBY", "MT-PRIORITY"))
    world.slow = world.sink("slow.test", hide=("DELIVERBY",), offer=("DELIVERBY 900",))
    world.plain = world.sink("plain.test", tls=False)
    relay = world.suite({"qmgr.conf": {"retry_min": "1s", "retry_max": "1s", "greylist_retry": "1s"}}).start()
    relay.user(*LOGIN)
    relay.inbox, relay.home = world.inbox, world.home
    return relay


def submit(relay, recipient, *options, content=None):
    return relay.submit(recipient, content, listener="submission", login=LOGIN, mail_options=options)


def bdat(relay, recipient, content, *options):
    """By chunks, as smtplib can not."""
    session = relay.connect("submission", LOGIN)
    session.mail("app@sender.test", list(options))
    session.rcpt(recipient)
    half = len(content) // 2
    session.send(f"BDAT {half}\r\n".encode() + content[:half])
    assert session.getreply()[0] == 250
    session.send(f"BDAT {len(content) - half} LAST\r\n".encode() + content[half:])
    code, reply = session.getreply()
    assert code == 250, reply
    return reply.decode().split()[-1]


def notice(relay, queue_id, action):
    return relay.home.wait_for(lambda m: m.sender == "" and queue_id in m.text and f"Action: {action}" in m.text, 20)


def test_binary_content_arrives_as_it_was(relay):
    content = b"From: app@sender.test\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\n" + bytes(range(256)) * 300
    bdat(relay, "binary@example.test", content, "BODY=BINARYMIME")
    arrived = relay.inbox.wait_to("binary@example.test")
    assert arrived.data.endswith(bytes(range(256)) * 300) and "BODY=BINARYMIME" in arrived.sender_parameters


def test_chunks_of_text_go_out_as_data(relay):
    content = b"From: app@sender.test\r\n\r\n" + b"a line\r\n.dots\r\n" * 20000
    bdat(relay, "chunks@example.test", content)
    assert relay.inbox.wait_to("chunks@example.test").data.endswith(content[23:])


def test_binary_content_for_a_server_that_lacks_it(world, relay):
    queue_id = bdat(relay, "x@old.test", b"From: app@sender.test\r\n\r\n\0\r\n", "BODY=BINARYMIME")
    assert "5.6.3" in notice(relay, queue_id, "failed").text
    assert not world.old.messages


def test_requiretls_passes_on(relay):
    submit(relay, "private@example.test", "REQUIRETLS")
    arrived = relay.inbox.wait_to("private@example.test")
    assert "REQUIRETLS" in arrived.sender_parameters and arrived.tls


def test_requiretls_where_the_next_server_lacks_it(world, relay):
    for domain in ("old.test", "plain.test"):
        queue_id = submit(relay, f"x@{domain}", "REQUIRETLS")
        told = notice(relay, queue_id, "failed")
        assert "5.7.30" in told.text and "REQUIRETLS" in told.sender_parameters
    assert not world.old.messages and not world.plain.messages


def test_a_message_is_held_until_its_time(relay):
    begin = time.time()
    queue_id = submit(relay, "later@example.test", "HOLDFOR=4")
    submit(relay, "now@example.test")
    relay.inbox.wait_to("now@example.test")
    item = next(i for i in json.loads(relay.ctl("queue", "list", "--json").stdout) if i["queue_id"] == queue_id)
    assert item["state"] == "deferred" and item["attempts"] == 0
    relay.stop()
    relay.start()
    assert relay.inbox.wait_to("later@example.test", 20).received >= begin + 4
    assert not relay.home.messages  # it was not late


def test_an_admin_lets_it_go_before_its_time(relay):
    queue_id = submit(relay, "later@example.test", "HOLDFOR=3600")
    wait.until(lambda: relay.queue_files("deferred"), 10, "it waits")
    relay.ctl("queue", "retry", queue_id)
    relay.inbox.wait_to("later@example.test")


def test_a_late_message_is_returned(relay):
    relay.inbox.rules["busy@"] = sink.Rule(rcpt="450 4.2.1 not now")
    queue_id = submit(relay, "busy@example.test", "BY=3;R")
    told = notice(relay, queue_id, "failed")
    assert "4.4.7" in told.text or "5.4.7" in told.text
    relay.wait_empty()


def test_the_sender_of_a_late_message_is_told(relay):
    relay.inbox.rules["busy@"] = sink.Rule(rcpt="450 4.2.1 not now")
    queue_id = submit(relay, "busy@example.test", "BY=2;N")
    notice(relay, queue_id, "delayed")
    assert relay.queue_files()


def test_what_is_left_of_the_time_and_the_priority_pass_on(world, relay):
    submit(relay, "soon@example.test", "BY=600;R", "MT-PRIORITY=4")
    parameters = relay.inbox.wait_to("soon@example.test").sender_parameters
    left, = (int(p[3:-2]) for p in parameters if p.startswith("BY=") and p.endswith(";R"))
    assert 500 < left <= 600 and "MT-PRIORITY=4" in parameters
    submit(relay, "x@old.test", "BY=600;N", "MT-PRIORITY=-4")
    assert not [p for p in world.old.wait_to("x@old.test").sender_parameters if p.startswith(("BY=", "MT-"))]


def test_a_server_that_can_not_be_in_time_is_not_asked(world, relay):
    queue_id = submit(relay, "x@slow.test", "BY=600;R")
    told = notice(relay, queue_id, "failed")
    assert "5.4.7" in told.text and "so short a time" in told.text
    submit(relay, "y@slow.test", "BY=1200;R")
    world.slow.wait_to("y@slow.test")
    assert not world.slow.to("x@slow.test")


def test_a_server_that_promises_no_time(world, relay):
    """Its mail goes on unless the admin wants RFC 2852 to the letter."""
    submit(relay, "x@old.test", "BY=600;R")
    world.old.wait_to("x@old.test")
    relay.configure({"smtp-out.conf": {"strict_deliver_by": "yes"}})
    relay.ctl("reload")
    queue_id = submit(relay, "y@old.test", "BY=600;R")
    told = notice(relay, queue_id, "failed")
    assert "5.4.7" in told.text and "DELIVERBY" in told.text
    submit(relay, "z@old.test", "BY=600;N")
    world.old.wait_to("z@old.test")
    assert not world.old.to("y@old.test")
