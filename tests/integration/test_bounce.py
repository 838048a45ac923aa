"""bounce: notices by RFC 3464, the suppression list, and what is not answered."""

import email
import email.policy
import json
import time

import pytest
from support import sink, suite as suites


@pytest.fixture
def relay(world):
    world.inbox = world.sink("example.test", rules={
        "gone@": sink.Rule(rcpt="550 5.1.1 no such user"),
        "full@": sink.Rule(rcpt="552 5.2.2 mailbox full"),
        "policy@": sink.Rule(dot="554 5.7.1 looks like spam"),
    })
    world.home = world.sink("sender.test")
    relay = world.suite().start()
    relay.inbox, relay.home = world.inbox, world.home
    return relay


def notice_about(relay, queue_id):
    return relay.home.wait_for(lambda m: m.sender == "" and queue_id in m.text, 20, f"a notice about {queue_id}")


def suppressed(relay):
    return {row["address"]: row for row in json.loads(relay.ctl("suppress", "list", "--json").stdout)}


def test_notice_is_a_delivery_report(relay):
    queue_id = relay.submit("gone@example.test", mail_options=["ENVID=QQ314159", "RET=HDRS"],
                            rcpt_options=["NOTIFY=FAILURE", "ORCPT=rfc822;Gone+2Bx@example.test"])
    message = notice_about(relay, queue_id)
    assert message.recipients == ["app@sender.test"]
    report = email.message_from_bytes(message.data, policy=email.policy.SMTP)
    assert report.get_content_type() == "multipart/report" and not report.defects
    assert report["Auto-Submitted"].startswith("auto-") and report["To"] and report["Date"] and report["Message-ID"]
    human, machine, original = report.get_payload()
    assert "gone@example.test" in human.get_content() and "550 5.1.1 no such user" in human.get_content()
    per_message, per_recipient = machine.get_payload()
    assert per_message["Reporting-MTA"] == "dns; relay.posthouse.test"
    assert per_message["Original-Envelope-Id"] == "QQ314159"
    assert per_recipient["Final-Recipient"] == "rfc822; gone@example.test"
    assert per_recipient["Original-Recipient"] == "rfc822; Gone+x@example.test"
    assert (per_recipient["Action"], per_recipient["Status"]) == ("failed", "5.1.1")
    assert per_recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
    assert original.get_content_type() == "text/rfc822-headers" and "Subject: Hello" in original.as_string()


def test_one_notice_for_several_recipients(relay):
    queue_id = relay.submit(["gone@example.test", "full@example.test", "fine@example.test"])
    message = notice_about(relay, queue_id)
    relay.inbox.wait_to("fine@example.test")
    relay.wait_empty()
    assert "gone@example.test" in message.text and "full@example.test" in message.text
    assert len(relay.home.messages) == 1


def test_suppressed_address_is_refused_with_the_reason(relay):
    queue_id = relay.submit("gone@example.test")
    notice_about(relay, queue_id)
    row = suppressed(relay)["gone@example.test"]
    assert (row["code"], row["enhanced"], row["queue_id"]) == (550, "5.1.1", queue_id)
    with pytest.raises(suites.Refused) as refused:
        relay.submit("GONE@Example.test")
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert refused.value.code == 550 and "no such user" in refused.value.reply and today in refused.value.reply
    # The other recipients of the same message are not refused.
    with relay.connect() as client:
        client.mail("app@sender.test")
        assert [client.rcpt(r)[0] for r in ("gone@example.test", "fine@example.test")] == [550, 250]
    relay.ctl("suppress", "remove", "gone@example.test")
    relay.submit("gone@example.test")


@pytest.mark.parametrize("recipient", ["full@example.test", "policy@example.test"])
def test_failures_that_say_nothing_about_the_address_do_not_suppress(relay, recipient):
    notice_about(relay, relay.submit(recipient))
    assert recipient not in suppressed(relay)


def test_by_hand(relay):
    relay.ctl("suppress", "add", "unwanted@example.test", "--reason", "asked us to stop")
    with pytest.raises(suites.Refused) as refused:
        relay.submit("unwanted@example.test")
    assert "asked us to stop" in refused.value.reply


def test_null_sender_is_not_answered(relay):
    queue_id = relay.submit("gone@example.test", sender="")
    relay.wait_log(f"{queue_id}: to=<gone@example.test>.*status=bounced")
    relay.wait_empty()
    assert not relay.home.messages
    assert "gone@example.test" in suppressed(relay)


def test_notify_never_is_not_answered(relay):
    queue_id = relay.submit("gone@example.test", rcpt_options=["NOTIFY=NEVER"])
    relay.wait_log(f"{queue_id}: to=<gone@example.test>.*status=bounced")
    relay.wait_empty()
    assert not relay.home.messages


def test_killed_bounce_tells_once(relay):
    relay.kill("bounce")
    queue_id = relay.submit("gone@example.test")
    notice_about(relay, queue_id)
    relay.wait_empty()
    time.sleep(1)
    assert len(relay.home.messages) == 1


def test_undeliverable_notice_ends_there(world):
    """No notice about a notice, and nothing stays in the queue."""
    world.sink("example.test", rules={"*": sink.Rule(rcpt="550 5.1.1 no")})
    home = world.sink("sender.test", rules={"*": sink.Rule(rcpt="550 5.1.1 nobody here either")})
    relay = world.suite().start()
    relay.submit("gone@example.test")
    relay.wait_log("to=<app@sender.test>.*status=bounced")
    relay.wait_empty()
    assert not home.messages


def test_internationalised_notice(relay):
    """RFC 6533: a failed UTF-8 address comes back in a message/global-delivery-status."""
    relay.inbox.rules["grün@"] = sink.Rule(rcpt="550 5.1.1 no such user")
    with relay.connect() as client:
        client.putcmd("MAIL", "FROM:<app@sender.test> SMTPUTF8")
        assert client.getreply()[0] == 250
        client.command_encoding = "utf-8"
        client.putcmd("RCPT", "TO:<grün@example.test>")
        assert client.getreply()[0] == 250
        code, reply = client.data("From: app@sender.test\r\nSubject: grün\r\n\r\nx\r\n".encode())
        assert code == 250
    queue_id = reply.split()[-1].decode()
    message = notice_about(relay, queue_id)
    assert "grün@example.test" in message.text and "message/global-delivery-status" in message.text


def test_success_is_told_where_the_next_host_does_not(world):
    """RFC 3461 section 5.2: a host with DSN takes the wish over; for one without, the report says "relayed"."""
    knows, ignores = world.sink("knows.test"), world.sink("ignores.test", hide=("DSN",))
    world.home = world.sink("sender.test")
    relay = world.suite().start()
    relay.home = world.home
    passed = relay.submit("a@knows.test", rcpt_options=["NOTIFY=SUCCESS,FAILURE"])
    assert knows.wait_to("a@knows.test").recipient_parameters["a@knows.test"] == ["NOTIFY=SUCCESS,FAILURE"]
    told = relay.submit(["b@ignores.test", "c@ignores.test"], rcpt_options=["NOTIFY=SUCCESS"])
    unasked = relay.submit("d@ignores.test")
    ignores.wait_to("d@ignores.test")
    report = email.message_from_bytes(notice_about(relay, told).data, policy=email.policy.SMTP)
    _, machine, _ = report.get_payload()
    rows = machine.get_payload()[1:]
    assert {row["Final-Recipient"] for row in rows} == {"rfc822; b@ignores.test", "rfc822; c@ignores.test"}
    assert {(row["Action"], row["Status"][0]) for row in rows} == {("relayed", "2")}
    relay.wait_empty()
    assert len(relay.home.messages) == 1 and not any(i in relay.home.messages[0].text for i in (passed, unasked))


def test_success_that_bounce_could_not_tell_is_told_later(world):
    """The wish stands in the queue file until the report is safe, whoever dies meanwhile."""
    world.sink("ignores.test", hide=("DSN",))
    world.home = world.sink("sender.test")
    relay = world.suite({"master.conf": {"restart_delay_min": "1h", "restart_delay_max": "1h"}}).start()
    relay.home = world.home
    relay.kill("bounce")
    queue_id = relay.submit("late@ignores.test", rcpt_options=["NOTIFY=SUCCESS"])
    relay.wait_log(f"{queue_id}: warning: notice not made: bounce is not running")
    shown = relay.ctl("queue", "show", queue_id).stdout
    assert "relayed" in shown
    relay.stop()
    relay.start()
    assert '2.0.0' in notice_about(relay, queue_id).text
    relay.wait_empty()
