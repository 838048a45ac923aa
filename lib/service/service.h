/* service: the skeleton of every daemon.  Options, configuration, secrets, privileges, ready, loop, stop: in this order
 * and nowhere else.
 *
 * master starts a program as root (or as the caller) with the descriptors it needs; the program reads its configuration
 * and secrets, opens what it may open, gives up its privileges, and only then touches a byte from outside. */
#ifndef POSTHOUSE_SERVICE_SERVICE_H
#define POSTHOUSE_SERVICE_SERVICE_H

#include <stdbool.h>
#include <sys/types.h>

#include "io/loop.h"
#include "ipc/channel.h"
#include "settings/posthouse.h"

/* Sockets in the run directory, which is the working directory of every program once it is up. */
#define SERVICE_QMGR_SOCKET   "qmgr.sock"
#define SERVICE_AUTH_SOCKET   "auth.sock"
#define SERVICE_MASTER_SOCKET "master.sock"

struct service {
    enum ipc_role role;
    /* Own settings, keys, databases, folders: everything that needs privileges or the real root folder.  Errors are
     * logged here.  0 or -errno. */
    int (*prepare)(struct service *s);
    /* Privileges are gone: channels, timers, listeners.  0 or -errno. */
    int (*start)(struct service *s);
    /* Take no new work; call service_finished when the work in hand is done.  NULL = finished at once. */
    void (*drain)(struct service *s);
    /* A successor is there: take no new work, and call service_finished when the work in hand ended by itself.  drain
     * may follow.  NULL = as drain. */
    void (*retire)(struct service *s);
    /* Give everything back, mirror of prepare and start; runs also when one of them failed. */
    void (*stop)(struct service *s);

    /* Filled in by service_main before prepare. */
    struct loop *loop;
    struct settings_posthouse shared;
    const char *config_dir;
    unsigned slot;
    struct ipc_identity self;
};

/* The whole life of a daemon; main returns its value.  Options: -c DIR (configuration, default /etc/posthouse), -s
 * SLOT, -V. */
int service_main(struct service *s, int argc, char **argv);

/* Ends the loop: the program has nothing left to do.  Safe at any time. */
void service_finished(struct service *s);
/* Ends the loop with a non-zero status, after the one clear line was logged: master starts the program again. */
void service_failed(struct service *s);
bool service_draining(const struct service *s);

/* Descriptors that master passed, by name ("serve", "lock", "listen:submission:0"); each can be taken once, then it is
 * the caller's.  -1 = not passed. */
int service_take_fd(struct service *s, const char *name);
/* The i-th name that begins with prefix and was not taken yet, NULL behind the last. */
const char *service_fd_name(struct service *s, const char *prefix, size_t i);

/* Whether a process of this user may act as this role, once privileges are dropped; for ipc_server_new (arg is not
 * used). */
bool service_may_be(void *arg, enum ipc_role role, uid_t uid);

#endif
