"""Commands in one packet: RFC 2920, and what is sent before its turn."""

from . import CONTENT, DATA, EHLO, FROM, HELO, MAIL, RCPT, TO, dialogue, group, raw

M, R, R2 = f"MAIL FROM:<{FROM}>", f"RCPT TO:<{TO}>", "RCPT TO:<bob@example.test>"
BAD_M, BAD_R = "MAIL FROM:<<>", "RCPT TO:<<>"
END = CONTENT + b".\r\n"

GROUPS = {
    "mail-rcpt": [M, R], "mail-rcpt-data": [M, R, "DATA"], "mail-two-rcpt-data": [M, R, R2, "DATA"], "rcpt-mail": [R, M],
    "bad-mail-rcpt-data": [BAD_M, R, "DATA"],
    "mail-bad-rcpt-data": [M, BAD_R, "DATA"], "mail-good-and-bad-rcpt-data": [M, R, BAD_R, "DATA"],
    "mail-bad-and-good-rcpt-data": [M, BAD_R, R, "DATA"], "mail-data": [M, "DATA"],
    "mail-mail": [M, M], "mail-rcpt-rset": [M, R, "RSET"], "mail-rcpt-rset-mail-rcpt": [M, R, "RSET", M, R],
    "rset-mail-rcpt-data": ["RSET", M, R, "DATA"], "noops": ["NOOP"] * 10,
    "many-noops": ["NOOP"] * 200, "rcpts": [M, *[f"RCPT TO:<r{n}@example.test>" for n in range(50)]],
    "unknown-mail-rcpt": ["XYZZY", M, R], "mail-unknown-rcpt": [M, "XYZZY", R], "rset-rset": ["RSET", "RSET"],
    "mail-vrfy-rcpt": [M, "VRFY ann@example.test", R], "mail-noop-rcpt-data": [M, "NOOP", R, "DATA"],
    "mail-help-rcpt": [M, "HELP", R], "expn-mail": ["EXPN list", M], "empty-lines": ["", "", M], "mail-empty-rcpt": [M, "", R],
    "data-only": ["DATA", "DATA"], "mail-rcpt-ehlo": [M, R, "EHLO app.test"], "ehlo-mail": ["EHLO app.test", M],
    "helo-mail-rcpt": ["HELO app.test", M, R], "mail-rcpt-ehlo-data": [M, R, "EHLO app.test", "DATA"],
}

# Each with content behind the DATA that is the last of the group: too early, but what worms and careless programs do.
EARLY = {
    "message-at-once": [M, R, "DATA"], "message-two-rcpt": [M, R, R2, "DATA"], "no-valid-rcpt": [M, BAD_R, "DATA"],
    "no-mail": [BAD_M, R, "DATA"], "nothing-before": ["DATA"],
}


def dialogues():
    for name, lines in GROUPS.items():
        yield dialogue(f"groups/ehlo/{name}", EHLO, group(*lines))
        yield dialogue(f"groups/helo/{name}", HELO, group(*lines))
    for name in ("mail-rcpt", "mail-rcpt-data", "noops", "ehlo-mail", "helo-mail-rcpt"):
        yield dialogue(f"groups/start/{name}", (), group(*GROUPS[name]))
    for verb in ("EHLO", "HELO"):
        yield dialogue(f"groups/start/{verb.lower()}-and-transaction", (), group(f"{verb} app.test", M, R))
        yield dialogue(f"groups/start/{verb.lower()}-twice", (), group(f"{verb} app.test", f"{verb} app.test"))
    for name, lines in EARLY.items():
        for where, before in (("ehlo", EHLO), ("helo", HELO)):
            yield dialogue(f"groups/early-content-{where}/{name}", before, group(*lines, last=END))
    yield dialogue("groups/behind-content/mail", DATA, raw(END + M.encode() + b"\r\n", 2))
    yield dialogue("groups/behind-content/mail-rcpt", DATA, raw(END + f"{M}\r\n{R}\r\n".encode(), 3))
    yield dialogue("groups/behind-content/mail-rcpt-data", DATA, raw(END + f"{M}\r\n{R}\r\nDATA\r\n".encode(), 4))
    yield dialogue("groups/behind-content/rset", DATA, raw(END + b"RSET\r\n", 2))
    yield dialogue("groups/behind-content/noop", DATA, raw(END + b"NOOP\r\n", 2))
    yield dialogue("groups/behind-content/unknown", DATA, raw(END + b"XYZZY\r\n", 2))
    yield dialogue("groups/behind-content/empty-line", DATA, raw(END + b"\r\n", 2))
    yield dialogue("groups/behind-content/ehlo", DATA, raw(END + b"EHLO app.test\r\n", 2))
    yield dialogue("groups/behind-content/whole-message", DATA, raw(END + f"{M}\r\n{R}\r\nDATA\r\n".encode() + END, 5))
    for size in (1, 2, 7):
        text = f"{M}\r\n{R}\r\n".encode()
        # In pieces, but with TCP's word only: what matters is that the borders of packets do not.
        yield dialogue(f"groups/pieces/commands-{size}", EHLO, *[raw(text[i:i + size],
                                                                     text[i:i + size].count(b"\n")) for i in range(0, len(text),
                                                                         size)])
    for where, before, lines in (("quit-in-transaction", RCPT, ["QUIT"]),
                                 ("quit-behind-mail", MAIL, ["RCPT TO:<b@c.test>", "QUIT"])):
        yield dialogue(f"groups/quit/{where}", before, group(*lines))
