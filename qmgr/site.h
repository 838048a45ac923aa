/* site: a set of servers that one or more domains name (or a configured route), the unit of scheduling: its own queue,
 * its own limit, its own health.  A dead site never delays another. */
#ifndef POSTHOUSE_QMGR_SITE_H
#define POSTHOUSE_QMGR_SITE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/list.h"
#include "io/loop.h"
#include "qmgr/bucket.h"
#include "qmgr/message.h"

/* What one smtp-out has of the site. */
struct site_worker {
    const struct worker *worker;
    unsigned in_flight;
    unsigned kept; /* connections that wait, as far as we were told: they may have ended since */
};

struct site {
    struct qmgr *qmgr;
    char *key;
    struct fair_queue queue;          /* parts */
    const struct settings_site *rule; /* NULL = none */
    unsigned in_flight;
    double window;                                   /* deliveries at a time, as the site bears them */
    bool started;                                    /* the window grows quickly until the first trouble */
    uint64_t cut_ms;                                 /* when the window was last cut */
    struct bucket messages, recipients, connections; /* what the rates allow now */
    struct timer rate_timer;                         /* until they allow more */
    struct site_worker *workers;                     /* those that have deliveries or connections of the site */
    size_t worker_count;
    bool in_turn;           /* stands in sites->turn */
    unsigned failures;      /* in a row, of the site as such */
    uint64_t down_until_ms; /* monotonic; 0 = up */
    char *down_reason;
    uint64_t used_ms; /* last time anything happened */
    TAILQ_ENTRY(site) turn;
    UT_hash_handle hh;
};

struct sites {
    struct site *all;        /* by key */
    TAILQ_HEAD(, site) turn; /* those with mail and room, in turn */
    size_t in_flight;
};

/* Finds or makes it.  NULL when memory is short. */
struct site *site_get(struct qmgr *q, const char *key);
/* Queues a part whose site is known.  0 or -ENOMEM. */
int site_queue(struct qmgr *q, struct part *p);
void site_unqueue(struct qmgr *q, struct part *p);
/* Sends what may be sent now, sites in turn. */
void site_schedule(struct qmgr *q);
/* Whether this worker may have one more delivery to the site: there are limits for connections. */
bool site_may_use(struct site *s, const struct worker *w);
/* A delivery is on its way; afterwards: with how many connections opened for it, and whether one was kept. */
void site_began(struct site *s, const struct worker *w, size_t recipients);
struct site_delivery {
    bool blamed; /* the site itself was the trouble */
    const char *reason;
    unsigned connections;
    bool kept;
};
void site_delivered(struct site *s, const struct worker *w, const struct site_delivery *d);
void site_worker_down(struct qmgr *q, const struct worker *w);
size_t site_recipients_max(const struct site *s);
/* It answers, or an admin says that it does: no time aside any more. */
void site_revive(struct site *s);
void site_revive_all(struct qmgr *q);
/* Something that held sites back is gone: those with mail are looked at again. */
void site_take_turns(struct qmgr *q);
/* Forgets sites that nothing happened to for an hour. */
void site_expire(struct qmgr *q);
void site_free_all(struct qmgr *q);

#endif
