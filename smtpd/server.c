#include "smtpd/server.h"

#include "base/clock.h"
#include "smtpd/listen.h"
#include "log/log.h"
#include "smtpd/session.h"

void server_init_lists(struct server *server)
{
    TAILQ_INIT(&server->listeners);
    TAILQ_INIT(&server->sessions);
    for (int standing = 0; standing < SESSION_STANDINGS; standing++)
        TAILQ_INIT(&server->waiting[standing]);
}

bool server_has_space(struct server *server, uint64_t message_bytes)
{
    uint64_t now = clock_mono_ms(), inodes = 0;
    uint64_t wanted = (uint64_t)server->settings.min_free_space_bytes;
    if (wanted == 0)
        return true;
    if (server->free_checked_ms == 0 || now - server->free_checked_ms >= 1000) {
        int r = injector_free_space(server->injector, &server->free_bytes, &inodes);
        if (r < 0 || inodes == 0)
            server->free_bytes = r < 0 ? UINT64_MAX : 0;
        server->free_checked_ms = now;
    }
    return server->free_bytes >= wanted && server->free_bytes - wanted >= message_bytes;
}

void server_announce(struct server *server, const char *queue_id, const char *tenant, uint32_t lane)
{
    struct ipc_channel *channel = server->qmgr != NULL ? ipc_client_channel(server->qmgr) : NULL;
    const struct ipc_submitted submitted = {.queue_id = queue_id, .tenant = tenant, .lane = lane};
    if (channel != NULL)
        ipc_send(channel, IPC_SUBMITTED, &submitted, -1);
}

void server_retire(struct server *server)
{
    server->retiring = true;
    listen_stop(server);
    server_check_idle(server);
}

void server_drain(struct server *server)
{
    server->draining = true;
    listen_stop(server);
    struct session *s, *next;
    TAILQ_FOREACH_SAFE (s, &server->sessions, link, next)
        session_drain(s);
    server_check_idle(server);
}

void server_check_idle(struct server *server)
{
    if ((server->retiring || server->draining) && TAILQ_EMPTY(&server->sessions) &&
        injector_pending(server->injector) == 0 && server->on_idle != NULL)
        server->on_idle(server->on_idle_arg);
}
