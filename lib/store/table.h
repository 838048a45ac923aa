/* table: entries of one size, found by keyed fingerprints, in a file that several processes share.
 *
 * It is read and written, not mapped: where a full or failing disk can not give a page of a map, the kernel ends the
 * process, and here it is an error.  An entry is found in its bucket or nowhere; what to give up for a new one is its
 * owner's choice. */
#ifndef POSTHOUSE_STORE_TABLE_H
#define POSTHOUSE_STORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TABLE_BUCKET_MAX = 1024, TABLE_KEY_BYTES = 32 };

/* Buckets of a few entries of one size, each beginning with its fingerprint (0, 0 = free). */
struct table_shape {
    size_t entry_size, ways, buckets; /* entry_size * ways is at most TABLE_BUCKET_MAX */
};

struct table {
    int fd;
    struct table_shape shape;
    unsigned char key[TABLE_KEY_BYTES]; /* of this file, so that fingerprints can not be chosen */
    _Alignas(uint64_t) unsigned char bucket[TABLE_BUCKET_MAX]; /* the one that was read */
    uint64_t at;                                               /* its place in the file */
};

/* Opens the file, making it when there is none; one of another size or magic begins anew.  Buckets that were never
 * written take no room.  0 or -errno; to be closed in any case. */
int table_open(struct table *t, const char *path, const struct table_shape *shape, uint64_t magic);
void table_close(struct table *t);

/* Of two texts; never 0 in its first half.  0 or -ENOMEM. */
int table_fingerprint(const struct table *t, const char *a, const char *b, uint64_t out[2]);

/* Locks the table and reads the bucket that this fingerprint belongs to.  0 or -errno, then nothing is locked.  The
 * lock is between processes, not between threads; the kernel takes it from one that dies. */
int table_begin(struct table *t, const uint64_t fingerprint[2]);
/* Writes the bucket if it changed, and unlocks.  0 or -errno. */
int table_end(struct table *t, bool changed);
/* Reads the bucket without the lock, for what may be a moment old.  0 or -errno. */
int table_look(struct table *t, const uint64_t fingerprint[2]);

/* Of the bucket that was read: its first entry, and the one with this fingerprint or NULL. */
void *table_bucket(struct table *t);
void *table_find(struct table *t, const uint64_t fingerprint[2]);

#endif
