/* Command lines: taking them apart, and the arguments of MAIL and RCPT. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "smtp/command.h"
#include "smtp/ehlo.h"
#include "smtp/line.h"

static const struct {
    const char *wire;
    size_t len; /* 0 = strlen */
    int result;
    const char *line, *rest;
} lines[] = {
    {"NOOP\r\nQUIT\r\n", 0, 0, "NOOP", "QUIT\r\n"},
    {"\r\n", 0, 0, "", ""},
    {"NOOP", 0, SMTP_LINE_MORE, NULL, "NOOP"},
    {"NOOP\r", 0, SMTP_LINE_MORE, NULL, "NOOP\r"},
    {"", 0, SMTP_LINE_MORE, NULL, ""},
    {"NOOP\nQUIT\r\n", 0, SMTP_LINE_BARE_LF, NULL, "QUIT\r\n"},
    {"NO\rOP\r\n", 0, SMTP_LINE_BARE_CR, NULL, "OP\r\n"},
    {"NOOP\r\r\n", 0, SMTP_LINE_BARE_CR, NULL, "\r\n"},
    {"NO\0OP\r\n", 7, SMTP_LINE_NUL, NULL, "OP\r\n"},
    {"123456789012345678\r\nX", 0, 0, "123456789012345678", "X"}, /* 20 bytes with CRLF: just fits */
    {"1234567890123456789\r\nX", 0, SMTP_LINE_TOO_LONG, NULL, "X"},
    {"1234567890123456789012345", 0, SMTP_LINE_MORE, NULL, ""},
};

static void takes_lines(void **state)
{
    for (size_t c = 0; c < ARRAY_LENGTH(lines); c++) {
        struct smtp_line_reader reader;
        struct buf in;
        char *line;
        size_t len;
        smtp_line_reader_init(&reader);
        buf_init(&in, 256);
        buf_append(&in, lines[c].wire, lines[c].len > 0 ? lines[c].len : strlen(lines[c].wire));
        assert_int_equal(smtp_line_take(&reader, &in, 20, false, &line, &len), lines[c].result);
        if (lines[c].result == 0) {
            assert_string_equal(line, lines[c].line);
            assert_int_equal(len, strlen(line));
        }
        assert_string_equal(buf_str(&in), lines[c].rest);
        buf_deinit(&in);
        smtp_line_reader_deinit(&reader);
    }
}

static void skips_a_long_line_in_pieces(void **state)
{
    struct smtp_line_reader reader;
    struct buf in;
    char *line;
    size_t len;
    smtp_line_reader_init(&reader);
    buf_init(&in, 256);
    for (int i = 0; i < 100; i++) {
        buf_append_str(&in, "0123456789");
        assert_int_equal(smtp_line_take(&reader, &in, 20, false, &line, &len), SMTP_LINE_MORE);
        assert_true(in.len <= 20);
    }
    buf_append_str(&in, "\r");
    assert_int_equal(smtp_line_take(&reader, &in, 20, false, &line, &len), SMTP_LINE_MORE);
    buf_append_str(&in, "\nNOOP\r\n");
    assert_int_equal(smtp_line_take(&reader, &in, 20, false, &line, &len), SMTP_LINE_TOO_LONG);
    assert_int_equal(smtp_line_take(&reader, &in, 20, false, &line, &len), 0);
    assert_string_equal(line, "NOOP");
    buf_deinit(&in);
    smtp_line_reader_deinit(&reader);
}

static void splits_commands(void **state)
{
    static const struct {
        const char *line;
        enum smtp_verb verb;
        const char *argument;
    } commands[] = {
        {"EHLO client.example", SMTP_VERB_EHLO, "client.example"},
        {"mail FROM:<a@b> ", SMTP_VERB_MAIL, "FROM:<a@b>"},
        {"quit", SMTP_VERB_QUIT, ""},
        {"quit   ", SMTP_VERB_QUIT, ""},
        {"STARTTLSX", SMTP_VERB_UNKNOWN, ""},
        {"GET / HTTP/1.1", SMTP_VERB_UNKNOWN, "/ HTTP/1.1"},
        {"", SMTP_VERB_UNKNOWN, ""},
        {" QUIT", SMTP_VERB_UNKNOWN, "QUIT"},
    };
    for (size_t c = 0; c < ARRAY_LENGTH(commands); c++) {
        char line[64], *argument;
        snprintf(line, sizeof(line), "%s", commands[c].line);
        assert_int_equal(smtp_command_parse(line, strlen(line), &argument), commands[c].verb);
        assert_string_equal(argument, commands[c].argument);
    }
    assert_string_equal(smtp_verb_name(SMTP_VERB_STARTTLS), "STARTTLS");
}

static void parses_mail(void **state)
{
    static const struct {
        const char *argument;
        int result;
        const char *from;
        uint64_t size;
        enum smtp_body body;
        bool utf8;
        const char *envid, *auth, *parameter;
    } cases[] = {
        {"FROM:<a@b.example>", 0, "a@b.example", 0, 0, false, "", "", ""},
        {"FROM:<>", 0, "", 0, 0, false, "", "", ""},
        {"from: <a@B.example>  size=100 BODY=8bitmime", 0, "a@b.example", 100, SMTP_BODY_8BITMIME, false, "", "", ""},
        {"FROM:<a@b> RET=HDRS ENVID=QQ+20314 AUTH=<>", 0, "a@b", 0, 0, false, "QQ+20314", "<>", ""},
        {"FROM:<a@b> AUTH=e+3Dmc2@example.com", 0, "a@b", 0, 0, false, "", "e+3Dmc2@example.com", ""},
        {"FROM:<a@b> AUTH=nonsense", SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, 0, false, NULL, NULL, "AUTH"},
        {"FROM:<a@b> AUTH=<c@d>", SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, 0, false, NULL, NULL, "AUTH"},
        {"FROM:<\xc3\xa9@b> SMTPUTF8", 0, "\xc3\xa9@b", 0, 0, true, "", "", ""},
        {"FROM:<\xc3\xa9@b>", SMTP_ARGUMENT_NEEDS_UTF8, NULL, 0, 0, false, NULL, NULL, ""},
        {"FROM:<a@b> SMTPUTF8=1", SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, 0, false, NULL, NULL, "SMTPUTF8"},
        {"FROM:<a@b> SIZE=", SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, 0, false, NULL, NULL, "SIZE"},
        {"FROM:<a@b> SIZE", SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, 0, false, NULL, NULL, "SIZE"},
        {"FROM:<a@b> SIZE=-1", SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, 0, false, NULL, NULL, "SIZE"},
        {"FROM:<a@b> SIZE=1 SIZE=2", SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, 0, false, NULL, NULL, "SIZE"},
        {"FROM:<a@b> SIZE=99999999999999999999", 0, "a@b", UINT64_MAX, 0, false, "", "", ""},
        {"FROM:<a@b> SIZE=000000000000000000001", SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, 0, false, NULL, NULL, "SIZE"},
        {"FROM:<a@b> BODY=BINARYMIME", 0, "a@b", 0, SMTP_BODY_BINARYMIME, false, "", "", ""},
        {"FROM:<a@b> BODY=9BIT", SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, 0, false, NULL, NULL, "BODY"},
        {"FROM:<a@b> RET=ALL", SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, 0, false, NULL, NULL, "RET"},
        {"FROM:<a@b> ENVID=a+", SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, 0, false, NULL, NULL, "ENVID"},
        {"FROM:<a@b> ENVID=a+0Ab", SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, 0, false, NULL, NULL, "ENVID"},
        {"FROM:<a@b> FOO=1", SMTP_ARGUMENT_UNKNOWN_PARAMETER, NULL, 0, 0, false, NULL, NULL, "FOO"},
        {"FROM:<a@b> NOTIFY=NEVER", SMTP_ARGUMENT_UNKNOWN_PARAMETER, NULL, 0, 0, false, NULL, NULL, "NOTIFY"},
        {"FROM:<a@b> =", SMTP_ARGUMENT_UNKNOWN_PARAMETER, NULL, 0, 0, false, NULL, NULL, ""},
        {"FROM:<a@b>SIZE=1", SMTP_ARGUMENT_SYNTAX, NULL, 0, 0, false, NULL, NULL, ""},
        {"TO:<a@b>", SMTP_ARGUMENT_SYNTAX, NULL, 0, 0, false, NULL, NULL, ""},
        {"", SMTP_ARGUMENT_SYNTAX, NULL, 0, 0, false, NULL, NULL, ""},
        {"FROM:", SMTP_ARGUMENT_ADDRESS, NULL, 0, 0, false, NULL, NULL, ""},
        {"FROM:a@b", SMTP_ARGUMENT_ADDRESS, NULL, 0, 0, false, NULL, NULL, ""},
        {"FROM:<a>", SMTP_ARGUMENT_ADDRESS, NULL, 0, 0, false, NULL, NULL, ""},
    };
    for (size_t c = 0; c < ARRAY_LENGTH(cases); c++) {
        struct smtp_mail m;
        struct smtp_argument_fault fault;
        int r = smtp_mail_parse(cases[c].argument, SMTP_EXT_ALL, &m, &fault);
        assert_int_equal(r, cases[c].result);
        if (r == 0) {
            assert_string_equal(m.from.text, cases[c].from);
            assert_int_equal(m.size_bytes, cases[c].size);
            assert_int_equal(m.body, cases[c].body);
            assert_int_equal(m.smtputf8, cases[c].utf8);
            assert_string_equal(m.envid, cases[c].envid);
            assert_string_equal(m.auth, cases[c].auth);
        } else {
            assert_string_equal(fault.parameter, cases[c].parameter);
            assert_non_null(fault.problem);
        }
    }
}

static void parses_rcpt(void **state)
{
    static const struct {
        const char *argument;
        bool utf8;
        int result;
        const char *to;
        unsigned notify;
        const char *orcpt;
    } cases[] = {
        {"TO:<a@b.example>", false, 0, "a@b.example", 0, ""},
        {"TO:<Postmaster>", false, 0, "Postmaster", 0, ""},
        {"TO:<@x.example,@y.example:a@b>", false, 0, "a@b", 0, ""},
        {"TO:<a@b> NOTIFY=success,DELAY ORCPT=rfc822;a+2Bx@b", false, 0, "a@b",
         MAIL_DSN_NOTIFY_SUCCESS | MAIL_DSN_NOTIFY_DELAY, "rfc822;a+2Bx@b"},
        {"TO:<a@b> NOTIFY=NEVER", false, 0, "a@b", MAIL_DSN_NOTIFY_NEVER, ""},
        {"TO:<a@b> NOTIFY=NEVER,SUCCESS", false, SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, NULL},
        {"TO:<a@b> NOTIFY=SUCCESS,SUCCESS", false, 0, "a@b", MAIL_DSN_NOTIFY_SUCCESS, ""},
        {"TO:<a@b> NOTIFY=", false, SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, NULL},
        {"TO:<a@b> NOTIFY=SUCCESS,", false, SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, NULL},
        {"TO:<a@b> ORCPT=a@b", false, SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, NULL},
        {"TO:<a@b> ORCPT=rfc822;", false, SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, NULL},
        {"TO:<a@b> ORCPT=rfc822;a+0D+0Ab", false, SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, NULL},
        {"TO:<a@b> ORCPT=utf-8;\xc3\xa9@b", true, 0, "a@b", 0, "utf-8;\xc3\xa9@b"},
        {"TO:<a@b> ORCPT=utf-8;\xc3\xa9@b", false, SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, NULL},
        {"TO:<a@b> ORCPT=utf-8;\\x{E9}\\x{2b}\\x{10FFFF}@b", false, 0, "a@b", 0, "utf-8;\\x{E9}\\x{2b}\\x{10FFFF}@b"},
        {"TO:<a@b> ORCPT=utf-8;a=b@b", true, SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, NULL},
        {"TO:<a@b> ORCPT=utf-8;a+b@b", true, SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, NULL},
        {"TO:<a@b> ORCPT=utf-8;a\\b@b", true, SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, NULL},
        {"TO:<a@b> ORCPT=utf-8;a\\x{}@b", true, SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, NULL},
        {"TO:<a@b> ORCPT=utf-8;a\\x{2B", true, SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, NULL},
        {"TO:<a@b> ORCPT=utf-8;a\\x{0A}@b", true, SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, NULL},
        {"TO:<a@b> ORCPT=utf-8;a\\x{41}@b", true, SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, NULL},
        {"TO:<a@b> ORCPT=utf-8;a\\x{D800}@b", true, SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, NULL},
        {"TO:<a@b> ORCPT=utf-8;a\\x{110000}@b", true, SMTP_ARGUMENT_BAD_PARAMETER, NULL, 0, NULL},
        {"TO:<a@b> SIZE=1", false, SMTP_ARGUMENT_UNKNOWN_PARAMETER, NULL, 0, NULL},
        {"TO:<>", false, SMTP_ARGUMENT_ADDRESS, NULL, 0, NULL},
        {"TO:<a@\xc3\xa9.example>", false, SMTP_ARGUMENT_NEEDS_UTF8, NULL, 0, NULL},
        {"TO:<a@\xc3\xa9.example>", true, 0, "a@\xc3\xa9.example", 0, ""},
        {"TO:<a@\xff.example>", true, SMTP_ARGUMENT_ADDRESS, NULL, 0, NULL},
    };
    for (size_t c = 0; c < ARRAY_LENGTH(cases); c++) {
        struct smtp_rcpt rcpt;
        struct smtp_argument_fault fault;
        int r = smtp_rcpt_parse(cases[c].argument, SMTP_EXT_ALL, cases[c].utf8, &rcpt, &fault);
        assert_int_equal(r, cases[c].result);
        if (r == 0) {
            assert_string_equal(rcpt.to.text, cases[c].to);
            assert_int_equal(rcpt.notify, cases[c].notify);
            assert_string_equal(rcpt.orcpt, cases[c].orcpt);
        }
    }
}

static void parses_late_mail(void **state)
{
    static const struct {
        const char *parameters;
        int result;
        bool requiretls;
        uint32_t hold_for_s;
        int64_t hold_until_s;
        enum smtp_by_mode by_mode;
        int32_t by_s;
        bool has_priority;
        int priority;
    } cases[] = {
        {"REQUIRETLS", 0, true, 0, 0, 0, 0, false, 0},
        {"REQUIRETLS=1", SMTP_ARGUMENT_BAD_PARAMETER, 0, 0, 0, 0, 0, 0, 0},
        {"HOLDFOR=3600", 0, false, 3600, 0, 0, 0, false, 0},
        {"HOLDFOR=0", SMTP_ARGUMENT_BAD_PARAMETER, 0, 0, 0, 0, 0, 0, 0},
        {"HOLDFOR=1234567890", SMTP_ARGUMENT_BAD_PARAMETER, 0, 0, 0, 0, 0, 0, 0},
        {"HOLDUNTIL=2026-11-23T20:24:19Z", 0, false, 0, 1795465459, 0, 0, false, 0},
        {"HOLDUNTIL=2026-11-23T22:24:19.5+02:00", 0, false, 0, 1795465459, 0, 0, false, 0},
        {"HOLDUNTIL=2026-02-30T20:24:19Z", SMTP_ARGUMENT_BAD_PARAMETER, 0, 0, 0, 0, 0, 0, 0},
        {"HOLDUNTIL=2026-11-23 20:24:19Z", SMTP_ARGUMENT_BAD_PARAMETER, 0, 0, 0, 0, 0, 0, 0},
        {"HOLDUNTIL=2026-11-23T20:24:19", SMTP_ARGUMENT_BAD_PARAMETER, 0, 0, 0, 0, 0, 0, 0},
        {"HOLDFOR=1 HOLDUNTIL=2026-11-23T20:24:19Z", SMTP_ARGUMENT_BAD_PARAMETER, 0, 0, 0, 0, 0, 0, 0},
        {"BY=120;R", 0, false, 0, 0, SMTP_BY_RETURN, 120, false, 0},
        {"BY=-5;nt", 0, false, 0, 0, SMTP_BY_NOTIFY, -5, false, 0},
        {"BY=+5;N", 0, false, 0, 0, SMTP_BY_NOTIFY, 5, false, 0},
        {"BY=0;R", SMTP_ARGUMENT_BAD_PARAMETER, 0, 0, 0, 0, 0, 0, 0},
        {"BY=-5;R", SMTP_ARGUMENT_BAD_PARAMETER, 0, 0, 0, 0, 0, 0, 0},
        {"BY=5", SMTP_ARGUMENT_BAD_PARAMETER, 0, 0, 0, 0, 0, 0, 0},
        {"BY=;R", SMTP_ARGUMENT_BAD_PARAMETER, 0, 0, 0, 0, 0, 0, 0},
        {"BY=5;X", SMTP_ARGUMENT_BAD_PARAMETER, 0, 0, 0, 0, 0, 0, 0},
        {"BY=5;RX", SMTP_ARGUMENT_BAD_PARAMETER, 0, 0, 0, 0, 0, 0, 0},
        {"MT-PRIORITY=-9", 0, false, 0, 0, 0, 0, true, -9},
        {"MT-PRIORITY=0", 0, false, 0, 0, 0, 0, true, 0},
        {"mt-priority=6", 0, false, 0, 0, 0, 0, true, 6},
        {"MT-PRIORITY=10", SMTP_ARGUMENT_BAD_PARAMETER, 0, 0, 0, 0, 0, 0, 0},
        {"MT-PRIORITY=-0", SMTP_ARGUMENT_BAD_PARAMETER, 0, 0, 0, 0, 0, 0, 0},
        {"MT-PRIORITY=-", SMTP_ARGUMENT_BAD_PARAMETER, 0, 0, 0, 0, 0, 0, 0},
        {"MT-PRIORITY", SMTP_ARGUMENT_BAD_PARAMETER, 0, 0, 0, 0, 0, 0, 0},
    };
    for (size_t c = 0; c < ARRAY_LENGTH(cases); c++) {
        struct smtp_mail m;
        struct smtp_argument_fault fault;
        char argument[100];
        snprintf(argument, sizeof(argument), "FROM:<a@b.example> %s", cases[c].parameters);
        assert_int_equal(smtp_mail_parse(argument, SMTP_EXT_ALL, &m, &fault), cases[c].result);
        /* Where none of them is offered they are unknown. */
        assert_int_equal(smtp_mail_parse(argument, SMTP_EXT_SIZE, &m, &fault), SMTP_ARGUMENT_UNKNOWN_PARAMETER);
        if (cases[c].result != 0)
            continue;
        assert_int_equal(smtp_mail_parse(argument, SMTP_EXT_ALL, &m, &fault), 0);
        assert_int_equal(m.requiretls, cases[c].requiretls);
        assert_int_equal(m.hold_for_s, cases[c].hold_for_s);
        assert_int_equal(m.hold_until_s, cases[c].hold_until_s);
        assert_int_equal(m.by_mode, cases[c].by_mode);
        assert_int_equal(m.by_s, cases[c].by_s);
        assert_int_equal(m.has_mt_priority, cases[c].has_priority);
        assert_int_equal(m.mt_priority, cases[c].priority);
    }
}

static void parses_bdat(void **state)
{
    static const struct {
        const char *argument;
        int result;
        uint64_t size;
        bool last;
    } cases[] = {
        {"0", 0, 0, false},         {"0 LAST", 0, 0, true},
        {"86 last", 0, 86, true},   {"9223372036854775807", 0, INT64_MAX, false},
        {"", -1, 0, false},         {"LAST", -1, 0, false},
        {"-1", -1, 0, false},       {"9223372036854775808", -1, 0, false},
        {"1 LAST x", -1, 0, false}, {"1x", -1, 0, false},
        {"1 FIRST", -1, 0, false},  {"000000000000000000001", -1, 0, false},
    };
    for (size_t c = 0; c < ARRAY_LENGTH(cases); c++) {
        uint64_t size = 0;
        bool last = false;
        assert_int_equal(smtp_bdat_parse(cases[c].argument, &size, &last), cases[c].result);
        if (cases[c].result != 0)
            continue;
        assert_true(size == cases[c].size);
        assert_int_equal(last, cases[c].last);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_lines),      cmocka_unit_test(skips_a_long_line_in_pieces),
        cmocka_unit_test(splits_commands),  cmocka_unit_test(parses_mail),
        cmocka_unit_test(parses_late_mail), cmocka_unit_test(parses_bdat),
        cmocka_unit_test(parses_rcpt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
