"""Notices as a mail program sees them: composes every case of test_bounce_notice.c (the program named on the command
line) and parses each with the email package of Python."""
import email
import email.policy
import os
import pathlib
import subprocess
import sys
import tempfile

PER_MESSAGE = {"Reporting-MTA", "Arrival-Date", "Original-Envelope-Id"}
PER_RECIPIENT = {"Final-Recipient", "Action", "Status"}
ACTIONS = {"delayed": "delayed", "delivered": "relayed"}
ORIGINALS = {
    "full": "message/rfc822",
    "utf8-address": "message/rfc822",
    "utf8-header": "message/global",
    "no-original": None,
}


def fields(part):
    """The groups of fields of a delivery-status part."""
    groups = part.get_payload()
    if part.get_content_type() == "message/delivery-status":
        return groups
    # The parser does not know the type of RFC 6533 and takes all behind the first group for the body of a message.
    rest = groups[0].get_payload().replace("\r\n", "\n").strip().split("\n\n")
    return [groups[0]] + [email.message_from_string(text + "\n\n") for text in rest]


def check(name, message):
    assert not message.defects, message.defects
    assert message.get_content_type() == "multipart/report"
    assert message["Auto-Submitted"] == "auto-replied"
    for field in ("From", "To", "Date", "Message-ID", "Subject", "MIME-Version"):
        assert message[field], field
    parts = message.get_payload()
    want = ORIGINALS.get(name, "text/rfc822-headers")
    assert len(parts) == (2 if want is None else 3), len(parts)
    people, report = parts[0], parts[1]
    assert people.get_content_type() == "text/plain"
    assert "This is the mail system of relay.example.com." in people.get_payload(decode=True).decode()
    assert report.get_content_type() == "message/" + message.get_param("report-type")
    per_message, *recipients = fields(report)
    assert PER_MESSAGE <= set(per_message.keys()), per_message.keys()
    assert recipients
    for r in recipients:
        assert PER_RECIPIENT <= set(r.keys()), r.keys()
        assert "X-Evil" not in r
        assert r["Action"] == ACTIONS.get(name, "failed"), r["Action"]
        assert len(r["Status"].split(".")) == 3
    if want is not None:
        assert parts[2].get_content_type() == want, parts[2].get_content_type()
    eight_bit = any(p["Content-Transfer-Encoding"] == "8bit" for p in parts)
    assert eight_bit == name.startswith("utf8")
    if not eight_bit:
        message.as_bytes().decode("ascii")


def main():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.argv[1]], env={**os.environ, "POSTHOUSE_NOTICES": folder}, check=True, capture_output=True)
        notices = sorted(pathlib.Path(folder).glob("*.eml"))
        assert len(notices) >= 10, notices
        for path in notices:
            try:
                check(path.stem, email.message_from_bytes(path.read_bytes(), policy=email.policy.compat32))
            except AssertionError as e:
                sys.exit(f"{path.stem}: {e!r}\n{path.read_text(errors='replace')}")
        print(f"{len(notices)} notices are well-formed")


main()
