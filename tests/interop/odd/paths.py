"""Paths of MAIL and RCPT: RFC 5321 sections 4.1.2, 4.1.3 and 4.5.3.1, RFC 6531 section 3.3."""

from . import EHLO, FROM, MAIL, char_class, dialogue, line, one_of_its_kind

LABEL = "a" * 63

# Without the angle brackets.
ADDRESSES = {
    "plain": ["ann@example.test", "a@b.test", "ANN@EXAMPLE.TEST", "ann.lee@example.test", "ann+tag@example.test",
              "1@example.test", "ann@sub.sub.example.test",
              "ann@1.test", "ann@example-1.test", "ann@xn--bcher-kva.test", "!#$%&'*+-/=?^_`{|}~@example.test", "ann@localhost",
              "ann@test"],
    "dots": [".ann@example.test", "ann.@example.test", "ann..lee@example.test", ".@example.test", "..@example.test",
             "a.b.c.d@example.test"],
    "no-domain": ["ann", "ann@", "@example.test", "@", "postmaster", "Postmaster", "POSTMASTER", "abuse", '"ann"',
                  '"postmaster"', "postmaster@"],
    "ats": ["ann@lee@example.test", "ann@@example.test", "ann@example.test@", "@ann@example.test", '"ann@lee"@example.test',
            '"@"@example.test'],
    "old-routes": ["ann%lee.test@example.test", "host!ann@example.test", "a!b!c@example.test", "ann%a%b@example.test"],
    "quoted": ['"ann"@example.test', '"ann lee"@example.test', '""@example.test', '" "@example.test',
               '"ann\\"lee"@example.test', '"ann\\\\lee"@example.test', '"ann\\lee"@example.test',
               '"a.b"@example.test', '".ann."@example.test', '"ann..lee"@example.test', '"<>"@example.test',
               '"a>b"@example.test', '"a,b;c:d"@example.test', '"(a)"@example.test'],
    "quoted-badly": ['"ann@example.test', 'ann"@example.test', '"ann"lee@example.test', 'ann"lee"@example.test',
                     '"ann"."lee"@example.test', 'ann."lee"@example.test', '"a"b"@example.test',
                     '"ann\\"@example.test', "ann\\@lee@example.test", "ann\\ lee@example.test", "'ann lee'@example.test",
                     '"@example.test', '"ann"', '"ann" @example.test', '"ann"@"example.test"'],
    "route": ["@a.test:ann@example.test", "@a.test,@b.test:ann@example.test", "@A.TEST:ann@example.test",
              "@a.test,@b.test,@c.test:ann@example.test"],
    "route-badly": ["@a.test,ann@example.test", "@a.test:", "@a.test:ann", "@:ann@example.test", "@a.test,:ann@example.test",
                    "@a.test,b.test:ann@example.test", "@a.test;ann@example.test",
                    "@a..test:ann@example.test", "@[127.0.0.1]:ann@example.test", "a.test:ann@example.test",
                    "@a.test: ann@example.test", "@a.test, @b.test:ann@example.test", ":ann@example.test"],
    "domain-badly": ["ann@.example.test", "ann@example..test", "ann@-example.test", "ann@example-.test", "ann@exam_ple.test",
                     "ann@_example.test", "ann@example.test.",
                     "ann@.", "ann@..", "ann@example.test..", "ann@-", "ann@exam ple.test", "ann@example,test",
                     "ann@example.test:25", "ann@exam/ple.test", "ann@(c)example.test",
                     "ann@example.test(c)", "ann@'example.test'", "ann@127.0.0.1", "ann@1.2.3.4", "ann@256.256.256.256",
                     "ann@12345", "ann@example.123", "ann@*.test", "ann@exa$mple.test", "ann@exa%mple.test", "ann@0x7f.1"],
    "literal": ["ann@[127.0.0.1]", "ann@[192.0.2.1]", "ann@[IPv6:2001:db8::1]", "ann@[IPv6:::1]", "ann@[ipv6:2001:DB8::1]",
                "ann@[IPv6:2001:db8:0:0:0:0:0:1]", "ann@[IPv6:::ffff:192.0.2.1]"],
    "literal-badly": ["ann@[]", "ann@[", "ann@]", "ann@[127.0.0.1", "ann@127.0.0.1]", "ann@[127.0.0]", "ann@[127.0.0.256]",
                      "ann@[127.0.0.1.1]", "ann@[127.0.0.1 ]", "ann@[ 127.0.0.1]", "ann@[::1]", "ann@[IPv6:]",
                      "ann@[IPv6:1]", "ann@[IPv6:g::1]", "ann@[IPv6:1::2::3]", "ann@[IPv6:127.0.0.1]",
                      "ann@[IPv6:1:2:3:4:5:6:7:8:9]", "ann@[IPv6:fe80::1%eth0]", "ann@[example.test]", "ann@[x:y]",
                      "ann@[127.0.0.01]",
                      "ann@[127.1]", "ann@[2130706433]", "ann@[127.0.0.1].test", "ann@a[127.0.0.1]", "ann@[[127.0.0.1]]",
                      "ann@[127.0.0.1][127.0.0.1]", "ann@[IPv6:::1", "ann@[IPv6 ::1]", "ann@[x-tag:content]"],
    "lists": ["ann@example.test,bob@example.test", "ann@example.test bob@example.test", "ann@example.test;bob@example.test",
              "Ann <ann@example.test>", "ann@example.test (Ann)", "group: ann@example.test;", "ann (c) @example.test"],
    "blanks": [" ann@example.test", "ann@example.test ", "ann @example.test", "ann@ example.test", " ann@example.test ",
               "ann lee@example.test", " ", "  ", "ann@example\t.test", "\tann@example.test", "ann\t@example.test",
               "ann@example.test\t"],
    "length-local": ["a" * n + "@example.test" for n in (63, 64, 65, 100, 128, 129, 200, 240, 241, 242, 243, 255, 256, 257, 300,
                                                         450)],
    "length-quoted": ['"' + "a" * n + '"@example.test' for n in (61, 62, 63, 64, 65, 128, 253, 254, 255)],
    "length-label": ["ann@" + "a" * n + ".test" for n in (62, 63, 64, 65, 100, 200)],
    "length-domain": ["a@" + ".".join([LABEL, LABEL, LABEL, "b" * n]) for n in (55, 58, 59, 60, 61, 62,
        63)] + ["a@" + ".".join([LABEL] * 5), "a@" + "b." * 120 + "test", "a@" + "b." * 127 + "test",
                "a@" + "b." * 200 + "test"],
    "length-path": ["a" * 64 + "@" + ".".join([LABEL, LABEL, "b" * n]) for n in (58, 59, 60, 61, 62, 63)],
    "ace": ["ann@xn--.test", "ann@xn--a.test", "ann@xn--999999999.test", "ann@XN--BCHER-KVA.test", "ann@ab--cd.test"],
    "shell": ["|cat@example.test", "`id`@example.test", "$(id)@example.test", "${run{id}}@example.test",
              "/etc/passwd@example.test", "../../x@example.test", ":include:/x@example.test", "-oQ/tmp@example.test",
              "root+${run{x}}@localhost", "a;id@example.test"],
}

# UTF-8 with and without SMTPUTF8.
UTF8 = {
    "local": ["\u00e4nn@example.test", "\u4f8b\u3048@example.test", "\u0430nn@example.test", "\U0001f600@example.test"],
    "domain": ["ann@b\u00fccher.test", "ann@\u4f8b\u3048.test", "ann@example.\u30c6\u30b9\u30c8"],
    "both": ["\u00e4nn@b\u00fccher.test"],
    "quoted": ['"\u00e4nn lee"@example.test'],
    "literal": ["ann@[\u00e4]"],
    "strange": ["ann@exam\u3002ple.test", "ann@\u202eexample.test", "a\u0301@example.test", "ann@faq\u00df.test",
                "ann@\u200bexample.test", "ann\u00a0lee@example.test", "ann@\uff45xample.test", "ann@\u00e4..test",
                "ann@-\u00e4.test", "ann@" + "\u00e4" * 60 + ".test"],
}
BROKEN_UTF8 = {"alone": b"\x80", "cut": b"\xc3", "overlong": b"\xc0\xaf", "surrogate": b"\xed\xa0\x80",
               "too-large": b"\xf4\x90\x80\x80", "five-bytes": b"\xf8\x88\x80\x80\x80", "fe": b"\xfe", "latin-1": b"\xe4nn"}

# The whole argument, around an address that is fine.
FORMS = {
    "plain": "{p}:<{a}>", "lower-case": "{l}:<{a}>", "mixed-case": "{m}:<{a}>", "no-brackets": "{p}:{a}",
    "no-colon": "{p}<{a}>", "blank-for-colon": "{p} <{a}>", "blank-before-colon": "{p} :<{a}>",
    "blank-behind-colon": "{p}: <{a}>", "blanks-behind-colon": "{p}:   <{a}>", "tab-behind-colon": "{p}:\t<{a}>",
    "blank-and-no-brackets": "{p}: {a}", "no-keyword": "<{a}>", "address-only": "{a}", "colon-only": ":<{a}>",
    "other-keyword": "{o}:<{a}>", "keyword-twice": "{p}:{p}:<{a}>", "two-colons": "{p}::<{a}>", "equals": "{p}=<{a}>",
    "no-address": "{p}:", "no-close": "{p}:<{a}", "no-open": "{p}:{a}>", "empty": "{p}:<>", "empty-blank": "{p}:< >",
    "open-twice": "{p}:<<{a}>>", "open-twice-close-once": "{p}:<<{a}>", "close-twice": "{p}:<{a}>>",
    "two-paths": "{p}:<{a}><{a}>", "two-paths-apart": "{p}:<{a}> <{a}>", "text-behind": "{p}:<{a}>x",
    "name-before": "{p}:Ann <{a}>",
    "quoted-name-before": '{p}:"Ann" <{a}>', "comment-before": "{p}:(c)<{a}>", "comment-behind": "{p}:<{a}> (c)",
    "comment-inside": "{p}:<(c){a}>", "comma-behind": "{p}:<{a}>,", "dot-behind": "{p}:<{a}>.",
    "semicolon-behind": "{p}:<{a}>;",
    "brackets-only-open": "{p}:<", "brackets-only-close": "{p}:>", "brackets-swapped": "{p}:>{a}<",
    "quoted-path": '{p}:"<{a}>"', "square-brackets": "{p}:[{a}]", "round-brackets": "{p}:({a})", "mailto": "{p}:<mailto:{a}>",
    "keyword-split": "{p1} {p2}:<{a}>", "quote-around-address": "{p}:<\"{a}\">", "encoded-word": "{p}:<=?utf-8?q?{a}?=>",
    "percent-encoded": "{p}:<ann%40example.test>", "escape-behind": "{p}:<{a}>\x1b", "delete-behind": "{p}:<{a}>\x7f",
    "tab-behind-path": "{p}:<{a}>\t", "blank-in-null": "{p}:<  >", "null-with-at": "{p}:<@>", "null-quoted": '{p}:<"">',
    "crlf-escaped": "{p}:<{a}>\\r\\nRSET", "lf-inside": "{p}:<ann\n@example.test>", "cr-inside": "{p}:<ann\r@example.test>",
}

COMMANDS = {"mail": (EHLO, "MAIL", "FROM", "TO"), "rcpt": (MAIL, "RCPT", "TO", "FROM")}


def dialogues():
    for name, (before, verb, keyword, other) in COMMANDS.items():
        command = f"{verb} {keyword}:<"
        for kind, addresses in ADDRESSES.items():
            for number, address in enumerate(addresses):
                yield dialogue(f"paths/{name}-{kind}/{number:02d}", before, f"{command}{address}>")
        words = {"p": keyword, "l": keyword.lower(), "m": keyword[:1] + keyword[1:].lower(), "o": other, "p1": keyword[:1],
                 "p2": keyword[1:], "a": "ann@example.test"}
        for form, text in FORMS.items():
            yield dialogue(f"paths/{name}-form/{form}", before, f"{verb} " + text.format(**words))
        yield from characters(name, before, command)
        yield from utf8(name, command)


def characters(name, before, command):
    """Every byte in each place of an address.  CR, LF and NUL are lines' matter (words.py)."""
    for code in range(1, 256):
        char, kind = chr(code), char_class(code)
        if code in (10, 13) or not one_of_its_kind(code):
            continue
        yield dialogue(f"paths/{name}-char-local/{kind}-{code:02x}", before, f"{command}an{char}n@example.test>")
        yield dialogue(f"paths/{name}-char-domain/{kind}-{code:02x}", before, f"{command}ann@exa{char}mple.test>")
        yield dialogue(f"paths/{name}-char-quoted/{kind}-{code:02x}", before, f'{command}"an{char}n"@example.test>')
        yield dialogue(f"paths/{name}-char-escaped/{kind}-{code:02x}", before, f'{command}"an\\{char}n"@example.test>')


def utf8(name, command):
    plain, wide = MAIL, (*EHLO, line(f"MAIL FROM:<{FROM}> SMTPUTF8"))
    for asked in ("without", "with"):
        before = (EHLO if name == "mail" else plain if asked == "without" else wide)
        end = b"> SMTPUTF8" if name == "mail" and asked == "with" else b">"
        for kind, addresses in UTF8.items():
            for number, address in enumerate(addresses):
                # A server without the extension refuses before it gets here, which would say nothing: MAIL is judged too.
                steps = [line(command.encode() + address.encode() + end)]
                if name == "rcpt" and asked == "with":
                    before, steps = EHLO, [wide[-1], *steps]
                yield dialogue(f"paths/{name}-utf8-{asked}/{kind}-{number:02d}", before, *steps)
        for kind, data in BROKEN_UTF8.items():
            for place, address in (("local", b"a" + data + b"@example.test"), ("domain", b"ann@a" + data + b".test")):
                steps = [line(command.encode() + address + end)]
                if name == "rcpt" and asked == "with":
                    before, steps = EHLO, [wide[-1], *steps]
                yield dialogue(f"paths/{name}-utf8-{asked}/broken-{kind}-{place}", before, *steps)
