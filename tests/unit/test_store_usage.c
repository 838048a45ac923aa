/* Quotas over sliding periods and two processes, and credentials frozen for what bounced. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "store/usage.h"

#define START_S INT64_C(1800000000) /* begins an hour, not a day */

static char path[64];
static struct usage *one, *other; /* as two processes have it */

static void at(int64_t second)
{
    clock_fake_set(0, (START_S + second) * 1000000);
}

static int setup(void **state)
{
    snprintf(path, sizeof(path), "/tmp/posthouse-usage-XXXXXX");
    int fd = mkstemp(path);
    close(fd);
    at(0);
    return usage_open(path, &one) == 0 && usage_open(path, &other) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    usage_close(one);
    usage_close(other);
    return unlink(path);
}

static int64_t frozen_since_s(struct usage *u, const char *credential)
{
    struct usage_standing standing;
    usage_standing(u, credential, &standing);
    return standing.frozen_s;
}

static void a_change_voids_sessions(void **state)
{
    struct usage_standing standing;
    usage_standing(one, "joe", &standing);
    assert_int_equal(standing.void_us, 0);
    at(7);
    assert_int_equal(usage_void_sessions(other, "Joe"), 0);
    usage_standing(one, "joe", &standing);
    assert_int_equal(standing.void_us, (START_S + 7) * 1000000);
    assert_int_equal(standing.frozen_s, 0);
}

static void messages_of_a_minute(void **state)
{
    const struct usage_quota quota = {.messages = {3, 0, 0}};
    struct usage_excess excess;
    assert_int_equal(usage_take(one, USAGE_CREDENTIAL, "joe", &quota, 5, &excess), 0);
    assert_int_equal(usage_take(other, USAGE_CREDENTIAL, "Joe", &quota, 5, &excess), 0);
    assert_int_equal(usage_take(one, USAGE_CREDENTIAL, "joe", &quota, 5, &excess), 0);
    assert_int_equal(usage_take(other, USAGE_CREDENTIAL, "joe", &quota, 5, &excess), 1);
    assert_int_equal(excess.period, USAGE_MINUTE);
    assert_int_equal(excess.limit, 3);
    assert_false(excess.recipients);
    assert_int_equal(usage_room(one, USAGE_CREDENTIAL, "joe", &quota, 1, &excess), 0);
    /* Others are others. */
    assert_int_equal(usage_take(one, USAGE_CREDENTIAL, "jo", &quota, 5, &excess), 0);
    assert_int_equal(usage_take(one, USAGE_TENANT, "joe", &quota, 5, &excess), 0);
    /* In the next minute the last one counts for what is left of it. */
    at(60);
    assert_int_equal(usage_take(one, USAGE_CREDENTIAL, "joe", &quota, 1, &excess), 1);
    assert_int_equal(excess.wait_s, 20);
    at(60 + excess.wait_s);
    assert_int_equal(usage_take(one, USAGE_CREDENTIAL, "joe", &quota, 1, &excess), 0);
    assert_int_equal(usage_take(one, USAGE_CREDENTIAL, "joe", &quota, 1, &excess), 1);
    at(180);
    for (int i = 0; i < 3; i++)
        assert_int_equal(usage_take(one, USAGE_CREDENTIAL, "joe", &quota, 1, &excess), 0);
}

static void recipients_of_all_periods(void **state)
{
    const struct usage_quota quota = {.recipients = {10, 15, 20}};
    struct usage_excess excess = {0};
    assert_int_equal(usage_room(one, USAGE_TENANT, "acme", &quota, 1, &excess), 10);
    assert_int_equal(usage_take(one, USAGE_TENANT, "acme", &quota, 11, &excess), 1);
    assert_int_equal(usage_take(one, USAGE_TENANT, "acme", &quota, 10, &excess), 0);
    assert_int_equal(usage_room(one, USAGE_TENANT, "acme", &quota, 1, &excess), 0);
    assert_int_equal(excess.period, USAGE_MINUTE);
    assert_true(excess.recipients);
    at(120);
    assert_int_equal(usage_room(one, USAGE_TENANT, "acme", &quota, 1, &excess), 5);
    assert_int_equal(usage_take(one, USAGE_TENANT, "acme", &quota, 6, &excess), 1);
    assert_int_equal(excess.period, USAGE_HOUR);
    assert_int_equal(usage_take(one, USAGE_TENANT, "acme", &quota, 5, &excess), 0);
    at(7200);
    assert_int_equal(usage_take(one, USAGE_TENANT, "acme", &quota, 6, &excess), 1);
    assert_int_equal(excess.period, USAGE_DAY);
    assert_int_equal(usage_take(one, USAGE_TENANT, "acme", &quota, 5, &excess), 0);
    struct usage_counts counts;
    assert_int_equal(usage_read(other, USAGE_TENANT, "acme", &counts), 0);
    assert_int_equal(counts.messages[USAGE_DAY], 3);
    assert_int_equal(counts.recipients[USAGE_DAY], 20);
    assert_int_equal(counts.recipients[USAGE_MINUTE], 5);
    assert_int_equal(usage_read(other, USAGE_CLIENT, "acme", &counts), -ENOENT);
    usage_give_back(other, USAGE_TENANT, "acme", 5);
    assert_int_equal(usage_room(one, USAGE_TENANT, "acme", &quota, 1, &excess), 5);
    at(3 * 86400);
    assert_int_equal(usage_room(one, USAGE_TENANT, "acme", &quota, 1, &excess), 10);
}

static void it_outlives_processes(void **state)
{
    const struct usage_quota quota = {.messages = {0, 0, 1}};
    struct usage_excess excess;
    assert_int_equal(usage_take(one, USAGE_CLIENT, "192.0.2.1", &quota, 1, &excess), 0);
    usage_close(one);
    usage_close(other);
    assert_int_equal(usage_open(path, &one), 0);
    assert_int_equal(usage_open(path, &other), 0);
    assert_int_equal(usage_take(one, USAGE_CLIENT, "192.0.2.1", &quota, 1, &excess), 1);
}

static void bounces_freeze(void **state)
{
    const struct usage_quota none = {0};
    const struct usage_freeze rule = {.percent = 20, .bounces = 10}, off = {.percent = 0, .bounces = 1};
    struct usage_excess excess;
    uint32_t bounced, all;
    assert_int_equal(usage_take(one, USAGE_CREDENTIAL, "list", &none, 100, &excess), 0);
    assert_int_equal(usage_bounced(other, "list", 19, &rule, &bounced, &all), 0);
    assert_int_equal(usage_bounced(other, "list", 1, &off, &bounced, &all), 0);
    assert_int_equal(frozen_since_s(one, "list"), 0);
    assert_int_equal(usage_bounced(other, "List", 1, &rule, &bounced, &all), 1);
    assert_int_equal(bounced, 21);
    assert_int_equal(all, 100);
    assert_int_equal(frozen_since_s(one, "LIST"), START_S);
    /* It stays so, and is told once. */
    assert_int_equal(usage_bounced(other, "list", 1, &rule, &bounced, &all), 0);
    at(5 * 86400);
    assert_int_equal(frozen_since_s(one, "list"), START_S);
    assert_int_equal(usage_thaw(one, "list"), 0);
    assert_int_equal(usage_thaw(one, "list"), -ENOENT);
    assert_int_equal(frozen_since_s(other, "list"), 0);
    /* Few bounces are an accident, whatever their share. */
    assert_int_equal(usage_take(one, USAGE_CREDENTIAL, "small", &none, 2, &excess), 0);
    assert_int_equal(usage_bounced(other, "small", 2, &rule, &bounced, &all), 0);
    assert_int_equal(frozen_since_s(one, "small"), 0);
}

/* Many more than there is room for: the frozen one is still known, and no name takes another's place. */
static void the_table_is_bounded(void **state)
{
    const struct usage_quota quota = {.messages = {1, 0, 0}};
    const struct usage_freeze rule = {.percent = 1, .bounces = 1};
    struct usage_excess excess;
    uint32_t bounced, all;
    char name[32];
    assert_int_equal(usage_bounced(one, "frozen", 1, &rule, &bounced, &all), 1);
    for (int i = 0; i < 100000; i++) {
        snprintf(name, sizeof(name), "client-%d", i);
        assert_int_equal(usage_take(one, USAGE_CLIENT, name, &quota, 1, &excess), 0);
        assert_int_equal(usage_take(one, USAGE_CLIENT, name, &quota, 1, &excess), 1);
    }
    assert_int_equal(frozen_since_s(one, "frozen"), START_S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(messages_of_a_minute, setup, teardown),
        cmocka_unit_test_setup_teardown(recipients_of_all_periods, setup, teardown),
        cmocka_unit_test_setup_teardown(it_outlives_processes, setup, teardown),
        cmocka_unit_test_setup_teardown(bounces_freeze, setup, teardown),
        cmocka_unit_test_setup_teardown(a_change_voids_sessions, setup, teardown),
        cmocka_unit_test_setup_teardown(the_table_is_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
