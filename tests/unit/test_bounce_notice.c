/* Notices as texts: every case is composed and looked through for what it must and must not hold.  With
 * POSTHOUSE_NOTICES=DIR each is also written to DIR/<case>.eml, where test_bounce_notice.py parses them again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"
#include "mail/dsn.h"
#include "bounce/notice.h"
#include "queue/envelope.h"

#define HEADER "Received: by here\r\nSubject: Invoice 42\r\nTo: bob@example.net\r\n"
#define BODY   "\r\nHello\r\n.dot\r\n"
#define UTF8   "\xc3\xa9"

static const struct ipc_bounce_recipient bob = {
    .address = "bob@example.net",
    .orcpt = "rfc822;Bob+2BX@example.net",
    .code = 550,
    .enhanced = "5.1.1",
    .reply = "550 5.1.1 No such user here",
    .relay = "mx.example.net[192.0.2.1]:25",
    .attempted_s = 1763928000,
};
static const struct ipc_bounce_recipient late = {
    .address = "late@example.org",
    .orcpt = "",
    .code = 450,
    .enhanced = "4.2.1",
    .reply = "450 4.2.1 busy",
    .relay = "mx.example.org[192.0.2.2]:25",
    .attempted_s = 1763928000,
    .expired = 1,
};
static const struct ipc_bounce_recipient nowhere = {
    .address = "x@nowhere.example",
    .orcpt = "",
    .enhanced = "5.1.2",
    .reply = "the domain does not exist",
    .relay = "none",
};
static const struct ipc_bounce_recipient evil = {
    .address = "evil@example.net",
    .orcpt = "rfc822;a+0D+0AX-Evil:+20yes@b",
    .code = 550,
    .enhanced = "5.0.0",
    .reply = "550 \r\nX-Evil: yes\r\n\r\n--boundary \x01\xff",
    .relay = "[192.0.2.3]:25",
};
static const struct ipc_bounce_recipient greek = {
    .address = "\xce\xb1@\xce\xb2.example",
    .orcpt = "utf-8;\\x{3B1}@\\x{3B2}.example",
    .code = 550,
    .enhanced = "5.1.1",
    .reply = "550 5.1.1 \xce\xb3",
    .relay = "mx.example[192.0.2.4]:25",
};
static const struct ipc_bounce_recipient sent = {
    .address = "ok@example.net",
    .orcpt = "",
    .notify = MAIL_DSN_NOTIFY_SUCCESS,
    .code = 250,
    .enhanced = "2.0.0",
    .reply = "250 2.0.0 ok",
    .relay = "mx.example.net[192.0.2.1]:25",
};

static const struct {
    const char *name;
    uint32_t kind;
    const char *sender;
    const struct ipc_bounce_recipient *recipients[3];
    const char *original;
    size_t limit;
    bool full;
    uint32_t flags;
    const char *want[12], *never[4];
} cases[] = {
    {"failed",
     BOUNCE_FAILED,
     "alice@example.com",
     {&bob, &late, &nowhere},
     HEADER BODY,
     1024,
     false,
     0,
     {"To: <alice@example.com>\r\n", "Auto-Submitted: auto-replied\r\n", "Original-Envelope-Id: abc+d\r\n",
      "Original-Recipient: rfc822; Bob+X@example.net\r\n", "Final-Recipient: rfc822; bob@example.net\r\n",
      "Status: 5.1.1\r\n", "Remote-MTA: dns; mx.example.net\r\n",
      "Diagnostic-Code: smtp; 550 5.1.1 No such user here\r\n", "Status: 4.4.7\r\n",
      "Diagnostic-Code: X-Posthouse; the domain does not exist\r\n", "Content-Type: text/rfc822-headers\r\n",
      "    Why: This address does not exist.\r\n"},
     {"Hello", "Will-Retry-Until", "Remote-MTA: dns; none"}},
    {"full",
     BOUNCE_FAILED,
     "alice@example.com",
     {&bob},
     HEADER BODY,
     1024,
     true,
     ENVELOPE_LEADING_DOTS,
     {"Content-Type: message/rfc822\r\n", HEADER BODY, "Subject: Invoice 42\r\n    Received here:"},
     {"text/rfc822-headers"}},
    {"too-large",
     BOUNCE_FAILED,
     "alice@example.com",
     {&bob},
     HEADER BODY,
     45,
     true,
     0,
     {"text/rfc822-headers", "Subject: Invoice 42\r\n\r\n--"},
     {"Hello", "To: bob"}},
    {"delayed",
     BOUNCE_DELAYED,
     "alice@example.com",
     {&late},
     HEADER BODY,
     1024,
     false,
     0,
     {"Action: delayed\r\n", "Status: 4.2.1\r\n", "Will-Retry-Until: ", "should not send it"},
     {"Action: failed", "What to do"}},
    {"delivered",
     BOUNCE_DELIVERED,
     "alice@example.com",
     {&sent},
     HEADER BODY,
     1024,
     false,
     0,
     {"Action: relayed\r\n", "Status: 2.0.0\r\n"},
     {"Why:"}},
    {"evil",
     BOUNCE_FAILED,
     "alice@example.com",
     {&evil},
     HEADER BODY,
     1024,
     false,
     0,
     {"Remote-MTA: dns; [192.0.2.3]\r\n", "Original-Recipient: rfc822; a  X-Evil: yes@b\r\n"},
     {"\nX-Evil", "\x01", "\xff"}},
    {"utf8-address",
     BOUNCE_FAILED,
     "alice@example.com",
     {&greek},
     HEADER BODY,
     1024,
     true,
     ENVELOPE_8BIT | ENVELOPE_BODY_8BITMIME | ENVELOPE_LEADING_DOTS,
     {"report-type=global-delivery-status", "Content-Type: message/global-delivery-status\r\n",
      "Final-Recipient: utf-8; \xce\xb1@\xce\xb2.example\r\n", "Content-Type: message/rfc822\r\n",
      "Original-Recipient: utf-8; \\x{3B1}@\\x{3B2}.example\r\n", "550 5.1.1 \xce\xb3\r\n"},
     {"message/delivery-status"}},
    {"utf8-header",
     BOUNCE_FAILED,
     "alice@example.com",
     {&bob},
     "Subject: caf" UTF8 "\r\n" BODY,
     1024,
     true,
     ENVELOPE_8BIT | ENVELOPE_BODY_8BITMIME | ENVELOPE_LEADING_DOTS,
     {"Content-Type: message/global\r\n", "report-type=delivery-status", "charset=us-ascii"},
     {"    Subject:"}},
    {"utf8-sender",
     BOUNCE_FAILED,
     "al" UTF8 "@example.com",
     {&bob},
     "Subject: x\r\n\r\ncaf" UTF8 "\r\n",
     1024,
     false,
     ENVELOPE_8BIT | ENVELOPE_BODY_8BITMIME | ENVELOPE_SMTPUTF8,
     {"To: <al" UTF8 "@example.com>\r\n", "message/global-delivery-status", "text/rfc822-headers"},
     {"caf"}},
    {"no-original",
     BOUNCE_FAILED,
     "alice@example.com",
     {&bob},
     "",
     1024,
     true,
     0,
     {"A report for mail programs is attached."},
     {"message/rfc822", "rfc822-headers"}},
};

static void save(const char *name, const struct buf *content)
{
    const char *dir = getenv("POSTHOUSE_NOTICES");
    if (dir == NULL)
        return;
    char *path = text_format("%s/%s.eml", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(content->data, 1, content->len, f), content->len);
    assert_int_equal(fclose(f), 0);
    free(path);
}

static void check(const char *name, const struct buf *out, const char *const *want, size_t wants,
                  const char *const *never, size_t nevers)
{
    for (size_t i = 0; i < wants && want[i] != NULL; i++) {
        if (strstr(buf_str(out), want[i]) == NULL)
            print_error("%s: \"%s\" is missing in\n%s", name, want[i], buf_str(out));
        assert_non_null(strstr(buf_str(out), want[i]));
    }
    for (size_t i = 0; i < nevers && never[i] != NULL; i++) {
        if (strstr(buf_str(out), never[i]) != NULL)
            print_error("%s: \"%s\" must not be in\n%s", name, never[i], buf_str(out));
        assert_null(strstr(buf_str(out), never[i]));
    }
}

/* RFC 5321 section 2.3.8 and RFC 5322 section 2.1.1, for every line. */
static void check_lines(const struct buf *out)
{
    assert_memory_equal(out->data + out->len - 2, "\r\n", 2);
    size_t line = 0;
    for (size_t i = 0; i < out->len; i++) {
        if (out->data[i] == '\n')
            assert_true(i > 0 && out->data[i - 1] == '\r');
        if (out->data[i] == '\r')
            assert_int_equal(out->data[i + 1], '\n');
        line = out->data[i] == '\n' ? 0 : line + 1;
        assert_true(line < 998);
    }
}

static struct original make_original(const char *text, size_t limit, bool full)
{
    struct original o = {0};
    size_t len = strlen(text), kept = len < limit ? len : limit;
    if (len > 0)
        original_take(text_dup_n(text, kept), kept, kept == len, full, &o);
    return o;
}

static void test_notice(void **state)
{
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct ipc_bounce_recipient list[3];
        struct ipc_bounce b = {.kind = cases[i].kind,
                               .queue_id = "1P8X2K7Q3M40A",
                               .sender = cases[i].sender,
                               .envid = "abc+2Bd",
                               .arrived_s = 1763920000,
                               .expires_s = 1764360000,
                               .recipients = list};
        while (b.recipients_count < 3 && cases[i].recipients[b.recipients_count] != NULL) {
            list[b.recipients_count] = *cases[i].recipients[b.recipients_count];
            b.recipients_count++;
        }
        struct owed owed;
        owed_find(&b, "", &owed);
        assert_int_equal(owed.count, b.recipients_count);
        struct original original = make_original(cases[i].original, cases[i].limit, cases[i].full);
        const struct notice n = {
            &b, &owed, &original, "1P8X2K7Q3M40B", "relay.example.com", "d@relay.example.com", 1763928001};
        struct buf out;
        uint32_t flags = 0;
        buf_init(&out, original.len + NOTICE_OVERHEAD_MAX);
        assert_int_equal(notice_compose(&n, &out, &flags), 0);
        check(cases[i].name, &out, cases[i].want, ARRAY_LENGTH(cases[i].want), cases[i].never,
              ARRAY_LENGTH(cases[i].never));
        check_lines(&out);
        assert_int_equal(flags, cases[i].flags | ENVELOPE_NOTICE);
        save(cases[i].name, &out);
        buf_deinit(&out);
        original_free(&original);
    }
}

/* -- who is told ----------------------------------------------------------------------------------------------------
 */

static const struct {
    uint32_t kind;
    const char *sender;
    uint32_t flags, notify;
    const char *address, *postmaster, *want; /* want NULL: nobody */
} owed_cases[] = {
    {BOUNCE_FAILED, "a@b", 0, 0, "x@y", "", "a@b"},
    {BOUNCE_FAILED, "a@b", 0, MAIL_DSN_NOTIFY_FAILURE | MAIL_DSN_NOTIFY_DELAY, "x@y", "", "a@b"},
    {BOUNCE_FAILED, "a@b", 0, MAIL_DSN_NOTIFY_NEVER, "x@y", "", NULL},
    {BOUNCE_FAILED, "a@b", 0, MAIL_DSN_NOTIFY_SUCCESS, "x@y", "", NULL},
    {BOUNCE_FAILED, "a@b", 0, MAIL_DSN_NOTIFY_NEVER, "x@y", "p@q", NULL},
    {BOUNCE_DELAYED, "a@b", 0, 0, "x@y", "", "a@b"},
    {BOUNCE_DELAYED, "a@b", 0, MAIL_DSN_NOTIFY_FAILURE, "x@y", "", NULL},
    {BOUNCE_DELAYED, "a@b", 0, MAIL_DSN_NOTIFY_DELAY, "x@y", "", "a@b"},
    {BOUNCE_DELIVERED, "a@b", 0, 0, "x@y", "", NULL},
    {BOUNCE_DELIVERED, "a@b", 0, MAIL_DSN_NOTIFY_SUCCESS, "x@y", "", "a@b"},
    {BOUNCE_FAILED, "", 0, 0, "x@y", "", NULL},
    {BOUNCE_FAILED, "", ENVELOPE_NOTICE, MAIL_DSN_NOTIFY_NEVER, "x@y", "", NULL},
    {BOUNCE_FAILED, "", ENVELOPE_NOTICE, MAIL_DSN_NOTIFY_NEVER, "x@y", "p@q", "p@q"},
    {BOUNCE_FAILED, "", ENVELOPE_NOTICE, MAIL_DSN_NOTIFY_NEVER, "P@Q", "p@q", NULL},
    {BOUNCE_FAILED, "a@b", ENVELOPE_NOTICE, 0, "x@y", "", NULL},
    {BOUNCE_DELAYED, "", 0, 0, "x@y", "p@q", NULL},
};

static void test_owed(void **state)
{
    for (size_t i = 0; i < ARRAY_LENGTH(owed_cases); i++) {
        const struct ipc_bounce_recipient r = {.address = owed_cases[i].address, .notify = owed_cases[i].notify};
        const struct ipc_bounce b = {.kind = owed_cases[i].kind,
                                     .sender = owed_cases[i].sender,
                                     .flags = owed_cases[i].flags,
                                     .recipients = &r,
                                     .recipients_count = 1};
        struct owed owed;
        owed_find(&b, owed_cases[i].postmaster, &owed);
        if (owed_cases[i].want == NULL)
            assert_null(owed.to);
        else
            assert_string_equal(owed.to, owed_cases[i].want);
    }
}

/* -- the original ---------------------------------------------------------------------------------------------------
 */

static const struct {
    const char *text;
    size_t limit;
    bool full;
    const char *want;
    bool whole;
} original_cases[] = {
    {"A: b\r\n\r\nc\r\n", 100, true, "A: b\r\n\r\nc\r\n", true},
    {"A: b\r\n\r\nc\r\n", 100, false, "A: b\r\n", false},
    {"A: b\r\n\r\nc\r\n", 9, true, "A: b\r\n", false},
    {"A: b\r\n", 100, true, "A: b\r\n", true},
    {"A: b\r\n", 100, false, "A: b\r\n", false},
    {"\r\nbody\r\n", 100, false, "", false},
    {"A: b\r\nB: c\r\n d\r\nE: f\r\n\r\n", 10, false, "A: b\r\n", false},
    {"A: b\r\nB: c\r\n d\r\nE: f\r\n\r\n", 14, false, "A: b\r\n", false},
    {"A: b\r\nB: c\r\n d\r\nE: f\r\n\r\n", 18, false, "A: b\r\nB: c\r\n d\r\n", false},
    {"A: bbbbbbbbbbbbbbbbbbbbbbb\r\n\r\n", 5, false, "", false},
};

static void test_original(void **state)
{
    for (size_t i = 0; i < ARRAY_LENGTH(original_cases); i++) {
        struct original o = make_original(original_cases[i].text, original_cases[i].limit, original_cases[i].full);
        assert_int_equal(o.len, strlen(original_cases[i].want));
        assert_memory_equal(o.data, original_cases[i].want, o.len);
        assert_int_equal(o.whole, original_cases[i].whole);
        original_free(&o);
    }
}

static void test_original_read(void **state)
{
    char path[] = "/tmp/posthouse-original-XXXXXX";
    int fd = mkstemp(path);
    struct original o;
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(write(fd, "envelope\nA: b\r\n\r\nc\r\nhistory", 27), 27);
    assert_int_equal(original_read(fd, 9, 11, true, 1000, &o), 0);
    assert_int_equal(o.len, 11);
    assert_memory_equal(o.data, "A: b\r\n\r\nc\r\n", 11);
    original_free(&o);
    assert_true(original_read(fd, 9, 100, true, 1000, &o) < 0);
    close(fd);
}

static void test_fingerprint(void **state)
{
    struct ipc_bounce_recipient list[2] = {bob, late};
    struct ipc_bounce b = {.queue_id = "1P8X2K7Q3M40A", .recipients = list, .recipients_count = 2};
    uint64_t both = notice_fingerprint(&b);
    assert_true(both == notice_fingerprint(&b));
    b.recipients_count = 1;
    assert_true(both != notice_fingerprint(&b));
    b.recipients_count = 2;
    b.kind = BOUNCE_DELAYED;
    assert_true(both != notice_fingerprint(&b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_notice),        cmocka_unit_test(test_owed),        cmocka_unit_test(test_original),
        cmocka_unit_test(test_original_read), cmocka_unit_test(test_fingerprint),
    };
    setenv("TZ", "UTC", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
