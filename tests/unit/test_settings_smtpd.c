/* smtpd.conf: what it means when it is not there, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "settings/smtpd.h"

static void defaults_stand(void **state)
{
    struct settings_smtpd s = {0};
    struct buf errors;
    buf_init(&errors, 65536);
    if (conf_parse(&settings_smtpd_schema, "smtpd.conf", "", &s, &errors) < 0)
        fail_msg("%s", buf_str(&errors));
    assert_int_equal(s.listeners.count, 3);
    const struct settings_listener *first = s.listeners.items[0], *second = s.listeners.items[1];
    assert_string_equal(first->name, "smtp");
    assert_int_equal(first->trusted_networks.count, 2);
    assert_int_equal(first->auth, LISTENER_AUTH_NO);
    assert_int_equal(second->auth, LISTENER_AUTH_REQUIRED);
    assert_int_equal(second->role, LISTENER_SUBMISSION);
    assert_int_equal(s.auth_mechanisms.count, 5);
    conf_free(&settings_smtpd_schema, &s);
    buf_deinit(&errors);
}

static const struct {
    const char *text, *error; /* NULL = fine */
} cases[] = {
    {"listener \"a\" {\n address = 127.0.0.1:2525\n tls = none\n}\n", NULL},
    {"certificate =\nlistener \"a\" {\n address = 127.0.0.1:2525\n tls = none\n}\n", NULL},
    {"certificate =\nlistener \"a\" {\n address = 127.0.0.1:2525\n}\n", "needs a certificate"},
    {"listener \"a\" {\n tls = none\n}\n", "has no address"},
    {"listener \"a\" {\n address = 127.0.0.1\n}\n", "address"},
    {"listener \"a\" {\n address = 127.0.0.1:25\n tls = none\n auth = optional\n}\n", "needs tls"},
    {"listener \"a\" {\n address = unix:/s\n tls = none\n auth = required\n auth_without_tls = yes\n}\n", NULL},
    {"listener \"a\" {\n address = 127.0.0.1:25\n tls = none\n client_certificates = yes\n}\n", "needs tls"},
    {"listener \"a\" {\n address = 127.0.0.1:25\n tls = none\n senders = a@b.example @c.example\n}\n", "senders"},
    {"listener \"a b\" {\n address = 127.0.0.1:25\n}\n", "name"},
    {"listener \"a\" {\n address = 127.0.0.1:25\n trusted_networks = 10.0.0.1/8\n}\n", "trusted_networks"},
    {"certificate \"x\" {\n}\n", "has no chain"},
    {"max_recipients = 0\n", "max_recipients"},
    {"postmaster = somebody\n", "postmaster = somebody: address has no domain"},
    {"idle_timeout = 10ms\n", "idle_timeout"},
    {"auth = yes\n", "auth"},
};

static void checks_values(void **state)
{
    for (size_t c = 0; c < ARRAY_LENGTH(cases); c++) {
        struct settings_smtpd s = {0};
        struct buf errors;
        buf_init(&errors, 65536);
        int r = conf_parse(&settings_smtpd_schema, "smtpd.conf", cases[c].text, &s, &errors);
        if ((r == 0) != (cases[c].error == NULL) ||
            (cases[c].error != NULL && strstr(buf_str(&errors), cases[c].error) == NULL))
            fail_msg("%s: got %d: %s", cases[c].text, r, buf_str(&errors));
        if (r == 0)
            conf_free(&settings_smtpd_schema, &s);
        buf_deinit(&errors);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_stand),
        cmocka_unit_test(checks_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
