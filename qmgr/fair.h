/* fair: a queue in which tenants take turns.
 *
 * Two lanes, transactional before bulk; within a lane every tenant with something queued has a share, and the shares
 * take turns by weighted deficit round robin (Shreedhar and Varghese, 1995): at the begin of its turn a share gets its
 * weight in credit, each item that leaves is charged what it costs, and the turn passes on when the credit is used up.
 * So one tenant's million messages delay another's one message by one turn.  Within a share it is first come, first
 * served. */
#ifndef POSTHOUSE_QMGR_FAIR_H
#define POSTHOUSE_QMGR_FAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/list.h"

enum lane { LANE_TRANSACTIONAL, LANE_BULK, LANE_COUNT };

struct tenant;
struct fair_share;

/* Embedded in what is queued. */
struct fair_item {
    struct fair_share *share; /* NULL = not queued */
    TAILQ_ENTRY(fair_item) link;
};

struct fair_share {
    struct {
        struct tenant *tenant;
        uint64_t lane;
    } key;
    struct fair_queue *queue;
    int64_t credit;
    TAILQ_HEAD(, fair_item) items;
    TAILQ_ENTRY(fair_share) turn;
    UT_hash_handle hh;
};

struct fair_queue {
    TAILQ_HEAD(, fair_share) turns[LANE_COUNT];
    struct fair_share *shares; /* those with items */
    size_t count;              /* items */
};

void fair_init(struct fair_queue *q);
/* Forgets the shares; items must have been removed. */
void fair_deinit(struct fair_queue *q);
/* Behind, or in front of, the tenant's other items of the lane.  0 or -ENOMEM. */
int fair_push(struct fair_queue *q, struct fair_item *item, struct tenant *tenant, enum lane lane);
int fair_push_front(struct fair_queue *q, struct fair_item *item, struct tenant *tenant, enum lane lane);
/* Harmless when it is not queued. */
void fair_remove(struct fair_item *item);
/* Whose turn it is; the item stays queued.  may: whether this share may be served now, NULL = all may.  NULL when
 * nobody. */
struct fair_item *fair_next(struct fair_queue *q, bool (*may)(void *arg, const struct fair_share *share), void *arg);
/* The item's share pays for what was taken from it; call before fair_remove. */
void fair_charge(struct fair_item *item, int64_t cost);

#endif
