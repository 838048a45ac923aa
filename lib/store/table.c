#include "store/table.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* How every such file begins. */
struct head {
    uint64_t magic;
    unsigned char key[TABLE_KEY_BYTES];
};

static size_t bucket_size(const struct table *t)
{
    return t->shape.ways * t->shape.entry_size;
}

static int set_lock(struct table *t, short type)
{
    struct flock whole = {.l_type = type, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    while (fcntl(t->fd, F_OFD_SETLKW, &whole) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

/* 0, also at the file's end, where there is nothing but zeroes; or -errno. */
static int read_at(int fd, void *data, size_t size, uint64_t at)
{
    ssize_t n = pread(fd, data, size, (off_t)at);
    if (n < 0)
        return -errno;
    memset((char *)data + n, 0, size - (size_t)n);
    return 0;
}

static int write_at(int fd, const void *data, size_t size, uint64_t at)
{
    ssize_t n = pwrite(fd, data, size, (off_t)at);
    return n < 0 ? -errno : (size_t)n == size ? 0 : -ENOSPC;
}

/* Cut first: what stays would be read as entries. */
static int begin_anew(int fd, off_t size, uint64_t magic, struct head *head)
{
    *head = (struct head){.magic = magic};
    if (getrandom(head->key, sizeof(head->key), 0) != (ssize_t)sizeof(head->key))
        return -EIO;
    if (ftruncate(fd, 0) < 0 || ftruncate(fd, size) < 0)
        return -errno;
    return write_at(fd, head, sizeof(*head), 0);
}

static int prepare(struct table *t, uint64_t magic)
{
    struct head head;
    struct stat st;
    off_t size = (off_t)(sizeof(head) + t->shape.buckets * bucket_size(t));
    if (fstat(t->fd, &st) < 0)
        return -errno;
    int r = read_at(t->fd, &head, sizeof(head), 0);
    if (r == 0 && (st.st_size != size || head.magic != magic))
        r = begin_anew(t->fd, size, magic, &head);
    memcpy(t->key, head.key, sizeof(t->key));
    return r;
}

int table_open(struct table *t, const char *path, const struct table_shape *shape, uint64_t magic)
{
    *t = (struct table){.shape = *shape, .fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
    int r = t->fd < 0 ? -errno : set_lock(t, F_WRLCK);
    if (r == 0) {
        r = prepare(t, magic);
        set_lock(t, F_UNLCK);
    }
    return r;
}

void table_close(struct table *t)
{
    if (t->fd >= 0)
        close(t->fd);
    *t = (struct table){.fd = -1};
}

int table_fingerprint(const struct table *t, const char *a, const char *b, uint64_t out[2])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool made = c != NULL && EVP_DigestInit_ex(c, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(c, t->key, sizeof(t->key)) == 1 && EVP_DigestUpdate(c, a, strlen(a) + 1) == 1 &&
                EVP_DigestUpdate(c, b, strlen(b)) == 1 && EVP_DigestFinal_ex(c, digest, NULL) == 1;
    EVP_MD_CTX_free(c);
    if (!made)
        return -ENOMEM;
    memcpy(out, digest, 2 * sizeof(*out));
    out[0] |= 1;
    return 0;
}

int table_look(struct table *t, const uint64_t fingerprint[2])
{
    t->at = sizeof(struct head) + fingerprint[1] % t->shape.buckets * bucket_size(t);
    return read_at(t->fd, t->bucket, bucket_size(t), t->at);
}

int table_begin(struct table *t, const uint64_t fingerprint[2])
{
    int r = set_lock(t, F_WRLCK);
    if (r < 0)
        return r;
    r = table_look(t, fingerprint);
    if (r < 0)
        set_lock(t, F_UNLCK);
    return r;
}

int table_end(struct table *t, bool changed)
{
    int r = changed ? write_at(t->fd, t->bucket, bucket_size(t), t->at) : 0;
    set_lock(t, F_UNLCK);
    return r;
}

void *table_bucket(struct table *t)
{
    return t->bucket;
}

void *table_find(struct table *t, const uint64_t fingerprint[2])
{
    unsigned char *entry = t->bucket;
    for (size_t i = 0; i < t->shape.ways; i++, entry += t->shape.entry_size)
        if (memcmp(entry, fingerprint, 2 * sizeof(*fingerprint)) == 0)
            return entry;
    return NULL;
}
