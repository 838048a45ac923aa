"""Which command may follow which: RFC 5321 section 4.1.4."""

from . import CONTENT, DATA, EHLO, FROM, HELO, MAIL, RCPT, TO, dialogue, line, raw

BAD_MAIL, BAD_RCPT = line("MAIL FROM:<<>"), line("RCPT TO:<<>")
MESSAGE = (*DATA, raw(CONTENT + b".\r\n"))

STATES = {
    "start": (),
    "helo": HELO,
    "ehlo": EHLO,
    "mail": MAIL,
    "helo-mail": (*HELO, line(f"MAIL FROM:<{FROM}>")),
    "null-mail": (*EHLO, line("MAIL FROM:<>")),
    "rcpt": RCPT,
    "two-rcpt": (*RCPT, line("RCPT TO:<bob@example.test>")),
    "same-rcpt-twice": (*RCPT, line(f"RCPT TO:<{TO}>")),
    "helo-rcpt": (*HELO, line(f"MAIL FROM:<{FROM}>"), line(f"RCPT TO:<{TO}>")),
    "message": MESSAGE,
    "rset": (*RCPT, line("RSET")),
    "ehlo-again": (*RCPT, *EHLO),
    "helo-again": (*RCPT, *HELO),
    "helo-then-ehlo": (*HELO, *EHLO),
    "noop": (*RCPT, line("NOOP")),
}

# These states come from what a server may refuse, so it is judged too.
REFUSED = {
    "rset-at-once": ((), line("RSET")),
    "noop-at-once": ((), line("NOOP")),
    "bad-mail": (EHLO, BAD_MAIL),
    "bad-rcpt": (MAIL, BAD_RCPT),
    "good-and-bad-rcpt": (RCPT, BAD_RCPT),
    "bad-ehlo": (RCPT, line("EHLO")),
    "second-mail": (RCPT, line("MAIL FROM:<second@sender.test>")),
    "unknown": (RCPT, line("XYZZY")),
    "early-data": (MAIL, line("DATA")),
    "early-rcpt": (EHLO, line(f"RCPT TO:<{TO}>")),
    "rset-with-argument": (RCPT, line("RSET x")),
    "vrfy": (RCPT, line(f"VRFY {TO}")),
    "expn": (RCPT, line("EXPN list")),
    "starttls-with-argument": (RCPT, line("STARTTLS x")),
    "auth": (RCPT, line("AUTH PLAIN AGEAYg==")),
}

COMMANDS = {
    "helo": "HELO app.test", "ehlo": "EHLO app.test", "ehlo-bare": "EHLO", "helo-bare": "HELO", "mail": f"MAIL FROM:<{FROM}>",
    "null-mail": "MAIL FROM:<>", "bad-mail": "MAIL FROM:<<>",
    "rcpt": "RCPT TO:<bob@example.test>", "bad-rcpt": "RCPT TO:<<>", "data": "DATA", "data-argument": "DATA x", "rset": "RSET",
    "noop": "NOOP", "vrfy": f"VRFY {TO}", "expn": "EXPN list",
    "help": "HELP", "quit": "QUIT", "quit-argument": "QUIT now", "starttls-argument": "STARTTLS now",
    "auth": "AUTH PLAIN AGEAYg==", "auth-bare": "AUTH", "auth-unknown": "AUTH NONSENSE", "unknown": "XYZZY",
}


def dialogues():
    for state, before in STATES.items():
        for name, command in COMMANDS.items():
            yield dialogue(f"order/{state}/{name}", before, command)
        yield dialogue(f"order/{state}/bdat", before, raw("BDAT 6\r\nA: b\r\n"))
        yield dialogue(f"order/{state}/bdat-last", before, raw("BDAT 6 LAST\r\nA: b\r\n"))
    for state, (before, refused) in REFUSED.items():
        for name in ("mail", "rcpt", "data", "rset", "ehlo", "noop"):
            yield dialogue(f"order/{state}/{name}", before, refused, COMMANDS[name])
    for count in (2, 3, 5):
        yield dialogue(f"order/many/messages-{count}", EHLO, *[step for _ in range(count) for step in (*MESSAGE[1:],)])
        yield dialogue(f"order/many/ehlo-{count}", (), *["EHLO app.test"] * count)
        yield dialogue(f"order/many/rset-{count}", EHLO, *["RSET"] * count)
        yield dialogue(f"order/many/mail-rset-{count}", EHLO, *[f"MAIL FROM:<{FROM}>", "RSET"] * count)
    for count in (10, 99, 100, 101, 200, 500):
        yield dialogue(f"order/many/recipients-{count}", MAIL, *[f"RCPT TO:<r{n}@example.test>" for n in range(count)])
