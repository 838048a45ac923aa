/* child: one process of the suite, from fork to its end. */
#ifndef POSTHOUSE_MASTER_CHILD_H
#define POSTHOUSE_MASTER_CHILD_H

#include <sys/types.h>

#include "base/list.h"
#include "io/loop.h"
#include "master/listen.h"
#include "master/programs.h"

enum child_state {
    CHILD_STARTING, /* forked, has not said that it is ready */
    CHILD_READY,
    CHILD_RETIRING, /* replaced: finishes when its work ends by itself, or is told to when its time is over */
    CHILD_DRAINING, /* told to finish */
    CHILD_WAITING,  /* died; a timer will start it again */
};

struct master;

struct child {
    const struct program *program;
    unsigned slot;
    struct master *master;
    enum child_state state;
    pid_t pid; /* 0 = none */
    int64_t since_s;
    uint64_t started_ms;
    uint32_t restarts;
    uint64_t delay_ms; /* before the next start */
    bool last_time;    /* not started again when it ends */
    bool killed;       /* by us, as it did not finish */
    int ready_fd;
    struct io_watch ready;
    struct timer timer; /* restart while waiting, finish while retiring, kill while draining */
    TAILQ_ENTRY(child) link;
};

const char *child_state_name(enum child_state state);

/* NULL when memory is short. */
struct child *child_new(struct master *m, const struct program *program, unsigned slot);
void child_free(struct child *c);

/* What a program is started with. */
struct child_inheritance {
    const char *program_directory, *config_dir;
    const struct listen_set *listeners;
    int socket_fd;  /* the socket it serves, -1 = none */
    int lock_fd;    /* -1 = none */
    int tickets_fd, limits_fd; /* for those with listeners */
};
/* Forks and executes.  0 or -errno. */
int child_start(struct child *c, const struct child_inheritance *with);
void child_set_state(struct child *c, enum child_state state);

#endif
