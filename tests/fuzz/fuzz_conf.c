/* Configuration files: what parses is dumped, and the dump must parse to the same dump. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct place {
    char *name;
    struct conf_list words;
    struct conf_networks networks;
};

struct settings {
    char *text, *path;
    bool flag;
    int64_t number, size, time;
    int choice;
    struct conf_list words;
    struct conf_addresses addresses;
    struct conf_networks networks;
    struct conf_blocks places;
};

static const char *const choices[] = {"one", "two", NULL};

#define AT(field) offsetof(struct settings, field)

static const struct conf_param params[] = {
    {"text", CONF_STRING, AT(text), "", 0, 0, NULL, "A text"},
    {"path", CONF_PATH, AT(path), "/", 0, 0, NULL, "A path"},
    {"flag", CONF_BOOL, AT(flag), "no", 0, 0, NULL, "A flag"},
    {"number", CONF_INT, AT(number), "1", 0, INT64_MAX, NULL, "A number"},
    {"size", CONF_SIZE, AT(size), "1k", 0, INT64_MAX, NULL, "A size"},
    {"time", CONF_DURATION, AT(time), "1s", 0, INT64_MAX, NULL, "A time"},
    {"choice", CONF_ENUM, AT(choice), "one", 0, 0, choices, "A choice"},
    {"words", CONF_LIST, AT(words), "a b", 0, 0, NULL, "Words"},
    {"addresses", CONF_ADDRESSES, AT(addresses), "127.0.0.1", 53, 0, NULL, "Addresses"},
    {"networks", CONF_NETWORKS, AT(networks), "::1", 0, 0, NULL, "Networks"},
    {0},
};

static const struct conf_param place_params[] = {
    {"words", CONF_LIST, offsetof(struct place, words), "", 0, 0, NULL, "Words"},
    {"networks", CONF_NETWORKS, offsetof(struct place, networks), "", 0, 0, NULL, "Networks"},
    {0},
};

static const struct conf_block blocks[] = {
    {"place", place_params, sizeof(struct place), AT(places), "A place"},
    {0},
};

static const struct conf_schema schema = {
    .file = "fuzz.conf", .params = params, .blocks = blocks, .size = sizeof(struct settings)};

static void dump(const struct settings *s, struct buf *out)
{
    for (const struct conf_param *row = params; row->name != NULL; row++) {
        buf_printf(out, "%s = ", row->name);
        if (conf_format(row, s, out) < 0)
            abort();
        buf_append_char(out, '\n');
    }
    for (size_t i = 0; i < s->places.count; i++) {
        buf_printf(out, "place \"%zu\" {\n", i);
        for (const struct conf_param *row = place_params; row->name != NULL; row++) {
            buf_printf(out, "%s = ", row->name);
            if (conf_format(row, s->places.items[i], out) < 0)
                abort();
            buf_append_char(out, '\n');
        }
        buf_append_str(out, "}\n");
    }
}

/* Whether the text parses; if so its dump is in out. */
static bool parse(const char *text, struct buf *out)
{
    struct settings s;
    struct buf errors;
    buf_init(&errors, 4096);
    int r = conf_parse(&schema, "fuzz.conf", text, &s, &errors);
    if (r == 0) {
        dump(&s, out);
        conf_free(&schema, &s);
    } else if (errors.len == 0) {
        abort(); /* an error nobody could mend */
    }
    buf_deinit(&errors);
    return r == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = text_dup_n((const char *)data, size);
    struct buf first, second;
    buf_init(&first, 16 * 1024 * 1024);
    buf_init(&second, 16 * 1024 * 1024);
    if (parse(text, &first) && (!parse(buf_str(&first), &second) || strcmp(buf_str(&first), buf_str(&second)) != 0)) {
        fprintf(stderr, "%s---\n%s", buf_str(&first), buf_str(&second));
        abort();
    }
    buf_deinit(&first);
    buf_deinit(&second);
    free(text);
    return 0;
}
