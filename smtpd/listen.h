/* listen: takes connections from the sockets that master bound. */
#ifndef POSTHOUSE_SMTPD_LISTEN_H
#define POSTHOUSE_SMTPD_LISTEN_H

#include "smtpd/server.h"

struct listener {
    struct server *server;
    const struct settings_listener *settings;
    int fd;
    int plenty; /* connections with higher descriptors leave too few for messages */
    struct io_watch watch;
    struct timer pause; /* after descriptors ran out */
    TAILQ_ENTRY(listener) link;
};

/* The listener owns fd in any case.  0 or -errno. */
int listen_add(struct server *server, const struct settings_listener *settings, int fd);
/* Stops taking connections; those that wait stay for the next process on the same socket. */
void listen_stop(struct server *server);

/* As whom a connection counts in the limits: NULL = it is a proxy's, which will tell who the client is. */
const struct net_address *listener_counts_as(const struct settings_listener *l, const struct net_address *peer);
/* Whether the client is in one of these networks of a listener. */
bool listener_networks_hold(const struct conf_networks *networks, const struct net_address *client);

/* One of its sessions has ended. */
void listener_leave(struct server *server, const struct settings_listener *settings);

/* A limit of its own, or, where it has none, that of all. */
static inline int64_t listener_limit(int64_t own, int64_t general)
{
    return own > 0 ? own : general;
}

#endif
