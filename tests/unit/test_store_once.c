/* Keys of submissions: each counts once a day for its owner, over all processes. */
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
#include "store/once.h"

static char path[64];
static struct once *one, *other; /* as two processes have it */

static int setup(void **state)
{
    snprintf(path, sizeof(path), "/tmp/posthouse-once-XXXXXX");
    int fd = mkstemp(path);
    close(fd);
    clock_fake_set(0, INT64_C(1800000000000000));
    return once_open(path, &one) == 0 && once_open(path, &other) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    once_close(one);
    once_close(other);
    return unlink(path);
}

static void each_key_once(void **state)
{
    struct once_claim claim, again;
    char id[ONCE_ID_SIZE] = "";
    assert_int_equal(once_claim(one, "shop", "order-1", &claim, id), ONCE_CLAIMED);
    assert_int_equal(once_claim(other, "shop", "order-1", &again, id), ONCE_PENDING);
    assert_int_equal(once_claim(other, "another", "order-1", &again, id), ONCE_CLAIMED);
    assert_int_equal(once_claim(other, "sho", "porder-1", &again, id), ONCE_CLAIMED);
    once_finish(one, &claim, "1K14DTHYW0001");
    assert_int_equal(once_claim(other, "shop", "order-1", &again, id), ONCE_TAKEN);
    assert_string_equal(id, "1K14DTHYW0001");
    /* It outlives the processes. */
    once_close(one);
    assert_int_equal(once_open(path, &one), 0);
    assert_int_equal(once_claim(one, "shop", "order-1", &again, id), ONCE_TAKEN);
    assert_string_equal(id, "1K14DTHYW0001");
}

static void a_claim_is_given_back(void **state)
{
    struct once_claim claim, again;
    char id[ONCE_ID_SIZE];
    assert_int_equal(once_claim(one, "", "k", &claim, id), ONCE_CLAIMED);
    once_give_back(one, &claim);
    assert_int_equal(once_claim(other, "", "k", &again, id), ONCE_CLAIMED);
    /* What is finished is not given back. */
    once_finish(other, &again, "1K14DTHYW0002");
    once_give_back(one, &claim);
    assert_int_equal(once_claim(one, "", "k", &claim, id), ONCE_TAKEN);
}

static void time_passes(void **state)
{
    struct once_claim claim;
    char id[ONCE_ID_SIZE];
    assert_int_equal(once_claim(one, "o", "killed", &claim, id), ONCE_CLAIMED);
    clock_fake_advance_ms(ONCE_PENDING_S * UINT64_C(1000) - 1);
    assert_int_equal(once_claim(one, "o", "killed", &claim, id), ONCE_PENDING);
    clock_fake_advance_ms(1);
    assert_int_equal(once_claim(one, "o", "killed", &claim, id), ONCE_CLAIMED);
    once_finish(one, &claim, "1K14DTHYW0003");
    clock_fake_advance_ms((ONCE_KEEP_S - 1) * UINT64_C(1000));
    assert_int_equal(once_claim(one, "o", "killed", &claim, id), ONCE_TAKEN);
    clock_fake_advance_ms(1000);
    assert_int_equal(once_claim(one, "o", "killed", &claim, id), ONCE_CLAIMED);
}

/* A full table forgets old ones, and never takes one key for another. */
static void many(void **state)
{
    enum { COUNT = 20000 };
    struct once_claim claim;
    char id[ONCE_ID_SIZE], key[32];
    int kept = 0;
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof(key), "key-%d", i);
        assert_int_equal(once_claim(one, "o", key, &claim, id), ONCE_CLAIMED);
        once_finish(one, &claim, key);
    }
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof(key), "key-%d", i);
        int r = once_claim(one, "o", key, &claim, id);
        if (r == ONCE_TAKEN)
            assert_string_equal(id, key);
        kept += r == ONCE_TAKEN;
    }
    assert_in_range(kept, COUNT * 99 / 100, COUNT);
}

static void a_file_of_garbage(void **state)
{
    struct once *fresh;
    struct once_claim claim;
    char id[ONCE_ID_SIZE];
    assert_int_equal(truncate(path, 1000), 0);
    assert_int_equal(once_open(path, &fresh), 0);
    assert_int_equal(once_claim(fresh, "o", "k", &claim, id), ONCE_CLAIMED);
    once_close(fresh);
    assert_int_equal(once_open("/nonexistent/once", &fresh), -2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_key_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_claim_is_given_back, setup, teardown),
        cmocka_unit_test_setup_teardown(time_passes, setup, teardown),
        cmocka_unit_test_setup_teardown(many, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_of_garbage, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
