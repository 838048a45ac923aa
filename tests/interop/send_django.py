"""Sends what order.json says with Django and the settings.py of the working folder."""

import json
import os
import pathlib
import sys

sys.path.insert(0, "")
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"

from django.core.mail import EmailMessage  # noqa: E402


def address(of):
    return f"{of['name']} <{of['address']}>"


order = json.loads(pathlib.Path("order.json").read_text())
for one in order["messages"]:
    message = EmailMessage(one["subject"], one["text"], address(order["from"]), [address(one["to"])])
    if one["file"]:
        message.attach(one["filename"], pathlib.Path(one["file"]).read_bytes(), "application/octet-stream")
    assert message.send() == 1
