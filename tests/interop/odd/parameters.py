"""Parameters of MAIL and RCPT, each by the grammar of its RFC."""

from . import EHLO, FROM, HELO, MAIL, TO, dialogue, line, one_of_its_kind

# Behind MAIL FROM:<…>.
MAIL_VALUES = {
    # RFC 1870 section 3: 1*20DIGIT
    "size": ["SIZE=0", "SIZE=1", "SIZE=1000", "size=1000", "Size=1000", "SIZE=0001000", "SIZE=00000000000000001000"],
    "size-large": ["SIZE=9999999", "SIZE=30000000", "SIZE=52428800", "SIZE=60000000", "SIZE=2147483647", "SIZE=2147483648",
                   "SIZE=4294967295", "SIZE=4294967296", "SIZE=9223372036854775807",
                   "SIZE=9223372036854775808", "SIZE=18446744073709551615", "SIZE=18446744073709551616",
                   "SIZE=99999999999999999999"],
    "size-badly": ["SIZE", "SIZE=", "SIZE=-1", "SIZE=+1", "SIZE=x", "SIZE=1k", "SIZE=1.5", "SIZE=0x10", "SIZE= 1000",
                   "SIZE =1000", "SIZE=1,000", "SIZE=1e3", "SIZE==1", "SIZE=1=1", "SIZE=100000000000000000000",
                   "SIZE=000000000000000000001000",
                   "SIZE=999999999999999999999999999999", "SIZE=1\t", "SIZE:1000"],
    "body": ["BODY=7BIT", "BODY=8BITMIME", "body=8bitmime", "Body=7bit", "BODY=8BitMime"],
    "body-binary": ["BODY=BINARYMIME", "body=binarymime"],
    "body-badly": ["BODY", "BODY=", "BODY=9BIT", "BODY=8BIT", "BODY=7", "BODY=BINARY", "BODY=8BITMIME;x", "BODY=8BITMIME=1",
                   "BODY= 8BITMIME", "BODY=QP", "BODY:8BITMIME", "8BITMIME", "BODY=7BITS"],
    # RFC 6531 section 3.4: without a value
    "smtputf8": ["SMTPUTF8", "smtputf8", "SmtpUtf8"],
    "smtputf8-badly": ["SMTPUTF8=", "SMTPUTF8=1", "SMTPUTF8=YES", "SMTPUTF", "UTF8", "UTF8SMTP", "SMTPUTF8X"],
    # RFC 3461 section 4.3
    "ret": ["RET=FULL", "RET=HDRS", "ret=full", "RET=hdrs", "Ret=Full"],
    "ret-badly": ["RET", "RET=", "RET=HEADERS", "RET=HDR", "RET=NONE", "RET=FULL,HDRS", "RET=FULLX", "RET=FULL=1", "RET:FULL",
                  "RET=1"],
    # RFC 3461 section 4.4: xtext of at most 100 characters
    "envid": ["ENVID=QQ314159", "envid=abc", "ENVID=a+20b", "ENVID=+2B", "ENVID=+3D", "ENVID=!#$%&'()*,-./:;<>?@[]^_`{|}~",
              "ENVID=" + "a" * 99, "ENVID=" + "a" * 100, "ENVID=\\"],
    "envid-badly": ["ENVID", "ENVID=", "ENVID=a=b", "ENVID==", "ENVID=a+", "ENVID=a+2", "ENVID=a+2b", "ENVID=a+gg",
                    "ENVID=a+GG", "ENVID=a+0A+0D", "ENVID=+00", "ENVID=a++2B", "ENVID=a b", 'ENVID="a"'],
    "envid-length": ["ENVID=" + "a" * n for n in (101, 120, 200, 255, 256, 400)],
    # RFC 4954 section 5: xtext of a mailbox, or <>
    "auth": ["AUTH=<>", "AUTH=a@b.test", "auth=<>", "AUTH=e+3Dmc2@example.test", "AUTH=+3C+3E"],
    "auth-badly": ["AUTH", "AUTH=", "AUTH=<a@b.test>", "AUTH=nonsense", "AUTH=a@b.test=", "AUTH=a+", "AUTH=a+zz", "AUTH=<",
                   "AUTH=>", "AUTH=@", "AUTH=a@", "AUTH=@b.test", "AUTH=a+20b@c.test", "AUTH=" + "a" * 600],
    # RFC 2852 section 4
    "by": ["BY=120;R", "BY=120;N", "BY=-120;N", "BY=+120;R", "BY=120;RT", "BY=120;NT", "by=120;r", "BY=0;N", "BY=1;R",
           "BY=999999999;R"],
    "by-badly": ["BY", "BY=", "BY=120", "BY=120;", "BY=120;X", "BY=;R", "BY=-120;R", "BY=0;R", "BY=1000000000;R", "BY=x;R",
                 "BY=120;R;T", "BY=120;TR", "BY=120;RN", "BY=120;R=1", "BY=--1;N", "BY=1.5;R", "BY=+;R", "BY=120:R",
                 "BY=120 ;R"],
    # RFC 6710 section 4
    "mt-priority": ["MT-PRIORITY=0", "MT-PRIORITY=9", "MT-PRIORITY=-9", "MT-PRIORITY=3", "mt-priority=-1", "MT-PRIORITY=1"],
    "mt-priority-badly": ["MT-PRIORITY", "MT-PRIORITY=", "MT-PRIORITY=10", "MT-PRIORITY=-10", "MT-PRIORITY=+1",
                          "MT-PRIORITY=-0", "MT-PRIORITY=00", "MT-PRIORITY=x", "MT-PRIORITY=1.0", "MT-PRIORITY=--1",
                          "MT-PRIORITY=-", "MTPRIORITY=1"],
    # RFC 4865 section 4; RFC 8689: neither is offered by a relay without TLS
    "not-offered": ["HOLDFOR=60", "HOLDUNTIL=2030-01-01T00:00:00Z", "HOLDFOR=x", "HOLDFOR", "REQUIRETLS", "REQUIRETLS=1",
                    "CONPERM", "CONNEG", "SOLICIT=a", "TRANSID=<a@b>", "MTRK=a", "RRVS=2014-04-03T23:01:00Z", "NO-SOLICITING",
                    "SUBMITTER=a@b.test", "ALT-ADDRESS=a@b.test"],
    "unknown": ["X", "X=1", "XYZZY", "XYZZY=1", "x-custom=1", "1=1", "-X=1", "X-=1", "=1", "=", "X=", "X==1", "X=a=b", ",", ";",
                "<", ">", "(c)", '"x"', "FOO=BAR BAZ=QUX", "A" * 70, "A" * 300, "\u00e4=1", "X=\u00e4", "X_Y=1", "X.Y=1",
                "X:1"],
    "of-rcpt": ["NOTIFY=NEVER", "ORCPT=rfc822;ann@example.test"],
    "twice": ["SIZE=1 SIZE=1", "SIZE=1 SIZE=2", "BODY=7BIT BODY=8BITMIME", "BODY=7BIT BODY=7BIT", "RET=FULL RET=HDRS",
              "RET=FULL RET=FULL", "ENVID=a ENVID=b", "AUTH=<> AUTH=<>", "SMTPUTF8 SMTPUTF8", "BY=120;R BY=120;R",
              "MT-PRIORITY=1 MT-PRIORITY=1"],
    "many": ["SIZE=1000 BODY=8BITMIME", "BODY=8BITMIME SIZE=1000", "SIZE=1000  BODY=8BITMIME", "  SIZE=1000", "SIZE=1000 ",
             "SIZE=1000   ", "SIZE=1000 BODY=8BITMIME RET=HDRS ENVID=a", "RET=HDRS ENVID=a AUTH=<>", "SIZE=1000 X=1",
             "X=1 SIZE=1000"],
    "many-utf8": ["SIZE=1000 BODY=8BITMIME SMTPUTF8", "SMTPUTF8 BODY=8BITMIME", "SMTPUTF8", "SMTPUTF8 BODY=7BIT"],
    "blanks": ["\tSIZE=1000", "SIZE=1000\tBODY=8BITMIME", "SIZE\t=1000", "SIZE=1000\v", "SIZE=1000\u00a0BODY=7BIT"],
}

# Behind RCPT TO:<…>.
RCPT_VALUES = {
    # RFC 3461 section 4.1
    "notify": ["NOTIFY=NEVER", "NOTIFY=SUCCESS", "NOTIFY=FAILURE", "NOTIFY=DELAY", "NOTIFY=SUCCESS,FAILURE",
               "NOTIFY=SUCCESS,FAILURE,DELAY", "NOTIFY=DELAY,FAILURE", "notify=never", "NOTIFY=success,Failure"],
    "notify-badly": ["NOTIFY", "NOTIFY=", "NOTIFY=NEVER,FAILURE", "NOTIFY=FAILURE,NEVER", "NOTIFY=ALWAYS", "NOTIFY=,FAILURE",
                     "NOTIFY=FAILURE,", "NOTIFY=SUCCESS,,FAILURE", "NOTIFY=SUCCESS;FAILURE", "NOTIFY=SUCCESS, FAILURE",
                     "NOTIFY=NEVER=1", "NOTIFY=NEVERX", "NOTIFY=NEVER,NEVER", "NOTIFY:NEVER", "NOTIFY=FAIL"],
    "notify-repeated": ["NOTIFY=SUCCESS,SUCCESS", "NOTIFY=FAILURE,DELAY,FAILURE"],
    # RFC 3461 section 4.2
    "orcpt": ["ORCPT=rfc822;ann@example.test", "orcpt=RFC822;ann@example.test", "ORCPT=rfc822;ann+2Btag@example.test",
              "ORCPT=x400;a", "ORCPT=x-local;a", "ORCPT=rfc822;a+3Db@c.test", "ORCPT=rfc822;a+40b.test", "ORCPT=rfc822;ann"],
    "orcpt-badly": ["ORCPT", "ORCPT=", "ORCPT=rfc822", "ORCPT=rfc822;", "ORCPT=;ann@example.test", "ORCPT=ann@example.test",
                    "ORCPT=rfc822:ann@example.test", "ORCPT=rfc822;a=b", "ORCPT=rfc822;a+", "ORCPT=rfc822;a+2",
                    "ORCPT=rfc822;a+zz",
                    "ORCPT=rfc822;a+0D+0A", "ORCPT=rfc822;+00", "ORCPT= rfc822;a@b.test", "ORCPT=rfc 822;a@b.test",
                    "ORCPT=rfc822; a@b.test", "ORCPT=<a@b.test>", "ORCPT=rfc822;<a@b.test>", "ORCPT=rfc822;a+2bb",
                    "ORCPT=rfc+32822;a@b.test", "ORCPT=(c);a"],
    "orcpt-utf-8": ["ORCPT=utf-8;ann@example.test", "ORCPT=utf-8;\\x{E4}nn@example.test", "ORCPT=utf-8;\\x{4F8B}@example.test",
                    "ORCPT=UTF-8;ann@example.test"],
    "orcpt-utf-8-badly": ["ORCPT=utf-8;\u00e4nn@example.test", "ORCPT=utf-8;\\x{}@example.test",
                          "ORCPT=utf-8;\\x{E4@example.test", "ORCPT=utf-8;\\x{D800}@example.test",
                          "ORCPT=utf-8;\\x{110000}@example.test", "ORCPT=utf-8;\\xE4@example.test",
                          "ORCPT=rfc822;\u00e4nn@example.test"],
    "orcpt-length": ["ORCPT=rfc822;" + "a" * n + "@example.test" for n in (64, 200, 400, 480, 500, 600, 900)],
    "unknown": ["X", "X=1", "XYZZY=1", "=1", "=", "X=", ",", "<", ">", "(c)", "A" * 70, "RRVS=2014-04-03T23:01:00Z", "CONPERM",
                "HOLDFOR=60"],
    "of-mail": ["SIZE=1000", "BODY=8BITMIME", "RET=FULL", "ENVID=a", "AUTH=<>", "SMTPUTF8"],
    "twice": ["NOTIFY=NEVER NOTIFY=NEVER", "NOTIFY=SUCCESS NOTIFY=FAILURE", "ORCPT=rfc822;a@b.test ORCPT=rfc822;a@b.test",
              "ORCPT=rfc822;a@b.test ORCPT=rfc822;c@d.test"],
    "many": ["NOTIFY=NEVER ORCPT=rfc822;a@b.test", "ORCPT=rfc822;a@b.test NOTIFY=FAILURE", "  NOTIFY=NEVER", "NOTIFY=NEVER ",
             "NOTIFY=NEVER X=1"],
    "blanks": ["\tNOTIFY=NEVER", "NOTIFY=NEVER\tORCPT=rfc822;a@b.test", "NOTIFY\t=NEVER"],
}


def dialogues():
    for command, before, start, tables in (("mail", EHLO, f"MAIL FROM:<{FROM}> ", MAIL_VALUES),
                                           ("rcpt", MAIL, f"RCPT TO:<{TO}> ", RCPT_VALUES)):
        for kind, values in tables.items():
            for number, value in enumerate(values):
                yield dialogue(f"parameters/{command}-{kind}/{number:02d}", before, line((start + value).encode()))
    for kind, values in MAIL_VALUES.items():
        if not kind.endswith("-badly"):
            yield dialogue(f"parameters/null-sender/{kind}", EHLO, line(f"MAIL FROM:<> {values[0]}".encode()))
            yield dialogue(f"parameters/helo-mail/{kind}", HELO, line(f"MAIL FROM:<{FROM}> {values[0]}".encode()))
            yield dialogue(f"parameters/no-blank-mail/{kind}", EHLO, line(f"MAIL FROM:<{FROM}>{values[0]}".encode()))
    for kind, values in RCPT_VALUES.items():
        if not kind.endswith("-badly"):
            yield dialogue(f"parameters/helo-rcpt/{kind}", (*HELO, line(f"MAIL FROM:<{FROM}>")),
                           line(f"RCPT TO:<{TO}> {values[0]}".encode()))
            yield dialogue(f"parameters/no-blank-rcpt/{kind}", MAIL, line(f"RCPT TO:<{TO}>{values[0]}".encode()))
    yield from xtext()


def xtext():
    """RFC 3461 section 4: xchar = any ASCII from "!" to "~" but "+" and "="; every byte once, and each hexchar."""
    for code in range(1, 256):
        char = chr(code)
        if code in (10, 13, 32) or not one_of_its_kind(code):
            continue
        kind = {"+": "plus", "=": "equals"}.get(char) or ("control" if code < 33 or code == 127 else
                                                          "eight-bit" if code > 127 else "xchar")
        yield dialogue(f"parameters/xtext-envid/{kind}-{code:02x}", EHLO, f"MAIL FROM:<{FROM}> ENVID=a{char}b")
        yield dialogue(f"parameters/xtext-orcpt/{kind}-{code:02x}", MAIL, f"RCPT TO:<{TO}> ORCPT=rfc822;a{char}b@c.test")
    for code in range(0, 256, 5):
        kind = "control" if code < 32 or code == 127 else "eight-bit" if code > 127 else "printing"
        yield dialogue(f"parameters/hexchar-envid/{kind}-{code:02x}", EHLO, f"MAIL FROM:<{FROM}> ENVID=a+{code:02X}b")
        yield dialogue(f"parameters/hexchar-orcpt/{kind}-{code:02x}", MAIL, f"RCPT TO:<{TO}> ORCPT=rfc822;a+{code:02X}b@c.test")
