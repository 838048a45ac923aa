#include "qmgr/fair.h"

#include <errno.h>
#include <stdlib.h>

#include "qmgr/tenant.h"

#define CREDIT_PER_WEIGHT 10

void fair_init(struct fair_queue *q)
{
    *q = (struct fair_queue){0};
    for (int lane = 0; lane < LANE_COUNT; lane++)
        TAILQ_INIT(&q->turns[lane]);
}

static void share_free(struct fair_share *s)
{
    TAILQ_REMOVE(&s->queue->turns[s->key.lane], s, turn);
    HASH_DELETE(hh, s->queue->shares, s);
    free(s);
}

void fair_deinit(struct fair_queue *q)
{
    struct fair_share *s, *next;
    HASH_ITER (hh, q->shares, s, next)
        share_free(s);
}

static void begin_turn(struct fair_share *s)
{
    s->credit += (int64_t)s->key.tenant->weight * CREDIT_PER_WEIGHT;
}

static struct fair_share *share_get(struct fair_queue *q, struct tenant *tenant, enum lane lane)
{
    struct fair_share *s, wanted = {.key = {tenant, lane}};
    HASH_FIND(hh, q->shares, &wanted.key, sizeof(wanted.key), s);
    if (s != NULL)
        return s;
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    s->key = wanted.key;
    s->queue = q;
    TAILQ_INIT(&s->items);
    begin_turn(s);
    /* Behind all others: its turn comes when each of them had one. */
    TAILQ_INSERT_TAIL(&q->turns[lane], s, turn);
    HASH_ADD(hh, q->shares, key, sizeof(s->key), s);
    return s;
}

static int push(struct fair_queue *q, struct fair_item *item, struct tenant *tenant, enum lane lane, bool front)
{
    struct fair_share *s = share_get(q, tenant, lane);
    if (s == NULL)
        return -ENOMEM;
    item->share = s;
    if (front)
        TAILQ_INSERT_HEAD(&s->items, item, link);
    else
        TAILQ_INSERT_TAIL(&s->items, item, link);
    q->count++;
    return 0;
}

int fair_push(struct fair_queue *q, struct fair_item *item, struct tenant *tenant, enum lane lane)
{
    return push(q, item, tenant, lane, false);
}

int fair_push_front(struct fair_queue *q, struct fair_item *item, struct tenant *tenant, enum lane lane)
{
    return push(q, item, tenant, lane, true);
}

void fair_remove(struct fair_item *item)
{
    struct fair_share *s = item->share;
    if (s == NULL)
        return;
    item->share = NULL;
    TAILQ_REMOVE(&s->items, item, link);
    s->queue->count--;
    if (TAILQ_EMPTY(&s->items))
        share_free(s);
}

struct fair_item *fair_next(struct fair_queue *q, bool (*may)(void *arg, const struct fair_share *share), void *arg)
{
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        struct fair_share *s;
        TAILQ_FOREACH (s, &q->turns[lane], turn)
            if (may == NULL || may(arg, s))
                return TAILQ_FIRST(&s->items);
    }
    return NULL;
}

void fair_charge(struct fair_item *item, int64_t cost)
{
    struct fair_share *s = item->share;
    s->credit -= cost;
    if (s->credit > 0)
        return;
    /* The turn passes on.  What was taken beyond the credit is missing from the next one. */
    begin_turn(s);
    TAILQ_REMOVE(&s->queue->turns[s->key.lane], s, turn);
    TAILQ_INSERT_TAIL(&s->queue->turns[s->key.lane], s, turn);
}
