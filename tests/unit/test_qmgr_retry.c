#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/text.h"
#include "qmgr/retry.h"

static void waits_double_up_to_the_maximum(void **state)
{
    static const struct {
        unsigned attempt;
        int64_t min, max, longest;
    } cases[] = {
        {1, 300000, 14400000, 300000},  {2, 300000, 14400000, 600000},   {3, 300000, 14400000, 1200000},
        {6, 300000, 14400000, 9600000}, {7, 300000, 14400000, 14400000}, {99, 300000, 14400000, 14400000},
        {0, 300000, 14400000, 300000},  {5, 1000, 1000, 1000},           {4000000000u, 1, INT64_MAX, INT64_MAX},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        assert_int_equal(retry_wait_ms(cases[i].attempt, cases[i].min, cases[i].max, 0), cases[i].longest);
        for (uint64_t random = 1; random < 1000000007; random = random * 31 + 7) {
            int64_t wait = retry_wait_ms(cases[i].attempt, cases[i].min, cases[i].max, random);
            assert_true(wait <= cases[i].longest);
            assert_true(wait >= cases[i].longest - cases[i].longest / 4 && wait >= cases[i].min);
        }
    }
}

static void jitter_spreads_what_failed_together(void **state)
{
    assert_int_not_equal(retry_wait_ms(3, 1000, 100000, 1), retry_wait_ms(3, 1000, 100000, 2));
}

static void due_never_passes_the_end_of_the_lifetime(void **state)
{
    static const struct {
        int64_t now, wait_ms, expires, want;
    } cases[] = {
        {1000000, 5000, 9999, 1005}, {1000000, 5001, 9999, 1006},
        {1000900, 5000, 9999, 1006},                             /* never sooner than the wait */
        {1000000, 5000, 1003, 1003}, {1000000, 5000, 900, 1005}, /* over already: the next round finds that out */
        {1000000, 0, 2000, 1000},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        assert_int_equal(retry_due_s(cases[i].now, cases[i].wait_ms, cases[i].expires), cases[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_double_up_to_the_maximum),
        cmocka_unit_test(jitter_spreads_what_failed_together),
        cmocka_unit_test(due_never_passes_the_end_of_the_lifetime),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
