/* The head of a queue file: both ways, cut at every byte, with every byte changed, and with what must be refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "queue/envelope.h"

static struct envelope_recipient some_recipients[] = {
    {.status = RECIPIENT_TODO, .address = "user@example.com"},
    {.status = RECIPIENT_FAILED, .notify = 6, .orcpt = "rfc822;x+2By@example.com", .address = "x+y@example.com"},
    {.status = RECIPIENT_DONE, .address = "\"a <b>> orcpt= \"@example.com"},
    {.status = RECIPIENT_EXPIRED,
     .address = "\xc3\xa4@b\xc3\xbc"
                "cher.example"},
    {.status = RECIPIENT_BOUNCED, .notify = UINT32_MAX, .address = "postmaster"},
    {.status = RECIPIENT_REMOVED, .orcpt = "utf-8;x", .address = ""},
};

static struct envelope full(void)
{
    return (struct envelope){.id = "1P8X2K7Q3M40A",
                             .arrived_us = INT64_C(1763928000123456),
                             .sender = "bounces+1=x@app.example",
                             .credential = "app one",
                             .tenant = " acme",
                             .client_address = "2001:db8::1",
                             .client_name = "[192.0.2.1]",
                             .listener = "submission",
                             .protocol = "ESMTPSA",
                             .tls = "TLSv1.3/TLS_AES_256_GCM_SHA384",
                             .envid = "QQ+2B314159",
                             .ret = 2,
                             .priority = 1,
                             .flags = ENVELOPE_8BIT | ENVELOPE_LEADING_DOTS | ENVELOPE_NOTICE,
                             .attempts = 12,
                             .warned = true,
                             .content_length = 1234,
                             .recipients = some_recipients,
                             .recipient_count = ARRAY_LENGTH(some_recipients)};
}

static struct envelope least(void)
{
    return (struct envelope){.id = "0000000000001", .recipients = some_recipients, .recipient_count = 1};
}

static void assert_text(const char *a, const char *b)
{
    assert_string_equal(a != NULL ? a : "", b);
}

static void assert_same(const struct envelope *a, const struct envelope *b)
{
    assert_string_equal(a->id, b->id);
    assert_int_equal(a->arrived_us, b->arrived_us);
    assert_text(a->sender, b->sender);
    assert_text(a->credential, b->credential);
    assert_text(a->tenant, b->tenant);
    assert_text(a->client_address, b->client_address);
    assert_text(a->client_name, b->client_name);
    assert_text(a->listener, b->listener);
    assert_text(a->protocol, b->protocol);
    assert_text(a->tls, b->tls);
    assert_text(a->envid, b->envid);
    assert_int_equal(a->ret, b->ret);
    assert_int_equal(a->priority, b->priority);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->attempts, b->attempts);
    assert_int_equal(a->warned, b->warned);
    assert_int_equal(a->content_offset, b->content_offset);
    assert_int_equal(a->content_length, b->content_length);
    assert_int_equal(a->recipient_count, b->recipient_count);
    for (size_t i = 0; i < a->recipient_count; i++) {
        const struct envelope_recipient *r = &a->recipients[i], *s = &b->recipients[i];
        assert_int_equal(r->index, s->index);
        assert_int_equal(r->status, s->status);
        assert_int_equal(r->notify, s->notify);
        assert_text(r->orcpt, s->orcpt);
        assert_text(r->address, s->address);
    }
}

static void round_trip(void **state)
{
    struct envelope both[] = {full(), least()};
    for (size_t i = 0; i < ARRAY_LENGTH(both); i++) {
        struct envelope out;
        struct buf text;
        uint32_t head = 0;
        buf_init(&text, 10000);
        buf_append_str(&text, "what stood there before");
        size_t before = text.len;
        assert_int_equal(envelope_format(&both[i], &text), 0);
        const char *begin = text.data + before;
        assert_int_equal(both[i].content_offset, text.len - before);
        for (size_t k = 0; k < both[i].recipient_count; k++)
            assert_memory_equal(begin + both[i].recipients[k].index, "rcpt ", 5);
        assert_memory_equal(begin + ENVELOPE_STATE_OFFSET, "state ", 6);
        assert_int_equal(envelope_peek(begin, ENVELOPE_FIRST_LINE, &head, NULL), 0);
        assert_int_equal(head, both[i].content_offset);
        /* Content behind the head does not matter. */
        buf_append_str(&text, "Received: rcpt todo\r\n\nrcpt todo     notify=0 orcpt= <x>\n");
        begin = text.data + before;
        assert_int_equal(envelope_parse(begin, text.len - before, &out), 0);
        assert_same(&both[i], &out);
        envelope_free(&out);
        buf_deinit(&text);
    }
}

static void looks_as_documented(void **state)
{
    struct envelope e = least();
    struct buf text;
    e.arrived_us = 5;
    e.sender = "a@b.example";
    e.content_length = 99;
    e.flags = ENVELOPE_SMTPUTF8 | ENVELOPE_BODY_8BITMIME;
    buf_init(&text, 10000);
    assert_int_equal(envelope_format(&e, &text), 0);
    assert_string_equal(buf_str(&text), "posthouse-queue 1 0000000202 00000000000000000099 -u-b------\n"
                                        "state attempts=0000 warned=0\n"
                                        "id 0000000000001\n"
                                        "arrived 5\n"
                                        "sender a@b.example\n"
                                        "ret 0\n"
                                        "priority 0\n"
                                        "rcpt todo     notify=0 orcpt= <user@example.com>\n");
    buf_deinit(&text);
}

static void every_cut_is_refused(void **state)
{
    struct envelope e = full(), out;
    struct buf text;
    buf_init(&text, 10000);
    assert_int_equal(envelope_format(&e, &text), 0);
    for (size_t n = 0; n < text.len; n++) {
        char *cut = malloc(n > 0 ? n : 1);
        uint32_t head;
        memcpy(cut, text.data, n);
        assert_int_equal(envelope_parse(cut, n, &out), -EPROTO);
        assert_int_equal(envelope_peek(cut, n, &head, NULL), n < ENVELOPE_FIRST_LINE ? -EPROTO : 0);
        free(cut);
    }
    /* A first line that claims less than there is cuts as well, unless it cuts between two recipients. */
    for (size_t n = 0; n < text.len; n++) {
        char first[ENVELOPE_FIRST_LINE + 1];
        struct envelope shorter = {.content_offset = (uint32_t)n, .content_length = 1};
        envelope_format_first_line(&shorter, first);
        memcpy(text.data, first, ENVELOPE_FIRST_LINE);
        int r = envelope_parse(text.data, text.len, &out);
        bool between = text.data[n - (n > 0)] == '\n' && n > e.recipients[0].index;
        if (r != (between ? 0 : -EPROTO))
            fail_msg("%zu: %d", n, r);
        if (r == 0)
            envelope_free(&out);
    }
    buf_deinit(&text);
}

static void changed_bytes_do_no_harm(void **state)
{
    static const unsigned char values[] = {0, '\n', ' ', '9', '<', 0x80, 0xff};
    struct envelope e = full(), out;
    struct buf text;
    buf_init(&text, 10000);
    assert_int_equal(envelope_format(&e, &text), 0);
    char *copy = malloc(text.len);
    for (size_t at = 0; at < text.len * ARRAY_LENGTH(values); at++) {
        memcpy(copy, text.data, text.len);
        copy[at / ARRAY_LENGTH(values)] = (char)values[at % ARRAY_LENGTH(values)];
        int r = envelope_parse(copy, text.len, &out);
        assert_true(r == 0 || r == -EPROTO);
        if (r == 0)
            envelope_free(&out);
    }
    free(copy);
    buf_deinit(&text);
}

static void values_with_control_characters(void **state)
{
    static const char *const bad[] = {"a\nrcpt todo     notify=0 orcpt= <x@y>", "a\r", "\t", "\x7f", "\x01"};
    struct buf text;
    buf_init(&text, 10000);
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        struct envelope e = least();
        struct envelope_recipient r = {.address = "a@b", .orcpt = bad[i]};
        e.sender = bad[i];
        assert_int_equal(envelope_format(&e, &text), -EINVAL);
        e.sender = "";
        e.client_name = bad[i];
        assert_int_equal(envelope_format(&e, &text), -EINVAL);
        e.client_name = "";
        e.recipients = &r;
        assert_int_equal(envelope_format(&e, &text), -EINVAL);
        r = (struct envelope_recipient){.address = bad[i]};
        assert_int_equal(envelope_format(&e, &text), -EINVAL);
    }
    struct envelope e = least();
    struct envelope_recipient blank = {.address = "a@b", .orcpt = "rfc822;a b"};
    e.recipients = &blank;
    assert_int_equal(envelope_format(&e, &text), -EINVAL);
    buf_deinit(&text);
    buf_init(&text, 100);
    e = full();
    assert_int_equal(envelope_format(&e, &text), -ENOBUFS);
    buf_deinit(&text);
}

#define FIRST(bytes) "posthouse-queue 1 " bytes " 00000000000000000001 ----------\n"
#define STATE        "state attempts=0000 warned=0\n"
#define ID           "id 1P8X2K7Q3M40A\n"
#define RCPT         "rcpt todo     notify=0 orcpt= <a@b>\n"

static void odd_heads(void **state)
{
    static const struct {
        const char *text;
        int result;
    } cases[] = {
        {FIRST("0000000143") STATE ID RCPT, 0},
        {FIRST("0000000156") STATE ID "color green\n\x20" RCPT, -EPROTO},
        {FIRST("0000000155") STATE ID "color green\n" RCPT, 0}, /* a key of a later version */
        {"posthouse-queue 2 0000000143 00000000000000000001 ----------\n" STATE ID RCPT, -EPROTO},
        {"posthouse-queue 1 0000000143 00000000000000000001 z---------\n" STATE ID RCPT, -EPROTO},
        {"posthouse-queue 1 0000000143 00000000000000000001 -----x----\n" STATE ID RCPT, -EPROTO},
        {"posthouse-queue 1 0000000143 99999999999999999999 ----------\n" STATE ID RCPT, -EPROTO},
        {"posthouse-queue 1 0000000143 09223372036854775807 ----------\n" STATE ID RCPT, -EPROTO},
        {"posthouse-queue 1 0000000143 -0000000000000000001 ----------\n" STATE ID RCPT, -EPROTO},
        {FIRST("4294967295") STATE ID RCPT, -EPROTO},
        {FIRST("9999999999") STATE ID RCPT, -EPROTO},
        {FIRST("0000000000") STATE ID RCPT, -EPROTO},
        {FIRST("0000000107") STATE ID, -EPROTO},   /* no recipient */
        {FIRST("0000000126") STATE RCPT, -EPROTO}, /* no id */
        {FIRST("0000000143") STATE "id 1P8X2K7Q3M40l\n" RCPT, -EPROTO},
        {FIRST("0000000143") "state attempts=000x warned=0\n" ID RCPT, -EPROTO},
        {FIRST("0000000143") "state attempts=0000 warned=2\n" ID RCPT, -EPROTO},
        {FIRST("0000000143") STATE ID "rcpt tod0     notify=0 orcpt= <a@b>\n", -EPROTO},
        {FIRST("0000000143") STATE ID "rcpt todo     notify=x orcpt= <a@b>\n", -EPROTO},
        {FIRST("0000000143") STATE ID "rcpt todo     notify=0 orcpt= <a@b \n", -EPROTO},
        {FIRST("0000000145") STATE ID "rcpt todo     notify=0 orcpt=a b <a@b>\n", -EPROTO},
        {FIRST("0000000154") STATE ID "priority x\n" RCPT, -EPROTO},
        {FIRST("0000000164") STATE ID "ret 99999999999999999\n" RCPT, -EPROTO},
        {FIRST("0000000148") STATE ID "helo\n" RCPT, -EPROTO},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct envelope e;
        int r = envelope_parse(cases[i].text, strlen(cases[i].text), &e);
        if (r != cases[i].result)
            fail_msg("case %zu: %d\n%s", i, r, cases[i].text);
        if (r == 0)
            envelope_free(&e);
    }
}

static void fixed_widths(void **state)
{
    char line[ENVELOPE_STATE_LINE + 1];
    struct envelope e = {.attempts = 123456, .warned = true};
    envelope_format_state(&e, line);
    assert_string_equal(line, "state attempts=9999 warned=1\n");
    for (int i = 0; i < RECIPIENT_STATUS_COUNT; i++) {
        assert_int_equal(strlen(recipient_status_text((enum recipient_status)i)), RECIPIENT_STATUS_WIDTH);
        assert_true(text_has_prefix(recipient_status_text((enum recipient_status)i),
                                    recipient_status_name((enum recipient_status)i)));
    }
    assert_string_equal(recipient_status_name(RECIPIENT_STATUS_COUNT), "?");
}

/* Rewritten in place, and cut short anywhere: never a file that nobody reads any more. */
static void torn_statuses(void **state)
{
    for (int n = 0; n < RECIPIENT_STATUS_COUNT * RECIPIENT_STATUS_COUNT * RECIPIENT_STATUS_WIDTH; n++) {
        enum recipient_status old = (enum recipient_status)(n / RECIPIENT_STATUS_WIDTH % RECIPIENT_STATUS_COUNT);
        enum recipient_status fresh = (enum recipient_status)(n / RECIPIENT_STATUS_WIDTH / RECIPIENT_STATUS_COUNT);
        size_t cut = (size_t)n % RECIPIENT_STATUS_WIDTH;
        char text[] = FIRST("0000000143") STATE ID RCPT, *at = strstr(text, "todo");
        struct envelope e;
        memcpy(at, recipient_status_text(old), RECIPIENT_STATUS_WIDTH);
        memcpy(at, recipient_status_text(fresh), cut);
        assert_int_equal(envelope_parse(text, strlen(text), &e), 0);
        enum recipient_status got = e.recipients[0].status;
        bool known = memcmp(at, recipient_status_text(got), RECIPIENT_STATUS_WIDTH) == 0;
        assert_true(known || got == RECIPIENT_TODO);
        assert_true(cut > 0 || got == old);
        envelope_free(&e);
    }
}

static void many_recipients(void **state)
{
    const size_t count = 50000;
    struct envelope e = least(), out;
    struct buf text;
    e.recipients = calloc(count, sizeof(*e.recipients));
    e.recipient_count = count;
    for (size_t i = 0; i < count; i++)
        e.recipients[i] = (struct envelope_recipient){.address = text_format("user%zu@example.com", i)};
    buf_init(&text, ENVELOPE_MAX);
    assert_int_equal(envelope_format(&e, &text), 0);
    assert_int_equal(envelope_parse(text.data, text.len, &out), 0);
    assert_same(&e, &out);
    envelope_free(&out);
    for (size_t i = 0; i < count; i++)
        free((char *)e.recipients[i].address);
    free(e.recipients);
    buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(looks_as_documented),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(changed_bytes_do_no_harm),
        cmocka_unit_test(values_with_control_characters),
        cmocka_unit_test(odd_heads),
        cmocka_unit_test(fixed_widths),
        cmocka_unit_test(torn_statuses),
        cmocka_unit_test(many_recipients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
