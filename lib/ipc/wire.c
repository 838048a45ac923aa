#include "ipc/wire.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WIRE_FDS_MAX 4

int ipc_wire_send(int socket, const struct buf *record, int fd)
{
    struct iovec part = {record->data, record->len};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        m.msg_control = &control;
        m.msg_controllen = sizeof(control.space);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    for (;;) {
        ssize_t n = sendmsg(socket, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0)
            return 0;
        if (errno != EINTR)
            return -errno;
    }
}

/* Keeps the first descriptor, closes any others: a peer can not fill our table. */
static void collect_fds(struct msghdr *m, int *fd)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int one;
            memcpy(&one, CMSG_DATA(c) + i * sizeof(int), sizeof(one));
            if (*fd < 0)
                *fd = one;
            else
                close(one);
        }
    }
}

int ipc_wire_receive(int socket, char *data, int *fd)
{
    struct iovec part = {data, IPC_RECORD_MAX};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
    } control;
    struct msghdr m = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control.space)};
    ssize_t n;
    *fd = -1;
    do {
        n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    collect_fds(&m, fd);
    /* An empty record is no record of ours and reads like the end; it may carry a descriptor all the same. */
    bool cut = m.msg_flags & (MSG_TRUNC | MSG_CTRUNC);
    if (*fd >= 0 && (cut || n == 0)) {
        close(*fd);
        *fd = -1;
    }
    return cut ? -EMSGSIZE : (int)n;
}
