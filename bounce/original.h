/* original: as much of the failed message as a notice returns, read from the descriptor that qmgr passed. */
#ifndef POSTHOUSE_BOUNCE_ORIGINAL_H
#define POSTHOUSE_BOUNCE_ORIGINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct original {
    char *data; /* CRLF lines, the last one ended */
    size_t len;
    bool whole;       /* header and body; otherwise the header, perhaps cut */
    bool eight_bit;   /* bytes above 127 … */
    bool utf8_header; /* … and some of them in its header */
};

/* Reads the content at offset: all of it when wanted and not longer than limit, else the header, of which fields that
 * do not fit are left out.  May block on the disk.  0, -EPROTO (the file is shorter than it should be), -ENOMEM,
 * -errno. */
int original_read(int fd, uint64_t offset, uint64_t length, bool want_whole, size_t limit, struct original *out);
/* The same judgement over bytes that are in memory; takes over data (malloc'ed).  complete: nothing was left out. */
void original_take(char *data, size_t len, bool complete, bool want_whole, struct original *out);
void original_free(struct original *o);

#endif
