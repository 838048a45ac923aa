/* master: starts every program of the suite with exactly what it needs, restarts what dies, and ends everything in
 * order. It parses no mail and no network data. */
#ifndef POSTHOUSE_MASTER_MASTER_H
#define POSTHOUSE_MASTER_MASTER_H

#include "base/list.h"
#include "io/loop.h"
#include "ipc/channel.h"
#include "master/certificates.h"
#include "master/child.h"
#include "master/configuration.h"
#include "master/listen.h"
#include "tls/tickets.h"

TAILQ_HEAD(child_list, child);

struct master {
    struct loop *loop;
    const char *config_dir;
    struct configuration configuration;
    unsigned smtpd_slots; /* fixed at start: sockets are bound per slot */
    struct listen_set listeners;
    int local_fds[ROLE_COUNT]; /* sockets that programs serve */
    int lock_fd;
    struct tickets *tickets; /* the keys of all smtpd processes */
    int limits_fd;           /* the memory in which they count together */
    struct timer tickets_timer;
    struct certificates certificates;
    struct child_list children;
    struct ipc_server *control;
    struct ipc_channel *stop_asker, *reload_asker; /* who waits for an answer */
    bool stopping;
    int stop_stage;
    bool reloading;
};

/* supervise.c: the life of the children. */
int master_start_children(struct master *m);
void master_stop(struct master *m);
/* 0, or -EINVAL with the reasons in `errors`: everything goes on with the old configuration. */
int master_reload(struct master *m, struct buf *errors);
/* For what smtpd alone reads. */
void master_replace_smtpd(struct master *m);
void master_child_ready(void *arg, int ready);
void master_child_timer(void *arg);
void master_child_ended(struct master *m, pid_t pid, int status);

/* control.c: what the admin command asks. */
int control_open(struct master *m, int listen_fd);
/* Tells whoever asked for it that the stop or reload is complete. */
void control_stopped(struct master *m);
void control_reloaded(struct master *m);

#endif
