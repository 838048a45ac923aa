/* The bounded buffer: limits, the NUL behind, and long lives of append and consume. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/text.h"

static void assert_holds(const struct buf *b, const char *want)
{
    assert_string_equal(buf_str(b), want);
    assert_int_equal(b->len, strlen(want));
    if (b->data != NULL)
        assert_int_equal(b->data[b->len], '\0');
}

static void starts_empty(void **state)
{
    struct buf b;
    buf_init(&b, 10);
    assert_holds(&b, "");
    buf_consume(&b, 0);
    buf_clear(&b);
    buf_truncate(&b, 5);
    buf_release(&b);
    assert_holds(&b, "");
    assert_int_equal(buf_append(&b, NULL, 0), 0);
    assert_holds(&b, "");
    buf_deinit(&b);
    assert_holds(&b, "");
    assert_int_equal(buf_append_str(&b, "again"), 0);
    assert_holds(&b, "again");
    buf_deinit(&b);
}

static void keeps_the_limit(void **state)
{
    static const struct {
        size_t limit;
        const char *first, *second;
        int want;
        const char *content;
    } cases[] = {
        {0, "", "", 0, ""},         {0, "", "a", -ENOBUFS, ""},
        {4, "ab", "cd", 0, "abcd"}, {4, "ab", "cde", -ENOBUFS, "ab"},
        {4, "abcd", "", 0, "abcd"}, {4, "abcd", "e", -ENOBUFS, "abcd"},
        {300, "x", "yz", 0, "xyz"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct buf b;
        buf_init(&b, cases[i].limit);
        assert_int_equal(buf_append_str(&b, cases[i].first), 0);
        assert_int_equal(buf_append_str(&b, cases[i].second), cases[i].want);
        assert_holds(&b, cases[i].content);
        buf_deinit(&b);
    }
    struct buf b;
    buf_init(&b, 100);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), -ENOBUFS);
    assert_int_equal(buf_append_str(&b, "x"), 0);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), -ENOBUFS);
    assert_int_equal(buf_reserve(&b, 100), -ENOBUFS);
    assert_int_equal(buf_reserve(&b, 99), 0);
    assert_int_equal(buf_printf(&b, "%100d", 1), -ENOBUFS);
    assert_holds(&b, "x");
    assert_int_equal(buf_printf(&b, "%099d", 1), 0);
    assert_int_equal(b.len, 100);
    buf_deinit(&b);
}

static void cuts_and_consumes(void **state)
{
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(buf_printf(&b, "%s-%d", "abc", 42), 0);
    assert_holds(&b, "abc-42");
    buf_consume(&b, 2);
    assert_holds(&b, "c-42");
    buf_truncate(&b, 9);
    assert_holds(&b, "c-42");
    buf_truncate(&b, 2);
    assert_holds(&b, "c-");
    assert_int_equal(buf_append_char(&b, '!'), 0);
    assert_holds(&b, "c-!");
    buf_release(&b);
    assert_holds(&b, "c-!");
    buf_consume(&b, 3);
    assert_holds(&b, "");
    buf_release(&b);
    assert_null(b.base);
    buf_deinit(&b);
}

static void trims_what_little_needs(void **state)
{
    struct buf b;
    buf_init(&b, 100000);
    assert_int_equal(buf_append_str(&b, "xxabc"), 0);
    assert_int_equal(buf_reserve(&b, 16000), 0);
    buf_consume(&b, 2);
    buf_trim(&b);
    assert_holds(&b, "abc");
    assert_true(b.capacity < 1000);
    assert_int_equal(b.limit, 100000);
    for (int i = 0; i < 2000; i++)
        assert_int_equal(buf_append_char(&b, 'd'), 0);
    const char *place = b.base;
    buf_trim(&b); /* half of it is needed */
    assert_ptr_equal(b.base, place);
    buf_clear(&b);
    buf_trim(&b);
    assert_null(b.base);
    assert_int_equal(buf_append_str(&b, "again"), 0);
    assert_holds(&b, "again");
    buf_deinit(&b);
}

/* After buf_reserve alone (a read that brought nothing) the content is still a C string. */
static void reserve_keeps_the_text(void **state)
{
    struct buf b;
    buf_init(&b, 100000);
    for (int i = 0; i < 60; i++)
        assert_int_equal(buf_append_str(&b, "0123"), 0);
    buf_consume(&b, 236);
    assert_int_equal(buf_reserve(&b, 200), 0);
    assert_holds(&b, "0123");
    assert_int_equal(buf_reserve(&b, 90000), 0);
    assert_holds(&b, "0123");
    buf_deinit(&b);
}

/* A window slides over a long stream: content right at every step, memory bounded, the moving too. */
static void window_slides(void **state)
{
    static const struct {
        size_t window, step;
    } cases[] = {{1, 1}, {10, 3}, {255, 1}, {1000, 7}, {1022, 1}, {4000, 1000}, {65535, 1}};
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct buf b;
        size_t in = 0, out = 0, moved = 0;
        const size_t total = 300000;
        buf_init(&b, cases[i].window);
        while (out < total) {
            while (in < total && b.len < cases[i].window) {
                const char *place = b.data;
                assert_int_equal(buf_append_char(&b, (char)('a' + in++ % 26)), 0);
                moved += b.data != place ? b.len : 0;
            }
            for (size_t k = 0; k < cases[i].step && b.len > 0; k++) {
                assert_int_equal(b.data[0], 'a' + (int)(out++ % 26));
                buf_consume(&b, 1);
            }
        }
        assert_true(b.capacity <= 4 * cases[i].window + 512);
        assert_true(moved <= 4 * total + 8 * cases[i].window);
        buf_deinit(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_empty),           cmocka_unit_test(keeps_the_limit),
        cmocka_unit_test(cuts_and_consumes),      cmocka_unit_test(trims_what_little_needs),
        cmocka_unit_test(reserve_keeps_the_text), cmocka_unit_test(window_slides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
