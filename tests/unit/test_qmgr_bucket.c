/* Token buckets: rate, burst, debts, by the millisecond. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/text.h"
#include "qmgr/bucket.h"

/* How many get through in so many milliseconds when each waits as long as it is told, taking `cost` tokens each. */
static void rates(void **state)
{
    static const struct {
        int64_t per_minute;
        double cost;
        uint64_t for_ms;
        int want_min, want_max;
    } cases[] = {
        {60, 1, 10000, 10, 11}, {6000, 1, 1000, 98, 102}, {60000, 1, 100, 98, 102}, {1, 1, 119000, 2, 2},
        {1, 1, 121000, 3, 3},   {600, 50, 60000, 12, 13}, {300, 0.5, 1000, 10, 12}, {600000, 1, 10, 90, 111},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct bucket b;
        uint64_t now = 1000, end = now + cases[i].for_ms;
        int passed = 0;
        bucket_init(&b, now);
        while (now < end) {
            uint64_t wait = bucket_wait_ms(&b, cases[i].per_minute, now);
            if (wait > 0) {
                now += wait;
                continue;
            }
            bucket_take(&b, cases[i].per_minute, cases[i].cost);
            passed++;
        }
        assert_in_range(passed, cases[i].want_min, cases[i].want_max);
    }
}

static void no_limit(void **state)
{
    struct bucket b;
    bucket_init(&b, 0);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(bucket_wait_ms(&b, 0, 0), 0);
        bucket_take(&b, 0, 1000);
    }
    assert_int_equal(bucket_wait_ms(&b, 60, 0), 0); /* nothing was owed */
}

static void holds_a_second_at_most(void **state)
{
    struct bucket b;
    int passed = 0;
    bucket_init(&b, 0);
    while (bucket_wait_ms(&b, 600, 3600000) == 0) {
        bucket_take(&b, 600, 1);
        passed++;
    }
    assert_int_equal(passed, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates),
        cmocka_unit_test(no_limit),
        cmocka_unit_test(holds_a_second_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
