#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "qmgr/rule.h"

static void matches_by_kind(void **state)
{
    static const struct rule_subject mail = {
        .domain = "example.com", .site = "mx1.example.com/0badcafe", .tenant = "shop", .sender = "App@Sender.test"};
    static const struct rule_subject notice = {.domain = "sub.example.com", .tenant = "", .sender = ""};
    static const struct {
        enum rule_kind kind;
        const char *what;
        bool mail, notice;
    } cases[] = {
        {RULE_DOMAIN, "example.com", true, false},
        {RULE_DOMAIN, "EXAMPLE.com", true, false},
        {RULE_DOMAIN, ".example.com", false, true},
        {RULE_DOMAIN, ".com", true, true},
        {RULE_DOMAIN, "xample.com", false, false},
        {RULE_DOMAIN, "*", true, true},
        {RULE_SITE, "mx1.example.com", true, false},
        {RULE_SITE, "*.EXAMPLE.com", true, false},
        {RULE_SITE, "*", true, false},
        {RULE_SITE, "mx1.example.com/0badcafe", false, false},
        {RULE_TENANT, "shop", true, false},
        {RULE_TENANT, "Shop", false, false},
        {RULE_SENDER, "app@sender.test", true, false},
        {RULE_SENDER, "@sender.TEST", true, false},
        {RULE_SENDER, "@ender.test", false, false},
        {RULE_SENDER, "<>", false, true},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        const struct rule r = {.kind = cases[i].kind, .what = (char *)(uintptr_t)cases[i].what};
        assert_int_equal(rule_matches(&r, &mail), cases[i].mail);
        assert_int_equal(rule_matches(&r, &notice), cases[i].notice);
    }
}

static void expires(void **state)
{
    assert_false(rule_expired(&(struct rule){.expires_s = 0}, INT64_MAX));
    assert_false(rule_expired(&(struct rule){.expires_s = 10}, 9));
    assert_true(rule_expired(&(struct rule){.expires_s = 10}, 10));
}

static void checks_what_an_admin_may_order(void **state)
{
    static char long_text[RULE_TEXT_MAX + 2];
    memset(long_text, 'a', RULE_TEXT_MAX + 1);
    static const struct {
        enum rule_action action;
        enum rule_kind kind;
        const char *what, *to, *reason;
        int want;
    } cases[] = {
        {RULE_SUSPEND, RULE_DOMAIN, "example.com", "", "", 0},
        {RULE_SUSPEND, RULE_DOMAIN, "", "", "", -EINVAL},
        {RULE_SUSPEND, RULE_DOMAIN, "a@example.com", "", "", -EINVAL},
        {RULE_SUSPEND, RULE_DOMAIN, "example.com", "route:x", "", -EINVAL},
        {RULE_BOUNCE, RULE_SENDER, "a@example.com", "", "spam", 0},
        {RULE_BOUNCE, RULE_SENDER, "<>", "", "spam", 0},
        {RULE_BOUNCE, RULE_SENDER, "example.com", "", "spam", -EINVAL},
        {RULE_BOUNCE, RULE_TENANT, "shop", "", "two\nlines", -EINVAL},
        {RULE_BOUNCE, RULE_TENANT, "shop", "", long_text, -EINVAL},
        {RULE_REROUTE, RULE_SITE, "mx*", "route:backup", "", 0},
        {RULE_REROUTE, RULE_SITE, "mx*", "host:[192.0.2.1]:25", "", 0},
        {RULE_REROUTE, RULE_SITE, "mx*", "", "", -EINVAL},
        {RULE_REROUTE, RULE_SITE, "mx*", "route:", "", -EINVAL},
        {RULE_REROUTE, RULE_SITE, "mx*", "backup", "", -EINVAL},
        {RULE_ACTION_COUNT, RULE_SITE, "mx*", "", "", -EINVAL},
        {RULE_SUSPEND, RULE_KIND_COUNT, "mx*", "", "", -EINVAL},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        const struct rule r = {.action = cases[i].action,
                               .kind = cases[i].kind,
                               .what = (char *)(uintptr_t)cases[i].what,
                               .to = (char *)(uintptr_t)cases[i].to,
                               .reason = (char *)(uintptr_t)cases[i].reason};
        struct buf why;
        buf_init(&why, 1024);
        assert_int_equal(rule_check(&r, &why), cases[i].want);
        assert_int_equal(why.len > 0, cases[i].want < 0);
        buf_deinit(&why);
    }
}

static void what_is_written_is_read(void **state)
{
    static const char text[] = "posthouse-rules 1 9 2\n"
                               "2\tsuspend\tdomain\t1763928000\t0\texample.com\t-\tserver moves\n"
                               "8\treroute\tsite\t1\t2\tmx.*\troute:backup\t-\n";
    struct rule_list l;
    struct buf out;
    unsigned line;
    buf_init(&out, RULES_FILE_MAX);
    assert_int_equal(rule_list_parse(text, strlen(text), &l, &line), 0);
    assert_int_equal(l.count, 2);
    assert_int_equal(l.next_number, 9);
    assert_string_equal(l.items[0].reason, "server moves");
    assert_string_equal(l.items[0].to, "");
    assert_string_equal(l.items[1].to, "route:backup");
    assert_string_equal(l.items[1].reason, "");
    assert_int_equal(rule_list_format(&l, &out), 0);
    assert_string_equal(buf_str(&out), text);
    buf_deinit(&out);
    rule_list_free(&l);
}

static void broken_files_are_refused(void **state)
{
    static const struct {
        const char *text;
        unsigned line;
    } cases[] = {
        {"", 0},
        {"posthouse-rules 1 9 1\n", 1},
        {"posthouse-rules 2 9 0\n", 1},
        {"posthouse-rules 1 9\n", 1},
        {"posthouse-rules 1 0 0\n", 1},
        {"posthouse-rules 1 9 0", 1},
        {"posthouse-rules 1 9 1001\n", 1},
        {"posthouse-rules 1 9 0\n2\tsuspend\tdomain\t1\t0\ta\t-\t-\n", 2},
        {"posthouse-rules 1 9 1\n2\tsuspend\tdomain\t1\t0\ta\t-\t-", 2},
        {"posthouse-rules 1 9 1\n2\tsuspend\tdomain\t1\t0\ta\t-\n", 2},
        {"posthouse-rules 1 9 1\n2\tsuspend\tdomain\t1\t0\ta\t-\t-\t-\n", 2},
        {"posthouse-rules 1 9 1\n02\tsuspend\tdomain\t1\t0\ta\t-\t-\n", 2},
        {"posthouse-rules 1 9 1\n0\tsuspend\tdomain\t1\t0\ta\t-\t-\n", 2},
        {"posthouse-rules 1 9 1\n9\tsuspend\tdomain\t1\t0\ta\t-\t-\n", 2},
        {"posthouse-rules 1 9 1\n2\tpause\tdomain\t1\t0\ta\t-\t-\n", 2},
        {"posthouse-rules 1 9 1\n2\tsuspend\thost\t1\t0\ta\t-\t-\n", 2},
        {"posthouse-rules 1 9 1\n2\tsuspend\tdomain\t-1\t0\ta\t-\t-\n", 2},
        {"posthouse-rules 1 9 1\n2\tsuspend\tdomain\t1\t\ta\t-\t-\n", 2},
        {"posthouse-rules 1 9 1\n2\tsuspend\tdomain\t1\t0\t-\t-\t-\n", 2},
        {"posthouse-rules 1 9 1\n2\treroute\tdomain\t1\t0\ta\t-\t-\n", 2},
        {"posthouse-rules 1 9 2\n3\tsuspend\tdomain\t1\t0\ta\t-\t-\n3\tsuspend\tdomain\t1\t0\tb\t-\t-\n", 3},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct rule_list l;
        unsigned line;
        assert_int_equal(rule_list_parse(cases[i].text, strlen(cases[i].text), &l, &line), -EPROTO);
        assert_int_equal(line, cases[i].line);
        assert_null(l.items);
    }
    struct rule_list l;
    unsigned line;
    assert_int_equal(rule_list_parse("posthouse-rules 1 9 0\n\0", 23, &l, &line), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_by_kind),
        cmocka_unit_test(expires),
        cmocka_unit_test(checks_what_an_admin_may_order),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(broken_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
