#include "ctl/listing.h"

#include <string.h>
#include <time.h>

#define ROW_MAX 65536

void listing_printable(const char *text, struct buf *out)
{
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        if (*p < 0x20 || *p == 0x7f || (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0))
            buf_printf(out, "\\x%02x", *p);
        else
            buf_append_char(out, (char)*p);
    }
}

void listing_format_time(int64_t value_s, struct buf *out)
{
    time_t s = (time_t)value_s;
    struct tm tm;
    char text[64];
    if (value_s == 0 || localtime_r(&s, &tm) == NULL || strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm) == 0)
        buf_append_char(out, '-');
    else
        buf_append_str(out, text);
}

static void flush(struct listing *l)
{
    /* The last column needs no padding. */
    while (!l->as_json && l->row.len > 0 && l->row.data[l->row.len - 1] == ' ')
        buf_truncate(&l->row, l->row.len - 1);
    fwrite(buf_str(&l->row), 1, l->row.len, l->to);
    fputc('\n', l->to);
    buf_clear(&l->row);
}

static size_t characters(const char *s, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)s[i] & 0xc0) != 0x80;
    return n;
}

static void put_cell(struct listing *l, const struct listing_column *c, const char *text)
{
    size_t before = l->row.len;
    if (c->title == NULL)
        return;
    listing_printable(text[0] != '\0' ? text : "-", &l->row);
    for (size_t n = characters(l->row.data + before, l->row.len - before); n < (size_t)c->width; n++)
        buf_append_char(&l->row, ' ');
    buf_append_str(&l->row, "  ");
}

void listing_begin(struct listing *l, FILE *to, bool as_json, const struct listing_column *columns)
{
    *l = (struct listing){.to = to, .as_json = as_json, .columns = columns};
    buf_init(&l->row, ROW_MAX);
    l->json.out = &l->row;
    if (as_json) {
        fputc('[', to);
        return;
    }
    for (const struct listing_column *c = columns; c->key != NULL; c++)
        if (c->title != NULL)
            put_cell(l, c, c->title);
    flush(l);
}

static const struct listing_column *next_column(struct listing *l)
{
    const struct listing_column *c = &l->columns[l->at];
    if (l->at == 0 && l->as_json) {
        fputs(l->rows > 0 ? ",\n" : "\n", l->to);
        l->json.need_comma = false;
        json_begin_object(&l->json, NULL);
    }
    return c;
}

static void column_done(struct listing *l)
{
    if (l->columns[++l->at].key != NULL)
        return;
    l->at = 0;
    l->rows++;
    if (!l->as_json) {
        flush(l);
        return;
    }
    json_end_object(&l->json);
    fwrite(buf_str(&l->row), 1, l->row.len, l->to);
    buf_clear(&l->row);
}

void listing_text(struct listing *l, const char *value)
{
    const struct listing_column *c = next_column(l);
    if (l->as_json)
        json_string(&l->json, c->key, value);
    else
        put_cell(l, c, value);
    column_done(l);
}

void listing_number(struct listing *l, int64_t value)
{
    const struct listing_column *c = next_column(l);
    char text[32];
    snprintf(text, sizeof(text), "%lld", (long long)value);
    if (l->as_json)
        json_number(&l->json, c->key, value);
    else
        put_cell(l, c, text);
    column_done(l);
}

void listing_bool(struct listing *l, bool value)
{
    const struct listing_column *c = next_column(l);
    if (l->as_json)
        json_bool(&l->json, c->key, value);
    else
        put_cell(l, c, value ? "yes" : "no");
    column_done(l);
}

void listing_time(struct listing *l, int64_t value_s)
{
    const struct listing_column *c = next_column(l);
    struct buf text;
    buf_init(&text, 64);
    listing_format_time(value_s, &text);
    if (l->as_json)
        json_time(&l->json, c->key, value_s);
    else
        put_cell(l, c, buf_str(&text));
    buf_deinit(&text);
    column_done(l);
}

void listing_end(struct listing *l)
{
    if (l->as_json)
        fputs(l->rows > 0 ? "\n]\n" : "]\n", l->to);
    buf_deinit(&l->row);
}
