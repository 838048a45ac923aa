/* bounce.conf: defaults, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "settings/bounce.h"

static const struct {
    const char *text, *told; /* told NULL: accepted */
} cases[] = {
    {"", NULL},
    {"notice_from = bounces@example.com\ndouble_bounce_recipient = postmaster@example.com", NULL},
    {"suppress_bad_mailbox = 0", NULL},
    {"suppress_bad_mailbox = 36500d", NULL},
    {"suppression_scope = tenant", NULL},
    {"notice_from = bounces", "notice_from = bounces: expected an ASCII address"},
    {"notice_from = <bounces@example.com>", "without brackets"},
    {"notice_from = b\xc3\xa9@example.com", "ASCII"},
    {"notice_from = \"a b@example.com\"", "notice_from"},
    {"double_bounce_recipient = @example.com", "double_bounce_recipient"},
    {"double_bounce_recipient = a@", "double_bounce_recipient"},
    {"suppression_scope = nobody", "everybody"},
    {"bounce_size_limit = 100", "from 1k to 10M"},
    {"notices_max = 0", "from 1 to 10000"},
    {"suppress_bad_mailbox = 36501d", "36500d"},
    {"suppress_full = 1d", "no such parameter"},
};

static void test_cases(void **state)
{
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct settings_bounce s;
        struct buf errors;
        buf_init(&errors, 65536);
        int r = conf_parse(&settings_bounce_schema, "bounce.conf", cases[i].text, &s, &errors);
        if ((r == 0) != (cases[i].told == NULL) || (r < 0 && strstr(buf_str(&errors), cases[i].told) == NULL))
            fail_msg("\"%s\": got %d, \"%s\"", cases[i].text, r, buf_str(&errors));
        if (r == 0)
            conf_free(&settings_bounce_schema, &s);
        buf_deinit(&errors);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
