/* Addresses and networks as text and back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/net.h"
#include "base/text.h"

static void parses_addresses(void **state)
{
    static const struct {
        const char *text, *want, *host, *literal; /* want NULL: refused */
    } cases[] = {
        {"192.0.2.1", "192.0.2.1:25", "192.0.2.1", "[192.0.2.1]"},
        {"192.0.2.1:587", "192.0.2.1:587", "192.0.2.1", "[192.0.2.1]"},
        {"::1", "[::1]:25", "::1", "[IPv6:::1]"},
        {"2001:db8::1", "[2001:db8::1]:25", "2001:db8::1", "[IPv6:2001:db8::1]"},
        {"[2001:db8::1]", "[2001:db8::1]:25", "2001:db8::1", "[IPv6:2001:db8::1]"},
        {"[2001:DB8::1]:587", "[2001:db8::1]:587", "2001:db8::1", "[IPv6:2001:db8::1]"},
        {"::ffff:192.0.2.1", "192.0.2.1:25", "192.0.2.1", "[192.0.2.1]"},
        {"[192.0.2.1]:26", "192.0.2.1:26", "192.0.2.1", "[192.0.2.1]"},
        {"0.0.0.0:65535", "0.0.0.0:65535", "0.0.0.0", "[0.0.0.0]"},
        {"", NULL},
        {"localhost", NULL},
        {"192.0.2", NULL},
        {"192.0.2.256", NULL},
        {"192.0.2.01", NULL},
        {"192.0.2.1:", NULL},
        {"192.0.2.1:x", NULL},
        {"192.0.2.1:65536", NULL},
        {"192.0.2.1 ", NULL},
        {" 192.0.2.1", NULL},
        {"[::1", NULL},
        {"[::1]x", NULL},
        {"[::1]25", NULL},
        {"[::1]:", NULL},
        {"fe80::1%lo", NULL},
        {"2001:db8::1::2", NULL},
        {"[]", NULL},
        {"[]:25", NULL},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct net_address a;
        char text[NET_TEXT_MAX];
        int r = net_parse(cases[i].text, 25, &a);
        if (r != (cases[i].want != NULL ? 0 : -EINVAL))
            fail_msg("%s: %d", cases[i].text, r);
        if (r < 0) {
            assert_int_equal(a.len, 0);
            continue;
        }
        assert_string_equal(net_format(&a, text), cases[i].want);
        assert_string_equal(net_format_host(&a, text), cases[i].host);
        assert_string_equal(net_format_literal(&a, text), cases[i].literal);
    }
    char longest[400];
    struct net_address a;
    memset(longest, '1', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(net_parse(longest, 25, &a), -EINVAL);
}

static void formats_others(void **state)
{
    struct net_address none = {0}, local = {.un.sun_family = AF_UNIX, .len = sizeof(local.un)};
    char text[NET_TEXT_MAX];
    assert_string_equal(net_format(&none, text), "unknown");
    assert_string_equal(net_format(&local, text), "unix");
    assert_int_equal(net_port(&none), 0);
    assert_int_equal(net_port(&local), 0);
}

static void formats_networks(void **state)
{
    static const struct {
        const char *address;
        unsigned ipv4, ipv6;
        const char *network;
    } cases[] = {
        {"192.0.2.255", 24, 56, "192.0.2.0/24"},
        {"192.0.2.255", 32, 56, "192.0.2.255"},
        {"192.0.2.255", 31, 56, "192.0.2.254/31"},
        {"192.0.2.255", 0, 56, "0.0.0.0/0"},
        {"::ffff:192.0.2.255", 20, 56, "192.0.0.0/20"},
        {"2001:db8:ff:ffff::1", 24, 56, "2001:db8:ff:ff00::/56"},
        {"2001:db8:ff:ffff::1", 24, 0, "::/0"},
        {"2001:db8::1", 24, 128, "2001:db8::1"},
        {"2001:db8:ff:ffff::1", 24, 63, "2001:db8:ff:fffe::/63"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net_address a;
        char text[NET_TEXT_MAX];
        assert_int_equal(net_parse(cases[i].address, 25, &a), 0);
        assert_string_equal(net_format_network(&a, cases[i].ipv4, cases[i].ipv6, text), cases[i].network);
    }
    struct net_address local = {.un.sun_family = AF_UNIX, .len = sizeof(sa_family_t)};
    char text[NET_TEXT_MAX];
    assert_string_equal(net_format_network(&local, 24, 56, text), "local");
}

static void parses_networks(void **state)
{
    static const struct {
        const char *text;
        int result;
    } cases[] = {
        {"127.0.0.0/8", 0},
        {"0.0.0.0/0", 0},
        {"192.0.2.7", 0},
        {"192.0.2.7/32", 0},
        {"::1", 0},
        {"::/0", 0},
        {"2001:db8::/32", 0},
        {"2001:db8::/31", 0},
        {"127.0.0.1/8", -EINVAL},
        {"192.0.2.0/33", -EINVAL},
        {"192.0.2.0/", -EINVAL},
        {"192.0.2.0/-1", -EINVAL},
        {"", -EINVAL},
        {"/8", -EINVAL},
        {"2001:db8::/129", -EINVAL},
        {"2001:db8::1/32", -EINVAL},
        {"127.0.0.0/8/8", -EINVAL},
        {"10.0/8", -EINVAL},
        {"192.0.2.128/24", -EINVAL},
        {"192.0.2.128/25", 0},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct net_cidr net;
        if (net_cidr_parse(cases[i].text, &net) != cases[i].result)
            fail_msg("%s", cases[i].text);
    }
}

static void networks_contain(void **state)
{
    static const struct {
        const char *net, *address;
        bool want;
    } cases[] = {
        {"127.0.0.0/8", "127.255.0.1", true},
        {"127.0.0.0/8", "128.0.0.1", false},
        {"127.0.0.0/8", "::ffff:127.0.0.1", true},
        {"127.0.0.0/8", "::1", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "2001:db8::1", true},
        {"::/0", "192.0.2.1", false},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.128/25", "192.0.2.200", true},
        {"192.0.2.7", "192.0.2.7", true},
        {"192.0.2.7", "192.0.2.6", false},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"::1", "::1", true},
        {"::1", "::2", false},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct net_cidr net;
        struct net_address a;
        assert_int_equal(net_cidr_parse(cases[i].net, &net), 0);
        assert_int_equal(net_parse(cases[i].address, 25, &a), 0);
        if (net_cidr_contains(&net, &a) != cases[i].want)
            fail_msg("%s %s", cases[i].net, cases[i].address);
    }
    struct net_address none = {0};
    struct net_cidr any;
    assert_int_equal(net_cidr_parse("0.0.0.0/0", &any), 0);
    assert_false(net_cidr_contains(&any, &none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_addresses), cmocka_unit_test(formats_others),   cmocka_unit_test(formats_networks),
        cmocka_unit_test(parses_networks),  cmocka_unit_test(networks_contain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
