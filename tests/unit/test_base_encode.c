/* base64, xtext and hex, with the vectors of their RFCs. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/encode.h"
#include "base/text.h"

/* RFC 4648 section 10. */
static const struct {
    const char *plain, *coded;
} base64_vectors[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
    {"\xfb\xff\xbf", "+/+/"},
};

static void base64_both_ways(void **state)
{
    for (size_t i = 0; i < ARRAY_LENGTH(base64_vectors); i++) {
        struct buf coded, plain;
        buf_init(&coded, 100);
        buf_init(&plain, 100);
        assert_int_equal(base64_encode(base64_vectors[i].plain, strlen(base64_vectors[i].plain), &coded), 0);
        assert_string_equal(buf_str(&coded), base64_vectors[i].coded);
        assert_int_equal(base64_decode(buf_str(&coded), coded.len, &plain), 0);
        assert_string_equal(buf_str(&plain), base64_vectors[i].plain);
        buf_deinit(&coded);
        buf_deinit(&plain);
    }
}

static void base64_all_bytes(void **state)
{
    unsigned char all[256];
    struct buf coded, plain;
    buf_init(&coded, 1000);
    buf_init(&plain, 1000);
    for (int i = 0; i < 256; i++)
        all[i] = (unsigned char)i;
    for (size_t n = 250; n <= 256; n++) {
        buf_clear(&coded);
        buf_clear(&plain);
        assert_int_equal(base64_encode(all, n, &coded), 0);
        assert_int_equal(base64_decode(coded.data, coded.len, &plain), 0);
        assert_int_equal(plain.len, n);
        assert_memory_equal(plain.data, all, n);
    }
    buf_deinit(&coded);
    buf_deinit(&plain);
}

static void base64_is_strict(void **state)
{
    static const char *const bad[] = {
        "Z",     "Zg",   "Zg=",  "Zg===", "=",    "====",  "Z===",     "Zg=a",     "Zm9v\n",   "Zm9v\r\n",
        " Zm9v", "Zm 9", "Zm-_", "Zm9=",  "Zh==", "Zm9v=", "Zg==Zg==", "Zm9vZg=a", "Zm9v====",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        struct buf out;
        buf_init(&out, 100);
        buf_append_str(&out, "kept");
        if (base64_decode(bad[i], strlen(bad[i]), &out) != -EINVAL)
            fail_msg("%s was taken", bad[i]);
        assert_string_equal(buf_str(&out), "kept");
        buf_deinit(&out);
    }
    struct buf out;
    buf_init(&out, 100);
    assert_int_equal(base64_decode("Zm9\0", 4, &out), -EINVAL);
    buf_deinit(&out);
}

static void limits_are_kept(void **state)
{
    struct buf out;
    buf_init(&out, 3);
    assert_int_equal(base64_encode("a", 1, &out), -ENOBUFS);
    assert_int_equal(base64_decode("Zm9vZm9v", 8, &out), -ENOBUFS);
    assert_int_equal(xtext_encode("abcd", &out), -ENOBUFS);
    buf_clear(&out);
    assert_int_equal(xtext_decode("abcd", 4, &out), -ENOBUFS);
    buf_clear(&out);
    assert_int_equal(hex_encode("ab", 2, &out), -ENOBUFS);
    buf_deinit(&out);
}

static void xtext_both_ways(void **state)
{
    static const struct {
        const char *plain, *coded;
    } cases[] = {
        {"", ""},
        {"QQ314159", "QQ314159"},
        {"a+b=c", "a+2Bb+3Dc"},
        {"with blank", "with+20blank"},
        {"\xc3\xa9", "+C3+A9"},
        {"~!", "~!"},
        {"\x7f\t", "+7F+09"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct buf coded, plain;
        buf_init(&coded, 100);
        buf_init(&plain, 100);
        assert_int_equal(xtext_encode(cases[i].plain, &coded), 0);
        assert_string_equal(buf_str(&coded), cases[i].coded);
        assert_int_equal(xtext_decode(cases[i].coded, strlen(cases[i].coded), &plain), 0);
        assert_string_equal(buf_str(&plain), cases[i].plain);
        buf_deinit(&coded);
        buf_deinit(&plain);
    }
}

static void xtext_is_strict(void **state)
{
    /* RFC 3461 section 4: hexchar is "+" and two upper-case digits. */
    static const char *const bad[] = {"+", "+2", "+2b", "+G0", "a=b", "a b", "a\x7f", "\xc3\xa9", "a+", "+-1"};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        struct buf out;
        buf_init(&out, 100);
        if (xtext_decode(bad[i], strlen(bad[i]), &out) != -EINVAL)
            fail_msg("%s was taken", bad[i]);
        buf_deinit(&out);
    }
}

static void hex(void **state)
{
    struct buf out;
    buf_init(&out, 100);
    assert_int_equal(hex_encode("\x00\x7f\xff", 3, &out), 0);
    assert_string_equal(buf_str(&out), "007fff");
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_both_ways),
        cmocka_unit_test(base64_all_bytes),
        cmocka_unit_test(base64_is_strict),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(xtext_both_ways),
        cmocka_unit_test(xtext_is_strict),
        cmocka_unit_test(hex),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
