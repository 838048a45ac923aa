#include "tls/tickets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define TICKETS_MAGIC UINT64_C(0x3173746b63697400)

/* Readers that see an odd or a changed version read again. */
struct shared {
    uint64_t magic;
    _Atomic uint32_t version, count;
    struct tls_ticket_key keys[TICKET_KEYS_MAX];
};

struct tickets {
    int fd; /* -1 = a reader's */
    struct shared *shared;
};

static int map(struct tickets *t, int fd, int protection)
{
    void *at = mmap(NULL, sizeof(struct shared), protection, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return -errno;
    t->shared = at;
    /* Fails on systems without it, where core dumps of this program are off anyway. */
    madvise(at, sizeof(struct shared), MADV_DONTDUMP);
    return 0;
}

void tickets_free(struct tickets *t)
{
    if (t == NULL)
        return;
    if (t->shared != NULL)
        munmap(t->shared, sizeof(*t->shared));
    if (t->fd >= 0)
        close(t->fd);
    free(t);
}

static struct tickets *allocate(void)
{
    struct tickets *t = calloc(1, sizeof(*t));
    if (t != NULL)
        t->fd = -1;
    return t;
}

static int prepare(struct tickets *t)
{
    t->fd = memfd_create("tls-tickets", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (t->fd < 0 || ftruncate(t->fd, sizeof(struct shared)) < 0)
        return -errno;
    int r = map(t, t->fd, PROT_READ | PROT_WRITE);
    if (r < 0)
        return r;
    t->shared->magic = TICKETS_MAGIC;
    /* From here on only this mapping writes. */
    if (fcntl(t->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0)
        return -errno;
    return tickets_rotate(t);
}

int tickets_new(struct tickets **out)
{
    struct tickets *t = allocate();
    int r = t != NULL ? prepare(t) : -ENOMEM;
    if (r < 0) {
        tickets_free(t);
        return r;
    }
    *out = t;
    return 0;
}

int tickets_map(int fd, struct tickets **out)
{
    struct stat st;
    struct tickets *t = allocate();
    int r = t == NULL ? -ENOMEM : fstat(fd, &st) < 0 ? -errno : 0;
    if (r == 0)
        r = st.st_size == (off_t)sizeof(struct shared) ? map(t, fd, PROT_READ) : -EINVAL;
    if (r == 0 && t->shared->magic != TICKETS_MAGIC)
        r = -EINVAL;
    if (r < 0) {
        tickets_free(t);
        return r;
    }
    *out = t;
    return 0;
}

int tickets_fd(const struct tickets *t)
{
    return t->fd;
}

int tickets_rotate(struct tickets *t)
{
    struct tls_ticket_key fresh;
    struct shared *s = t->shared;
    if (getrandom(&fresh, sizeof(fresh), 0) != (ssize_t)sizeof(fresh))
        return -EIO;
    uint32_t version = atomic_load_explicit(&s->version, memory_order_relaxed);
    atomic_store_explicit(&s->version, version + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    memmove(&s->keys[1], &s->keys[0], (TICKET_KEYS_MAX - 1) * sizeof(s->keys[0]));
    s->keys[0] = fresh;
    if (s->count < TICKET_KEYS_MAX)
        s->count++;
    atomic_store_explicit(&s->version, version + 2, memory_order_release);
    explicit_bzero(&fresh, sizeof(fresh));
    return 0;
}

size_t tickets_read(const struct tickets *t, struct tls_ticket_key keys[TICKET_KEYS_MAX])
{
    const struct shared *s = t->shared;
    /* A writer that died while it wrote leaves an odd version for good: no tickets then, until it is back. */
    for (int i = 0; i < 1000; i++) {
        uint32_t before = atomic_load_explicit(&s->version, memory_order_acquire);
        size_t count = s->count <= TICKET_KEYS_MAX ? s->count : 0;
        memcpy(keys, s->keys, count * sizeof(keys[0]));
        atomic_thread_fence(memory_order_acquire);
        if (before % 2 == 0 && atomic_load_explicit(&s->version, memory_order_relaxed) == before)
            return count;
    }
    return 0;
}
