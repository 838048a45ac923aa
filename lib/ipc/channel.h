/* channel: a connection between two programs of the suite that carries the messages of the catalogue.
 *
 * SOCK_SEQPACKET over a Unix socket; all messages of one turn travel in one record (wire.h).  Both sides send HELLO
 * first; the serving side checks that the user on the other end (SO_PEERCRED) may claim the role it names.  A record
 * that does not decode, a message the peer's role may not send, or one that the table of handlers does not list ends
 * the channel with a logged reason; it never ends the process. */
#ifndef POSTHOUSE_IPC_CHANNEL_H
#define POSTHOUSE_IPC_CHANNEL_H

#include <sys/types.h>

#include "io/loop.h"
#include "ipc/catalogue.h"

struct ipc_channel;

/* Who we are, and what the other side said it is. */
struct ipc_identity {
    enum ipc_role role;
    uint32_t slot;
    uint32_t pid;
    uint64_t generation;
};

struct ipc_handler {
    enum ipc_type type; /* IPC_NONE ends the table */
    /* message: the struct of this type, valid until the handler returns.  *fd: the descriptor that came along or -1;
     * the handler takes it with TAKE_FD, otherwise it is closed. */
    void (*fn)(void *arg, struct ipc_channel *from, const void *message, int *fd);
};

/* What a program does with its channels; both functions may be NULL.  on_up: HELLO was exchanged.  on_down: the channel
 * is gone when this returns (why is for the log); what was sent on it and not answered may or may not have arrived. */
struct ipc_face {
    struct ipc_identity self;
    const struct ipc_handler *handlers;
    void (*on_up)(void *arg, struct ipc_channel *c);
    void (*on_down)(void *arg, struct ipc_channel *c, const char *why);
    void *arg;
};

/* Sends at the end of this turn of the loop, together with whatever else this turn has for the peer, or queues
 * (bounded). fd: a copy is passed along, or -1; stays the caller's. 0; -EAGAIN (the peer does not keep up: try later);
 * -EPIPE (the channel is down); -ENOBUFS (message longer than IPC_RECORD_MAX); -EMFILE, -ENOMEM. */
int ipc_send(struct ipc_channel *c, enum ipc_type type, const void *message, int fd);
/* Sends what this turn has gathered for the peer now: for whoever takes long over each message. */
void ipc_flush(struct ipc_channel *c);
/* Bytes that wait for the peer: what a sender looks at before it takes on more. */
size_t ipc_channel_backlog(const struct ipc_channel *c);
const struct ipc_identity *ipc_channel_peer(const struct ipc_channel *c);
/* A pointer of the owner's choice that goes with the channel. */
void ipc_channel_set_user(struct ipc_channel *c, void *user);
void *ipc_channel_user(const struct ipc_channel *c);
/* Ends the channel (on_down is called, once, from the loop): for a peer that breaks the rules. */
void ipc_channel_break(struct ipc_channel *c, const char *why);

/* The serving side.  listen_fd is a listening socket made by master; the server owns it from here on.  may_be tells
 * whether a process of this user may act as this role.  NULL when memory is short. */
struct ipc_server;
struct ipc_server *ipc_server_new(struct loop *l, int listen_fd, const struct ipc_face *face,
                                  bool (*may_be)(void *arg, enum ipc_role role, uid_t uid));
void ipc_server_free(struct ipc_server *s);

/* The connecting side: connects to the socket at path (relative to the working directory, see lib/service), and again
 * with back-off (20 ms doubling to 1 s) whenever the peer goes away. */
struct ipc_client;
struct ipc_client *ipc_client_new(struct loop *l, const char *path, enum ipc_role peer, const struct ipc_face *face);
void ipc_client_free(struct ipc_client *c);
/* The channel while it is up, else NULL. */
struct ipc_channel *ipc_client_channel(struct ipc_client *c);

/* Blocking use, for the admin command: one connection, one question at a time. */
struct ipc_sync;
/* 0 or -errno (-ENOENT, -ECONNREFUSED: not running; -EPROTO: another version; -EACCES: not allowed). */
int ipc_sync_open(const char *path, const struct ipc_identity *self, int timeout_ms, struct ipc_sync **out);
void ipc_sync_close(struct ipc_sync *s);
int ipc_sync_send(struct ipc_sync *s, enum ipc_type type, const void *message);
/* The next message; texts stay valid until the next call.  *fd is the caller's when not -1.  0, -ETIMEDOUT, -EPIPE, …
 */
int ipc_sync_receive(struct ipc_sync *s, enum ipc_type *type, union ipc_any *message, int *fd);

/* The generation of this process. */
uint64_t ipc_generation(void);

#endif
