"""How commands are written: case, blanks, arguments, line ends, words that are none."""

from . import CONTENT, DATA, EHLO, FROM, MAIL, RCPT, TO, dialogue, raw

# Each verb where it is valid, with its argument.
VERBS = {
    "helo": ((), "HELO", "app.test"),
    "ehlo": ((), "EHLO", "app.test"),
    "mail": (EHLO, "MAIL", f"FROM:<{FROM}>"),
    "rcpt": (MAIL, "RCPT", f"TO:<{TO}>"),
    "data": (RCPT, "DATA", ""),
    "rset": (RCPT, "RSET", ""),
    "noop": (EHLO, "NOOP", ""),
    "quit": (EHLO, "QUIT", ""),
    "vrfy": (EHLO, "VRFY", TO),
    "expn": (EHLO, "EXPN", "list"),
    "help": (EHLO, "HELP", ""),
    "bdat": (RCPT, "BDAT", "0 LAST"),
}

# name -> the line, made from verb and argument (with a blank before it when there is one).
WRITTEN = {
    "plain": lambda v, a: v + a,
    "lower-case": lambda v, a: v.lower() + a,
    "mixed-case": lambda v, a: v[:1] + v[1:].lower() + a,
    "argument-upper-case": lambda v, a: v + a.upper(),
    "blank-before": lambda v, a: " " + v + a,
    "tab-before": lambda v, a: "\t" + v + a,
    "blank-behind": lambda v, a: v + a + " ",
    "blanks-behind": lambda v, a: v + a + " " * 40,
    "tab-behind": lambda v, a: v + a + "\t",
    "two-blanks": lambda v, a: v + " " + (a or " x"),
    "tab-between": lambda v, a: v + "\t" + a[1:],
    "vertical-tab-between": lambda v, a: v + "\v" + a[1:],
    "form-feed-between": lambda v, a: v + "\f" + a[1:],
    "no-break-space-between": lambda v, a: v + "\xa0" + a[1:],
    "no-argument": lambda v, a: v,
    "blank-and-no-argument": lambda v, a: v + " ",
    "one-argument-more": lambda v, a: v + a + " more",
    "colon-behind-verb": lambda v, a: v + ":" + a,
    "letter-more": lambda v, a: v + "X" + a,
    "letter-less": lambda v, a: v[:-1] + a,
    "first-letter-twice": lambda v, a: v[:1] + v + a,
    "reversed": lambda v, a: v[::-1] + a,
    "quoted-verb": lambda v, a: f'"{v}"' + a,
    "minus-before": lambda v, a: "-" + v + a,
    "dot-before": lambda v, a: "." + v + a,
    "byte-order-mark-before": lambda v, a: "\xef\xbb\xbf" + v + a,
    "full-width": lambda v, a: "".join(chr(0xFEE0 + ord(c)) for c in v).encode().decode("latin-1") + a,
    "eighth-bit-set": lambda v, a: "".join(chr(128 + ord(c)) for c in v) + a,
    "nul-behind-verb": lambda v, a: v + "\0" + a,
    "nul-at-the-end": lambda v, a: v + a + "\0",
    "escape-before": lambda v, a: "\x1b[A" + v + a,
    "backspace-inside": lambda v, a: v[:2] + "X\b" + v[2:] + a,
    "telnet-iac-before": lambda v, a: "\xff\xf4\xff\xfd\x06" + v + a,
    "semicolon-behind": lambda v, a: v + a + ";",
    "comment-behind": lambda v, a: v + a + " (comment)",
    "verb-twice": lambda v, a: v + " " + v + a,
}

# Line ends of a command; what comes behind is a NOOP in a packet with it.
ENDS = {
    "lf": "\n",
    "cr": "\r",
    "cr-cr-lf": "\r\r\n",
    "lf-cr": "\n\r",
    "lf-lf": "\n\n",
    "crlf-twice": "\r\n\r\n",
    "nul-crlf": "\0\r\n",
    "cr-nul-lf": "\r\0\n",
    "next-line": "\x85\r\n",
    "cr-blank-lf": "\r \n",
}

UNKNOWN = ["", " ", "\t", ".", "..", "?", "!", "X", "XYZZY", "X-CUSTOM 1", "MAILFROM:<a@b.test>", "RCPTTO:<a@b.test>",
           "SEND FROM:<a@b.test>",
           "SOML FROM:<a@b.test>", "SAML FROM:<a@b.test>", "TURN", "ETRN example.test", "ATRN", "LHLO app.test", "ONEX",
           "VERB ON",
           "QUEU", "DEBUG", "WIZ", "SHOWQ", "TICK", "BURL imap://a LAST", "XFORWARD NAME=a", "XCLIENT NAME=a", "XADR",
           "XEXCH50 1 2", "EVIL\0",
           "LOGIN a b", "USER a", "PASS b", "LIST", "a001 NOOP", "SSH-2.0-x", "\x16\x03\x01\x02\x00\x01\x00",
           "\x80\x2e\x01\x00\x02",
           "PROXY TCP4 192.0.2.1 192.0.2.2 1 2", "Subject: mail that lost its DATA", "From: a@b.test", "--boundary", "250 ok",
           "220 mail.test ESMTP",
           "354 go on", "421 4.3.2 bye", "echo `id`", "${jndi:ldap://a.test/}", "%s%s%s%n", "A" * 500, "A" * 1000, "A" * 4000,
           "NOOP" * 3000]

HTTP = ["GET / HTTP/1.0", "GET / HTTP/1.1", "GET http://a.test/ HTTP/1.1", "POST / HTTP/1.1", "PUT /x HTTP/1.1",
        "HEAD / HTTP/1.1",
        "OPTIONS * HTTP/1.1", "CONNECT a.test:25 HTTP/1.1", "DELETE / HTTP/1.1", "TRACE / HTTP/1.1", "PATCH / HTTP/1.1",
        "PRI * HTTP/2.0", "get / http/1.1", "Get / HTTP/1.1", "GET", "GET /", "POST", " GET / HTTP/1.1", "GETX / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "Host: a.test", "User-Agent: x", "Content-Length: 5", "Connection: close", "Accept: */*"]

# Lines just shorter and longer than the limits of RFC 5321 section 4.5.3.1.4 and of the servers.
LENGTHS = [510, 511, 512, 513, 998, 1000, 1022, 1023, 1024, 2046, 2048, 2049, 4096, 8192, 12288, 16384, 65536]


def written():
    for verb, (before, word, argument) in VERBS.items():
        lines = set()
        for name, make in WRITTEN.items():
            text = make(word, " " + argument if argument else "")
            if text in lines or (verb in ("data", "bdat") and name == "plain"):
                continue
            lines.add(text)
            yield dialogue(f"words/{verb}/{name}", before, text)


def line_ends():
    for verb, (before, word, argument) in VERBS.items():
        if verb in ("quit", "data", "bdat"):
            continue
        command = f"{word} {argument}".rstrip()
        for name, end in ENDS.items():
            yield dialogue(f"words/end-{name}/{verb}", before, raw(command + end + "NOOP\r\n", 2))


def unknown():
    places = {"first": (), "ehlo": EHLO, "transaction": RCPT}
    for place, before in places.items():
        for number, text in enumerate(UNKNOWN):
            yield dialogue(f"words/unknown-{place}/{number:02d}", before, text)
        for number, text in enumerate(HTTP):
            kind = "word" if text.split()[0].upper() in ("GET", "POST", "PUT", "CONNECT",
                                                         "OPTIONS") and text[0] != " " else "other"
            yield dialogue(f"words/http-{place}/{kind}-{number:02d}", before, text)


def lengths():
    for size in LENGTHS:
        yield dialogue(f"words/length-noop/{size:05d}", EHLO, "NOOP " + "x" * (size - 7))
        yield dialogue(f"words/length-rcpt/{size:05d}", MAIL, f"RCPT TO:<{TO}>" + " " * (size - 2 - len(f"RCPT TO:<{TO}>")))
        yield dialogue(f"words/length-unknown/{size:05d}", EHLO, "X" * (size - 2))
        yield dialogue(f"words/length-ehlo/{size:05d}", (), "EHLO " + ("a" * 60 + ".") * ((size - 7) // 61) + "test")


def errors():
    """How many are borne."""
    for count in (3, 5, 9, 15, 19, 25):
        yield dialogue(f"words/errors-unknown/{count:02d}", EHLO, *["XYZZY"] * count)
        yield dialogue(f"words/errors-syntax/{count:02d}", EHLO, *["MAIL FROM:<<>"] * count)
        yield dialogue(f"words/errors-order/{count:02d}", EHLO, *[f"RCPT TO:<{TO}>"] * count)
        yield dialogue(f"words/errors-noop/{count:02d}", EHLO, *["NOOP"] * count)
    yield dialogue("words/in-content/commands-are-text", DATA, raw(CONTENT + b"RSET\r\nQUIT\r\n.\r\n"))
    yield dialogue("words/in-content/header-of-commands", DATA, raw("\r\nRSET\r\nQUIT\r\n.\r\n"))


def dialogues():
    yield from written()
    yield from line_ends()
    yield from unknown()
    yield from lengths()
    yield from errors()
