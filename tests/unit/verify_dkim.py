#!/usr/bin/python3
"""Verifies with dkimpy what dkim-signer signed: verify_dkim.py FOLDER.

FOLDER/records holds lines "selector._domainkey.domain. text of the TXT record"; every FOLDER/*.eml is a message whose
DKIM-Signature fields must all verify.  Prints what does not and exits 1."""
import glob
import sys

import dkim

folder = sys.argv[1]
records = {}
for line in open(folder + "/records", "rb"):
    name, _, text = line.rstrip(b"\n").partition(b" ")
    records[name] = text


def look_up(name, timeout=5):
    return records.get(name)


def verify(path):
    """The number of signatures, all of them good."""
    message = open(path, "rb").read()
    count = message.split(b"\r\n\r\n", 1)[0].count(b"DKIM-Signature:")
    for i in range(count):
        verifier = dkim.DKIM(message, minkey=1024)
        if not verifier.verify(idx=i, dnsfunc=look_up):
            print(f"{path}: signature {i + 1} does not verify")
            return 0
    return count


counts = [verify(path) for path in sorted(glob.glob(folder + "/*.eml"))]
print(f"{len(counts)} messages, {sum(counts)} signatures")
sys.exit(0 if counts and all(counts) else 1)
