#include "qmgr/site.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "log/log.h"
#include "qmgr/qmgr.h"
#include "qmgr/retry.h"

#define SITE_FAILURES_DOWN 3 /* in a row, then its mail waits without an attempt of its own */
#define SITE_DOWN_MIN_MS   5000
#define SITE_DOWN_MAX_MS   600000
#define SITE_FORGET_MS     3600000

struct site *site_get(struct qmgr *q, const char *key)
{
    struct site *s;
    HASH_FIND_STR(q->sites.all, key, s);
    if (s != NULL)
        return s;
    s = calloc(1, sizeof(*s));
    char *copy = strdup(key);
    if (s == NULL || copy == NULL) {
        free(s);
        free(copy);
        return NULL;
    }
    s->key = copy;
    s->used_ms = clock_mono_ms();
    TAILQ_INIT(&s->queue);
    HASH_ADD_KEYPTR(hh, q->sites.all, s->key, strlen(s->key), s);
    return s;
}

/* After its time aside one delivery finds out how the site is; the others wait for what it says. */
static unsigned concurrency(const struct qmgr *q, const struct site *s)
{
    return s->failures >= SITE_FAILURES_DOWN ? 1 : (unsigned)q->settings.site_concurrency_max;
}

static bool may_send(const struct qmgr *q, const struct site *s)
{
    return !TAILQ_EMPTY(&s->queue) && s->in_flight < concurrency(q, s);
}

static void take_turn(struct qmgr *q, struct site *s)
{
    if (s->in_turn || !may_send(q, s))
        return;
    s->in_turn = true;
    TAILQ_INSERT_TAIL(&q->sites.turn, s, turn);
}

static void leave_turn(struct qmgr *q, struct site *s)
{
    if (!s->in_turn)
        return;
    s->in_turn = false;
    TAILQ_REMOVE(&q->sites.turn, s, turn);
}

void site_queue(struct qmgr *q, struct part *p)
{
    struct site *s = p->site;
    p->queued = true;
    TAILQ_INSERT_TAIL(&s->queue, p, in_queue);
    s->used_ms = clock_mono_ms();
    take_turn(q, s);
    qmgr_wake(q);
}

void site_unqueue(struct qmgr *q, struct part *p)
{
    if (!p->queued)
        return;
    p->queued = false;
    TAILQ_REMOVE(&p->site->queue, p, in_queue);
    if (TAILQ_EMPTY(&p->site->queue))
        leave_turn(q, p->site);
}

static bool site_down(const struct site *s)
{
    return s->down_until_ms > clock_mono_ms();
}

/* Mail for a site that is down is put off as if it had been tried, without the cost of trying. */
static void put_off(struct qmgr *q, struct site *s)
{
    struct part *p = TAILQ_FIRST(&s->queue);
    struct round *r = p->round;
    const struct outcome o = {.outcome = OUTCOME_TRY_LATER,
                              .enhanced = "4.4.1",
                              .reply = s->down_reason != NULL ? s->down_reason : "site does not answer",
                              .relay = "none",
                              .tls = "none"};
    site_unqueue(q, p);
    for (size_t i = 0; i < p->count; i++)
        outcome_record(r, p->members[i], s, &o);
    p->count = 0;
    round_check(r);
}

void site_schedule(struct qmgr *q)
{
    struct site *s;
    while (q->settled && q->sites.in_flight < (size_t)q->settings.deliveries_max &&
           (s = TAILQ_FIRST(&q->sites.turn)) != NULL) {
        if (site_down(s)) {
            put_off(q, s);
            continue;
        }
        struct part *p = TAILQ_FIRST(&s->queue);
        int r = worker_deliver(p);
        if (r < 0)
            return;
        s->in_flight++;
        q->sites.in_flight++;
        if (p->count == 0)
            site_unqueue(q, p);
        leave_turn(q, s);
        take_turn(q, s);
    }
}

/* The time aside: some seconds, doubling with each further failure. */
static void set_aside(struct qmgr *q, struct site *s, const char *reason)
{
    int64_t min = q->settings.retry_min_ms < SITE_DOWN_MIN_MS ? q->settings.retry_min_ms : SITE_DOWN_MIN_MS;
    int64_t max = q->settings.retry_max_ms < SITE_DOWN_MAX_MS ? q->settings.retry_max_ms : SITE_DOWN_MAX_MS;
    int64_t wait = retry_wait_ms(s->failures - SITE_FAILURES_DOWN + 1, min, max, 0);
    char *copy = strdup(reason);
    s->down_until_ms = clock_mono_ms() + (uint64_t)wait;
    free(s->down_reason);
    s->down_reason = copy;
    log_warning("site %s: %u failures in a row (%s), its mail waits %lld s", s->key, s->failures, reason,
                (long long)(wait + 999) / 1000);
}

void site_delivered(struct qmgr *q, struct site *s, bool blamed, const char *reason)
{
    s->in_flight--;
    q->sites.in_flight--;
    s->used_ms = clock_mono_ms();
    if (!blamed) {
        site_revive(s);
    } else if (!site_down(s) && ++s->failures >= SITE_FAILURES_DOWN) {
        /* Those that were under way when it went down say nothing new. */
        set_aside(q, s, reason);
    }
    take_turn(q, s);
    qmgr_wake(q);
}

void site_revive(struct site *s)
{
    s->failures = 0;
    s->down_until_ms = 0;
}

void site_revive_all(struct qmgr *q)
{
    struct site *s, *next;
    HASH_ITER (hh, q->sites.all, s, next) {
        site_revive(s);
        take_turn(q, s);
    }
}

static void site_free(struct qmgr *q, struct site *s)
{
    HASH_DELETE(hh, q->sites.all, s);
    leave_turn(q, s);
    free(s->key);
    free(s->down_reason);
    free(s);
}

void site_expire(struct qmgr *q)
{
    struct site *s, *next;
    uint64_t now = clock_mono_ms();
    HASH_ITER (hh, q->sites.all, s, next)
        if (s->in_flight == 0 && TAILQ_EMPTY(&s->queue) && now - s->used_ms > SITE_FORGET_MS)
            site_free(q, s);
}

void site_free_all(struct qmgr *q)
{
    struct site *s, *next;
    HASH_ITER (hh, q->sites.all, s, next)
        site_free(q, s);
}
