#include "smtp/line.h"

#include <string.h>

void smtp_line_reader_init(struct smtp_line_reader *reader)
{
    *reader = (struct smtp_line_reader){0};
    buf_init(&reader->line, SMTP_AUTH_LINE_MAX);
}

void smtp_line_reader_deinit(struct smtp_line_reader *reader)
{
    buf_deinit(&reader->line);
}

void smtp_line_reader_rest(struct smtp_line_reader *reader)
{
    buf_clear(&reader->line);
    buf_release(&reader->line);
}

static int line_offence(struct buf *in, size_t at, int result)
{
    buf_consume(in, at + 1);
    return result;
}

/* Drops what belongs to the over-long line; a CR at the end stays, its LF may follow. */
static int line_skip(struct smtp_line_reader *reader, struct buf *in)
{
    const char *end = in->len > 1 ? memmem(in->data, in->len, "\r\n", 2) : NULL;
    if (end != NULL) {
        buf_consume(in, (size_t)(end - in->data) + 2);
        reader->skipping = false;
        return SMTP_LINE_TOO_LONG;
    }
    buf_consume(in, in->len > 0 && in->data[in->len - 1] == '\r' ? in->len - 1 : in->len);
    return SMTP_LINE_MORE;
}

static int line_keep(struct smtp_line_reader *reader, struct buf *in, size_t n, size_t end, char **line, size_t *len)
{
    buf_clear(&reader->line);
    int r = buf_append(&reader->line, in->data, n);
    if (r < 0)
        return r;
    explicit_bzero(in->data, n);
    buf_consume(in, n + end);
    *line = reader->line.data;
    *len = n;
    return 0;
}

int smtp_line_take(struct smtp_line_reader *reader, struct buf *in, size_t max, bool lf_ends, char **line, size_t *len)
{
    if (reader->skipping)
        return line_skip(reader, in);
    for (size_t i = 0; i < in->len; i++) {
        char c = in->data[i];
        if (i + 1 >= max && c != '\n') {
            reader->skipping = true;
            return line_skip(reader, in);
        }
        if (c == '\0')
            return line_offence(in, i, SMTP_LINE_NUL);
        if (c == '\n' && lf_ends)
            return line_keep(reader, in, i, 1, line, len);
        if (c == '\n')
            return line_offence(in, i, SMTP_LINE_BARE_LF);
        if (c != '\r')
            continue;
        if (i + 1 == in->len)
            return SMTP_LINE_MORE;
        if (in->data[i + 1] != '\n')
            return line_offence(in, i, SMTP_LINE_BARE_CR);
        return line_keep(reader, in, i, 2, line, len);
    }
    return SMTP_LINE_MORE;
}
