"""Commands that only want an answer: VRFY, EXPN, HELP, NOOP, RSET, QUIT and arguments (RFC 5321 sections 3.5, 4.1.1)."""

from . import EHLO, RCPT, TO, dialogue

ARGUMENTS = {
    "vrfy": ["ann", TO, f"<{TO}>", "Ann Lee", '"Ann Lee" <ann@example.test>', "@", "<>", "*", "root", "postmaster",
             "@a.test:ann@example.test", "ann@[127.0.0.1]", "\u00e4nn", "\u00e4nn@example.test SMTPUTF8", "a" * 300, "a,b",
             "ann@", '"', "x y z", "$(id)", "<", "ann@example.test>", "|cat",
             "ann@exam_ple.test", ".ann@example.test", "ann@.test", "nobody@mail.test"],
    "expn": ["list", TO, "<list>", "staff", "*", ":include:/etc/passwd", "|cat", "", "root", "a" * 300],
    "help": ["", "HELP", "MAIL", "mail", "XYZZY", "me please", "RCPT TO:<x>", "a" * 300, "\u00e4", "ALL"],
    "noop": ["", "x", "x y z", "\u00e4", "<>", "a" * 300, '"quoted"', "=", "a\tb"],
    "rset": ["", "x", "x y", "<>"],
    "quit": ["", "x", "now please", "<>"],
}


def dialogues():
    places = {"start": (), "ehlo": EHLO, "transaction": RCPT}
    for verb, arguments in ARGUMENTS.items():
        for place, before in places.items():
            for number, argument in enumerate(arguments):
                yield dialogue(f"answers/{verb}-{place}/{number:02d}", before,
                               f"{verb.upper()} {argument}".rstrip(" ").encode() if argument else verb.upper())
