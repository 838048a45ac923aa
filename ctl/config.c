/* posthouse config ...: the configuration as the programs will see it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "ctl/commands.h"
#include "conf/value.h"
#include "ctl/json.h"
#include "settings/settings.h"

#define OUTPUT_MAX (16 * 1024 * 1024)

/* The settings struct of a schema, loaded, or NULL with the errors printed. */
static void *load(const struct ctl *c, const struct conf_schema *schema)
{
    void *settings = calloc(1, schema->size);
    struct buf errors;
    buf_init(&errors, OUTPUT_MAX);
    int r = -ENOMEM;
    if (settings != NULL)
        r = schema == &settings_posthouse_schema ? settings_posthouse_load(c->config_dir, settings, &errors)
                                                 : conf_load(schema, c->config_dir, settings, &errors);
    if (r < 0) {
        fputs(r == -ENOMEM ? "not enough memory\n" : buf_str(&errors), stderr);
        free(settings);
        settings = NULL;
    }
    buf_deinit(&errors);
    return settings;
}

static void unload(const struct conf_schema *schema, void *settings)
{
    conf_free(schema, settings);
    free(settings);
}

/* -- for people, in the syntax of the files -- */

/* The default in the same form as the value, to compare and to show. */
static void format_default(const struct conf_param *p, size_t size, struct buf *out)
{
    void *settings = calloc(1, size);
    if (settings != NULL && p->default_value != NULL && conf_value_set(p, settings, p->default_value) == 0) {
        conf_format(p, settings, out);
        conf_value_free(p, settings);
    }
    free(settings);
}

static void put_param(const struct conf_param *p, const void *settings, size_t size, struct buf *out)
{
    struct buf value, usual;
    buf_init(&value, OUTPUT_MAX);
    buf_init(&usual, OUTPUT_MAX);
    conf_format(p, settings, &value);
    format_default(p, size, &usual);
    buf_printf(out, "%s = %s", p->name, buf_str(&value));
    if (strcmp(buf_str(&value), buf_str(&usual)) != 0)
        buf_printf(out, "  # default: %s", usual.len > 0 ? usual.data : "empty");
    buf_append_char(out, '\n');
    buf_deinit(&value);
    buf_deinit(&usual);
}

static void put_params(const struct conf_param *params, const void *settings, size_t size, const char *indent,
                       struct buf *out)
{
    for (const struct conf_param *p = params; p->name != NULL; p++) {
        buf_append_str(out, indent);
        put_param(p, settings, size, out);
    }
}

static const struct conf_blocks *blocks_of(const struct conf_block *kind, const void *settings)
{
    return (const struct conf_blocks *)((const char *)settings + kind->offset);
}

static const char *block_name(const void *block)
{
    return *(char *const *)block; /* its first member */
}

static void put_file(const struct conf_schema *schema, const void *settings, struct buf *out)
{
    buf_printf(out, "# %s\n", schema->file);
    put_params(schema->params, settings, schema->size, "", out);
    for (const struct conf_block *kind = schema->blocks; kind != NULL && kind->kind != NULL; kind++) {
        const struct conf_blocks *blocks = blocks_of(kind, settings);
        for (size_t i = 0; i < blocks->count; i++) {
            buf_printf(out, "%s \"%s\" {\n", kind->kind, block_name(blocks->items[i]));
            put_params(kind->params, blocks->items[i], kind->size, "    ", out);
            buf_append_str(out, "}\n");
        }
    }
    buf_append_char(out, '\n');
}

/* -- for programs -- */

static void json_list(struct json *j, const struct conf_param *p, const struct conf_list *list)
{
    json_begin_array(j, p->name);
    for (size_t i = 0; i < list->count; i++)
        json_string(j, NULL, list->items[i]);
    json_end_array(j);
}

static void json_param(struct json *j, const struct conf_param *p, const void *settings)
{
    const char *at = (const char *)settings + p->offset;
    struct buf text;
    switch (p->type) {
    case CONF_BOOL:
        json_bool(j, p->name, *(const bool *)at);
        return;
    case CONF_INT:
    case CONF_SIZE:
        json_number(j, p->name, *(const int64_t *)at);
        return;
    case CONF_STRING:
    case CONF_PATH:
        json_string(j, p->name, *(char *const *)at);
        return;
    case CONF_LIST:
        json_list(j, p, (const struct conf_list *)at);
        return;
    default:
        buf_init(&text, OUTPUT_MAX);
        conf_format(p, settings, &text);
        json_string(j, p->name, buf_str(&text));
        buf_deinit(&text);
    }
}

static void json_params(struct json *j, const struct conf_param *params, const void *settings)
{
    for (const struct conf_param *p = params; p->name != NULL; p++)
        json_param(j, p, settings);
}

static void json_file(struct json *j, const struct conf_schema *schema, const void *settings)
{
    json_begin_object(j, schema->file);
    json_params(j, schema->params, settings);
    for (const struct conf_block *kind = schema->blocks; kind != NULL && kind->kind != NULL; kind++) {
        const struct conf_blocks *blocks = blocks_of(kind, settings);
        json_begin_array(j, kind->kind);
        for (size_t i = 0; i < blocks->count; i++) {
            json_begin_object(j, NULL);
            json_string(j, "name", block_name(blocks->items[i]));
            json_params(j, kind->params, blocks->items[i]);
            json_end_object(j);
        }
        json_end_array(j);
    }
    json_end_object(j);
}

/* -- */

static int print(struct buf *out, int status)
{
    fwrite(buf_str(out), 1, out->len, stdout);
    buf_deinit(out);
    return status;
}

static int show_files(const struct ctl *c, const struct conf_schema *only)
{
    struct buf out;
    struct json j = {.out = &out};
    int status = CTL_OK;
    buf_init(&out, OUTPUT_MAX);
    if (c->json)
        json_begin_object(&j, NULL);
    for (const struct conf_schema *const *s = settings_all; *s != NULL; s++) {
        if (only != NULL && *s != only)
            continue;
        void *settings = load(c, *s);
        if (settings == NULL) {
            status = CTL_FAILED;
            continue;
        }
        if (c->json)
            json_file(&j, *s, settings);
        else
            put_file(*s, settings, &out);
        unload(*s, settings);
    }
    if (c->json) {
        json_end_object(&j);
        buf_append_char(&out, '\n');
    }
    return print(&out, status);
}

/* The bare value, for scripts. */
static int show_value(const struct ctl *c, const struct conf_schema *schema, const char *name)
{
    const struct conf_param *p = schema->params;
    struct buf out;
    while (p->name != NULL && strcmp(p->name, name) != 0)
        p++;
    if (p->name == NULL)
        return ctl_say(CTL_USAGE, "%s has no parameter %s", schema->file, name);
    void *settings = load(c, schema);
    if (settings == NULL)
        return CTL_FAILED;
    buf_init(&out, OUTPUT_MAX);
    struct json j = {.out = &out};
    if (c->json) {
        json_begin_object(&j, NULL);
        json_param(&j, p, settings);
        json_end_object(&j);
    } else if (p->type == CONF_STRING || p->type == CONF_PATH) {
        buf_append_str(&out, *(char *const *)((const char *)settings + p->offset));
    } else {
        conf_format(p, settings, &out);
    }
    buf_append_char(&out, '\n');
    unload(schema, settings);
    return print(&out, CTL_OK);
}

/* "smtpd" and "smtpd.conf" are the same file. */
static const struct conf_schema *find_file(const char *name)
{
    char file[64];
    snprintf(file, sizeof(file), "%.40s%s", name, text_has_suffix_nocase(name, ".conf") ? "" : ".conf");
    return settings_find(file);
}

static int unknown_file(const char *name)
{
    struct buf files;
    buf_init(&files, 4096);
    for (const struct conf_schema *const *s = settings_all; *s != NULL; s++)
        buf_printf(&files, " %s", (*s)->file);
    ctl_say(CTL_USAGE, "%s: expected one of%s", name, buf_str(&files));
    buf_deinit(&files);
    return CTL_USAGE;
}

int config_show(struct ctl *c, const struct args *a)
{
    const struct conf_schema *schema = NULL;
    if (args_at(a, 0) != NULL && (schema = find_file(args_at(a, 0))) == NULL)
        return unknown_file(args_at(a, 0));
    return args_at(a, 1) != NULL ? show_value(c, schema, args_at(a, 1)) : show_files(c, schema);
}

int config_check(struct ctl *c, const struct args *a)
{
    unsigned wrong = 0, files = 0;
    for (const struct conf_schema *const *s = settings_all; *s != NULL; s++, files++) {
        void *settings = load(c, *s);
        if (settings == NULL)
            wrong++;
        else
            unload(*s, settings);
    }
    if (wrong > 0)
        return ctl_say(CTL_FAILED, "%u of %u files in %s have errors", wrong, files, c->config_dir);
    ctl_note(c, "%s is in order", c->config_dir);
    return CTL_OK;
}
