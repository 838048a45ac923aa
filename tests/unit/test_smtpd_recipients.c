/* Recipients of a transaction: each once, in order, and packed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "smtpd/recipients.h"

static void each_once_in_order(void **state)
{
    static const struct {
        const char *address, *orcpt;
        uint32_t notify;
        int want;
    } cases[] = {
        {"a@example.com", "", 0, 0},
        {"b@example.com", "rfc822;b", 6, 0},
        {"a@example.com", "rfc822;z", 1, 1},
        {"A@example.com", "", 0, 0},
        {"", "", 0, 0},
        {"", "", 0, 1},
        {"\"a b\"@example.com", "", 8, 0},
        {"b@example.com", "", 0, 1},
    };
    struct recipients r = {0};
    size_t n = 0;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(recipients_add(&r, cases[i].address, cases[i].orcpt, cases[i].notify), cases[i].want);
        if (cases[i].want != 0)
            continue;
        assert_string_equal(recipients_address(&r, n), cases[i].address);
        assert_string_equal(recipients_orcpt(&r, n), cases[i].orcpt);
        assert_int_equal(recipients_notify(&r, n), cases[i].notify);
        n++;
    }
    assert_int_equal(r.count, n);
    recipients_deinit(&r);
    assert_int_equal(r.count, 0);
    recipients_deinit(&r);
}

static void fifty_thousand(void **state)
{
    enum { COUNT = 50000 };
    struct recipients r = {0};
    char address[64];
    for (int twice = 0; twice < 2; twice++) {
        for (int i = 0; i < COUNT; i++) {
            snprintf(address, sizeof(address), "user%d@domain%d.example", i, i % 97);
            assert_int_equal(recipients_add(&r, address, "", (uint32_t)i % 16), twice);
        }
    }
    for (int i = 0; i < COUNT; i++) {
        snprintf(address, sizeof(address), "user%d@domain%d.example", i, i % 97);
        assert_string_equal(recipients_address(&r, (size_t)i), address);
        assert_int_equal(recipients_notify(&r, (size_t)i), i % 16);
    }
    assert_int_equal(r.count, COUNT);
    assert_true(r.texts.capacity + r.capacity * 8 + r.slots * 4 < 100 * COUNT);
    recipients_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_once_in_order),
        cmocka_unit_test(fifty_thousand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
