#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/text.h"
#include "ctl/commands.h"
#include "ctl/filter.h"

static const struct phrase table[] = {
    {"stop", "", NEEDS_NOTHING, NULL, "Stop it"},
    {"user add", "NAME [--tenant TENANT] [--generate]", NEEDS_NOTHING, NULL, "Add one"},
    {"user remove", "NAME...", NEEDS_NOTHING, NULL, "Remove some"},
    {"dkim generate", "DOMAIN [SELECTOR]", NEEDS_NOTHING, NULL, "Make one"},
    {0},
};

static int count(char **argv)
{
    int n = 0;
    while (argv[n] != NULL)
        n++;
    return n;
}

static void parses_what_the_usage_line_says(void **state)
{
    static const struct {
        const char *argv[8];
        const char *phrase; /* NULL: not found */
        int want;           /* of the arguments */
        size_t positional;
        const char *tenant, *generate;
    } cases[] = {
        {{"stop"}, "stop", 0, 0, NULL, NULL},
        {{"stop", "now"}, "stop", -EINVAL, 0, NULL, NULL},
        {{"user"}, NULL, 0, 0, NULL, NULL},
        {{"use", "add"}, NULL, 0, 0, NULL, NULL},
        {{"user", "add"}, "user add", -EINVAL, 0, NULL, NULL},
        {{"user", "add", "a"}, "user add", 0, 1, NULL, NULL},
        {{"user", "add", "a", "b"}, "user add", -EINVAL, 0, NULL, NULL},
        {{"user", "add", "a", "--tenant", "t"}, "user add", 0, 1, "t", NULL},
        {{"user", "add", "--tenant=t", "a"}, "user add", 0, 1, "t", NULL},
        {{"user", "add", "a", "--tenant="}, "user add", 0, 1, "", NULL},
        {{"user", "add", "a", "--tenant"}, "user add", -EINVAL, 0, NULL, NULL},
        {{"user", "add", "a", "--generate"}, "user add", 0, 1, NULL, ""},
        {{"user", "add", "a", "--generate=yes"}, "user add", -EINVAL, 0, NULL, NULL},
        {{"user", "add", "a", "--gen"}, "user add", -EINVAL, 0, NULL, NULL},
        {{"user", "add", "--", "--tenant"}, "user add", 0, 1, NULL, NULL},
        {{"user", "remove"}, "user remove", -EINVAL, 0, NULL, NULL},
        {{"user", "remove", "a", "b", "c"}, "user remove", 0, 3, NULL, NULL},
        {{"dkim", "generate", "d"}, "dkim generate", 0, 1, NULL, NULL},
        {{"dkim", "generate", "d", "s"}, "dkim generate", 0, 2, NULL, NULL},
        {{"dkim", "generate", "d", "s", "x"}, "dkim generate", -EINVAL, 0, NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char **argv = (char **)(uintptr_t)cases[i].argv;
        struct args args;
        struct buf why;
        int used, argc = count(argv);
        const struct phrase *p = phrase_find(table, argc, argv, &used);
        if (cases[i].phrase == NULL) {
            assert_null(p);
            continue;
        }
        assert_non_null(p);
        assert_string_equal(p->words, cases[i].phrase);
        buf_init(&why, 1024);
        int got = phrase_parse(p, argc - used, argv + used, &args, &why);
        if (got != cases[i].want)
            print_message("case %zu: %s\n", i, buf_str(&why));
        assert_int_equal(got, cases[i].want);
        assert_int_equal(why.len > 0, got < 0);
        if (got == 0) {
            assert_int_equal(args.count, cases[i].positional);
            for (int k = 0; k < 2; k++) {
                const char *have = args_option(&args, k == 0 ? "tenant" : "generate");
                const char *want = k == 0 ? cases[i].tenant : cases[i].generate;
                assert_int_equal(have != NULL, want != NULL);
                if (want != NULL)
                    assert_string_equal(have, want);
            }
        }
        buf_deinit(&why);
    }
}

/* The real table: orders and rules of the queue. */
static void takes_orders_of_the_queue(void **state)
{
    static const struct {
        const char *argv[12];
        const char *phrase;
        int want;
        size_t positional, options;
    } cases[] = {
        {{"queue", "retry"}, "queue retry", 0, 0, 0}, /* refused by the phrase itself */
        {{"queue", "retry", "ALL"}, "queue retry", 0, 1, 0},
        {{"queue", "delete", "a", "b", "--dry-run"}, "queue delete", 0, 2, 1},
        {{"queue", "hold", "--domain", "d", "--site=s", "--tenant", "t", "--sender", "@d"}, "queue hold", 0, 0, 4},
        {{"queue", "hold", "--state", "deferred", "--older-than", "5d", "--dry-run"}, "queue hold", 0, 0, 3},
        {{"queue", "hold", "--domain"}, "queue hold", -EINVAL, 0, 0},
        {{"queue", "hold", "--dry-run=yes"}, "queue hold", -EINVAL, 0, 0},
        {{"queue", "list", "hold", "--domain", "d", "--limit", "5"}, "queue list", 0, 1, 2},
        {{"queue", "list", "hold", "too much"}, "queue list", -EINVAL, 0, 0},
        {{"queue", "suspend", "--domain", "d", "--reason", "r", "--for", "1h"}, "queue suspend", 0, 0, 3},
        {{"queue", "suspend", "d"}, "queue suspend", -EINVAL, 0, 0},
        {{"queue", "suspend", "--to", "h"}, "queue suspend", -EINVAL, 0, 0},
        {{"queue", "bounce", "--sender", "a@d", "--reason", "r"}, "queue bounce", 0, 0, 2},
        {{"queue", "reroute", "--to", "route:x", "--site", "*"}, "queue reroute", 0, 0, 2},
        {{"queue", "resume", "7"}, "queue resume", 0, 1, 0},
        {{"queue", "resume", "--tenant", "t"}, "queue resume", 0, 0, 1},
        {{"queue", "resume", "--for", "1h"}, "queue resume", -EINVAL, 0, 0},
        {{"queue", "rules"}, "queue rules", 0, 0, 0},
        {{"queue", "rules", "7"}, "queue rules", -EINVAL, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char **argv = (char **)(uintptr_t)cases[i].argv;
        struct args args;
        struct buf why;
        int used, argc = count(argv);
        const struct phrase *p = phrase_find(phrases, argc, argv, &used);
        assert_non_null(p);
        assert_string_equal(p->words, cases[i].phrase);
        buf_init(&why, 1024);
        assert_int_equal(phrase_parse(p, argc - used, argv + used, &args, &why), cases[i].want);
        if (cases[i].want == 0) {
            assert_int_equal(args.count, cases[i].positional);
            assert_int_equal(args.option_count, cases[i].options);
        }
        buf_deinit(&why);
    }
}

static void filters_are_checked(void **state)
{
    static const struct {
        const char *name, *value;
        int want;
        uint64_t older_than_s;
        bool empty;
    } cases[] = {
        {"domain", "example.com", CTL_OK, 0, false}, {"domain", "", CTL_USAGE, 0, true},
        {"state", "deferred", CTL_OK, 0, false},     {"state", "late", CTL_USAGE, 0, true},
        {"older-than", "2m", CTL_OK, 120, false},    {"older-than", "soon", CTL_USAGE, 0, true},
        {"older-than", "90", CTL_OK, 90, false},     {"limit", "3", CTL_OK, 0, true},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        const struct args a = {.options = {{cases[i].name, cases[i].value}}, .option_count = 1};
        struct filter f;
        int got = filter_parse(&a, &f);
        assert_int_equal(got, cases[i].want);
        if (got != CTL_OK)
            continue;
        assert_int_equal(f.older_than_s, cases[i].older_than_s);
        assert_int_equal(filter_is_empty(&f), cases[i].empty);
    }
}

static void help_shows_all_or_one_word(void **state)
{
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(phrase_help(table, "user", &out), 2);
    assert_string_equal(buf_str(&out), "  user add NAME [--tenant TENANT] [--generate]\n      Add one\n"
                                       "  user remove NAME...\n      Remove some\n");
    buf_clear(&out);
    assert_int_equal(phrase_help(table, NULL, &out), 4);
    assert_int_equal(phrase_help(table, "use", &out), 0);
    buf_deinit(&out);
}

static char *read_page(void)
{
    const char *end = strstr(__FILE__, "tests/unit/");
    char *path = text_format("%.*sman/posthouse.1", end != NULL ? (int)(end - __FILE__) : 0, __FILE__);
    FILE *f = fopen(path, "re");
    char *text = calloc(1, 65536);
    assert_non_null(f);
    assert_true(fread(text, 1, 65535, f) > 0);
    fclose(f);
    free(path);
    return text;
}

/* Every phrase is a ".It Cm words" of the page. */
static void the_manual_has_every_phrase(void **state)
{
    char *page = read_page();
    for (const struct phrase *p = phrases; p->words != NULL; p++) {
        char *item = text_format(".It Cm %s", p->words);
        const char *at = strstr(page, item);
        if (at == NULL)
            print_message("man/posthouse.1 lacks \"%s\"\n", item);
        assert_non_null(at);
        free(item);
    }
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_what_the_usage_line_says),
        cmocka_unit_test(takes_orders_of_the_queue),
        cmocka_unit_test(filters_are_checked),
        cmocka_unit_test(help_shows_all_or_one_word),
        cmocka_unit_test(the_manual_has_every_phrase),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
