/* Addresses, domains and their DNS form. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "mail/address.h"
#include "mail/domain.h"

#define A64  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define L62  "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define D189 L62 "." L62 "." L62 "."

static const struct {
    const char *text;
    unsigned allow;
    int result;
    const char *want;
} cases[] = {
    {"a@b.example", 0, 0, "a@b.example"},
    {"Joe.Doe+tag@B.EXAMPLE", 0, 0, "Joe.Doe+tag@b.example"},
    {"!#$%&'*+-/=?^_`{|}~@b", 0, 0, "!#$%&'*+-/=?^_`{|}~@b"},
    {"\"a b\"@c.example", 0, 0, "\"a b\"@c.example"},
    {"\"abc\"@c.example", 0, 0, "abc@c.example"},
    {"\"a\\\"b\\\\\"@c", 0, 0, "\"a\\\"b\\\\\"@c"},
    {"\"a@b\"@c", 0, 0, "\"a@b\"@c"},
    {"\"\"@c", 0, 0, "\"\"@c"},
    {"a@[192.0.2.1]", 0, 0, "a@[192.0.2.1]"},
    {"a@[IPv6:2001:DB8::1]", 0, 0, "a@[ipv6:2001:db8::1]"},
    {"a@[ipv6:2001:db8::1]", 0, 0, "a@[ipv6:2001:db8::1]"},
    {A64 "@b", 0, 0, A64 "@b"},
    {"\xd0\xb8@\xd0\xb8.example", MAIL_ADDRESS_ALLOW_UTF8, 0, "\xd0\xb8@\xd0\xb8.example"},
    {"postmaster", MAIL_ADDRESS_ALLOW_POSTMASTER, 0, "postmaster"},
    {"", MAIL_ADDRESS_ALLOW_NULL, 0, ""},
    {A64 "@" D189 "c", 0, MAIL_ADDRESS_TOO_LONG, NULL},
    {A64 "@" L62 "." L62 "." L62, 0, 0, A64 "@" L62 "." L62 "." L62},
    {A64 A64 A64 "@b", 0, 0, A64 A64 A64 "@b"},
    {A64 A64 A64 "@" L62, 0, MAIL_ADDRESS_TOO_LONG, NULL},
    {A64 A64 A64 A64 "@b", 0, MAIL_ADDRESS_TOO_LONG, NULL},
    {"\"" A64 A64 A64 A64 "\"@b", 0, MAIL_ADDRESS_TOO_LONG, NULL},
    {"postmaster", 0, MAIL_ADDRESS_NO_DOMAIN, NULL},
    {"", 0, MAIL_ADDRESS_SYNTAX, NULL},
    {"@b", 0, MAIL_ADDRESS_SYNTAX, NULL},
    {"a@", 0, MAIL_ADDRESS_BAD_DOMAIN, NULL},
    {".a@b", 0, MAIL_ADDRESS_SYNTAX, NULL},
    {"a.@b", 0, MAIL_ADDRESS_SYNTAX, NULL},
    {"a..b@c", 0, MAIL_ADDRESS_SYNTAX, NULL},
    {"a b@c", 0, MAIL_ADDRESS_SYNTAX, NULL},
    {"a@b c", 0, MAIL_ADDRESS_SYNTAX, NULL},
    {"a@b@c", 0, MAIL_ADDRESS_BAD_DOMAIN, NULL},
    {"a@b.", 0, MAIL_ADDRESS_BAD_DOMAIN, NULL},
    {"a@.b", 0, MAIL_ADDRESS_BAD_DOMAIN, NULL},
    {"a@-b", 0, MAIL_ADDRESS_BAD_DOMAIN, NULL},
    {"a@b-", 0, MAIL_ADDRESS_BAD_DOMAIN, NULL},
    {"a@b_c", 0, MAIL_ADDRESS_BAD_DOMAIN, NULL},
    {"a@" A64, 0, MAIL_ADDRESS_BAD_DOMAIN, NULL},
    {"a@[192.0.2.256]", 0, MAIL_ADDRESS_BAD_DOMAIN, NULL},
    {"a@[192.0.2.1]:25", 0, MAIL_ADDRESS_BAD_DOMAIN, NULL},
    {"a@[192.0.2.1:25]", 0, MAIL_ADDRESS_BAD_DOMAIN, NULL},
    {"a@[2001:db8::1]", 0, MAIL_ADDRESS_BAD_DOMAIN, NULL},
    {"a@[IPv6:192.0.2.1]", 0, MAIL_ADDRESS_BAD_DOMAIN, NULL},
    {"\"a\x01\"@b", 0, MAIL_ADDRESS_SYNTAX, NULL},
    {"\"a", 0, MAIL_ADDRESS_SYNTAX, NULL},
    {"\"a\\", 0, MAIL_ADDRESS_SYNTAX, NULL},
    {"\xd0\xb8@b", 0, MAIL_ADDRESS_NEEDS_UTF8, NULL},
    {"a@\xd0\xb8", 0, MAIL_ADDRESS_NEEDS_UTF8, NULL},
    {"\xff@b", MAIL_ADDRESS_ALLOW_UTF8, MAIL_ADDRESS_SYNTAX, NULL},
    {"a>b@c", 0, MAIL_ADDRESS_NO_DOMAIN, NULL},
};

static void parses_addresses(void **state)
{
    for (size_t c = 0; c < ARRAY_LENGTH(cases); c++) {
        struct mail_address a;
        int r = mail_address_parse(cases[c].text, strlen(cases[c].text), cases[c].allow, &a);
        if (r != cases[c].result)
            fail_msg("%s: got %d, want %d", cases[c].text, r, cases[c].result);
        if (r == 0)
            assert_string_equal(a.text, cases[c].want);
    }
}

static void parses_paths(void **state)
{
    static const struct {
        const char *text;
        unsigned allow;
        int result;
        const char *want, *rest;
    } paths[] = {
        {"<a@b> SIZE=1", 0, 0, "a@b", " SIZE=1"},
        {"<>", MAIL_ADDRESS_ALLOW_NULL, 0, "", ""},
        {"<>", 0, MAIL_ADDRESS_SYNTAX, NULL, NULL},
        {"<@r.example:a@b>", 0, 0, "a@b", ""},
        {"<@r.example,@s.example:a@b>x", 0, 0, "a@b", "x"},
        {"<@r.example>", 0, MAIL_ADDRESS_SYNTAX, NULL, NULL},
        {"<@r.example,a@b>", 0, MAIL_ADDRESS_SYNTAX, NULL, NULL},
        {"<@:a@b>", 0, MAIL_ADDRESS_SYNTAX, NULL, NULL},
        {"<\"a>b\"@c>", 0, 0, "\"a>b\"@c", ""},
        {"<a@b", 0, MAIL_ADDRESS_SYNTAX, NULL, NULL},
        {"<a@b >", 0, MAIL_ADDRESS_SYNTAX, NULL, NULL},
        {"< a@b>", 0, MAIL_ADDRESS_SYNTAX, NULL, NULL},
        {"<a>", 0, MAIL_ADDRESS_NO_DOMAIN, NULL, NULL},
        {"<", 0, MAIL_ADDRESS_SYNTAX, NULL, NULL},
        {"a@b", 0, MAIL_ADDRESS_NO_BRACKETS, NULL, NULL},
        {"", 0, MAIL_ADDRESS_NO_BRACKETS, NULL, NULL},
    };
    for (size_t c = 0; c < ARRAY_LENGTH(paths); c++) {
        struct mail_address a;
        size_t used;
        int r = mail_path_parse(paths[c].text, strlen(paths[c].text), paths[c].allow, &a, &used);
        if (r != paths[c].result)
            fail_msg("%s: got %d, want %d", paths[c].text, r, paths[c].result);
        if (r == 0) {
            assert_string_equal(a.text, paths[c].want);
            assert_string_equal(paths[c].text + used, paths[c].rest);
        }
    }
}

static void splits_domain(void **state)
{
    struct mail_address a;
    assert_int_equal(mail_address_parse("\"a@b\"@C.example", 15, 0, &a), 0);
    assert_string_equal(mail_address_domain(&a), "c.example");
    assert_int_equal(mail_address_parse("postmaster", 10, MAIL_ADDRESS_ALLOW_POSTMASTER, &a), 0);
    assert_string_equal(mail_address_domain(&a), "");
}

static void converts_for_dns(void **state)
{
    static const struct {
        const char *domain, *want;
    } domains[] = {
        {"Example.COM", "example.com"},
        {"b\xc3\xbc"
         "cher.example",
         "xn--bcher-kva.example"},
        {"\xe4\xbe\x8b\xe3\x81\x88.test", "xn--r8jz45g.test"},
        {"xn--bcher-kva.example", "xn--bcher-kva.example"},
        {"a..b", NULL},
        {"", NULL},
        {"[192.0.2.1]", NULL},
        {"\xed\xa0\x80.example", NULL}, /* a surrogate */
        {"a\xef\xbc\x8e"
         "example",
         "a.example"}, /* a wide dot */
        /* Mapped to ASCII that is in no name: a semicolon, a blank, "a/c", a blank alone. */
        {"a\xcd\xbe"
         "b.example",
         NULL},
        {"a\xc2\xa0"
         "b.example",
         NULL},
        {"\xe2\x84\x80.example", NULL},
        {"\xe3\x80\x80", NULL},
    };
    for (size_t c = 0; c < ARRAY_LENGTH(domains); c++) {
        char out[MAIL_DNS_NAME_MAX + 1];
        int r = mail_domain_to_ascii(domains[c].domain, out);
        assert_int_equal(r == 0, domains[c].want != NULL);
        if (r == 0)
            assert_string_equal(out, domains[c].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_addresses),
        cmocka_unit_test(parses_paths),
        cmocka_unit_test(splits_domain),
        cmocka_unit_test(converts_for_dns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
