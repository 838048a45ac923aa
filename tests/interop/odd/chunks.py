"""BDAT: RFC 3030."""

from . import CONTENT, EHLO, FROM, MAIL, RCPT, TO, dialogue, line, raw



# The command alone, no bytes behind it: the grammar.
GRAMMAR = {
    "good": ["BDAT 0 LAST", "bdat 0 last", "BDAT 0 Last", "BDAT 0", "BDAT 00 LAST", "BDAT 0000000000 LAST"],
    "blanks": ["BDAT  0 LAST", "BDAT 0  LAST", "BDAT 0 LAST ", "BDAT\t0 LAST", "BDAT 0\tLAST"],
    "badly": ["BDAT", "BDAT ", "BDAT LAST", "BDAT x", "BDAT x LAST", "BDAT -1", "BDAT -1 LAST", "BDAT +0", "BDAT 0x0",
              "BDAT 0.0", "BDAT 0 FIRST", "BDAT 0 LASTX", "BDAT 0 LAS", "BDAT 0LAST", "BDAT 0 LAST LAST", "BDAT 0 0",
              "BDAT 0,LAST",
              "BDAT 0;LAST", "BDAT=0", "BDAT:0", "BDAT \xb2 LAST", "BDAT 1e1 LAST", "BDAT LAST 0"],
    "too-large": ["BDAT 18446744073709551616 LAST", "BDAT 99999999999999999999 LAST", "BDAT 100000000000000000000 LAST",
                  "BDAT 9223372036854775808"],
}


def chunk(data, last=False):
    data = data if isinstance(data, bytes) else data.encode("latin-1")
    return raw(b"BDAT %d%s\r\n" % (len(data), b" LAST" if last else b"") + data)


def pieces(data, size):
    parts = [data[i:i + size] for i in range(0, len(data), size)]
    return [chunk(part, number == len(parts) - 1) for number, part in enumerate(parts)]


BODIES = {
    "plain": CONTENT, "no-line-end": CONTENT[:-2], "dot-line": CONTENT + b".\r\nmore\r\n", "dots": CONTENT + b"..\r\n.x\r\n",
    "end-of-data": CONTENT + b"\r\n.\r\n", "only-dot": b".\r\n", "header-only": b"Subject: x\r\n", "no-header": b"\r\nx\r\n",
    "text-only": b"text\r\n", "eight-bit": CONTENT + b"\xc3\xbc\r\n", "utf-8-header": b"Subject: \xc3\xbc\r\n\r\nx\r\n",
    "long-line": CONTENT + b"x" * 3000 + b"\r\n", "commands": CONTENT + b"RSET\r\nQUIT\r\n",
}
STRAY = {"bare-lf": CONTENT + b"a\nb\r\n", "bare-cr": CONTENT + b"a\rb\r\n", "lf-dot-lf": CONTENT + b"a\n.\nb\r\n",
         "lf-dot-crlf": CONTENT + b"a\n.\r\nb\r\n", "cr-at-the-end": CONTENT + b"a\r", "lf-at-the-end": CONTENT + b"a\n",
         "cr-cr-lf": CONTENT + b"a\r\r\n", "unix": CONTENT.replace(b"\r\n", b"\n")}
NUL = {"nul": CONTENT + b"a\0b\r\n", "nul-in-header": b"X: a\0b\r\n" + CONTENT}
OTHERS = {"noop": "NOOP", "rset": "RSET", "mail": f"MAIL FROM:<{FROM}>", "rcpt": "RCPT TO:<bob@example.test>", "data": "DATA",
          "ehlo": "EHLO app.test", "vrfy": f"VRFY {TO}", "unknown": "XYZZY", "help": "HELP"}


def dialogues():
    for kind, lines in GRAMMAR.items():
        for number, text in enumerate(lines):
            yield dialogue(f"chunks/grammar-{kind}/{number:02d}", RCPT, text)
    for table, group in (("content", BODIES), ("stray", STRAY), ("nul", NUL)):
        for name, data in group.items():
            yield dialogue(f"chunks/{table}-one/{name}", RCPT, chunk(data, True))
            yield dialogue(f"chunks/{table}-two/{name}", RCPT, chunk(data), chunk("", True))
            for size in (1, 7, 64) if table == "stray" else (7,):
                if len(data) < 400:
                    yield dialogue(f"chunks/{table}-pieces-{size}/{name}", RCPT, *pieces(data, size))
    for name, command in OTHERS.items():
        yield dialogue(f"chunks/between/{name}", RCPT, chunk(CONTENT), command)
        yield dialogue(f"chunks/between-then-last/{name}", RCPT, chunk(CONTENT), command, chunk("x\r\n", True))
        yield dialogue(f"chunks/behind-last/{name}", RCPT, chunk(CONTENT, True), command)
    yield dialogue("chunks/order/last-twice", RCPT, chunk(CONTENT, True), chunk("x\r\n", True))
    yield dialogue("chunks/order/no-rcpt", MAIL, chunk(CONTENT, True))
    yield dialogue("chunks/order/no-rcpt-two", MAIL, chunk(CONTENT), chunk("", True))
    yield dialogue("chunks/order/no-mail", EHLO, chunk(CONTENT, True))
    yield dialogue("chunks/order/no-ehlo", (), chunk(CONTENT, True))
    yield dialogue("chunks/order/bad-rcpt", MAIL, "RCPT TO:<<>", chunk(CONTENT, True))
    yield dialogue("chunks/order/data-then-bdat", RCPT, "DATA", raw(b"BDAT 3 LAST\r\nx\r\n\r\n.\r\n"))
    yield dialogue("chunks/order/bdat-then-message-by-data", RCPT, chunk(CONTENT, True), f"MAIL FROM:<{FROM}>",
                   f"RCPT TO:<{TO}>", "DATA", raw(CONTENT + b".\r\n"))
    yield dialogue("chunks/order/two-messages", RCPT, chunk(CONTENT, True), f"MAIL FROM:<{FROM}>", f"RCPT TO:<{TO}>",
                   chunk(CONTENT, True))
    one, two = chunk(CONTENT), chunk("x\r\n", True)
    yield dialogue("chunks/group/two-chunks", RCPT, raw(one.data + two.data, 2))
    yield dialogue("chunks/group/three-chunks", RCPT, raw(one.data + one.data + two.data, 3))
    yield dialogue("chunks/group/chunk-and-rset", RCPT, raw(one.data + b"RSET\r\n", 2))
    yield dialogue("chunks/group/last-and-mail", RCPT, raw(chunk(CONTENT, True).data + f"MAIL FROM:<{FROM}>\r\n".encode(), 2))
    yield dialogue("chunks/group/whole", EHLO, raw(f"MAIL FROM:<{FROM}>\r\nRCPT TO:<{TO}>\r\n".encode() + one.data + two.data,
                                                   4))
    yield dialogue("chunks/group/whole-bad-rcpt", EHLO,
                   raw(f"MAIL FROM:<{FROM}>\r\nRCPT TO:<<>\r\n".encode() + one.data + two.data, 4))
    yield dialogue("chunks/group/no-transaction", EHLO, raw(one.data + two.data, 2))
    for body in ("7BIT", "8BITMIME", "BINARYMIME"):
        start = [line(f"MAIL FROM:<{FROM}> BODY={body}"), line(f"RCPT TO:<{TO}>")]
        yield dialogue(f"chunks/body-{body.lower()}/chunk", EHLO, *start, chunk(CONTENT + b"\xc3\xbc\r\n", True))
        yield dialogue(f"chunks/body-{body.lower()}/data", EHLO, *start, "DATA")
        yield dialogue(f"chunks/body-{body.lower()}/bare-lf", EHLO, *start, chunk(CONTENT + b"a\nb\r\n", True))
        yield dialogue(f"chunks/body-{body.lower()}/nul", EHLO, *start, chunk(CONTENT + b"a\0b\r\n", True))
