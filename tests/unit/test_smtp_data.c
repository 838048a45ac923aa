/* The DATA decoder and encoder, each case cut at every place and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "smtp/data.h"

static int append(void *arg, const char *data, size_t len)
{
    return buf_append(arg, data, len);
}

enum { EIGHT = 1, DOTS = 2, CR = 4, LF = 8, NUL = 16 };

static const struct {
    const char *wire;
    const char *content; /* NULL: the end never comes */
    const char *rest;    /* bytes behind the end, a pipelined command */
    int flags;
    size_t longest;
} cases[] = {
    {".\r\n", "", "", 0, 0},
    {"\r\n.\r\n", "\r\n", "", 0, 0},
    {"a\r\nbc\r\n.\r\nQUIT\r\n", "a\r\nbc\r\n", "QUIT\r\n", 0, 2},
    {"..\r\n.\r\n", ".\r\n", "", DOTS, 1},
    {"...x\r\n..y\r\n.\r\n", "..x\r\n.y\r\n", "", DOTS, 3},
    {".x\r\n.\r\n", "x\r\n", "", 0, 1},
    {"\xc3\xa9\r\n.\r\n", "\xc3\xa9\r\n", "", EIGHT, 2},
    /* Endings that other servers took for the end: SMTP smuggling. */
    {"a\n.\n", NULL, "", LF, 1},
    {"a\n.\r\n.\r\n", "a\n.\r\n", "", LF, 1},
    {"a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n", "", LF, 1},
    {"a\r.\r\n.\r\n", "a\r.\r\n", "", CR, 2},
    {"a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n", "", CR, 1},
    {"a\r\n.\r\r\n.\r\n", "a\r\n\r\r\n", "", CR, 1},
    {"a\r\r\n.\r\n", "a\r\r\n", "", CR, 1},
    {"a\n\r\n.\r\n", "a\n\r\n", "", LF, 1},
    {"\n.\r\n.\r\n", "\n.\r\n", "", LF, 1},
};

static void check(size_t c, size_t first_chunk, size_t chunk)
{
    struct smtp_data_decoder d;
    struct buf out;
    smtp_data_decoder_init(&d);
    buf_init(&out, 4096);
    const char *wire = cases[c].wire;
    size_t len = strlen(wire), pos = 0;
    int r = SMTP_DATA_MORE;
    while (r == SMTP_DATA_MORE && pos < len) {
        size_t n = pos == 0 ? first_chunk : chunk, used = 0;
        n = n > len - pos ? len - pos : n;
        char copy[64];
        memcpy(copy, wire + pos, n);
        r = smtp_data_decode(&d, copy, n, append, &out, &used);
        pos += used;
    }
    if (cases[c].content == NULL) {
        assert_int_equal(r, SMTP_DATA_MORE);
    } else {
        assert_int_equal(r, 0);
        assert_string_equal(buf_str(&out), cases[c].content);
        assert_string_equal(wire + pos, cases[c].rest);
        assert_int_equal(d.bytes, out.len);
    }
    int flags = (d.has_8bit ? EIGHT : 0) | (d.has_leading_dots ? DOTS : 0) | (d.has_bare_cr ? CR : 0) |
                (d.has_bare_lf ? LF : 0) | (d.has_nul ? NUL : 0);
    assert_int_equal(flags, cases[c].flags);
    if (flags == 0 || flags == EIGHT)
        assert_int_equal(d.longest_line, cases[c].longest);
    buf_deinit(&out);
}

static void decodes_in_any_chunking(void **state)
{
    for (size_t c = 0; c < ARRAY_LENGTH(cases); c++) {
        check(c, 1, 1);
        for (size_t cut = 1; cut <= strlen(cases[c].wire); cut++)
            check(c, cut, 64);
    }
}

static void sees_nul(void **state)
{
    struct smtp_data_decoder d;
    struct buf out;
    size_t used;
    smtp_data_decoder_init(&d);
    buf_init(&out, 64);
    assert_int_equal(smtp_data_decode(&d, "a\0b\r\n.\r\n", 8, append, &out, &used), 0);
    assert_true(d.has_nul);
    assert_int_equal(out.len, 5);
    buf_deinit(&out);
}

static int refuse(void *arg, const char *data, size_t len)
{
    return -28;
}

static void passes_the_sinks_error_up(void **state)
{
    struct smtp_data_decoder d;
    size_t used;
    smtp_data_decoder_init(&d);
    assert_int_equal(smtp_data_decode(&d, "abc\r\n", 5, refuse, NULL, &used), -28);
}

static const struct {
    const char *content, *wire;
} encoded[] = {
    {"", ".\r\n"},
    {"a\r\n", "a\r\n.\r\n"},
    {"a", "a\r\n.\r\n"},
    {".\r\n..a\r\n", "..\r\n...a\r\n.\r\n"},
    {"a\n.b\r\n", "a\n.b\r\n.\r\n"},
    {"a\r\n.", "a\r\n..\r\n.\r\n"},
};

static void encodes_in_any_chunking(void **state)
{
    for (size_t c = 0; c < ARRAY_LENGTH(encoded); c++) {
        for (size_t cut = 0; cut <= strlen(encoded[c].content); cut++) {
            struct smtp_data_encoder e;
            struct buf out;
            smtp_data_encoder_init(&e);
            buf_init(&out, 256);
            assert_int_equal(smtp_data_encode(&e, encoded[c].content, cut, &out), 0);
            assert_int_equal(smtp_data_encode(&e, encoded[c].content + cut, strlen(encoded[c].content + cut), &out), 0);
            assert_int_equal(smtp_data_encode_end(&e, &out), 0);
            assert_string_equal(buf_str(&out), encoded[c].wire);
            buf_deinit(&out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_in_any_chunking),
        cmocka_unit_test(sees_nul),
        cmocka_unit_test(passes_the_sinks_error_up),
        cmocka_unit_test(encodes_in_any_chunking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
