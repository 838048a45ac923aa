/* Log lines as a reader of the file sees them: nothing that came from outside forges or hides one. */
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

#include "base/clock.h"
#include "base/text.h"
#include "log/log.h"

static char path[64];

static int setup(void **state)
{
    snprintf(path, sizeof(path), "/tmp/posthouse-test-XXXXXX");
    int fd = mkstemp(path);
    return fd < 0 || close(fd) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    log_close();
    return unlink(path);
}

/* Everything in the file since the last call. */
static const char *lines(void)
{
    static char text[65536];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    assert_int_equal(truncate(path, 0), 0);
    return text;
}

/* What stands behind "posthouse/test[pid]: " in the one line. */
static const char *message(void)
{
    const char *text = lines(), *newline = strchr(text, '\n');
    char prefix[64];
    snprintf(prefix, sizeof(prefix), " posthouse/test[%d]: ", (int)getpid());
    const char *begin = strstr(text, prefix);
    assert_non_null(begin);
    assert_non_null(newline);
    assert_int_equal(newline[1], '\0');
    return begin + strlen(prefix);
}

static void escapes(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"plain", "plain\n"},
        {"", "\n"},
        {"a\r\nforged: line", "a\\x0d\\x0aforged: line\n"},
        {"tab\there\x7f", "tab\\x09here\\x7f\n"},
        {"\x1b[2J", "\\x1b[2J\n"},
        {"M\xc3\xbcnchen \xe2\x82\xac \xf0\x9f\x93\xae", "M\xc3\xbcnchen \xe2\x82\xac \xf0\x9f\x93\xae\n"},
        {"\xc2\x9b"
         "2J",
         "\\xc2\\x9b2J\n"}, /* C1 control, as UTF-8 */
        {"\x9b"
         "2J",
         "\\x9b2J\n"},                                  /* and as Latin 1 */
        {"\xc0\xaf", "\\xc0\\xaf\n"},                   /* overlong */
        {"\xed\xa0\x80", "\\xed\\xa0\\x80\n"},          /* surrogate */
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80\n"}, /* beyond Unicode */
        {"cut \xe2\x82", "cut \\xe2\\x82\n"},
        {"cut \xf0\x9f\x93", "cut \\xf0\\x9f\\x93\n"},
        {"100%s", "100%s\n"},
    };
    assert_int_equal(log_open("test", path, LOG_LEVEL_INFO), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        log_info("%s", cases[i].text);
        assert_string_equal(message(), cases[i].want);
    }
    log_message(LOG_LEVEL_INFO, "1P8X2K7Q3M40A", "removed");
    assert_string_equal(message(), "1P8X2K7Q3M40A: removed\n");
    log_message(LOG_LEVEL_WARNING, "bad\nid", "what: %d", 7);
    assert_string_equal(message(), "bad\\x0aid: warning: what: 7\n");
}

static void levels(void **state)
{
    assert_int_equal(log_open("test", path, LOG_LEVEL_WARNING), 0);
    log_debug("a");
    log_info("b");
    assert_string_equal(lines(), "");
    assert_false(log_wants(LOG_LEVEL_INFO));
    log_warning("c");
    assert_string_equal(message(), "warning: c\n");
    log_error("d");
    assert_string_equal(message(), "error: d\n");
    assert_int_equal(log_open("test", path, LOG_LEVEL_DEBUG), 0);
    log_debug("e");
    assert_string_equal(message(), "debug: e\n");
}

static void long_lines_lose_their_end(void **state)
{
    static char longest[20000];
    assert_int_equal(log_open("test", path, LOG_LEVEL_INFO), 0);
    memset(longest, 'x', sizeof(longest) - 1);
    log_info("begin %s", longest);
    const char *got = message();
    assert_true(text_has_prefix(got, "begin xxx"));
    assert_in_range(strlen(got), 3000, 5000);
    memset(longest, '\n', sizeof(longest) - 1);
    log_message(LOG_LEVEL_INFO, "ID", "begin %s", longest);
    got = message();
    assert_true(text_has_prefix(got, "ID: begin \\x0a"));
    assert_in_range(strlen(got), 3000, 5000);
}

static void delivery_line(void **state)
{
    struct log_delivery d = {.queue_id = "1P8X2K7Q3M40A",
                             .recipient = "user@example.com",
                             .tenant = "acme",
                             .site = "mx.example.com/1a2b3c4d",
                             .relay = "mx.example.com[192.0.2.1]:25",
                             .tls = "TLSv1.3/TLS_AES_256_GCM_SHA384/unverified",
                             .dkim = "s1@example.com",
                             .status = "sent",
                             .enhanced = "2.0.0",
                             .reply = "250 2.0.0 ok\r\nforged",
                             .delay_ms = 61042,
                             .attempts = 2};
    assert_int_equal(log_open("test", path, LOG_LEVEL_INFO), 0);
    log_delivery(&d);
    assert_string_equal(message(), "1P8X2K7Q3M40A: to=<user@example.com>, tenant=acme, site=mx.example.com/1a2b3c4d, "
                                   "relay=mx.example.com[192.0.2.1]:25, tls=TLSv1.3/TLS_AES_256_GCM_SHA384/unverified, "
                                   "dkim=s1@example.com, delay=61.042, attempts=2, dsn=2.0.0, status=sent (250 2.0.0 "
                                   "ok\\x0d\\x0aforged)\n");
    d.delay_ms = -1;
    d.reply = "";
    log_delivery(&d);
    assert_non_null(strstr(message(), "delay=0.000, attempts=2, dsn=2.0.0, status=sent ()\n"));
}

static void time_stamp(void **state)
{
    setenv("TZ", "UTC-5:30", 1);
    tzset();
    clock_fake_set(0, INT64_C(1763928000123456));
    assert_int_equal(log_open("test", path, LOG_LEVEL_INFO), 0);
    log_info("x");
    assert_true(text_has_prefix(lines(), "2025-11-24T01:30:00.123+05:30 posthouse/test["));
}

static void unwritable_destination(void **state)
{
    assert_true(log_open("test", "/nonexistent/folder/log", LOG_LEVEL_INFO) < 0);
    log_debug("goes to standard error, if anywhere");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(escapes, setup, teardown),
        cmocka_unit_test_setup_teardown(levels, setup, teardown),
        cmocka_unit_test_setup_teardown(long_lines_lose_their_end, setup, teardown),
        cmocka_unit_test_setup_teardown(delivery_line, setup, teardown),
        cmocka_unit_test_setup_teardown(unwritable_destination, setup, teardown),
        cmocka_unit_test_setup_teardown(time_stamp, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
