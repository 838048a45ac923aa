/* Strings, numbers and the clock that tests set. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/text.h"

static void compares(void **state)
{
    static const struct {
        const char *a, *b;
        bool equal;
    } cases[] = {
        {"", "", true},     {"a", "A", true},         {"MAIL from:", "mail FROM:", true}, {"a", "ab", false},
        {"ab", "a", false}, {"[", "{", false},        {"\xc3\xa4", "\xc3\x84", false}, /* only ASCII has cases here */
        {"@", "`", false},  {"i", "\xc4\xb1", false},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        assert_int_equal(text_equal_nocase(cases[i].a, cases[i].b), cases[i].equal);
    assert_true(text_equal_nocase_n("MAIL x", "mail y", 5));
    assert_false(text_equal_nocase_n("MAIL x", "mail y", 6));
    assert_true(text_equal_nocase_n("ab", "AB", 100));
    assert_true(text_equal_nocase_n("a", "b", 0));
    assert_true(text_has_prefix("posthouse", "post"));
    assert_false(text_has_prefix("pos", "post"));
    assert_true(text_has_prefix("x", ""));
    assert_true(text_has_suffix_nocase("mx.Example.COM", ".example.com"));
    assert_false(text_has_suffix_nocase("com", ".example.com"));
    assert_true(text_is_ascii("abc\x7f", 4));
    assert_false(text_is_ascii("ab\x80", 3));
    assert_true(text_is_ascii("ab\x80", 2));
}

static void parses_numbers(void **state)
{
    static const struct {
        const char *text;
        uint64_t max;
        int result;
        uint64_t want;
    } cases[] = {
        {"0", 10, 0, 0},
        {"10", 10, 0, 10},
        {"007", 10, 0, 7},
        {"11", 10, -ERANGE, 0},
        {"", 10, -EINVAL, 0},
        {" 1", 10, -EINVAL, 0},
        {"1 ", 10, -EINVAL, 0},
        {"+1", 10, -EINVAL, 0},
        {"-1", 10, -EINVAL, 0},
        {"0x1", 10, -EINVAL, 0},
        {"18446744073709551615", UINT64_MAX, 0, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, -ERANGE, 0},
        {"99999999999999999999999", UINT64_MAX, -ERANGE, 0},
        {"0", 0, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        uint64_t got = 4711;
        assert_int_equal(text_parse_u64(cases[i].text, cases[i].max, &got), cases[i].result);
        assert_true(got == (cases[i].result == 0 ? cases[i].want : 4711));
    }
}

static void copies(void **state)
{
    char *s = text_dup_n("abcdef", 3);
    assert_string_equal(s, "abc");
    free(s);
    s = text_dup_n(NULL, 0);
    assert_string_equal(s, "");
    free(s);
    s = text_format("%s/%d", "a", 7);
    assert_string_equal(s, "a/7");
    free(s);
    char mixed[] = "aZ\xc3\x84[";
    text_lower(mixed);
    assert_string_equal(mixed, "az\xc3\x84[");
}

static void names_errors(void **state)
{
    assert_string_equal(text_errno(ENOSPC), "No space left on device");
    assert_string_equal(text_errno(-ENOSPC), "No space left on device");
    assert_string_equal(text_errno(123456), "unknown error");
}

static void hashes(void **state)
{
    char a[40] = "", b[40] = "";
    for (size_t n = 0; n < sizeof(a); n++) { /* whole words and every rest */
        assert_int_equal(hash_bytes(a, n), hash_bytes(b, n));
        assert_int_not_equal(hash_bytes(a, n), hash_bytes(a, n + 1 < sizeof(a) ? n + 1 : 0));
    }
    b[7] = 1;
    assert_int_not_equal(hash_bytes(a, 20), hash_bytes(b, 20));
}

/* Last in the group: the clocks stand still from here on. */
static void clock_can_be_set(void **state)
{
    uint64_t before = clock_mono_ms();
    assert_true(clock_mono_ms() >= before);
    assert_true(clock_wall_s() > 1700000000);
    clock_fake_set(1000, 5000000);
    assert_int_equal(clock_mono_ms(), 1000);
    assert_int_equal(clock_wall_us(), 5000000);
    assert_int_equal(clock_wall_s(), 5);
    clock_fake_advance_ms(2500);
    assert_int_equal(clock_mono_ms(), 3500);
    assert_int_equal(clock_wall_us(), 7500000);
    assert_int_equal(clock_wall_s(), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares),     cmocka_unit_test(parses_numbers), cmocka_unit_test(copies),
        cmocka_unit_test(names_errors), cmocka_unit_test(hashes),         cmocka_unit_test(clock_can_be_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
