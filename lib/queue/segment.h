/* segment: the bytes of a journal segment: two copies of its header, then records in groups.
 *
 *     page 0, 1   header: generation, and from where on records are still needed; written in turn, the newer one counts
 *     page 2 …    groups: each begins on a page; records one behind the other, 8-byte aligned; zeros up to the next
 * page
 *
 * A record holds a whole queue file as it was committed.  Its checksum covers all of it; generation and a sequence that
 * only grows tell it from what an earlier use of the segment left behind.  Numbers are in the machine's byte order: a
 * journal is read where it was written. */
#ifndef POSTHOUSE_QUEUE_SEGMENT_H
#define POSTHOUSE_QUEUE_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "queue/id.h"

#define SEGMENT_PAGE      4096
#define SEGMENT_DATA      (2 * SEGMENT_PAGE) /* where the first group begins */
#define SEGMENT_ALIGNMENT 8

struct segment_header {
    uint64_t generation; /* random, never 0 */
    uint64_t count;      /* of headers ever written here: the higher is the newer */
    uint64_t from;       /* offset of the first record that a recovery looks at; SEGMENT_NOTHING = none */
    bool suspect;        /* files may have been lost before from moved on: recover whatever the boot id */
};
#define SEGMENT_NOTHING UINT64_MAX

/* The header as text of SEGMENT_PAGE bytes, to be written to page count & 1. */
void segment_header_format(const struct segment_header *h, char page[SEGMENT_PAGE]);
/* The newer of the two.  0; -EPROTO: neither is valid, so nothing was promised in this segment. */
int segment_header_parse(const char pages[SEGMENT_DATA], struct segment_header *out);

enum segment_kind {
    SEGMENT_MESSAGE = 1, /* a queue file */
    SEGMENT_VOID,        /* the message of this id was refused after all */
};

struct segment_record {
    enum segment_kind kind;
    uint64_t generation, sequence;
    uint64_t boot;    /* which run of the machine: segment_boot */
    uint64_t time_ns; /* since the machine started */
    char id[QUEUE_ID_SIZE];
    const char *data; /* the queue file */
    uint32_t length;
};

#define SEGMENT_RECORD_HEAD 64
struct segment_head {
    char bytes[SEGMENT_RECORD_HEAD];
};
/* Checksum and all; the data follows it on disk, padded with zeros to SEGMENT_ALIGNMENT. */
void segment_record_format(const struct segment_record *r, struct segment_head *head);
size_t segment_record_size(uint32_t length);
/* The next valid record at or behind *at (an offset in data, which begins at a page), which moves behind it.  What is
 * damaged is skipped page by page.  false: there is none. */
bool segment_next(const char *data, size_t len, uint64_t generation, size_t *at, struct segment_record *out);

/* A number for this run of the machine, from its boot id; 0 = the machine does not tell. */
uint64_t segment_boot(void);
/* Nanoseconds since the machine started: a clock that nobody sets. */
uint64_t segment_time_ns(void);

#endif
