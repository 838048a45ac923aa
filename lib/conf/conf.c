#include "conf/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "conf/value.h"

#define CONF_FILE_MAX (1024 * 1024)

/* One pass over one file. */
struct conf_parse {
    const struct conf_schema *schema;
    const char *path;
    void *settings;
    struct buf *errors;
    int line;
    const struct conf_block *block; /* the block we are in, with its struct */
    void *block_settings;
    bool failed;
};

static void complain(struct conf_parse *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void complain(struct conf_parse *p, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_printf(p->errors, "%s:%d: ", p->path, p->line);
    buf_vprintf(p->errors, fmt, ap);
    buf_append_char(p->errors, '\n');
    va_end(ap);
    p->failed = true;
}

static const struct conf_param *find_param(const struct conf_param *params, const char *name)
{
    for (const struct conf_param *row = params; row->name != NULL; row++)
        if (strcmp(row->name, name) == 0)
            return row;
    return NULL;
}

static char *trim(char *s)
{
    while (*s == ' ' || *s == '\t')
        s++;
    size_t n = strlen(s);
    while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t' || s[n - 1] == '\r'))
        s[--n] = '\0';
    return s;
}

static bool is_escape(const char *s)
{
    return s[0] == '\\' && (s[1] == '"' || s[1] == '\\');
}

/* Takes the quotes off a quoted value, in place.  NULL when they do not match; then the text is as it was. */
static char *unquote(char *s)
{
    if (*s != '"')
        return s;
    const char *end = s + 1;
    while (*end != '"' && *end != '\0')
        end += is_escape(end) ? 2 : 1;
    if (*end == '\0' || end[1] != '\0')
        return NULL;
    char *out = s;
    for (const char *in = s + 1; in < end; in++) {
        if (is_escape(in))
            in++;
        *out++ = *in;
    }
    *out = '\0';
    return s;
}

static void drop_comment(char *s)
{
    bool quoted = false;
    for (char *c = s; *c != '\0'; c++) {
        if (*c == '\\' && quoted && c[1] != '\0')
            c++;
        else if (*c == '"')
            quoted = !quoted;
        else if (*c == '#' && !quoted && (c == s || c[-1] == ' ' || c[-1] == '\t')) {
            *c = '\0';
            return;
        }
    }
}

static void assign(struct conf_parse *p, const struct conf_param *params, void *settings, const char *name, char *value)
{
    const struct conf_param *row = find_param(params, name);
    if (row == NULL) {
        complain(p, "%s: no such parameter%s%s", name, p->block != NULL ? " in a block of kind " : "",
                 p->block != NULL ? p->block->kind : "");
        return;
    }
    char *text = unquote(value);
    if (text == NULL) {
        complain(p, "%s = %s: expected a closing double quote at the end of the line", name, value);
        return;
    }
    int r = conf_value_set(row, settings, text);
    if (r == -ENOMEM) {
        complain(p, "%s: out of memory", name);
    } else if (r < 0) {
        struct buf expected;
        buf_init(&expected, 4096);
        conf_expected(row, &expected);
        complain(p, "%s = %s: expected %s", name, text, buf_str(&expected));
        buf_deinit(&expected);
    }
}

static void free_params(const struct conf_param *params, void *settings)
{
    for (const struct conf_param *row = params; row->name != NULL; row++)
        conf_value_free(row, settings);
}

static int set_defaults(const struct conf_param *params, void *settings)
{
    for (const struct conf_param *row = params; row->name != NULL; row++) {
        int r = conf_value_set(row, settings, row->default_value);
        if (r < 0)
            return r;
    }
    return 0;
}

static struct conf_blocks *blocks_of(const struct conf_block *block, void *settings)
{
    return (struct conf_blocks *)((char *)settings + block->offset);
}

static void free_block(const struct conf_block *block, void *item)
{
    free_params(block->params, item);
    free(*(char **)item);
    free(item);
}

static void *new_block(const struct conf_block *block, const char *name)
{
    void *item = calloc(1, block->size);
    if (item == NULL)
        return NULL;
    *(char **)item = strdup(name);
    if (*(char **)item == NULL || set_defaults(block->params, item) < 0) {
        free_block(block, item);
        return NULL;
    }
    return item;
}

static void open_block(struct conf_parse *p, char *line)
{
    char *brace = line + strlen(line) - 1;
    *brace = '\0';
    char *kind = trim(line), *space = strpbrk(kind, " \t\"");
    char *name = space != NULL ? trim(space) : (char *)"";
    char *quoted = space != NULL && *space == '"' ? space : name;
    char kind_text[64];
    size_t kind_len = space != NULL ? (size_t)(space - kind) : strlen(kind);
    if (kind_len >= sizeof(kind_text))
        kind_len = sizeof(kind_text) - 1;
    memcpy(kind_text, kind, kind_len);
    kind_text[kind_len] = '\0';
    const struct conf_block *block = p->schema->blocks;
    while (block != NULL && block->kind != NULL && strcmp(block->kind, kind_text) != 0)
        block++;
    if (p->block != NULL || block == NULL || block->kind == NULL) {
        complain(p, "%s: %s", kind_text,
                 p->block != NULL ? "a block can not stand inside another" : "no such kind of block");
        return;
    }
    name = unquote(quoted);
    if (name == NULL || *name == '\0') {
        complain(p, "%s: expected a name and '{', as in: %s \"name\" {", kind_text, kind_text);
        return;
    }
    struct conf_blocks *all = blocks_of(block, p->settings);
    for (size_t i = 0; i < all->count; i++)
        if (strcmp(*(char **)all->items[i], name) == 0)
            complain(p, "%s \"%s\": a second block of this name", kind_text, name);
    void *item = new_block(block, name);
    void **grown = item != NULL ? realloc(all->items, (all->count + 1) * sizeof(void *)) : NULL;
    if (grown == NULL) {
        if (item != NULL)
            free_block(block, item);
        complain(p, "%s: out of memory", kind_text);
        return;
    }
    all->items = grown;
    all->items[all->count++] = item;
    p->block = block;
    p->block_settings = item;
}

static void parse_line(struct conf_parse *p, char *raw)
{
    drop_comment(raw);
    char *line = trim(raw);
    if (*line == '\0')
        return;
    if (strcmp(line, "}") == 0) {
        if (p->block == NULL)
            complain(p, "'}' without a block");
        p->block = NULL;
        return;
    }
    char *equals = strchr(line, '=');
    if (equals == NULL || (strchr(line, '"') != NULL && strchr(line, '"') < equals)) {
        if (line[strlen(line) - 1] == '{')
            open_block(p, line);
        else
            complain(p, "%s: expected \"name = value\"", line);
        return;
    }
    *equals = '\0';
    char *name = trim(line), *value = trim(equals + 1);
    if (p->block != NULL)
        assign(p, p->block->params, p->block_settings, name, value);
    else
        assign(p, p->schema->params, p->settings, name, value);
}

static int parse_lines(struct conf_parse *p, const char *text)
{
    _cleanup_(freep) char *copy = strdup(text);
    if (copy == NULL)
        return -ENOMEM;
    char *rest = copy;
    p->line = 0;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        p->line++;
        parse_line(p, line);
    }
    if (p->block != NULL)
        complain(p, "the block of kind %s is not closed: expected '}'", p->block->kind);
    p->block = NULL;
    return 0;
}

/* Whether the file named no block of the kind that the default blocks are of. */
static bool wants_default_blocks(const struct conf_schema *schema, void *settings)
{
    if (schema->default_blocks == NULL)
        return false;
    for (const struct conf_block *b = schema->blocks; b != NULL && b->kind != NULL; b++)
        if (text_has_prefix(schema->default_blocks, b->kind) && blocks_of(b, settings)->count > 0)
            return false;
    return true;
}

int conf_parse(const struct conf_schema *schema, const char *path, const char *text, void *settings, struct buf *errors)
{
    struct conf_parse p = {.schema = schema, .path = path, .settings = settings, .errors = errors};
    memset(settings, 0, schema->size);
    int r = set_defaults(schema->params, settings);
    if (r == 0)
        r = parse_lines(&p, text);
    if (r == 0 && !p.failed && wants_default_blocks(schema, settings))
        r = parse_lines(&p, schema->default_blocks);
    if (r < 0)
        buf_printf(errors, "%s: defaults can not be set: %s\n", path, text_errno(r));
    if (r == 0 && !p.failed && schema->check != NULL) {
        struct buf why;
        buf_init(&why, 4096);
        if (schema->check(settings, &why) < 0) {
            buf_printf(errors, "%s: %s\n", path, buf_str(&why));
            p.failed = true;
        }
        buf_deinit(&why);
    }
    if (r < 0 || p.failed) {
        conf_free(schema, settings);
        return r < 0 ? r : -EINVAL;
    }
    return 0;
}

static int read_file(const char *path, struct buf *text)
{
    _cleanup_(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    for (;;) {
        int r = buf_reserve(text, 65536);
        if (r < 0)
            return r == -ENOBUFS ? -EFBIG : r;
        ssize_t n = read(fd, buf_tail(text), 65536);
        if (n < 0)
            return -errno;
        if (n == 0)
            return memchr(buf_str(text), '\0', text->len) != NULL ? -EINVAL : 0;
        buf_added(text, (size_t)n);
    }
}

int conf_load(const struct conf_schema *schema, const char *dir, void *settings, struct buf *errors)
{
    _cleanup_(freep) char *path = text_format("%s/%s", dir, schema->file);
    struct buf text;
    buf_init(&text, CONF_FILE_MAX);
    int r = path == NULL ? -ENOMEM : read_file(path, &text);
    if (r < 0)
        buf_printf(errors, "%s: can not be read: %s\n", path != NULL ? path : schema->file, text_errno(r));
    else
        r = conf_parse(schema, path, buf_str(&text), settings, errors);
    buf_deinit(&text);
    return r;
}

void conf_free(const struct conf_schema *schema, void *settings)
{
    free_params(schema->params, settings);
    for (const struct conf_block *b = schema->blocks; b != NULL && b->kind != NULL; b++) {
        struct conf_blocks *all = blocks_of(b, settings);
        for (size_t i = 0; i < all->count; i++)
            free_block(b, all->items[i]);
        free(all->items);
    }
    memset(settings, 0, schema->size);
}
