/* walk: looks through all messages, a slice per turn of the loop, for what an admin named by something else than its
 * id. What memory does not know of a message is read from its file. */
#ifndef POSTHOUSE_QMGR_WALK_H
#define POSTHOUSE_QMGR_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "ipc/channel.h"
#include "qmgr/rule.h"

struct qmgr;
struct message;
struct walk;

/* All conditions must hold; those of a recipient for one that waits.  NULL or "" = any. */
struct walk_filter {
    const char *what[RULE_KIND_COUNT];
    const char *state;
    int64_t older_than_s; /* 0 = any */
};

struct walk_plan {
    struct walk_filter filter;
    uint32_t put_off_by;    /* only those that this rule put off, 0 = any */
    bool only_waiting;      /* deferred, or in line for a round */
    struct ipc_channel *to; /* who asked: the walk ends with its channel, and waits while that is full; NULL = nobody */
    uint32_t verb, limit;   /* limit: messages that count at most, 0 = all */
    const char *reason;
    /* For each message that fits; it may be gone behind it.  Whether it counts. */
    bool (*fn)(struct walk *w, struct message *m);
    /* Behind the last one: called again and again, in slices as well, until it returns false; NULL = nothing to do. */
    bool (*more)(struct walk *w);
    void *data;                   /* of fn and more; the walk's, freed with it */
    void (*done)(struct walk *w); /* NULL = nothing to do */
};

struct walk {
    struct qmgr *qmgr;
    struct walk_plan plan; /* with texts of its own */
    char *texts[RULE_KIND_COUNT + 2];
    struct message *next;
    size_t left; /* messages that were there at its begin, at most */
    uint64_t seen, told_ms;
    uint32_t count;
    TAILQ_ENTRY(walk) link;
};

/* Begins one; the texts of the plan are copied, its data is taken in any case.  0 or -ENOMEM. */
int walk_begin(struct qmgr *q, const struct walk_plan *plan);
/* The message is about to go. */
void walk_forgotten(struct qmgr *q, const struct message *m);
/* Whoever asked is gone. */
void walk_channel_down(struct qmgr *q, const struct ipc_channel *c);
bool walk_filter_is_empty(const struct walk_filter *f);
/* Timer function. */
void walk_go_on(void *qmgr);
void walk_free_all(struct qmgr *q);

#endif
