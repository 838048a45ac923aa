/* listen: the sockets of the suite, bound once and kept open, so that a worker that restarts loses no connection.
 *
 * Each address of a listener block gets one SO_REUSEPORT socket per smtpd slot; a Unix socket has one for all. */
#ifndef POSTHOUSE_MASTER_LISTEN_H
#define POSTHOUSE_MASTER_LISTEN_H

#include <stddef.h>

#include "master/configuration.h"

struct listen_socket {
    char *name; /* "listen:submission:0": what smtpd looks for */
    struct net_address address;
    unsigned slot;
    int fd;
    bool wanted; /* by the configuration being applied */
};

struct listen_set {
    struct listen_socket *items;
    size_t count;
};

/* Makes the set match the configuration: sockets that stay are kept, new ones bound, the others closed.  0, or -errno
 * after the log line; then the set is as it was. */
int listen_apply(struct listen_set *set, const struct configuration *c, unsigned slots);
void listen_close(struct listen_set *set);

/* A listening SEQPACKET socket of this name in the working directory.  Descriptor or -errno. */
int listen_local(const char *name);

#endif
