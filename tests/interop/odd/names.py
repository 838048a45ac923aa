"""The name or address literal a client gives itself in EHLO and HELO (RFC 5321 sections 4.1.1.1, 4.1.2 and 4.1.3)."""

from . import char_class, dialogue, one_of_its_kind

NAMES = {
    "domain": ["app.test", "a", "A.B.C", "localhost", "app.test.", "1.2.3.4", "127.0.0.1", "1app.test", "app-1.test",
               "xn--bcher-kva.test",
               "a.b.c.d.e.f.g.h.i.j.k", "a" * 63 + ".test", ".".join(["a" * 60] * 4)],
    "not-a-domain": [".", "..", ".app.test", "app..test", "-app.test", "app-.test", "app_1.test", "_app", "a" * 64 + ".test",
                     "a" * 255, ".".join(["a" * 63] * 5), "a" * 400, "app.test,", "app.test;", "app.test:25", "app@test",
                     "<app.test>", "(app.test)", '"app.test"',
                     "app/test", "app*test", "*", "-", "app.test\\", "$app", "%app", "%s%n", "app=test", "app+test", "'app'",
                     "`app`", "{app}"],
    "blanks": ["app.test more", "app.test more words", "  app.test", "app.test  ", "my computer", "app\ttest", "\tapp.test"],
    "literal": ["[127.0.0.1]", "[192.0.2.1]", "[IPv6:::1]", "[IPv6:2001:db8::1]", "[ipv6:::1]", "[IPv6:2001:DB8:0:0:0:0:0:1]",
                "[IPv6:::ffff:192.0.2.1]",
                "[x-tag:content]"],
    "not-a-literal": ["[]", "[", "]", "[127.0.0.1", "127.0.0.1]", "[127.0.0]", "[127.0.0.256]", "[127.0.0.1.1]", "[127.0.0.1 ]",
                      "[ 127.0.0.1]", "[::1]",
                      "[IPv6:]", "[IPv6:1]", "[IPv6:g::1]", "[IPv6:1::2::3]", "[IPv6:127.0.0.1]", "[app.test]", "[[127.0.0.1]]",
                      "[127.0.0.1].", "[127.0.0.01]",
                      "[127.1]", "[0x7f.0.0.1]", "[2130706433]", "[IPv6:1:2:3:4:5:6:7:8:9]", "[IPv6:fe80::1%eth0]", "[IPv6::]",
                      "[a:b]"],
    "utf-8": ["b\u00fccher.test", "\u4f8b\u3048.test", "\u00e9", "app.test\u00a0", "\u202eapp.test", "a\u0301.test"],
}


def dialogues():
    for verb in ("ehlo", "helo"):
        for kind, names in NAMES.items():
            for number, name in enumerate(names):
                yield dialogue(f"names/{verb}-{kind}/{number:02d}", (), verb.upper().encode() + b" " + name.encode())
        for code in range(256):
            if code in (10, 13) or not one_of_its_kind(code):
                continue
            data = verb.upper().encode() + b" app" + bytes([code]) + b"x.test"
            yield dialogue(f"names/{verb}-char/{char_class(code)}-{code:02x}", (), data)
