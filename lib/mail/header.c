#include "mail/header.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

bool mail_field_is(const struct mail_field *f, const char *name)
{
    return strlen(name) == f->name_len && text_equal_nocase_n(f->raw, name, f->name_len);
}

void mail_header_init(struct mail_header_walker *w, size_t field_limit, size_t total_limit, mail_field_fn *fn,
                      void *arg)
{
    *w = (struct mail_header_walker){.total_limit = total_limit, .at_line_start = true, .fn = fn, .arg = arg};
    buf_init(&w->field, field_limit);
}

void mail_header_deinit(struct mail_header_walker *w)
{
    buf_deinit(&w->field);
}

/* field-name = 1*ftext, visible ASCII without colon; the obsolete syntax allows blanks before the colon. */
static size_t field_name_len(const char *raw, size_t len)
{
    size_t n = 0;
    while (n < len && raw[n] > ' ' && raw[n] < 0x7f && raw[n] != ':')
        n++;
    size_t colon = n;
    while (colon < len && is_blank(raw[colon]))
        colon++;
    return colon < len && raw[colon] == ':' ? n : 0;
}

static int header_emit(struct mail_header_walker *w)
{
    if (w->field.len == 0)
        return 0;
    struct mail_field f = {.raw = w->field.data, .raw_len = w->field.len};
    f.name_len = field_name_len(f.raw, f.raw_len);
    if (f.name_len == 0)
        return MAIL_HEADER_MALFORMED;
    f.value = (const char *)memchr(f.raw + f.name_len, ':', f.raw_len - f.name_len) + 1;
    f.value_len = f.raw_len - (size_t)(f.value - f.raw);
    if (f.value_len > 0 && f.value[f.value_len - 1] == '\n')
        f.value_len--;
    if (f.value_len > 0 && f.value[f.value_len - 1] == '\r')
        f.value_len--;
    int r = w->fn(w->arg, &f);
    buf_clear(&w->field);
    return r;
}

/* The start of a line decides: empty line, continuation or a new field.  A lone CR waits for its LF. */
static int header_line_start(struct mail_header_walker *w, char c)
{
    if (is_blank(c))
        return w->field.len > 0 ? 0 : MAIL_HEADER_MALFORMED;
    return header_emit(w);
}

static int header_keep(struct mail_header_walker *w, const char *data, size_t len)
{
    if (len > w->total_limit - w->total)
        return MAIL_HEADER_TOO_LARGE;
    w->total += len;
    int r = buf_append(&w->field, data, len);
    return r == -ENOBUFS ? MAIL_HEADER_TOO_LARGE : r;
}

int mail_header_feed(struct mail_header_walker *w, const char *data, size_t len, size_t *used)
{
    size_t i = 0;
    int r = 0;
    while (i < len && r == 0) {
        if (w->at_line_start && (r = header_line_start(w, data[i])) != 0)
            break;
        const char *lf = memchr(data + i, '\n', len - i);
        size_t n = lf != NULL ? (size_t)(lf - data) + 1 - i : len - i;
        r = header_keep(w, data + i, n);
        if (r != 0)
            break;
        i += n;
        w->at_line_start = lf != NULL;
        /* header_emit left nothing before an empty line, so it stands alone. */
        if (lf != NULL && (w->field.len == 1 || (w->field.len == 2 && w->field.data[0] == '\r'))) {
            buf_clear(&w->field);
            w->ended = true;
            r = MAIL_HEADER_ENDED;
        }
    }
    *used = i;
    return r;
}

int mail_header_finish(struct mail_header_walker *w)
{
    return w->ended ? 0 : header_emit(w);
}

int mail_header_unfold(const char *value, size_t len, struct buf *out)
{
    while (len > 0 && (is_blank(*value) || *value == '\r' || *value == '\n')) {
        value++;
        len--;
    }
    while (len > 0 && (is_blank(value[len - 1]) || value[len - 1] == '\r' || value[len - 1] == '\n'))
        len--;
    int r = buf_reserve(out, len);
    for (size_t i = 0; r == 0 && i < len; i++)
        if (value[i] != '\r' && value[i] != '\n')
            r = buf_append_char(out, value[i]);
    return r;
}
