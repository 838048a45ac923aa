#include "smtp/reply.h"

#include <errno.h>
#include <string.h>

/* Code and enhanced code take at most 4 + 10 bytes of a line. */
#define REPLY_TEXT_ROOM (SMTP_REPLY_OUT_LINE_MAX - 14)

static int reply_line(struct buf *out, unsigned code, bool last, const char *enhanced, const char *text, size_t len)
{
    int r = buf_printf(out, "%03u%c%s%s", code, last ? ' ' : '-', enhanced, enhanced[0] != '\0' ? " " : "");
    if (r == 0)
        r = buf_reserve(out, len + 2);
    if (r < 0)
        return r;
    char *tail = buf_tail(out);
    for (size_t i = 0; i < len; i++)
        tail[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i];
    buf_added(out, len);
    return buf_append(out, "\r\n", 2);
}

int smtp_reply_format(struct buf *out, unsigned code, const char *enhanced, const char *text)
{
    size_t before = out->len;
    for (;;) {
        size_t len = strcspn(text, "\n");
        bool last = text[len] == '\0';
        int r = reply_line(out, code, last, enhanced, text, len < REPLY_TEXT_ROOM ? len : REPLY_TEXT_ROOM);
        if (r < 0) {
            buf_truncate(out, before);
            return r;
        }
        if (last)
            return 0;
        text += len + 1;
    }
}

void smtp_reply_init(struct smtp_reply *r)
{
    *r = (struct smtp_reply){0};
    buf_init(&r->text, SMTP_REPLY_TEXT_MAX);
}

void smtp_reply_deinit(struct smtp_reply *r)
{
    buf_deinit(&r->text);
}

static void reply_restart(struct smtp_reply *r)
{
    r->code = 0;
    r->status = (struct mail_status){0};
    r->lines = 0;
    buf_clear(&r->text);
}

/* Three digits, the first 2 to 5, then a blank, a hyphen or the end of the line. */
static bool reply_code(const char *line, size_t len, unsigned *code)
{
    if (len < 3 || line[0] < '2' || line[0] > '5' || line[1] < '0' || line[1] > '9' || line[2] < '0' || line[2] > '9')
        return false;
    if (len > 3 && line[3] != ' ' && line[3] != '-')
        return false;
    *code = (unsigned)((line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0'));
    return true;
}

static int reply_keep_text(struct smtp_reply *r, const char *text, size_t len)
{
    struct mail_status status;
    if (r->status.class == 0 && mail_status_parse(text, len, &status) > 0 && status.class == r->code / 100)
        r->status = status;
    size_t room = r->text.limit - r->text.len;
    if (room == 0)
        return 0;
    if (r->lines > 1) {
        int e = buf_append_char(&r->text, '\n');
        if (e < 0)
            return e;
        room--;
    }
    return buf_append(&r->text, text, len < room ? len : room);
}

/* 0 = the reply ends with this line. */
static int reply_add_line(struct smtp_reply *r, const char *line, size_t len)
{
    unsigned code;
    if (!reply_code(line, len, &code) || r->lines >= SMTP_REPLY_LINES_MAX)
        return SMTP_REPLY_MALFORMED;
    /* RFC 5321 section 4.2.1: all lines carry the same code. */
    if (r->lines > 0 && code != r->code)
        return SMTP_REPLY_MALFORMED;
    r->code = code;
    r->lines++;
    size_t text = len > 4 ? 4 : len;
    int e = reply_keep_text(r, line + text, len - text);
    if (e < 0)
        return e;
    return len > 3 && line[3] == '-' ? SMTP_REPLY_MORE : 0;
}

int smtp_reply_take(struct smtp_reply *r, struct buf *in)
{
    if (!r->partial)
        reply_restart(r);
    r->partial = true;
    for (;;) {
        size_t scan = in->len < SMTP_REPLY_LINE_MAX ? in->len : SMTP_REPLY_LINE_MAX;
        const char *end = scan > 0 ? memchr(in->data, '\n', scan) : NULL;
        if (end == NULL)
            return scan < SMTP_REPLY_LINE_MAX ? SMTP_REPLY_MORE : SMTP_REPLY_MALFORMED;
        size_t whole = (size_t)(end - in->data) + 1, len = whole - 1;
        if (len > 0 && in->data[len - 1] == '\r')
            len--;
        int e = reply_add_line(r, in->data, len);
        buf_consume(in, whole);
        if (e != SMTP_REPLY_MORE) {
            r->partial = false;
            return e;
        }
    }
}

int smtp_reply_flatten(const struct smtp_reply *r, struct buf *out)
{
    int e = buf_printf(out, "%03u%s", r->code, r->text.len > 0 ? " " : "");
    for (size_t i = 0; e == 0 && i < r->text.len; i++)
        e = r->text.data[i] == '\n' ? buf_append(out, "; ", 2) : buf_append_char(out, r->text.data[i]);
    return e;
}
