/* Configuration files: every type with good and bad values, what an error says, and that a dump reads back the same. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"
#include "conf/conf.h"

struct place {
    char *name;
    char *text;
    int64_t number;
};

struct spot {
    char *name;
    bool flag;
};

struct settings {
    char *text, *path;
    bool flag;
    int64_t number, size, time;
    int choice;
    struct conf_list words;
    struct conf_addresses addresses, any_port;
    struct conf_networks networks;
    struct conf_blocks places, spots;
};

static const char *const choices[] = {"none", "some", "all", NULL};

#define AT(field) offsetof(struct settings, field)

static const struct conf_param params[] = {
    {"text", CONF_STRING, AT(text), "hello world", 0, 0, NULL, "A text"},
    {"path", CONF_PATH, AT(path), "/var/x", 0, 0, NULL, "A path"},
    {"flag", CONF_BOOL, AT(flag), "yes", 0, 0, NULL, "A flag"},
    {"number", CONF_INT, AT(number), "5", 1, 50000, NULL, "A number"},
    {"size", CONF_SIZE, AT(size), "64k", 0, 2147483648, NULL, "A size"},
    {"time", CONF_DURATION, AT(time), "1500ms", 0, INT64_MAX, NULL, "A time"},
    {"choice", CONF_ENUM, AT(choice), "some", 0, 0, choices, "A choice"},
    {"words", CONF_LIST, AT(words), "a b", 0, 0, NULL, "Words"},
    {"addresses", CONF_ADDRESSES, AT(addresses), "127.0.0.1", 53, 0, NULL, "Addresses with a default port"},
    {"any_port", CONF_ADDRESSES, AT(any_port), "", 0, 0, NULL, "Addresses that need a port"},
    {"networks", CONF_NETWORKS, AT(networks), "127.0.0.0/8 ::1", 0, 0, NULL, "Networks"},
    {0},
};

static const struct conf_param place_params[] = {
    {"text", CONF_STRING, offsetof(struct place, text), "inside", 0, 0, NULL, "A text"},
    {"number", CONF_INT, offsetof(struct place, number), "7", 0, 9, NULL, "A number"},
    {0},
};

static const struct conf_param spot_params[] = {
    {"flag", CONF_BOOL, offsetof(struct spot, flag), "no", 0, 0, NULL, "A flag"},
    {0},
};

static const struct conf_block blocks[] = {
    {"place", place_params, sizeof(struct place), AT(places), "A place"},
    {"spot", spot_params, sizeof(struct spot), AT(spots), "A spot"},
    {0},
};

static int check(const void *settings, struct buf *why)
{
    const struct settings *s = settings;
    if (strcmp(s->text, "forbidden") != 0)
        return 0;
    buf_append_str(why, "text is forbidden: expected another");
    return -EINVAL;
}

static const struct conf_schema schema = {.file = "test.conf",
                                          .params = params,
                                          .blocks = blocks,
                                          .size = sizeof(struct settings),
                                          .check = check,
                                          .default_blocks = "place \"one\" {\n number = 1\n}\nplace \"two\" {\n}\n"};

static const struct conf_param *row(const char *name)
{
    for (const struct conf_param *p = params; p->name != NULL; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    fail_msg("no parameter %s", name);
    return NULL;
}

static void assert_formats(const struct settings *s, const char *name, const char *want)
{
    struct buf got;
    buf_init(&got, 1000);
    assert_int_equal(conf_format(row(name), s, &got), 0);
    assert_string_equal(buf_str(&got), want);
    buf_deinit(&got);
}

static void good_values(void **state)
{
    static const struct {
        const char *line, *name, *want; /* want: as it is formatted, so also the canonical form */
    } cases[] = {
        {"", "text", "hello world"},
        {"text = x", "text", "x"},
        {"text=x", "text", "x"},
        {"  text\t=\t two words \t", "text", "two words"},
        {"text =", "text", ""},
        {"text = \"\"", "text", ""},
        {"text = \" x \"", "text", "\" x \""},
        {"text = x # comment", "text", "x"},
        {"text = x#y", "text", "\"x#y\""},
        {"text = \"x # y\" # comment", "text", "\"x # y\""},
        {"text = \"a \\\" b \\\\ c\"", "text", "\"a \\\" b \\\\ c\""},
        {"text = \"a\\b\"", "text", "a\\b"},
        {"text = it's", "text", "it's"},
        {"text = a = b", "text", "a = b"},
        {"text = x {", "text", "x {"},
        {"text = x\r", "text", "x"},
        {"text = 1\ntext = 2", "text", "2"},
        {"path =", "path", ""},
        {"path = /a b", "path", "/a b"},
        {"flag = no", "flag", "no"},
        {"number = 1", "number", "1"},
        {"number = 50000", "number", "50000"},
        {"size = 0", "size", "0"},
        {"size = 1024", "size", "1k"},
        {"size = 1025", "size", "1025"},
        {"size = 3K", "size", "3k"},
        {"size = 2048k", "size", "2M"},
        {"size = 2G", "size", "2G"},
        {"time = 0", "time", "0"},
        {"time = 30", "time", "30s"},
        {"time = 90s", "time", "90s"},
        {"time = 120s", "time", "2m"},
        {"time = 500ms", "time", "500ms"},
        {"time = 24h", "time", "1d"},
        {"choice = all", "choice", "all"},
        {"words = a,b  c\td,", "words", "a b c d"},
        {"words =", "words", ""},
        {"words = \"a #b\"", "words", "\"a #b\""},
        {"addresses = 192.0.2.1 [::1]:25", "addresses", "192.0.2.1:53 [::1]:25"},
        {"addresses = unix:/run/x", "addresses", "unix:/run/x"},
        {"any_port = 192.0.2.1:25, [::]:587", "any_port", "192.0.2.1:25 [::]:587"},
        {"networks = 10.0.0.0/8 192.0.2.1", "networks", "10.0.0.0/8 192.0.2.1/32"},
        {"networks =", "networks", ""},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct settings s;
        struct buf errors;
        buf_init(&errors, 1000);
        if (conf_parse(&schema, "test.conf", cases[i].line, &s, &errors) != 0)
            fail_msg("%s: %s", cases[i].line, buf_str(&errors));
        assert_int_equal(errors.len, 0);
        assert_formats(&s, cases[i].name, cases[i].want);
        conf_free(&schema, &s);
    }
}

static void values_have_units(void **state)
{
    struct settings s;
    struct buf errors;
    buf_init(&errors, 1000);
    assert_int_equal(conf_parse(&schema, "t", "size = 3M\ntime = 4h\nchoice = all\nflag = no\n", &s, &errors), 0);
    assert_int_equal(s.size, 3 * 1024 * 1024);
    assert_int_equal(s.time, 4 * 3600 * 1000);
    assert_int_equal(s.choice, 2);
    assert_false(s.flag);
    assert_int_equal(s.number, 5);
    assert_int_equal(s.words.count, 2);
    assert_int_equal(s.addresses.count, 1);
    assert_int_equal(net_port(&s.addresses.items[0]), 53);
    assert_int_equal(s.networks.items[0].prefix_bits, 8);
    conf_free(&schema, &s);
    assert_null(s.text);
    buf_deinit(&errors);
}

#define SIZE_WANTED "a size (a number, or with k, M or G) from 0 to 2G"
#define TIME_WANTED "a time (a number of seconds, or with ms, s, m, h or d) from 0 up"

static void errors_say_where_and_what(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"nope = 1", "test.conf:1: nope: no such parameter\n"},
        {"# one\n\nnumber = many", "test.conf:3: number = many: expected a number from 1 to 50000\n"},
        {"number = 0", "test.conf:1: number = 0: expected a number from 1 to 50000\n"},
        {"number = 50001", "test.conf:1: number = 50001: expected a number from 1 to 50000\n"},
        {"number = 99999999999999999999", "test.conf:1: number = 99999999999999999999: expected a number from 1 to "
                                          "50000\n"},
        {"number =", "test.conf:1: number = : expected a number from 1 to 50000\n"},
        {"number = 1k", "test.conf:1: number = 1k: expected a number from 1 to 50000\n"},
        {"size = 3G", "test.conf:1: size = 3G: expected " SIZE_WANTED "\n"},
        {"size = 1.5M", "test.conf:1: size = 1.5M: expected " SIZE_WANTED "\n"},
        {"size = 9223372036854775807G", "test.conf:1: size = 9223372036854775807G: expected " SIZE_WANTED "\n"},
        {"size = -1", "test.conf:1: size = -1: expected " SIZE_WANTED "\n"},
        {"time = 5 m", "test.conf:1: time = 5 m: expected " TIME_WANTED "\n"},
        {"time = 1w", "test.conf:1: time = 1w: expected " TIME_WANTED "\n"},
        {"flag = true", "test.conf:1: flag = true: expected yes or no\n"},
        {"choice = None", "test.conf:1: choice = None: expected one of none, some, all\n"},
        {"path = relative", "test.conf:1: path = relative: expected an absolute path\n"},
        {"any_port = 192.0.2.1", "test.conf:1: any_port = 192.0.2.1: expected numeric addresses with a port, as in "
                                 "192.0.2.1:25 [::]:587, or unix:/path\n"},
        {"addresses = localhost", "test.conf:1: addresses = localhost: expected numeric addresses, as in 192.0.2.1 "
                                  "[2001:db8::1]:53\n"},
        {"networks = 10.0.0.1/8", "test.conf:1: networks = 10.0.0.1/8: expected networks, as in 127.0.0.0/8 "
                                  "2001:db8::/32 (no bits set behind the prefix length)\n"},
        {"text = \"open", "test.conf:1: text = \"open: expected a closing double quote at the end of the line\n"},
        {"text = \"a\" b", "test.conf:1: text = \"a\" b: expected a closing double quote at the end of the line\n"},
        {"text = \"a\\\"", "test.conf:1: text = \"a\\\": expected a closing double quote at the end of the line\n"},
        {"just words", "test.conf:1: just words: expected \"name = value\"\n"},
        {"}", "test.conf:1: '}' without a block\n"},
        {"place {\n", "test.conf:1: place: expected a name and '{', as in: place \"name\" {\n"},
        {"place \"\" {\n", "test.conf:1: place: expected a name and '{', as in: place \"name\" {\n"},
        {"house \"x\" {\n", "test.conf:1: house: no such kind of block\n"},
        {"{", "test.conf:1: : no such kind of block\n"},
        {"place \"a\" {\n", "test.conf:2: the block of kind place is not closed: expected '}'\n"},
        {"place \"a\" {\n flag = no\n}", "test.conf:2: flag: no such parameter in a block of kind place\n"},
        {"place \"a\" {\n}\nplace a {\n}", "test.conf:3: place \"a\": a second block of this name\n"},
        {"place \"a\" {\n place \"b\" {\n}", "test.conf:2: place: a block can not stand inside another\n"},
        {"text = forbidden", "test.conf: text is forbidden: expected another\n"},
        {"number = x\nflag = x", "test.conf:1: number = x: expected a number from 1 to 50000\ntest.conf:2: flag = x: "
                                 "expected yes or no\n"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct settings s;
        struct buf errors;
        buf_init(&errors, 4000);
        assert_int_equal(conf_parse(&schema, "test.conf", cases[i].text, &s, &errors), -EINVAL);
        assert_string_equal(buf_str(&errors), cases[i].want);
        assert_null(s.text); /* nothing is kept */
        buf_deinit(&errors);
    }
}

static void blocks_hold_their_own(void **state)
{
    static const struct {
        const char *text;
        size_t places, spots;
        const char *first;
    } cases[] = {
        {"", 2, 0, "one"},
        {"number = 3", 2, 0, "one"},
        {"place \"x y\" {\n text = t\n number = 9\n}", 1, 0, "x y"},
        {"place x{\n}\nplace\"y\"{\n}\n  place\t\"z\"\t{ # so\n}", 3, 0, "x"},
        {"spot \"s\" {\n flag = yes\n}", 2, 1, "one"}, /* another kind: the default places stay */
        {"spot \"s\" {\n}\nplace \"a # b\" {\n}", 1, 1, "a # b"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct settings s;
        struct buf errors;
        buf_init(&errors, 1000);
        if (conf_parse(&schema, "t", cases[i].text, &s, &errors) != 0)
            fail_msg("%s: %s", cases[i].text, buf_str(&errors));
        assert_int_equal(s.places.count, cases[i].places);
        assert_int_equal(s.spots.count, cases[i].spots);
        const struct place *first = s.places.items[0];
        assert_string_equal(first->name, cases[i].first);
        conf_free(&schema, &s);
    }
    struct settings s;
    struct buf errors;
    buf_init(&errors, 1000);
    assert_int_equal(conf_parse(&schema, "t", "", &s, &errors), 0);
    const struct place *one = s.places.items[0], *two = s.places.items[1];
    assert_int_equal(one->number, 1);
    assert_int_equal(two->number, 7);
    assert_string_equal(two->text, "inside");
    conf_free(&schema, &s);
}

/* Whatever a text holds, its formatted line gives it back. */
static void dump_reads_back(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "a",
        " a",
        "a ",
        "a  b",
        "\"",
        "\"a\"",
        "a\"b",
        "\\",
        "a\\",
        "\\\"",
        "#",
        "# a",
        "a # b",
        "a#",
        "{",
        "}",
        "a = b",
        "\ta",
        "a\t",
        "'",
        "\xc3\xa4\xe2\x82\xac",
        "\"\\\"\\\\\" # x",
    };
    struct settings s;
    struct buf errors, line, again;
    buf_init(&errors, 1000);
    buf_init(&line, 1000);
    buf_init(&again, 1000);
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        s = (struct settings){.text = (char *)texts[i]};
        buf_clear(&line);
        buf_append_str(&line, "text = ");
        assert_int_equal(conf_format(row("text"), &s, &line), 0);
        if (conf_parse(&schema, "t", buf_str(&line), &s, &errors) != 0)
            fail_msg("%s: %s", buf_str(&line), buf_str(&errors));
        assert_string_equal(s.text, texts[i]);
        conf_free(&schema, &s);
    }
    /* And all rows together. */
    assert_int_equal(conf_parse(&schema, "t",
                                "text = \"x # y\"\nsize = 5M\ntime = 90\nwords = \"#1 b\"\nchoice = all\n", &s,
                                &errors),
                     0);
    for (int round = 0; round < 2; round++) {
        struct buf *out = round == 0 ? &line : &again;
        buf_clear(out);
        for (const struct conf_param *p = params; p->name != NULL; p++) {
            buf_printf(out, "%s = ", p->name);
            assert_int_equal(conf_format(p, &s, out), 0);
            buf_append_char(out, '\n');
        }
        conf_free(&schema, &s);
        assert_int_equal(conf_parse(&schema, "t", buf_str(out), &s, &errors), 0);
    }
    assert_string_equal(buf_str(&line), buf_str(&again));
    conf_free(&schema, &s);
    buf_deinit(&errors);
    buf_deinit(&line);
    buf_deinit(&again);
}

static char folder[64];

static int setup(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/posthouse-test-XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/test.conf", folder);
    unlink(path);
    return rmdir(folder);
}

static int load(const char *content, size_t len, struct settings *s, struct buf *errors)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/test.conf", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(content, 1, len, f), len);
    fclose(f);
    buf_clear(errors);
    return conf_load(&schema, folder, s, errors);
}

static void files(void **state)
{
    struct settings s;
    struct buf errors;
    char want[256], path[128];
    snprintf(path, sizeof(path), "%s/test.conf", folder);
    buf_init(&errors, 1000);
    assert_int_equal(conf_load(&schema, folder, &s, &errors), 0); /* no file: defaults */
    assert_int_equal(s.number, 5);
    conf_free(&schema, &s);
    assert_int_equal(load("number = 6", 10, &s, &errors), 0);
    assert_int_equal(s.number, 6);
    conf_free(&schema, &s);
    assert_int_equal(load("number = 0\n", 11, &s, &errors), -EINVAL);
    snprintf(want, sizeof(want), "%s:1: number = 0: expected", path);
    assert_true(text_has_prefix(buf_str(&errors), want));
    snprintf(want, sizeof(want), "%s: can not be read: ", path);
    assert_int_equal(load("number\0 = 7", 11, &s, &errors), -EINVAL);
    assert_true(text_has_prefix(buf_str(&errors), want));
    char *huge = calloc(1, 2 * 1024 * 1024);
    memset(huge, '\n', 2 * 1024 * 1024);
    assert_int_equal(load(huge, 2 * 1024 * 1024, &s, &errors), -EFBIG);
    assert_true(text_has_prefix(buf_str(&errors), want));
    free(huge);
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    buf_clear(&errors);
    assert_int_equal(conf_load(&schema, folder, &s, &errors), -EISDIR);
    assert_true(text_has_prefix(buf_str(&errors), want));
    assert_int_equal(rmdir(path), 0);
    buf_deinit(&errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_values),
        cmocka_unit_test(values_have_units),
        cmocka_unit_test(errors_say_where_and_what),
        cmocka_unit_test(blocks_hold_their_own),
        cmocka_unit_test(dump_reads_back),
        cmocka_unit_test_setup_teardown(files, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
