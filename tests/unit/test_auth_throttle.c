#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/text.h"
#include "smtpd/auth/throttle.h"
#include "smtpd/auth/verdict.h"

static const struct throttle_limits limits = {
    .free_failures = 2, .delay_ms = 1000, .delay_max_ms = 5000, .forget_ms = 600000, .failures_per_minute = 6};
static char path[64];

static struct throttle *again(void)
{
    struct throttle *t = NULL;
    assert_int_equal(throttle_open(path, &limits, &t), 0);
    return t;
}

static struct throttle *fresh(void)
{
    clock_fake_set(1000000, 1000000000000);
    unlink(path);
    return again();
}

static void delays_double_up_to_the_longest(void **state)
{
    static const uint64_t want[] = {0, 0, 1000, 2000, 4000, 5000, 5000};
    struct throttle *t = fresh();
    for (size_t i = 0; i < ARRAY_LENGTH(want); i++)
        assert_int_equal(throttle_failed(t, "192.0.2.1", ""), want[i]);
    for (int i = 0; i < 100; i++)
        throttle_failed(t, "192.0.2.1", "");
    assert_int_equal(throttle_failed(t, "192.0.2.1", ""), 5000);
    clock_fake_advance_ms(limits.forget_ms);
    assert_int_equal(throttle_failed(t, "192.0.2.1", ""), 0);
    throttle_close(t);
}

static void counts_accounts_from_everywhere(void **state)
{
    struct throttle *t = fresh();
    assert_int_equal(throttle_failed(t, "192.0.2.1", "App@x.test"), 0);
    assert_int_equal(throttle_failed(t, "192.0.2.2", "app@X.test"), 0);
    assert_int_equal(throttle_failed(t, "192.0.2.3", "APP@x.test"), 1000);
    assert_int_equal(throttle_failed(t, "192.0.2.4", "other"), 0);
    throttle_succeeded(t, "app@x.test");
    assert_int_equal(throttle_failed(t, "192.0.2.5", "app@x.test"), 0);
    throttle_close(t);
}

static void an_ipv6_client_is_its_64(void **state)
{
    struct throttle *t = fresh();
    throttle_failed(t, "2001:db8::1", "");
    throttle_failed(t, "2001:db8::ffff:2", "");
    assert_int_equal(throttle_failed(t, "2001:db8:0:0:5::", ""), 1000);
    assert_int_equal(throttle_failed(t, "2001:db8:0:1::1", ""), 0);
    throttle_close(t);
}

static void admits_so_many_failures_a_minute(void **state)
{
    struct throttle *t = fresh();
    for (unsigned i = 0; i < limits.failures_per_minute; i++) {
        assert_true(throttle_admits(t, "192.0.2.1"));
        throttle_failed(t, "192.0.2.1", "");
    }
    assert_false(throttle_admits(t, "192.0.2.1"));
    assert_true(throttle_admits(t, "192.0.2.2"));
    clock_fake_advance_ms(60000);
    assert_true(throttle_admits(t, "192.0.2.1"));
    throttle_close(t);
}

/* Whoever failed longest ago makes room some time, and the last one is there still. */
static void remembers_a_bounded_number(void **state)
{
    struct throttle *t = fresh();
    char account[32];
    int n = 0;
    for (unsigned i = 0; i < limits.failures_per_minute; i++)
        throttle_failed(t, "192.0.2.1", "");
    while (!throttle_admits(t, "192.0.2.1") && n < 3000000) {
        clock_fake_advance_ms(n % 100 == 0);
        snprintf(account, sizeof(account), "%d", n++);
        throttle_failed(t, "192.0.2.2", account);
    }
    assert_in_range(n, 4, 2999999);
    assert_true(clock_mono_ms() < 1000000 + 60000);
    assert_int_equal(throttle_failed(t, "192.0.2.3", account), 0);
    assert_int_equal(throttle_failed(t, "192.0.2.4", account), 1000);
    throttle_close(t);
}

static void all_processes_count_together(void **state)
{
    struct throttle *one = fresh(), *two = again();
    assert_int_equal(throttle_failed(one, "192.0.2.1", "app"), 0);
    assert_int_equal(throttle_failed(two, "192.0.2.1", "app"), 0);
    assert_int_equal(throttle_failed(one, "192.0.2.2", "app"), 1000);
    throttle_close(one);
    one = again(); /* a reload */
    assert_int_equal(throttle_failed(one, "192.0.2.3", "app"), 2000);
    throttle_succeeded(two, "app");
    assert_int_equal(throttle_failed(one, "192.0.2.4", "app"), 0);
    throttle_close(one);
    throttle_close(two);
}

static void a_machine_that_started_anew_has_forgotten(void **state)
{
    struct throttle *t = fresh();
    for (unsigned i = 0; i < limits.failures_per_minute; i++)
        throttle_failed(t, "192.0.2.1", "");
    clock_fake_set(5000, 1000000000000);
    assert_true(throttle_admits(t, "192.0.2.1"));
    assert_int_equal(throttle_failed(t, "192.0.2.1", ""), 0);
    throttle_close(t);
}

static void a_file_that_can_not_be_is_told(void **state)
{
    struct throttle *t = NULL;
    assert_int_equal(throttle_open("/nonexistent/failed-logins", &limits, &t), -ENOENT);
}

static int make_path(void **state)
{
    static char folder[] = "/tmp/posthouse-test-XXXXXX";
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/failed-logins", folder);
    *state = folder;
    return 0;
}

static int remove_path(void **state)
{
    unlink(path);
    return rmdir(*state);
}

static void verdicts_are_of_one_password_verifier_and_time(void **state)
{
    clock_fake_set(1000000, 1000000000000);
    struct verdict_cache *c = verdict_cache_new(60000, 2);
    struct credential a = {.name = "a"}, b = {.name = "b"}, d = {.name = "d"};
    assert_int_equal(scram_derive("x", 1, SCRAM_ITERATIONS_MIN, &a.verifier), 0);
    verdict_remember(c, &a, "x", 1);
    assert_true(verdict_known(c, &a, "x", 1));
    assert_false(verdict_known(c, &a, "y", 1));
    assert_false(verdict_known(c, &b, "x", 1));
    struct credential changed = a;
    assert_int_equal(scram_derive("x", 1, SCRAM_ITERATIONS_MIN, &changed.verifier), 0);
    assert_false(verdict_known(c, &changed, "x", 1));
    verdict_remember(c, &b, "x", 1);
    verdict_remember(c, &d, "x", 1); /* the oldest makes room */
    assert_false(verdict_known(c, &a, "x", 1));
    assert_true(verdict_known(c, &b, "x", 1));
    clock_fake_advance_ms(60000);
    assert_false(verdict_known(c, &b, "x", 1));
    verdict_cache_free(c);

    c = verdict_cache_new(0, 10);
    verdict_remember(c, &a, "x", 1);
    assert_false(verdict_known(c, &a, "x", 1));
    verdict_cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delays_double_up_to_the_longest),
        cmocka_unit_test(counts_accounts_from_everywhere),
        cmocka_unit_test(an_ipv6_client_is_its_64),
        cmocka_unit_test(admits_so_many_failures_a_minute),
        cmocka_unit_test(remembers_a_bounded_number),
        cmocka_unit_test(all_processes_count_together),
        cmocka_unit_test(a_machine_that_started_anew_has_forgotten),
        cmocka_unit_test(a_file_that_can_not_be_is_told),
        cmocka_unit_test(verdicts_are_of_one_password_verifier_and_time),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
