#include "smtpd/listen.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "smtpd/limits.h"
#include "log/log.h"
#include "smtpd/session.h"

enum { ACCEPTS_PER_TURN = 64, PAUSE_MS = 100, SPARE_DESCRIPTORS = 64 };

bool listener_networks_hold(const struct conf_networks *networks, const struct net_address *client)
{
    struct net_address local;
    /* A client on a Unix socket is as local as one on 127.0.0.1. */
    if (client->any.sa_family == AF_UNIX && net_parse("127.0.0.1", 0, &local) == 0)
        client = &local;
    for (size_t i = 0; i < networks->count; i++)
        if (net_cidr_contains(&networks->items[i], client))
            return true;
    return false;
}

const struct net_address *listener_counts_as(const struct settings_listener *l, const struct net_address *peer)
{
    bool is_proxy =
        listener_networks_hold(&l->proxy_networks, peer) || listener_networks_hold(&l->xclient_networks, peer);
    return is_proxy ? NULL : peer;
}

static const char *const refusals[] = {
    [LIMITS_TOO_MANY] = "too many connections, try again later",
    [LIMITS_TOO_MANY_FROM_ADDRESS] = "too many connections from your address",
    [LIMITS_TOO_MANY_FROM_NETWORK] = "too many connections from your network",
    [LIMITS_TOO_FAST] = "too many connections from your address in a minute",
};

/* The socket is new, so a line always fits its buffer.  A TLS client could not read it: it only sees the end. */
static void refuse(struct listener *l, int fd, const struct net_address *peer, int reason)
{
    char line[512], text[NET_TEXT_MAX];
    log_info("refused: client=%s, listener=%s, reply=421 4.7.0 %s", net_format(peer, text), l->settings->name,
             refusals[reason]);
    int n = snprintf(line, sizeof(line), "421 4.7.0 %.255s %s\r\n", l->server->hostname, refusals[reason]);
    if (l->settings->tls != LISTENER_TLS_IMPLICIT && send(fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_debug("client=%s is gone before it could be refused: %s", text, text_errno(errno));
    close(fd);
}

/* Counts a session for the listener itself, where that has a limit of its own. */
static bool enter(struct listener *l)
{
    int64_t maximum = l->settings->max_connections;
    if (maximum == 0 || limits_enter(l->server->limits, LIMITS_LISTENER, l->settings->name) < maximum)
        return true;
    listener_leave(l->server, l->settings);
    return false;
}

void listener_leave(struct server *server, const struct settings_listener *settings)
{
    if (settings->max_connections > 0)
        limits_leave(server->limits, LIMITS_LISTENER, settings->name);
}

static void take(struct listener *l, int fd, const struct net_address *peer)
{
    struct server *server = l->server;
    const struct net_address *counted = listener_counts_as(l->settings, peer);
    if (!enter(l)) {
        refuse(l, fd, peer, LIMITS_TOO_MANY);
        return;
    }
    int reason = limits_connect(server->limits, counted);
    if (reason == LIMITS_TOO_MANY &&
        (session_make_room(server, SESSION_STRANGER) || session_make_room(server, SESSION_KNOWN)))
        reason = limits_connect(server->limits, counted);
    else if (reason == 0 && (limits_crowded(server->limits) || fd > l->plenty))
        session_make_room(server, SESSION_STRANGER);
    if (reason != 0) {
        listener_leave(server, l->settings);
        refuse(l, fd, peer, reason);
        return;
    }
    if (session_new(server, l->settings, fd, peer) < 0) {
        log_error("no memory for a session, the connection is closed");
        limits_disconnect(server->limits, counted);
        listener_leave(server, l->settings);
    }
}

static void on_connections(void *arg, int ready)
{
    struct listener *l = arg;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct net_address peer = {.len = sizeof(peer.storage)};
        int fd = accept4(l->fd, &peer.any, &peer.len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            take(l, fd, &peer);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno == EMFILE && session_make_room(l->server, SESSION_STRANGER)) {
            return; /* its descriptor is free when this turn ends */
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_error("listener %s: %s, no connections are taken for %d ms", l->settings->name, text_errno(errno),
                      PAUSE_MS);
            io_watch_set(&l->watch, 0);
            timer_set_ms(&l->pause, PAUSE_MS);
            return;
        }
    }
}

static void on_pause_over(void *arg)
{
    struct listener *l = arg;
    io_watch_set(&l->watch, IO_READ);
}

static int plenty_of_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > INT_MAX)
        return INT_MAX;
    return (int)limit.rlim_cur - SPARE_DESCRIPTORS;
}

static void listener_free(struct listener *l)
{
    io_watch_deinit(&l->watch);
    timer_deinit(&l->pause);
    close(l->fd);
    free(l);
}

int listen_add(struct server *server, const struct settings_listener *settings, int fd)
{
    struct listener *l = calloc(1, sizeof(*l));
    if (l == NULL) {
        close(fd);
        return -ENOMEM;
    }
    l->server = server;
    l->settings = settings;
    l->fd = fd;
    l->plenty = plenty_of_descriptors();
    int r = io_watch_init(&l->watch, server->loop, fd, on_connections, l);
    if (r == 0)
        r = timer_init(&l->pause, server->loop, on_pause_over, l);
    if (r == 0)
        r = io_watch_set(&l->watch, IO_READ);
    if (r < 0) {
        listener_free(l);
        return r;
    }
    TAILQ_INSERT_TAIL(&server->listeners, l, link);
    return 0;
}

void listen_stop(struct server *server)
{
    struct listener *l, *next;
    TAILQ_FOREACH_SAFE (l, &server->listeners, link, next) {
        TAILQ_REMOVE(&server->listeners, l, link);
        listener_free(l);
    }
}
