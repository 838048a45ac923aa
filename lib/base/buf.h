/* buf: the one bounded byte buffer that every parser, codec and stream of the tree shares.
 *
 * A buffer owns its memory, grows on demand up to `limit` bytes and never beyond; the bytes are always followed by a
 * NUL that does not count, so text can be read as a C string.  Bytes are taken from the front without moving the rest.
 */
#ifndef POSTHOUSE_BASE_BUF_H
#define POSTHOUSE_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data;      /* first unread byte; NULL while nothing was ever written */
    size_t len;      /* unread bytes */
    char *base;      /* start of the allocation */
    size_t capacity; /* bytes allocated at base */
    size_t limit;    /* the most `len` may become */
};

/* Embedded life.  buf_deinit leaves an empty buffer that can be used again. */
void buf_init(struct buf *b, size_t limit);
void buf_deinit(struct buf *b);

/* Makes room for n more bytes behind the content and returns 0, -ENOBUFS (limit) or -ENOMEM. */
int buf_reserve(struct buf *b, size_t n);
/* The place behind the content; valid for the n bytes last reserved.  buf_added says how many were filled. */
char *buf_tail(struct buf *b);
void buf_added(struct buf *b, size_t n);

/* Append; all or nothing.  0, -ENOBUFS or -ENOMEM. */
int buf_append(struct buf *b, const void *data, size_t len);
int buf_append_str(struct buf *b, const char *s);
int buf_append_char(struct buf *b, char c);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

/* Drops n bytes from the front (n <= len), or all. */
void buf_consume(struct buf *b, size_t n);
void buf_clear(struct buf *b);
/* Cuts the content to its first n bytes. */
void buf_truncate(struct buf *b, size_t n);
/* Gives the memory back when the buffer is empty: what an idle session calls. */
void buf_release(struct buf *b);
/* The same, and when little of a large allocation is in use it moves to a small one: for what waits with half a line.
 */
void buf_trim(struct buf *b);

/* The content as a C string; "" when empty. */
const char *buf_str(const struct buf *b);

#endif
