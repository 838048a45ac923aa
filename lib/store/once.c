#include "store/once.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define ONCE_MAGIC UINT64_C(0x3165636e6f687000)
#define BUCKETS    65536
#define WAYS       4

struct entry {
    uint64_t fingerprint[2]; /* 0, 0 = free */
    int64_t time_s;
    char id[ONCE_ID_SIZE]; /* "" = claimed, not finished */
};

/* The file.  Untouched pages take no room. */
struct table {
    uint64_t magic;
    unsigned char key[32]; /* so that fingerprints can not be chosen */
    struct entry entries[BUCKETS][WAYS];
};

struct once {
    int fd;
    struct table *table;
};

/* Between processes; the kernel takes it from one that dies. */
static int lock(struct once *o, short type)
{
    struct flock whole = {.l_type = type, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    while (fcntl(o->fd, F_OFD_SETLKW, &whole) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

static int prepare(struct once *o)
{
    struct stat st;
    if (fstat(o->fd, &st) < 0)
        return -errno;
    if (st.st_size != (off_t)sizeof(struct table) && ftruncate(o->fd, sizeof(struct table)) < 0)
        return -errno;
    o->table = mmap(NULL, sizeof(struct table), PROT_READ | PROT_WRITE, MAP_SHARED, o->fd, 0);
    if (o->table == MAP_FAILED) {
        o->table = NULL;
        return -errno;
    }
    if (o->table->magic == ONCE_MAGIC && st.st_size == (off_t)sizeof(struct table))
        return 0;
    memset(o->table->entries, 0, sizeof(o->table->entries));
    if (getrandom(o->table->key, sizeof(o->table->key), 0) != (ssize_t)sizeof(o->table->key))
        return -EIO;
    o->table->magic = ONCE_MAGIC;
    return 0;
}

int once_open(const char *path, struct once **out)
{
    struct once *o = calloc(1, sizeof(*o));
    if (o == NULL)
        return -ENOMEM;
    o->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = o->fd < 0 ? -errno : lock(o, F_WRLCK);
    if (r == 0) {
        r = prepare(o);
        lock(o, F_UNLCK);
    }
    if (r < 0) {
        once_close(o);
        return r;
    }
    *out = o;
    return 0;
}

void once_close(struct once *o)
{
    if (o == NULL)
        return;
    if (o->table != NULL)
        munmap(o->table, sizeof(*o->table));
    if (o->fd >= 0)
        close(o->fd);
    free(o);
}

static int make_fingerprint(const struct once *o, const char *owner, const char *key, uint64_t out[2])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool made = c != NULL && EVP_DigestInit_ex(c, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(c, o->table->key, sizeof(o->table->key)) == 1 &&
                EVP_DigestUpdate(c, owner, strlen(owner) + 1) == 1 && EVP_DigestUpdate(c, key, strlen(key)) == 1 &&
                EVP_DigestFinal_ex(c, digest, NULL) == 1;
    EVP_MD_CTX_free(c);
    if (!made)
        return -ENOMEM;
    memcpy(out, digest, 2 * sizeof(*out));
    out[0] |= 1; /* never that of a free entry */
    return 0;
}

static struct entry *bucket_of(struct once *o, const uint64_t fingerprint[2])
{
    return o->table->entries[fingerprint[1] % BUCKETS];
}

static struct entry *find(struct once *o, const uint64_t fingerprint[2])
{
    struct entry *bucket = bucket_of(o, fingerprint);
    for (int i = 0; i < WAYS; i++)
        if (memcmp(bucket[i].fingerprint, fingerprint, sizeof(bucket[i].fingerprint)) == 0)
            return &bucket[i];
    return NULL;
}

static bool counts(const struct entry *e, int64_t now_s)
{
    int64_t age_s = now_s - e->time_s;
    return age_s < (e->id[0] != '\0' ? ONCE_KEEP_S : ONCE_PENDING_S);
}

/* A free one, or the oldest. */
static struct entry *find_room(struct once *o, const uint64_t fingerprint[2])
{
    struct entry *bucket = bucket_of(o, fingerprint), *best = bucket;
    for (int i = 0; i < WAYS; i++) {
        if (bucket[i].fingerprint[0] == 0)
            return &bucket[i];
        if (bucket[i].time_s < best->time_s)
            best = &bucket[i];
    }
    return best;
}

int once_claim(struct once *o, const char *owner, const char *key, struct once_claim *claim, char id[ONCE_ID_SIZE])
{
    int64_t now_s = clock_wall_s();
    int r = make_fingerprint(o, owner, key, claim->fingerprint);
    if (r < 0 || (r = lock(o, F_WRLCK)) < 0)
        return r;
    struct entry *e = find(o, claim->fingerprint);
    if (e != NULL && counts(e, now_s)) {
        r = e->id[0] != '\0' ? ONCE_TAKEN : ONCE_PENDING;
        memcpy(id, e->id, ONCE_ID_SIZE);
        id[ONCE_ID_SIZE - 1] = '\0';
    } else {
        if (e == NULL)
            e = find_room(o, claim->fingerprint);
        *e = (struct entry){.fingerprint = {claim->fingerprint[0], claim->fingerprint[1]}, .time_s = now_s};
        r = ONCE_CLAIMED;
    }
    lock(o, F_UNLCK);
    return r;
}

void once_finish(struct once *o, const struct once_claim *claim, const char *id)
{
    if (lock(o, F_WRLCK) < 0)
        return;
    struct entry *e = find(o, claim->fingerprint);
    if (e != NULL)
        snprintf(e->id, sizeof(e->id), "%s", id);
    lock(o, F_UNLCK);
}

void once_give_back(struct once *o, const struct once_claim *claim)
{
    if (lock(o, F_WRLCK) < 0)
        return;
    struct entry *e = find(o, claim->fingerprint);
    if (e != NULL && e->id[0] == '\0')
        *e = (struct entry){0};
    lock(o, F_UNLCK);
}
