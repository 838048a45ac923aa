/* What programs and people read from the admin command, and what it reads from the log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/text.h"
#include "ctl/event.h"
#include "ctl/listing.h"

static void json_strings_are_escaped(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"line\r\n\t\x1b\x7f", "\"line\\u000d\\u000a\\u0009\\u001b\\u007f\""},
        {"gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\x8e", "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\x8e\""},
        {"latin \xfc end", "\"latin \\ufffd end\""},
        {"cut \xe2\x82", "\"cut \\ufffd\\ufffd\""},
        {"overlong \xc0\xaf", "\"overlong \\ufffd\\ufffd\""},
        {"surrogate \xed\xa0\x80", "\"surrogate \\ufffd\\ufffd\\ufffd\""},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct buf out;
        struct json j = {.out = &out};
        buf_init(&out, 1024);
        json_string(&j, NULL, cases[i].text);
        assert_string_equal(buf_str(&out), cases[i].want);
        buf_deinit(&out);
    }
}

static void json_nests(void **state)
{
    struct buf out;
    struct json j = {.out = &out};
    buf_init(&out, 1024);
    json_begin_object(&j, NULL);
    json_begin_array(&j, "empty");
    json_end_array(&j);
    json_begin_array(&j, "rows");
    json_begin_object(&j, NULL);
    json_number(&j, "n", -5);
    json_bool(&j, "b", true);
    json_end_object(&j);
    json_string(&j, NULL, "x");
    json_end_array(&j);
    json_time(&j, "t", 1763929568);
    json_time(&j, "never", 0);
    json_end_object(&j);
    assert_string_equal(buf_str(&out), "{\"empty\":[],\"rows\":[{\"n\":-5,\"b\":true},\"x\"],"
                                       "\"t\":\"2025-11-23T20:26:08Z\",\"never\":null}");
    buf_deinit(&out);
}

static const struct listing_column columns[] = {
    {"name", "NAME", 6}, {"n", "COUNT", 5}, {"secret", NULL, 0}, {"live", "LIVE", 0}, {NULL, NULL, 0}};

static void list(bool as_json, bool rows, const char *want)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    struct listing l;
    listing_begin(&l, to, as_json, columns);
    for (int i = 0; rows && i < 2; i++) {
        listing_text(&l, i == 0 ? "b\xc3\xbc\x1b" : "");
        listing_number(&l, i);
        listing_text(&l, "hidden");
        listing_bool(&l, i == 0);
    }
    listing_end(&l);
    fclose(to);
    assert_string_equal(text, want);
    free(text);
}

static void listings_are_tables_or_json(void **state)
{
    list(false, true, "NAME    COUNT  LIVE\nb\xc3\xbc\\x1b  0      yes\n-       1      no\n");
    list(false, false, "NAME    COUNT  LIVE\n");
    list(true, false, "[]\n");
    list(true, true,
         "[\n{\"name\":\"b\xc3\xbc\\u001b\",\"n\":0,\"secret\":\"hidden\",\"live\":true},\n"
         "{\"name\":\"\",\"n\":1,\"secret\":\"hidden\",\"live\":false}\n]\n");
}

static void times_of_the_log_are_read(void **state)
{
    static const struct {
        const char *time;
        int64_t want;
    } cases[] = {
        {"2026-11-23T20:46:08.123+00:00", 1795466768123000},
        {"2026-11-23T22:16:08.123+01:30", 1795466768123000},
        {"2026-11-23T19:46:08-0100", 1795466768000000},
        {"2026-11-23T20:46:08Z", 1795466768000000},
        {"2026-11-23T20:46:08", 1795466768000000},
        {"yesterday", 0},
        {"", 0},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        const struct event e = {.time = cases[i].time};
        assert_int_equal(event_time_us(&e), cases[i].want);
    }
    const struct event old = {.time = "Nov  3 20:46:08"};
    int64_t ago_s = clock_wall_s() - event_time_us(&old) / 1000000;
    assert_true(ago_s > -2 * 86400 && ago_s < 367 * 86400);
}

#define ID "1P8X2K7Q3M40A"

static void events_are_found_in_the_log(void **state)
{
    static const struct {
        const char *line;
        const char *time; /* NULL: not about this message */
        const char *program;
        int pid;
        const char *text;
    } cases[] = {
        {"2026-11-23T20:46:08.123+00:00 posthouse/smtpd[77]: " ID ": accepted: from=<a@b>\n",
         "2026-11-23T20:46:08.123+00:00", "smtpd", 77, "accepted: from=<a@b>"},
        {"Nov  3 20:46:08 host posthouse/qmgr[5]: " ID ": removed\n", "Nov  3 20:46:08", "qmgr", 5, "removed"},
        {"2026-11-23T20:46:08+0000 host posthouse/qmgr[5]: " ID ": removed", "2026-11-23T20:46:08+0000", "qmgr", 5,
         "removed"},
        {"2026-11-23T20:46:08.123+00:00 posthouse/bounce[7]: 1P8X2K7Q3M40B: notice of " ID "\n",
         "2026-11-23T20:46:08.123+00:00", "bounce", 7, "1P8X2K7Q3M40B: notice of " ID},
        {"2026-11-23T20:46:08.123+00:00 posthouse/smtpd[77]: X" ID ": accepted\n", NULL, NULL, 0, NULL},
        {"2026-11-23T20:46:08.123+00:00 posthouse/smtpd[77]: 1P8X2K7Q3M40B: accepted\n", NULL, NULL, 0, NULL},
        {"2026-11-23T20:46:08.123+00:00 other[77]: " ID ": accepted\n", NULL, NULL, 0, NULL},
        {"posthouse/smtpd[77]: " ID "\n", NULL, NULL, 0, NULL},
        {"", NULL, NULL, 0, NULL},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char *line = strdup(cases[i].line);
        struct event e;
        bool got = event_parse(line, ID, &e);
        assert_int_equal(got, cases[i].time != NULL);
        if (got) {
            assert_string_equal(e.time, cases[i].time);
            assert_string_equal(e.program, cases[i].program);
            assert_int_equal(e.pid, cases[i].pid);
            assert_string_equal(e.text, cases[i].text);
        }
        free(line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_strings_are_escaped),    cmocka_unit_test(json_nests),
        cmocka_unit_test(listings_are_tables_or_json), cmocka_unit_test(times_of_the_log_are_read),
        cmocka_unit_test(events_are_found_in_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
