/* The header of a load balancer, both versions, whole, cut and wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "smtp/proxy.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4        "\xc0\x00\x02\x0a\xc6\x33\x64\x01\x1f\x90\x00\x19"

static void headers(void **state)
{
    static const struct {
        const char *data;
        size_t len;
        int want;
        const char *client; /* NULL: the balancer itself, or unknown */
        bool local;
    } cases[] = {
#define BYTES(text) text, sizeof(text) - 1
        {BYTES("PROXY TCP4 192.0.2.10 198.51.100.1 8080 25\r\n"), 0, "192.0.2.10:8080", false},
        {BYTES("PROXY TCP6 2001:db8::1 2001:db8::2 1 25\r\n"), 0, "[2001:db8::1]:1", false},
        {BYTES("PROXY UNKNOWN\r\n"), 0, NULL, true},
        {BYTES("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), 0, NULL, true},
        {BYTES("PROXY TCP4 2001:db8::1 192.0.2.1 1 25\r\n"), SMTP_PROXY_WRONG, NULL, false},
        {BYTES("PROXY TCP4 192.0.2.10 198.51.100.1 99999 25\r\n"), SMTP_PROXY_WRONG, NULL, false},
        {BYTES("PROXY TCP4 192.0.2.10\r\n"), SMTP_PROXY_WRONG, NULL, false},
        {BYTES("PROXY\r\n"), SMTP_PROXY_WRONG, NULL, false},
        {BYTES("PROXY TCP5 192.0.2.10 198.51.100.1 1 25\r\n"), SMTP_PROXY_WRONG, NULL, false},
        {BYTES("PROXY TCP4 192.0.2.10 \0 198.51.100.1 1 25\r\n"), SMTP_PROXY_WRONG, NULL, false},
        {BYTES("EHLO client\r\n"), SMTP_PROXY_WRONG, NULL, false},
        {BYTES("\x16\x03\x01"), SMTP_PROXY_WRONG, NULL, false},
        {BYTES(""), SMTP_PROXY_MORE, NULL, false},
        {BYTES(SIGNATURE "\x21\x11\x00\x0c" V4), 0, "192.0.2.10:8080", false},
        {BYTES(SIGNATURE "\x21\x11\x00\x0f" V4 "\x04\x00\x00"), 0, "192.0.2.10:8080", false},
        {BYTES(SIGNATURE "\x20\x11\x00\x0c" V4), 0, NULL, true},
        {BYTES(SIGNATURE "\x20\x00\x00\x00"), 0, NULL, true},
        {BYTES(SIGNATURE "\x21\x00\x00\x00"), 0, NULL, false},
        {BYTES(SIGNATURE
               "\x21\x21\x00\x24"
               "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x00\x01\x00\x19"),
         0, "[2001:db8::1]:1", false},
        {BYTES(SIGNATURE "\x11\x11\x00\x0c" V4), SMTP_PROXY_WRONG, NULL, false},
        {BYTES(SIGNATURE "\x22\x11\x00\x0c" V4), SMTP_PROXY_WRONG, NULL, false},
        {BYTES(SIGNATURE "\x21\x11\x00\x0b" V4), SMTP_PROXY_WRONG, NULL, false},
        {BYTES(SIGNATURE "\x21\x11\xff\xff" V4), SMTP_PROXY_WRONG, NULL, false},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char data[200], text[NET_TEXT_MAX];
        struct smtp_proxy p;
        size_t used;
        memcpy(data, cases[i].data, cases[i].len);
        memcpy(data + cases[i].len, "EHLO x\r\n", 8);
        size_t len = cases[i].want == SMTP_PROXY_MORE ? cases[i].len : cases[i].len + 8;
        assert_int_equal(smtp_proxy_parse(data, len, &p, &used), cases[i].want);
        if (cases[i].want != 0)
            continue;
        assert_int_equal(used, cases[i].len);
        assert_int_equal(p.local, cases[i].local);
        if (cases[i].client != NULL)
            assert_string_equal(net_format(&p.client, text), cases[i].client);
        else
            assert_int_equal(p.client.len, 0);
        /* Cut anywhere it is merely not complete. */
        for (size_t n = 0; n < cases[i].len; n++)
            assert_int_equal(smtp_proxy_parse(data, n, &p, &used), SMTP_PROXY_MORE);
    }
}

static void too_long(void **state)
{
    char data[300] = "PROXY UNKNOWN ";
    struct smtp_proxy p;
    size_t used;
    memset(data + 14, 'x', sizeof(data) - 14);
    assert_int_equal(smtp_proxy_parse(data, 100, &p, &used), SMTP_PROXY_MORE);
    assert_int_equal(smtp_proxy_parse(data, sizeof(data), &p, &used), SMTP_PROXY_WRONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers),
        cmocka_unit_test(too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
