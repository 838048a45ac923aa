"""Sends what order.json says with smtplib, through connect() of mail.py; both are in the working folder."""

import json
import pathlib
import sys
from email.headerregistry import Address
from email.message import EmailMessage

sys.path.insert(0, "")
from mail import connect  # noqa: E402


def address(of):
    return Address(of["name"], *of["address"].rsplit("@", 1))


order = json.loads(pathlib.Path("order.json").read_text())
for one in order["messages"]:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = address(order["from"]), address(one["to"]), one["subject"]
    message.set_content(one["text"])
    if one["file"]:
        message.add_attachment(pathlib.Path(one["file"]).read_bytes(), maintype="application", subtype="octet-stream",
                               filename=one["filename"])
    with connect() as client:
        assert client.send_message(message) == {}
