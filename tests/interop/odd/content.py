"""What DATA carries: line ends, dots, NUL and other bytes, long lines, headers (RFC 5321 sections 2.3.8, 4.1.1.4 and 4.5.2;
RFC 5322)."""

import itertools

from . import CONTENT, DATA, EHLO, FROM, MAIL, TO, dialogue, line, one_of_its_kind, raw

HEAD = CONTENT[:-len(b"A line.\r\n")]
END = b"\r\n.\r\n"
LETTERS = {"r": b"\r", "n": b"\n", "d": b".", "x": b"x"}


def end_class(data):
    """What is wrong with the line ends of content, and whether a line of it looks like the end to who is not strict."""
    rest = data.replace(b"\r\n", b"")
    kind = "both" if b"\r" in rest and b"\n" in rest else "cr" if b"\r" in rest else "lf" if b"\n" in rest else "clean"
    ends = any(f"{before}.{behind}".encode() in data for before, behind in itertools.product(("\n", "\r"),
        ("\r\n", "\n", "\r")))
    return kind + ("-dot" if ends else "")


def line_ends():
    """Every sequence of up to five of CR, LF, dot and a letter, in a body."""
    for size in range(1, 6):
        for letters in itertools.product("rndx", repeat=size):
            text = "".join(letters)
            middle = b"".join(LETTERS[letter] for letter in letters)
            # Five of them in a row with a letter in between say nothing that three and two have not.
            if size == 5 and ("x" in text or "d" not in text) or size == 4 and text.count("x") > 1:
                continue
            if b"\r\n.\r\n" in b"\r\n" + middle + END[:2]:
                continue
            data = HEAD + b"Body\r\n" + middle + b"rest" + END
            inner = b"\n" + middle + b"r"
            yield dialogue(f"content/ends-{end_class(inner)}/{text}", DATA, raw(data))


SHAPES = {
    # What stands for the whole content, without the end.
    "empty": {"nothing": b"", "crlf": b"\r\n", "two-crlf": b"\r\n\r\n", "blank": b" \r\n", "letter": b"x\r\n",
              "dots": b"..\r\n", "no-crlf-at-the-end": b"x"},
    "no-header": {"body-only": b"\r\nBody\r\n", "text-at-once": b"Just text.\r\nMore text.\r\n",
                  "text-with-colon": b"Dear Ann: hello\r\n\r\nx\r\n",
                  "from-line": b"From app Mon Jan  1 00:00:00 2024\r\nSubject: x\r\n\r\nx\r\n",
                  "quoted-from-line": b">From app\r\nSubject: x\r\n\r\nx\r\n",
                  "mime-parts": b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n"},
    "no-from": {"subject-only": b"Subject: x\r\n\r\nx\r\n", "date-only": b"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\n\r\nx\r\n",
                "x-field": b"X-Y: z\r\n\r\nx\r\n", "header-only": b"Subject: x\r\n", "header-cut": b"Subject: x"},
    "two": {name: b"%s: <a@b.test>\r\n%s: <c@d.test>\r\n\r\nx\r\n" % (name.encode(), name.encode()) for name in ("To", "Cc",
        "Bcc", "Sender", "Reply-To", "Subject", "Date", "Message-ID", "Received", "Return-Path")},
    "two-from": {"From": b"From: <a@b.test>\r\nFrom: <c@d.test>\r\n\r\nx\r\n",
                 "from-FROM": b"from: <a@b.test>\r\nFROM: <c@d.test>\r\n\r\nx\r\n",
                 "apart": b"From: <a@b.test>\r\nTo: <a@b.test>\r\nFrom: <c@d.test>\r\n\r\nx\r\n",
                 "same": b"From: <a@b.test>\r\nFrom: <a@b.test>\r\n\r\nx\r\n",
                 "blank-before-colon": b"From: <a@b.test>\r\nFrom : <c@d.test>\r\n\r\nx\r\n"},
    "folded": {"blank": b"Subject: a\r\n b\r\n\r\nx\r\n", "tab": b"Subject: a\r\n\tb\r\n\r\nx\r\n",
               "empty-first": b"Subject:\r\n b\r\n\r\nx\r\n", "blank-line": b"Subject: a\r\n \r\n\r\nx\r\n",
               "many": b"Subject: a\r\n" + b" b\r\n" * 100 + b"\r\nx\r\n"},
    "folded-badly": {"first-line": b" b\r\nSubject: a\r\n\r\nx\r\n", "first-line-tab": b"\tb\r\n\r\nx\r\n"},
    "field-odd": {"empty-value": b"Subject:\r\n\r\nx\r\n", "no-blank": b"Subject:x\r\n\r\nx\r\n",
                  "two-colons": b"Subject:: x\r\n\r\nx\r\n", "blank-before-colon": b"Subject : x\r\n\r\nx\r\n",
                  "tab-before-colon": b"Subject\t: x\r\n\r\nx\r\n", "name-of-signs": b"!#$: x\r\n\r\nx\r\n",
                  "name-long": b"X" * 900 + b": x\r\n\r\nx\r\n", "name-one-letter": b"A: x\r\n\r\nx\r\n"},
    "field-badly": {"no-colon": b"Subject x\r\n\r\nx\r\n", "no-colon-second": b"A: x\r\nSubject x\r\n\r\nx\r\n",
                    "colon-only": b": x\r\n\r\nx\r\n", "blank-in-name": b"Sub ject: x\r\n\r\nx\r\n",
                    "blank-before": b"A: x\r\n\r\n Subject: x\r\n", "eight-bit-name": b"S\xc3\xbcbject: x\r\n\r\nx\r\n",
                    "control-in-name": b"Sub\x01ject: x\r\n\r\nx\r\n",
                    "bracket-line": b"A: x\r\n<html>\r\n\r\nx\r\n", "dot-line": b"A: x\r\n..\r\n\r\nx\r\n",
                    "smtp-line": b"A: x\r\nRSET\r\n\r\nx\r\n"},
    "eight-bit": {"utf-8-body": b"A: x\r\n\r\n\xc3\xbc\r\n", "latin-1-body": b"A: x\r\n\r\n\xfc\r\n",
                  "utf-8-header": b"Subject: \xc3\xbc\r\n\r\nx\r\n", "latin-1-header": b"Subject: \xfc\r\n\r\nx\r\n",
                  "every-high-byte": b"A: x\r\n\r\n" + bytes(range(128, 256)) + b"\r\n"},
    "dots": {"one": b"A: x\r\n\r\n..\r\n", "two": b"A: x\r\n\r\n...\r\n", "not-stuffed": b"A: x\r\n\r\n.x\r\n",
             "alone-with-blank": b"A: x\r\n\r\n. \r\n", "alone-with-tab": b"A: x\r\n\r\n.\t\r\n",
             "dot-dot-blank": b"A: x\r\n\r\n.. \r\n", "in-header": b"A: x\r\n..b: c\r\n\r\nx\r\n",
             "first": b"..A: x\r\n\r\nx\r\n", "full-width": b"A: x\r\n\r\n\xef\xbc\x8e\r\n",
             "eighth-bit": b"A: x\r\n\r\n\xae\r\n", "blank-before": b"A: x\r\n\r\n .\r\n"},
}


def shapes():
    for kind, table in SHAPES.items():
        for name, content in table.items():
            end = b".\r\n" if not content or content.endswith(b"\r\n") else END
            yield dialogue(f"content/{kind}/{name}", DATA, raw(content + end))
            if kind in ("empty", "eight-bit", "no-header"):
                for body in ("7BIT", "8BITMIME"):
                    before = (*EHLO, line(f"MAIL FROM:<{FROM}> BODY={body}"), line(f"RCPT TO:<{TO}>"), line("DATA"))
                    yield dialogue(f"content/{kind}-body-{body.lower()}/{name}", before, raw(content + end))


def bytes_everywhere():
    """Every byte in a body, in a field's value and in a field's name, but CR and LF, which have their own."""
    for code in range(256):
        if code in (10, 13) or not one_of_its_kind(code):
            continue
        kind = "nul" if code == 0 else "control" if code < 32 or code == 127 else "eight-bit" if code > 127 else "printing"
        char = bytes([code])
        if kind != "printing":
            yield dialogue(f"content/byte-body/{kind}-{code:02x}", DATA, raw(HEAD + b"a" + char + b"b" + END))
            yield dialogue(f"content/byte-value/{kind}-{code:02x}", DATA, raw(b"X-Y: a" + char + b"b\r\n" + HEAD + b"x" + END))
        name_kind = "colon" if char == b":" else "blank" if char == b" " else kind
        yield dialogue(f"content/byte-name/{name_kind}-{code:02x}", DATA, raw(b"X" + char + b"Y: b\r\n" + HEAD + b"x" + END))
    for place, data in {"start": b"\0" + HEAD + b"x", "end": HEAD + b"x\0", "line": HEAD + b"\0\r\n",
                        "in-crlf": HEAD + b"a\r\0\nb", "before-dot": HEAD + b"a\r\n\0.\r\nb",
                        "behind-dot": HEAD + b"a\r\n.\0\r\nb", "many": HEAD + b"\0" * 5000}.items():
        yield dialogue(f"content/nul/{place}", DATA, raw(data + END))


def lengths():
    for size in (76, 78, 997, 998, 999, 1000, 1001, 1998, 2000, 2046, 2047, 2048, 2049, 4096, 8192, 10000, 65535, 65536, 100000,
                 500000):
        yield dialogue(f"content/length-body/{size:06d}", DATA, raw(HEAD + b"x" * size + END))
        yield dialogue(f"content/length-header/{size:06d}", DATA,
                       raw(b"X-Y: " + b"x" * (size - 5) + b"\r\n" + HEAD + b"x" + END))
        yield dialogue(f"content/length-dots/{size:06d}", DATA, raw(HEAD + b"." * size + END))
    for count in (100, 500, 1000, 2000):
        yield dialogue(f"content/header-fields/{count:05d}", DATA,
                       raw(b"".join(b"X-%d: y\r\n" % n for n in range(count)) + HEAD + b"x" + END))
        yield dialogue(f"content/header-size/{count:05d}", DATA,
                       raw(b"".join(b"X-%d: " % n + b"y" * 200 + b"\r\n" for n in range(count)) + HEAD + b"x" + END))
    for hops in (10, 24, 25, 29, 30, 31, 49, 50, 51, 99, 100, 101, 150):
        yield dialogue(f"content/hops/{hops:03d}", DATA,
                       raw(b"Received: from a by b; Thu, 1 Jan 2026 00:00:00 +0000\r\n" * hops + HEAD + b"x" + END))
        yield dialogue(f"content/hops-in-body/{hops:03d}", DATA,
                       raw(HEAD + b"Received: from a by b; Thu, 1 Jan 2026 00:00:00 +0000\r\n" * hops + END))


def size_told():
    for told, sent in ((10, 1000), (1000, 10), (1, 100000), (0, 1000)):
        before = (*EHLO, line(f"MAIL FROM:<{FROM}> SIZE={told}"), line(f"RCPT TO:<{TO}>"), line("DATA"))
        yield dialogue(f"content/size-told/{told}-sent-{sent}", before,
                       raw(HEAD + (b"x" * 70 + b"\r\n") * (sent // 72 + 1) + b".\r\n"))
    yield dialogue("content/pieces/dot-alone", DATA, raw(HEAD + b"x\r\n", 0), raw(".", 0), raw("\r", 0), raw("\n"))
    yield dialogue("content/pieces/stuffed-dot", DATA, raw(HEAD + b"x\r\n", 0), raw(".", 0), raw(".\r\n", 0), raw(".\r\n"))
    for name, data in {"null-sender": b"MAIL FROM:<>", "utf8-asked": f"MAIL FROM:<{FROM}> SMTPUTF8".encode()}.items():
        yield dialogue(f"content/utf8-header/{name}", EHLO, line(data), f"RCPT TO:<{TO}>", "DATA",
                       raw("Subject: \xc3\xbc\r\nFrom: \xc3\xbc <\xc3\xbc@b.test>\r\n\r\nx\r\n.\r\n"))
    yield dialogue("content/utf8-header/not-asked", MAIL, f"RCPT TO:<{TO}>", "DATA",
                   raw("Subject: \xc3\xbc\r\nFrom: \xc3\xbc <\xc3\xbc@b.test>\r\n\r\nx\r\n.\r\n"))


def dialogues():
    yield from line_ends()
    yield from shapes()
    yield from bytes_everywhere()
    yield from lengths()
    yield from size_told()
