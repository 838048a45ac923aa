/* Replies, both sides, and the EHLO reply. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "smtp/ehlo.h"
#include "smtp/reply.h"

static const struct {
    const char *wire;
    int result;
    unsigned code;
    const char *status, *text, *rest;
} cases[] = {
    {"250 ok\r\n", 0, 250, "", "ok", ""},
    {"250\r\n", 0, 250, "", "", ""},
    {"250 \n", 0, 250, "", "", ""},
    {"550 5.1.1 no such user\r\nx", 0, 550, "5.1.1", "5.1.1 no such user", "x"},
    {"550-5.7.1 because\r\n550-of\r\n550 this\r\n", 0, 550, "5.7.1", "5.7.1 because\nof\nthis", ""},
    {"550-\r\n550 5.7.1 late\r\n", 0, 550, "5.7.1", "\n5.7.1 late", ""},
    {"450 5.1.1 class and code disagree\r\n", 0, 450, "", "5.1.1 class and code disagree", ""},
    {"250-a\r\n250", SMTP_REPLY_MORE, 0, NULL, NULL, NULL},
    {"", SMTP_REPLY_MORE, 0, NULL, NULL, NULL},
    {"250-a\r\n251 b\r\n", SMTP_REPLY_MALFORMED, 0, NULL, NULL, NULL},
    {"25 a\r\n", SMTP_REPLY_MALFORMED, 0, NULL, NULL, NULL},
    {"2500 a\r\n", SMTP_REPLY_MALFORMED, 0, NULL, NULL, NULL},
    {"150 a\r\n", SMTP_REPLY_MALFORMED, 0, NULL, NULL, NULL},
    {"hello\r\n", SMTP_REPLY_MALFORMED, 0, NULL, NULL, NULL},
    {"\r\n", SMTP_REPLY_MALFORMED, 0, NULL, NULL, NULL},
};

static void check(size_t c, size_t chunk)
{
    struct smtp_reply r;
    struct buf in;
    smtp_reply_init(&r);
    buf_init(&in, 65536);
    const char *wire = cases[c].wire;
    int result = SMTP_REPLY_MORE;
    while (result == SMTP_REPLY_MORE && *wire != '\0') {
        size_t n = strlen(wire) < chunk ? strlen(wire) : chunk;
        buf_append(&in, wire, n);
        wire += n;
        result = smtp_reply_take(&r, &in);
    }
    assert_int_equal(result, cases[c].result);
    if (result == 0) {
        char status[MAIL_STATUS_TEXT_MAX];
        assert_int_equal(r.code, cases[c].code);
        assert_string_equal(mail_status_format(&r.status, status), cases[c].status);
        assert_string_equal(buf_str(&r.text), cases[c].text);
        buf_append_str(&in, wire);
        assert_string_equal(buf_str(&in), cases[c].rest);
    }
    buf_deinit(&in);
    smtp_reply_deinit(&r);
}

static void takes_replies(void **state)
{
    for (size_t c = 0; c < ARRAY_LENGTH(cases); c++) {
        check(c, 1);
        check(c, 4096);
    }
}

static void bounds_what_a_server_can_send(void **state)
{
    struct smtp_reply r;
    struct buf in;
    smtp_reply_init(&r);
    buf_init(&in, 2 * 1024 * 1024);
    for (int i = 0; i < 200; i++) {
        buf_append_str(&in, "250-");
        for (int k = 0; k < 1000; k++)
            buf_append_char(&in, 'x');
        buf_append_str(&in, "\r\n");
    }
    buf_append_str(&in, "250 end\r\n");
    assert_int_equal(smtp_reply_take(&r, &in), 0);
    assert_int_equal(r.text.len, SMTP_REPLY_TEXT_MAX);
    assert_int_equal(r.lines, 201);
    for (int i = 0; i < 300; i++)
        buf_append_str(&in, "250-x\r\n");
    assert_int_equal(smtp_reply_take(&r, &in), SMTP_REPLY_MALFORMED);
    buf_clear(&in);
    for (int k = 0; k < SMTP_REPLY_LINE_MAX; k++)
        buf_append_char(&in, '2');
    assert_int_equal(smtp_reply_take(&r, &in), SMTP_REPLY_MALFORMED);
    buf_deinit(&in);
    smtp_reply_deinit(&r);
}

static void flattens(void **state)
{
    struct smtp_reply r;
    struct buf in, out;
    smtp_reply_init(&r);
    buf_init(&in, 256);
    buf_init(&out, 256);
    buf_append_str(&in, "550-5.7.1 a\r\n550 b\r\n");
    assert_int_equal(smtp_reply_take(&r, &in), 0);
    assert_int_equal(smtp_reply_flatten(&r, &out), 0);
    assert_string_equal(buf_str(&out), "550 5.7.1 a; b");
    buf_deinit(&in);
    buf_deinit(&out);
    smtp_reply_deinit(&r);
}

static void formats(void **state)
{
    static const struct {
        unsigned code;
        const char *enhanced, *text, *want;
    } formatted[] = {
        {220, "", "host ESMTP", "220 host ESMTP\r\n"},
        {250, "2.1.0", "ok", "250 2.1.0 ok\r\n"},
        {550, "5.7.1", "a\nb", "550-5.7.1 a\r\n550 5.7.1 b\r\n"},
        {550, "5.7.1", "evil\r250 ok", "550 5.7.1 evil?250 ok\r\n"},
        {250, "", "", "250 \r\n"},
    };
    for (size_t c = 0; c < ARRAY_LENGTH(formatted); c++) {
        struct buf out;
        buf_init(&out, 1024);
        assert_int_equal(smtp_reply_format(&out, formatted[c].code, formatted[c].enhanced, formatted[c].text), 0);
        assert_string_equal(buf_str(&out), formatted[c].want);
        buf_deinit(&out);
    }
    struct buf out;
    char text[2000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    buf_init(&out, 1024);
    assert_int_equal(smtp_reply_format(&out, 550, "5.7.1", text), 0);
    assert_true(out.len <= 512);
    buf_deinit(&out);
}

static void reads_enhanced_codes(void **state)
{
    static const struct {
        const char *text, *want;
        size_t used;
    } codes[] = {
        {"2.0.0 ok", "2.0.0", 5},
        {"5.999.123", "5.999.123", 9},
        {"4.7.1\tx", "4.7.1", 5},
        {"3.0.0 no class", "", 0},
        {"5.1", "", 0},
        {"5.1.1x", "", 0},
        {"5.01.1 leading", "", 0},
        {"5.1.1000 ", "", 0},
        {"", "", 0},
        {"55.1.1 ", "", 0},
    };
    for (size_t c = 0; c < ARRAY_LENGTH(codes); c++) {
        struct mail_status s;
        char text[MAIL_STATUS_TEXT_MAX];
        assert_int_equal(mail_status_parse(codes[c].text, strlen(codes[c].text), &s), codes[c].used);
        assert_string_equal(mail_status_format(&s, text), codes[c].want);
    }
}

static void ehlo_of(const char *wire, struct smtp_ehlo *e)
{
    struct smtp_reply r;
    struct buf in;
    smtp_reply_init(&r);
    buf_init(&in, 4096);
    buf_append_str(&in, wire);
    assert_int_equal(smtp_reply_take(&r, &in), 0);
    smtp_ehlo_parse(&r, e);
    buf_deinit(&in);
    smtp_reply_deinit(&r);
}

static void reads_capabilities(void **state)
{
    struct smtp_ehlo e;
    ehlo_of(
        "250-mx.example SIZE\r\n250-PIPELINING\r\n250-size 1000\r\n250-AUTH PLAIN login\r\n250-AUTH=LOGIN CRAM-MD5\r\n"
        "250-8BITMIME\r\n250-X-THING a b\r\n250 SMTPUTF8\r\n",
        &e);
    assert_int_equal(e.extensions,
                     SMTP_EXT_PIPELINING | SMTP_EXT_SIZE | SMTP_EXT_AUTH | SMTP_EXT_8BITMIME | SMTP_EXT_SMTPUTF8);
    assert_int_equal(e.size_bytes, 1000);
    assert_string_equal(e.auth, "PLAIN LOGIN CRAM-MD5");
    assert_true(smtp_ehlo_has_mechanism(&e, "login"));
    assert_false(smtp_ehlo_has_mechanism(&e, "LOG"));
    ehlo_of("250 mx.example\r\n", &e);
    assert_int_equal(e.extensions, 0);
    ehlo_of("250-mx\r\n250 DELIVERBY 900\r\n", &e);
    assert_int_equal(e.by_min_s, 900);
    ehlo_of("250-mx\r\n250 DELIVERBY soon\r\n", &e);
    assert_int_equal(e.extensions, SMTP_EXT_DELIVERBY);
    assert_int_equal(e.by_min_s, 0);
    ehlo_of("250-mx\r\n250-SIZE\r\n250 AUTH\r\n", &e);
    assert_int_equal(e.extensions, SMTP_EXT_SIZE);
    assert_int_equal(e.size_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_replies),
        cmocka_unit_test(bounds_what_a_server_can_send),
        cmocka_unit_test(flattens),
        cmocka_unit_test(formats),
        cmocka_unit_test(reads_enhanced_codes),
        cmocka_unit_test(reads_capabilities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
