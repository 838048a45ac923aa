#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "ipc/channel_internal.h"
#include "ipc/wire.h"

struct ipc_sync {
    int socket;
    enum ipc_type last;
    union ipc_any decoded;
    struct wire_reader reader;
    char data[WIRE_RECORD_MAX + 1];
};

static int greet(struct ipc_sync *s, const struct ipc_identity *self)
{
    const struct ipc_hello hello = {.version = IPC_VERSION,
                                    .role = self->role,
                                    .slot = self->slot,
                                    .pid = (uint32_t)getpid(),
                                    .generation = ipc_generation()};
    enum ipc_type type;
    union ipc_any answer;
    int fd = -1, r = ipc_sync_send(s, IPC_HELLO, &hello);
    if (r == 0)
        r = ipc_sync_receive(s, &type, &answer, &fd);
    if (fd >= 0)
        close(fd);
    if (r == 0 && (type != IPC_HELLO || answer.hello.version != IPC_VERSION))
        r = -EPROTO;
    return r;
}

int ipc_sync_open(const char *path, const struct ipc_identity *self, int timeout_ms, struct ipc_sync **out)
{
    int fd = channel_connect(path, 0);
    if (fd < 0)
        return fd;
    struct ipc_sync *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        close(fd);
        return -ENOMEM;
    }
    s->socket = fd;
    struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    int r = greet(s, self);
    if (r < 0) {
        ipc_sync_close(s);
        return r;
    }
    *out = s;
    return 0;
}

void ipc_sync_close(struct ipc_sync *s)
{
    if (s == NULL)
        return;
    if (s->last != IPC_NONE)
        ipc_decoded_free(s->last, &s->decoded);
    wire_reader_end(&s->reader);
    close(s->socket);
    free(s);
}

int ipc_sync_send(struct ipc_sync *s, enum ipc_type type, const void *message)
{
    struct wire_batch batch;
    wire_batch_init(&batch);
    int r = wire_batch_add(&batch, type, message, -1);
    if (r == 0)
        r = wire_send(s->socket, &batch);
    wire_batch_deinit(&batch);
    return r;
}

int ipc_sync_receive(struct ipc_sync *s, enum ipc_type *type, union ipc_any *message, int *fd)
{
    if (s->last != IPC_NONE)
        ipc_decoded_free(s->last, &s->decoded);
    s->last = IPC_NONE;
    int r = wire_next(&s->reader, &s->last, &s->decoded, fd);
    while (r == 0) {
        wire_reader_end(&s->reader);
        int n = wire_receive(s->socket, s->data, &s->reader);
        if (n <= 0)
            return n == 0 ? -EPIPE : n == -EAGAIN ? -ETIMEDOUT : n;
        r = wire_next(&s->reader, &s->last, &s->decoded, fd);
    }
    if (r < 0) {
        s->last = IPC_NONE;
        wire_reader_end(&s->reader);
        return r;
    }
    *type = s->last;
    *message = s->decoded;
    return 0;
}
