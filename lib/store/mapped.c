#include "store/mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static int set_lock(struct mapped *m, short type)
{
    struct flock whole = {.l_type = type, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    while (fcntl(m->fd, F_OFD_SETLKW, &whole) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

int mapped_lock(struct mapped *m)
{
    return set_lock(m, F_WRLCK);
}

void mapped_unlock(struct mapped *m)
{
    set_lock(m, F_UNLCK);
}

static int prepare(struct mapped *m, uint64_t magic)
{
    struct stat st;
    if (fstat(m->fd, &st) < 0)
        return -errno;
    bool fresh = st.st_size != (off_t)m->size;
    /* Cut first: what stays would be read as entries. */
    if (fresh && (ftruncate(m->fd, 0) < 0 || ftruncate(m->fd, (off_t)m->size) < 0))
        return -errno;
    void *at = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
    if (at == MAP_FAILED)
        return -errno;
    m->head = at;
    if (m->head->magic == magic)
        return 0;
    if (!fresh)
        memset((char *)at + sizeof(*m->head), 0, m->size - sizeof(*m->head));
    if (getrandom(m->head->key, sizeof(m->head->key), 0) != (ssize_t)sizeof(m->head->key))
        return -EIO;
    m->head->magic = magic;
    return 0;
}

int mapped_open(struct mapped *m, const char *path, const struct mapped_shape *shape, uint64_t magic)
{
    *m = (struct mapped){.size = sizeof(*m->head) + shape->buckets * shape->ways * shape->entry_size, .shape = *shape};
    m->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = m->fd < 0 ? -errno : mapped_lock(m);
    if (r == 0) {
        r = prepare(m, magic);
        mapped_unlock(m);
    }
    return r;
}

void mapped_close(struct mapped *m)
{
    if (m->head != NULL)
        munmap(m->head, m->size);
    if (m->fd >= 0)
        close(m->fd);
    *m = (struct mapped){.fd = -1};
}

int mapped_fingerprint(const struct mapped *m, const char *a, const char *b, uint64_t out[2])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool made = c != NULL && EVP_DigestInit_ex(c, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(c, m->head->key, sizeof(m->head->key)) == 1 &&
                EVP_DigestUpdate(c, a, strlen(a) + 1) == 1 && EVP_DigestUpdate(c, b, strlen(b)) == 1 &&
                EVP_DigestFinal_ex(c, digest, NULL) == 1;
    EVP_MD_CTX_free(c);
    if (!made)
        return -ENOMEM;
    memcpy(out, digest, 2 * sizeof(*out));
    out[0] |= 1;
    return 0;
}

void *mapped_bucket(const struct mapped *m, const uint64_t fingerprint[2])
{
    size_t bucket = fingerprint[1] % m->shape.buckets;
    return (char *)(m->head + 1) + bucket * m->shape.ways * m->shape.entry_size;
}

void *mapped_find(const struct mapped *m, const uint64_t fingerprint[2])
{
    char *entry = mapped_bucket(m, fingerprint);
    for (size_t i = 0; i < m->shape.ways; i++, entry += m->shape.entry_size)
        if (memcmp(entry, fingerprint, 2 * sizeof(*fingerprint)) == 0)
            return entry;
    return NULL;
}
