#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"
#include "ipc/channel_internal.h"
#include "log/log.h"

#define CLIENT_RETRY_MIN_MS 20
#define CLIENT_RETRY_MAX_MS 1000

struct ipc_client {
    struct loop *loop;
    struct timer retry;
    char *path;
    enum ipc_role peer;
    struct ipc_face face;
    struct ipc_channel *channel;
    uint64_t retry_ms;
};

int channel_connect(const char *path, int flags)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len >= sizeof(un.sun_path))
        return -ENAMETOOLONG;
    memcpy(un.sun_path, path, len + 1);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

/* The socket's place in the protected run folder already says who serves it. */
static bool client_may_be(void *arg, enum ipc_role role, uid_t uid)
{
    struct ipc_client *c = arg;
    return role == c->peer;
}

static void client_again(struct ipc_client *c)
{
    timer_set_ms(&c->retry, c->retry_ms);
    c->retry_ms = c->retry_ms * 2 > CLIENT_RETRY_MAX_MS ? CLIENT_RETRY_MAX_MS : c->retry_ms * 2;
}

static void client_gone(void *arg, struct ipc_channel *channel, bool was_up, const char *why)
{
    struct ipc_client *c = arg;
    c->channel = NULL;
    if (was_up) {
        log_info("ipc: connection to %s lost (%s), connecting again", role_name(c->peer), why);
        c->retry_ms = CLIENT_RETRY_MIN_MS;
    }
    client_again(c);
}

static void client_connect(void *arg)
{
    struct ipc_client *c = arg;
    int fd = channel_connect(c->path, SOCK_NONBLOCK);
    if (fd < 0) {
        client_again(c);
        return;
    }
    const struct channel_owner owner = {client_may_be, client_gone, c};
    c->channel = channel_new(c->loop, fd, &c->face, &owner);
    if (c->channel == NULL) {
        close(fd);
        client_again(c);
    }
}

struct ipc_client *ipc_client_new(struct loop *l, const char *path, enum ipc_role peer, const struct ipc_face *face)
{
    struct ipc_client *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    *c = (struct ipc_client){.loop = l, .peer = peer, .face = *face, .retry_ms = CLIENT_RETRY_MIN_MS};
    c->path = strdup(path);
    if (c->path == NULL || timer_init(&c->retry, l, client_connect, c) < 0) {
        free(c->path);
        free(c);
        return NULL;
    }
    client_connect(c);
    return c;
}

void ipc_client_free(struct ipc_client *c)
{
    if (c == NULL)
        return;
    timer_deinit(&c->retry);
    channel_drop(c->channel);
    free(c->path);
    free(c);
}

struct ipc_channel *ipc_client_channel(struct ipc_client *c)
{
    return channel_is_up(c->channel) ? c->channel : NULL;
}
