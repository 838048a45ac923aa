#include "ipc/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void put_u32(char *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (char)(value >> 8 * i);
}

static uint32_t get_u32(const char *from)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++)
        value |= (uint32_t)(unsigned char)from[i] << 8 * i;
    return value;
}

void wire_batch_init(struct wire_batch *b)
{
    *b = (struct wire_batch){0};
    buf_init(&b->record, WIRE_RECORD_MAX);
}

static void batch_clear(struct wire_batch *b)
{
    while (b->fd_count > 0)
        close(b->fds[--b->fd_count]);
    if (b->record.capacity > 2 * WIRE_FULL_BYTES)
        buf_deinit(&b->record);
    else
        buf_clear(&b->record);
}

void wire_batch_deinit(struct wire_batch *b)
{
    batch_clear(b);
    buf_deinit(&b->record);
}

static bool batch_is_full(const struct wire_batch *b)
{
    return b->record.len >= WIRE_FULL_BYTES || b->fd_count == WIRE_FDS_MAX;
}

int wire_batch_add(struct wire_batch *b, enum ipc_type type, const void *message, int fd)
{
    const size_t before = b->record.len;
    char length[4] = {0};
    int copy = -1;
    if (batch_is_full(b))
        return -EAGAIN;
    if (fd >= 0 && (copy = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0)
        return -EMFILE;
    int r = buf_append(&b->record, length, sizeof(length));
    if (r == 0)
        r = ipc_encode(type, message, &b->record);
    if (r < 0) {
        if (copy >= 0)
            close(copy);
        buf_truncate(&b->record, before);
        return r == -ENOBUFS && before > 0 ? -EAGAIN : r;
    }
    put_u32(b->record.data + before, (uint32_t)(b->record.len - before - 4) | (copy >= 0 ? WIRE_HAS_FD : 0));
    if (copy >= 0)
        b->fds[b->fd_count++] = copy;
    return 0;
}

int wire_send(int socket, struct wire_batch *b)
{
    struct iovec part = {b->record.data, b->record.len};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
    } control;
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    if (b->fd_count > 0) {
        memset(&control, 0, sizeof(control));
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(b->fd_count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(b->fd_count * sizeof(int));
        memcpy(CMSG_DATA(c), b->fds, b->fd_count * sizeof(int));
    }
    while (sendmsg(socket, &m, MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            return -errno;
    batch_clear(b);
    return 0;
}

/* Closes those there is no room for: a peer can not fill our table. */
static void collect_fds(struct msghdr *m, struct wire_reader *r)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int one;
            memcpy(&one, CMSG_DATA(c) + i * sizeof(int), sizeof(one));
            if (r->fd_count < WIRE_FDS_MAX)
                r->fds[r->fd_count++] = one;
            else
                close(one);
        }
    }
}

int wire_receive(int socket, char *data, struct wire_reader *r)
{
    struct iovec part = {data, WIRE_RECORD_MAX};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
    } control;
    struct msghdr m = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control.space)};
    ssize_t n;
    r->fd_count = r->fd_next = 0;
    do {
        n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    collect_fds(&m, r);
    r->at = data;
    r->left = (size_t)n;
    /* An empty record is no record of ours and reads like the end; it may carry a descriptor all the same. */
    bool cut = m.msg_flags & (MSG_TRUNC | MSG_CTRUNC);
    if (cut || n == 0)
        wire_reader_end(r);
    return cut ? -EMSGSIZE : n > 0;
}

int wire_next(struct wire_reader *r, enum ipc_type *type, union ipc_any *message, int *fd)
{
    *fd = -1;
    if (r->left == 0)
        return r->fd_next < r->fd_count ? -EPROTO : 0;
    if (r->left < 4)
        return -EPROTO;
    uint32_t word = get_u32(r->at), length = word & ~WIRE_HAS_FD;
    bool has_fd = word & WIRE_HAS_FD;
    if (length > r->left - 4 || (has_fd && r->fd_next == r->fd_count))
        return -EPROTO;
    int e = ipc_decode(r->at + 4, length, type, message);
    if (e < 0)
        return e;
    r->at += 4 + length;
    r->left -= 4 + length;
    if (has_fd)
        *fd = r->fds[r->fd_next++];
    return 1;
}

void wire_reader_end(struct wire_reader *r)
{
    while (r->fd_next < r->fd_count)
        close(r->fds[r->fd_next++]);
    r->left = 0;
}
