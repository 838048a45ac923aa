/* channel_internal: what server, client and channel share inside lib/ipc. */
#ifndef POSTHOUSE_IPC_CHANNEL_INTERNAL_H
#define POSTHOUSE_IPC_CHANNEL_INTERNAL_H

#include "ipc/channel.h"

struct channel_owner {
    bool (*may_be)(void *arg, enum ipc_role role, uid_t uid);
    void (*gone)(void *arg, struct ipc_channel *c, bool was_up, const char *why);
    void *arg;
};

/* Owns the socket on success.  Sends our HELLO. */
struct ipc_channel *channel_new(struct loop *l, int socket, const struct ipc_face *face,
                                const struct channel_owner *owner);
/* The serving side: a peer that does not say HELLO in time is let go. */
void channel_expect_greeting(struct ipc_channel *c);
void channel_drop(struct ipc_channel *c);
/* A connected SEQPACKET socket (flags: SOCK_NONBLOCK or 0), or -errno. */
int channel_connect(const char *path, int flags);
bool channel_is_up(const struct ipc_channel *c);

#endif
