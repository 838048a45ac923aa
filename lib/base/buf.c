#include "base/buf.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST_ALLOCATION 256
#define BUF_TRIM_FROM        2048

void buf_init(struct buf *b, size_t limit)
{
    *b = (struct buf){.limit = limit};
}

void buf_deinit(struct buf *b)
{
    free(b->base);
    *b = (struct buf){.limit = b->limit};
}

int buf_reserve(struct buf *b, size_t n)
{
    if (n > b->limit || b->len > b->limit - n)
        return -ENOBUFS;
    size_t before = (size_t)(b->data - b->base);
    size_t need = b->len + n + 1;
    if (b->base != NULL && before + need <= b->capacity)
        return 0;
    if (b->base != NULL && need <= b->capacity && before >= b->len) {
        memmove(b->base, b->data, b->len);
        b->data = b->base;
        b->data[b->len] = '\0';
        return 0;
    }
    size_t capacity = b->capacity > 0 ? b->capacity : BUF_FIRST_ALLOCATION;
    /* Bytes go in behind while others are taken from the front: twice the room, or every few bytes move all the rest.
     */
    if (before > 0 && capacity / 2 < need)
        capacity *= 2;
    while (capacity < need)
        capacity *= 2;
    char *fresh = malloc(capacity);
    if (fresh == NULL)
        return -ENOMEM;
    if (b->len > 0)
        memcpy(fresh, b->data, b->len);
    fresh[b->len] = '\0';
    free(b->base);
    b->base = b->data = fresh;
    b->capacity = capacity;
    return 0;
}

char *buf_tail(struct buf *b)
{
    return b->data + b->len;
}

void buf_added(struct buf *b, size_t n)
{
    b->len += n;
    b->data[b->len] = '\0';
}

int buf_append(struct buf *b, const void *data, size_t len)
{
    int r = buf_reserve(b, len);
    if (r < 0)
        return r;
    if (len > 0)
        memcpy(buf_tail(b), data, len);
    buf_added(b, len);
    return 0;
}

int buf_append_str(struct buf *b, const char *s)
{
    return buf_append(b, s, strlen(s));
}

int buf_append_char(struct buf *b, char c)
{
    return buf_append(b, &c, 1);
}

int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    /* Most texts fit in the room there is. */
    size_t before = (size_t)(b->data - b->base), room = b->base != NULL ? b->capacity - before - b->len : 0;
    int n = vsnprintf(room > 0 ? buf_tail(b) : NULL, room, fmt, ap);
    bool fits = n >= 0 && (size_t)n < room && (size_t)n <= b->limit - b->len;
    int r = n < 0 ? -EINVAL : fits ? 0 : buf_reserve(b, (size_t)n);
    if (r == 0) {
        if (!fits)
            vsnprintf(buf_tail(b), (size_t)n + 1, fmt, again);
        buf_added(b, (size_t)n);
    } else if (room > 0) {
        b->data[b->len] = '\0';
    }
    va_end(again);
    return r;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = buf_vprintf(b, fmt, ap);
    va_end(ap);
    return r;
}

void buf_consume(struct buf *b, size_t n)
{
    b->data += n;
    b->len -= n;
    if (b->len == 0)
        buf_clear(b);
}

void buf_clear(struct buf *b)
{
    b->data = b->base;
    b->len = 0;
    if (b->base != NULL)
        b->base[0] = '\0';
}

void buf_truncate(struct buf *b, size_t n)
{
    if (n >= b->len)
        return;
    b->len = n;
    b->data[n] = '\0';
}

void buf_release(struct buf *b)
{
    if (b->len == 0)
        buf_deinit(b);
}

void buf_trim(struct buf *b)
{
    buf_release(b);
    if (b->capacity < BUF_TRIM_FROM || b->len >= b->capacity / 4)
        return;
    struct buf small;
    buf_init(&small, b->limit);
    if (buf_append(&small, b->data, b->len) < 0)
        return; /* stays where it is */
    buf_deinit(b);
    *b = small;
}

const char *buf_str(const struct buf *b)
{
    return b->len > 0 ? b->data : "";
}
