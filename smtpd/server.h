/* server: what one smtpd process has exactly once, and what its sessions share. */
#ifndef POSTHOUSE_SMTPD_SERVER_H
#define POSTHOUSE_SMTPD_SERVER_H

#include "base/list.h"
#include "io/loop.h"
#include "ipc/channel.h"
#include "queue/inject.h"
#include "settings/smtpd.h"
#include "store/suppression.h"
#include "tls/server.h"

struct session;
struct auth_client;
struct limits;
struct domains;
struct listener;
struct once;
struct usage;

/* Who waits for a client's next step, and is closed in this order when room is needed. */
enum session_standing {
    SESSION_STRANGER, /* has not logged in, nor comes from a trusted network */
    SESSION_KNOWN,
    SESSION_STANDINGS,
    SESSION_BUSY = SESSION_STANDINGS, /* content is under way: not closed */
};
TAILQ_HEAD(session_list, session);

struct server {
    struct loop *loop;
    const char *hostname;
    struct settings_smtpd settings;
    struct tls_server *tls; /* NULL when no listener uses TLS */
    struct tickets *tickets;
    struct injector *injector;
    struct suppression *suppression;
    struct limits *limits;
    struct usage *usage; /* what quotas count, and who is frozen */
    struct once *once;   /* keys of submissions; NULL = no header asks for it */
    struct auth_client *auth;
    struct domains *domains; /* asked whether a domain takes mail */
    struct ipc_client *qmgr; /* told of every message that was committed */
    TAILQ_HEAD(, listener) listeners;
    struct session_list sessions;
    struct session_list waiting[SESSION_STANDINGS]; /* each ordered by their last progress, the oldest first */
    bool retiring, draining;
    void (*on_idle)(void *arg); /* while retiring or draining: the last session and commit are gone */
    void *on_idle_arg;
    uint64_t free_bytes, free_checked_ms; /* space below the queue, looked at once a second */
};

void server_init_lists(struct server *server);
/* Room for a message of that many bytes besides min_free_space? */
bool server_has_space(struct server *server, uint64_t message_bytes);
/* Tells qmgr; when it is away it finds the message by itself. */
void server_announce(struct server *server, const char *queue_id, const char *tenant, uint32_t lane);

/* No new sessions; those there are end by themselves. */
void server_retire(struct server *server);
/* No new sessions; those that wait for a command get 421, the others finish their message first. */
void server_drain(struct server *server);
/* Called whenever a session or commit ended. */
void server_check_idle(struct server *server);

#endif
