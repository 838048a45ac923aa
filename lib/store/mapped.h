/* mapped: a table of fixed size in a file that several processes map, found by keyed fingerprints.  Private to
 * lib/store. */
#ifndef POSTHOUSE_STORE_MAPPED_H
#define POSTHOUSE_STORE_MAPPED_H

#include <stddef.h>
#include <stdint.h>

/* How every such file begins.  Untouched pages of it take no room. */
struct mapped_head {
    uint64_t magic;
    unsigned char key[32]; /* so that fingerprints can not be chosen */
};

/* What stands behind the head: buckets of a few entries of one size, each beginning with its fingerprint (0, 0 = free).
 */
struct mapped_shape {
    size_t entry_size, buckets, ways;
};

struct mapped {
    int fd;
    size_t size;
    struct mapped_shape shape;
    struct mapped_head *head; /* NULL = not open */
};

/* Maps the file, making it when there is none; one of another size or magic begins anew.  0 or -errno; to be closed in
 * any case. */
int mapped_open(struct mapped *m, const char *path, const struct mapped_shape *shape, uint64_t magic);
void mapped_close(struct mapped *m);

/* Between processes, not between threads; the kernel takes it from one that dies.  0 or -errno. */
int mapped_lock(struct mapped *m);
void mapped_unlock(struct mapped *m);

/* Of two texts; never 0 in its first half.  0 or -ENOMEM. */
int mapped_fingerprint(const struct mapped *m, const char *a, const char *b, uint64_t out[2]);

/* The first entry of the bucket that this fingerprint belongs to. */
void *mapped_bucket(const struct mapped *m, const uint64_t fingerprint[2]);
/* Its entry there, or NULL. */
void *mapped_find(const struct mapped *m, const uint64_t fingerprint[2]);

#endif
