/* Queue ids sort by time, never repeat, and name their folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/text.h"
#include "queue/id.h"

static void rise_within_one_microsecond(void **state)
{
    char before[QUEUE_ID_SIZE] = "", id[QUEUE_ID_SIZE];
    unsigned folders = 0;
    const int64_t now_us = INT64_C(1763928000000000);
    clock_fake_set(0, now_us);
    for (int i = 0; i < 10000; i++) {
        if (i == 5000)
            clock_fake_set(0, now_us - 3600000000); /* a clock that steps back */
        queue_id_new(7, id);
        assert_int_equal(strlen(id), QUEUE_ID_LEN);
        assert_true(queue_id_valid(id));
        assert_true(strcmp(before, id) < 0);
        /* 32 of each 256 microseconds are ours */
        assert_int_equal(queue_id_time_us(id), now_us + i / 32 * 256 + i % 32);
        memcpy(before, id, sizeof(id));
        const char *digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        folders |= 1u << (strchr(digits, queue_id_folder(id)) - digits);
    }
    assert_int_equal(folders, UINT32_MAX); /* all 32 of them */
}

/* Two processes of one writer, and neither waits for the other. */
static void shares_never_meet(void **state)
{
    char a[QUEUE_ID_SIZE], b[QUEUE_ID_SIZE];
    int64_t now_us = INT64_C(1900000000000000);
    for (int i = 0; i < 1000; i++, now_us += i % 300) {
        clock_fake_set(0, now_us);
        queue_id_set_share(3);
        queue_id_new(7, a);
        queue_id_set_share(QUEUE_ID_SHARES - 1);
        queue_id_new(7, b);
        assert_int_equal(queue_id_time_us(a) / 32 % QUEUE_ID_SHARES, 3);
        assert_int_equal(queue_id_time_us(b) / 32 % QUEUE_ID_SHARES, QUEUE_ID_SHARES - 1);
    }
    queue_id_set_share(0);
}

static void writers_differ(void **state)
{
    static const unsigned writers[] = {0, 1, 31, 32, 63, QUEUE_WRITER_BOUNCE, QUEUE_WRITER_MAX};
    static const char *const ends[] = {"00", "01", "0Z", "10", "1Z", "Z8", "ZZ"};
    for (size_t i = 0; i < ARRAY_LENGTH(writers); i++) {
        char id[QUEUE_ID_SIZE];
        queue_id_new(writers[i], id);
        assert_string_equal(id + QUEUE_ID_LEN - 2, ends[i]);
    }
}

static void sort_across_years(void **state)
{
    char a[QUEUE_ID_SIZE], b[QUEUE_ID_SIZE];
    clock_fake_set(0, INT64_C(1800000000000000));
    queue_id_new(1023, a);
    clock_fake_set(0, INT64_C(33000000000000000)); /* in the year 3015 */
    queue_id_new(0, b);
    assert_true(strcmp(a, b) < 0);
    assert_int_equal(queue_id_time_us(b), INT64_C(33000000000000000));
}

static void validity(void **state)
{
    static const struct {
        const char *text;
        bool want;
    } cases[] = {
        {"1P8X2K7Q3M40A", true},  {"0000000000000", true},   {"ZZZZZZZZZZZZZ", true},  {"", false},
        {"1P8X2K7Q3M40", false},  {"1P8X2K7Q3M40AA", false}, {"1P8X2K7Q3M40a", false}, {"1P8X2K7Q3M40I", false},
        {"1P8X2K7Q3M40L", false}, {"1P8X2K7Q3M40O", false},  {"1P8X2K7Q3M40U", false}, {"../../../../x", false},
        {"1P8X2K7Q3M4 A", false}, {"1P8X2K7Q3M4\nA", false},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        assert_int_equal(queue_id_valid(cases[i].text), cases[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rise_within_one_microsecond),
        cmocka_unit_test(shares_never_meet),
        cmocka_unit_test(writers_differ),
        cmocka_unit_test(sort_across_years),
        cmocka_unit_test(validity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
