#include "smtp/data.h"

#include <string.h>

enum {
    DATA_LINE_START,
    DATA_TEXT,
    DATA_CR,     /* CR inside content, not yet passed on */
    DATA_DOT,    /* dot at the start of a line: stuffing or the end; never passed on */
    DATA_DOT_CR, /* "." CR: the end, if LF follows */
    DATA_ENDED,
};

void smtp_data_decoder_init(struct smtp_data_decoder *d)
{
    *d = (struct smtp_data_decoder){.state = DATA_LINE_START};
}

static int data_emit(struct smtp_data_decoder *d, const char *data, size_t len, smtp_data_sink *sink, void *arg)
{
    d->bytes += len;
    return len > 0 ? sink(arg, data, len) : 0;
}

/* The next LF, looked for only once it was passed, so that no content makes us read the same bytes over and over. */
struct data_lf {
    const char *at; /* the end of the data when there is none; NULL = not looked for */
    const char *end;
};

static size_t data_before_lf(struct data_lf *lf, const char *from)
{
    if (lf->at == NULL || lf->at < from) {
        lf->at = memchr(from, '\n', (size_t)(lf->end - from));
        if (lf->at == NULL)
            lf->at = lf->end;
    }
    return (size_t)(lf->at - from);
}

/* How many bytes are ordinary text: everything but CR and LF. */
static size_t data_text_run(struct smtp_data_decoder *d, const char *data, struct data_lf *lf)
{
    size_t n = data_before_lf(lf, data);
    const char *cr = memchr(data, '\r', n);
    if (cr != NULL)
        n = (size_t)(cr - data);
    d->line_len += n;
    if (d->line_len > d->longest_line)
        d->longest_line = d->line_len;
    return n;
}

static bool data_has_8bit(const char *data, size_t len)
{
    uint64_t seen = 0, eight;
    for (; len >= sizeof(eight); data += sizeof(eight), len -= sizeof(eight)) {
        memcpy(&eight, data, sizeof(eight));
        seen |= eight;
    }
    for (; len > 0; len--)
        seen |= (unsigned char)*data++;
    return (seen & 0x8080808080808080u) != 0;
}

/* What can be told of all bytes at once. */
static void data_look(struct smtp_data_decoder *d, const char *data, size_t len)
{
    d->has_nul = d->has_nul || memchr(data, '\0', len) != NULL;
    d->has_8bit = d->has_8bit || data_has_8bit(data, len);
}

/* The state after byte c was read in a state other than text. */
static int data_step(struct smtp_data_decoder *d, char c)
{
    switch (d->state) {
    case DATA_CR:
        if (c == '\n') {
            d->line_len = 0;
            return DATA_LINE_START;
        }
        d->has_bare_cr = true;
        return c == '\r' ? DATA_CR : DATA_TEXT;
    case DATA_DOT_CR:
        if (c == '\n')
            return DATA_ENDED;
        d->has_bare_cr = true;
        return c == '\r' ? DATA_CR : DATA_TEXT;
    case DATA_DOT:
        if (c == '\r')
            return DATA_DOT_CR;
        d->has_leading_dots |= c == '.';
        return DATA_TEXT;
    case DATA_LINE_START:
        return c == '.' ? DATA_DOT : c == '\r' ? DATA_CR : DATA_TEXT;
    default:
        return c == '\r' ? DATA_CR : DATA_TEXT;
    }
}

/* The decoder walks the bytes once and hands on the longest spans it can: `start` is the first byte not yet passed on.
 * A CR is passed on with what follows it, unless the chunk ends there: then it is passed on at the start of the next
 * one. */
int smtp_data_decode(struct smtp_data_decoder *d, const char *data, size_t len, smtp_data_sink *sink, void *arg,
                     size_t *used)
{
    struct data_lf lf = {.end = data + len};
    size_t start = 0, i = 0;
    int r;
    *used = 0;
    if (d->state == DATA_CR && len > 0 && (r = data_emit(d, "\r", 1, sink, arg)) != 0)
        return r;
    while (i < len && d->state != DATA_ENDED) {
        char c = data[i];
        int before = d->state;
        /* "." CR and then no LF: the CR was content after all. */
        if (before == DATA_DOT_CR && c != '\n' && (r = data_emit(d, "\r", 1, sink, arg)) != 0)
            return r;
        d->state = data_step(d, c);
        if (d->state == DATA_TEXT && c == '\n') {
            d->has_bare_lf = true;
            i++;
        } else if (d->state == DATA_TEXT) {
            i += data_text_run(d, data + i, &lf);
        } else {
            i++;
        }
        if (d->state == DATA_DOT || d->state == DATA_DOT_CR || d->state == DATA_ENDED) {
            /* Pass on what stood before the dot; the dot, and the CR and LF of the end, are not content. */
            size_t content = before == DATA_LINE_START ? i - 1 : start;
            if ((r = data_emit(d, data + start, content - start, sink, arg)) != 0)
                return r;
            start = i;
        }
    }
    *used = i;
    data_look(d, data, i);
    size_t held = d->state == DATA_CR ? 1 : 0;
    if (i > start + held && (r = data_emit(d, data + start, i - start - held, sink, arg)) != 0)
        return r;
    return d->state == DATA_ENDED ? 0 : SMTP_DATA_MORE;
}

void smtp_data_look(struct smtp_data_decoder *d, const char *data, size_t len)
{
    struct data_lf lf = {.end = data + len};
    d->bytes += len;
    data_look(d, data, len);
    for (size_t i = 0; i < len; i++) {
        char c = data[i];
        if (d->state == DATA_CR && c == '\n') {
            d->state = DATA_LINE_START;
            d->line_len = 0;
            continue;
        }
        d->has_bare_cr |= d->state == DATA_CR;
        if (c == '\r') {
            d->state = DATA_CR;
        } else if (c == '\n') {
            d->has_bare_lf = true;
            d->state = DATA_TEXT;
        } else {
            d->has_leading_dots |= d->state == DATA_LINE_START && c == '.';
            d->state = DATA_TEXT;
            i += data_text_run(d, data + i, &lf) - 1;
        }
    }
}

bool smtp_data_look_end(struct smtp_data_decoder *d)
{
    d->has_bare_cr |= d->state == DATA_CR;
    return d->state == DATA_LINE_START;
}

void smtp_data_encoder_init(struct smtp_data_encoder *e)
{
    *e = (struct smtp_data_encoder){0};
}

int smtp_data_encode(struct smtp_data_encoder *e, const char *data, size_t len, struct buf *out)
{
    int r = buf_reserve(out, 2 * len);
    if (r < 0)
        return r;
    while (len > 0) {
        if (!e->inside_line && data[0] == '.')
            buf_append_char(out, '.');
        const char *lf = memchr(data, '\n', len);
        size_t n = lf != NULL ? (size_t)(lf - data) + 1 : len;
        bool line_ended = lf != NULL && (n > 1 ? data[n - 2] == '\r' : e->after_cr);
        buf_append(out, data, n);
        e->inside_line = !line_ended;
        e->after_cr = data[n - 1] == '\r';
        data += n;
        len -= n;
    }
    return 0;
}

int smtp_data_encode_end(struct smtp_data_encoder *e, struct buf *out)
{
    return buf_append_str(out, e->inside_line ? "\r\n.\r\n" : ".\r\n");
}
