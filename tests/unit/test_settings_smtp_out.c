#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "settings/smtp_out.h"

static void defaults_are_sane(void **state)
{
    struct settings_smtp_out s = {0};
    struct buf errors;
    buf_init(&errors, 65536);
    assert_int_equal(conf_parse(&settings_smtp_out_schema, "f", "", &s, &errors), 0);
    assert_int_equal(s.delivery_port, 25);
    assert_int_equal(s.tls, TLS_POLICY_OPPORTUNISTIC);
    assert_int_equal(s.end_timeout_ms, 600000);
    assert_int_equal(s.dns_servers.count, 0);
    conf_free(&settings_smtp_out_schema, &s);
    buf_deinit(&errors);
}

static void routes_are_read(void **state)
{
    static const char text[] = "dns_servers = 127.0.0.1, [::1]:5353\ntls = verify\n"
                               "route \"*\" {\nhosts = relay.example.net [192.0.2.1] 192.0.2.2 [IPv6:::1]\nport = 587\n"
                               "credentials_file = /etc/secret\n}\nroute \"partner.example\" {\ntls = required\n}\n";
    struct settings_smtp_out s = {0};
    struct buf errors;
    char shown[NET_TEXT_MAX];
    buf_init(&errors, 65536);
    if (conf_parse(&settings_smtp_out_schema, "f", text, &s, &errors) < 0)
        fail_msg("%s", buf_str(&errors));
    assert_string_equal(net_format(&s.dns_servers.items[0], shown), "127.0.0.1:53");
    assert_string_equal(net_format(&s.dns_servers.items[1], shown), "[::1]:5353");
    assert_int_equal(s.routes.count, 2);
    const struct settings_route *all = s.routes.items[0], *partner = s.routes.items[1];
    assert_string_equal(all->name, "*");
    assert_int_equal(all->hosts.count, 4);
    assert_int_equal(all->port, 587);
    assert_int_equal(all->tls, TLS_POLICY_DEFAULT);
    assert_int_equal(partner->tls, TLS_POLICY_REQUIRED);
    conf_free(&settings_smtp_out_schema, &s);
    buf_deinit(&errors);
}

static void wrong_settings_are_told(void **state)
{
    static const struct {
        const char *text, *told;
    } cases[] = {
        {"delivery_port = 0", "delivery_port"},
        {"tls = maybe", "opportunistic"},
        {"tls = default", "tls"},
        {"source_ipv4 = ::1", "expected an IPv4 address"},
        {"source_ipv6 = 192.0.2.1", "expected an IPv6 address"},
        {"dns_servers = ns.example.com", "dns_servers"},
        {"route \"*\" {\nport = 99999\n}", "port"},
        {"route \"*\" {\nhosts = a.test:587\n}", "the port in port"},
        {"route \"*\" {\nhosts = [192.0.2\n}", "expected host names"},
        {"helo_name = \"a b\"", "helo_name"},
        {"route \"*\" {\ncredentials_file = /x\n}", "credentials_file without hosts"},
        {"route \"*\" {\nhosts = a.test\ncredentials_file = /x\n}", "expected tls = required or verify"},
        {"route \"*\" {\nhosts = a.test\ncredentials_file = /x\ntls = none\n}", "tls = none"},
        {"route \"*\" {\nhosts = a.test\ncredentials_file = secret\ntls = verify\n}", "credentials_file"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct settings_smtp_out s = {0};
        struct buf errors;
        buf_init(&errors, 65536);
        int r = conf_parse(&settings_smtp_out_schema, "f", cases[i].text, &s, &errors);
        if (r == 0 || strstr(buf_str(&errors), cases[i].told) == NULL)
            fail_msg("%s: %d %s", cases[i].text, r, buf_str(&errors));
        buf_deinit(&errors);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_sane),
        cmocka_unit_test(routes_are_read),
        cmocka_unit_test(wrong_settings_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
