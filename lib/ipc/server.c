#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/channel_internal.h"
#include "log/log.h"

#define SERVER_CHANNELS_MAX 1024
#define SERVER_PAUSE_MS     100 /* after an accept that failed: descriptors are short, asking on would only spin */

struct ipc_server {
    struct loop *loop;
    struct io_watch watch;
    struct timer pause;
    int listen_fd;
    struct ipc_face face;
    bool (*may_be)(void *arg, enum ipc_role role, uid_t uid);
    size_t count;
    struct ipc_channel *channels[SERVER_CHANNELS_MAX];
};

static bool server_may_be(void *arg, enum ipc_role role, uid_t uid)
{
    struct ipc_server *s = arg;
    return s->may_be(s->face.arg, role, uid);
}

static void server_gone(void *arg, struct ipc_channel *c, bool was_up, const char *why)
{
    struct ipc_server *s = arg;
    if (!was_up)
        log_warning("ipc: a process was refused: %s", why);
    for (size_t i = 0; i < s->count; i++) {
        if (s->channels[i] == c) {
            s->channels[i] = s->channels[--s->count];
            return;
        }
    }
}

static void server_accept(void *arg, int ready)
{
    struct ipc_server *s = arg;
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            io_watch_set(&s->watch, 0);
            timer_set_ms(&s->pause, SERVER_PAUSE_MS);
        }
        return;
    }
    const struct channel_owner owner = {server_may_be, server_gone, s};
    struct ipc_channel *c = s->count < SERVER_CHANNELS_MAX ? channel_new(s->loop, fd, &s->face, &owner) : NULL;
    if (c == NULL) {
        log_warning("ipc: a connection was closed at once: %s",
                    s->count < SERVER_CHANNELS_MAX ? "out of memory" : "too many at a time");
        close(fd);
        return;
    }
    channel_expect_greeting(c);
    s->channels[s->count++] = c;
}

static void server_go_on(void *arg)
{
    struct ipc_server *s = arg;
    io_watch_set(&s->watch, IO_READ);
}

struct ipc_server *ipc_server_new(struct loop *l, int listen_fd, const struct ipc_face *face,
                                  bool (*may_be)(void *arg, enum ipc_role role, uid_t uid))
{
    struct ipc_server *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    *s = (struct ipc_server){.loop = l, .listen_fd = listen_fd, .face = *face, .may_be = may_be};
    if (timer_init(&s->pause, l, server_go_on, s) < 0 || io_watch_init(&s->watch, l, listen_fd, server_accept, s) < 0 ||
        io_watch_set(&s->watch, IO_READ) < 0) {
        io_watch_deinit(&s->watch);
        timer_deinit(&s->pause);
        free(s);
        return NULL;
    }
    return s;
}

void ipc_server_free(struct ipc_server *s)
{
    if (s == NULL)
        return;
    io_watch_deinit(&s->watch);
    timer_deinit(&s->pause);
    close(s->listen_fd);
    for (size_t i = 0; i < s->count; i++)
        channel_drop(s->channels[i]);
    free(s);
}
