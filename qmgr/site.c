#include "qmgr/site.h"

#include <errno.h>
#include <fnmatch.h>
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
#define SITE_LOOK_MS       100  /* who could deliver is busy with other sites */
#define SITE_CUT_EVERY_MS  1000 /* troubles of one moment count once */

/* The pattern is for the best host of the site; the hash behind it tells sets of hosts apart. */
static const struct settings_site *find_rule(const struct qmgr *q, const char *key)
{
    size_t len = strcspn(key, "/");
    char *host = strndup(key, len);
    const struct settings_site *found = NULL;
    for (size_t i = 0; host != NULL && i < q->settings.sites.count && found == NULL; i++) {
        const struct settings_site *rule = q->settings.sites.items[i];
        if (fnmatch(rule->name, host, FNM_CASEFOLD) == 0)
            found = rule;
    }
    free(host);
    return found;
}

static void rate_passed(void *arg);

static struct site *site_new(struct qmgr *q, const char *key)
{
    struct site *s = calloc(1, sizeof(*s));
    if (s == NULL || (s->key = strdup(key)) == NULL ||
        timer_init(&s->rate_timer, q->service->loop, rate_passed, s) < 0) {
        if (s != NULL)
            free(s->key);
        free(s);
        return NULL;
    }
    s->qmgr = q;
    s->used_ms = clock_mono_ms();
    bucket_init(&s->messages, s->used_ms);
    bucket_init(&s->recipients, s->used_ms);
    bucket_init(&s->connections, s->used_ms);
    s->window = (double)q->settings.site_concurrency_start;
    s->rule = find_rule(q, key);
    fair_init(&s->queue);
    HASH_ADD_KEYPTR(hh, q->sites.all, s->key, strlen(s->key), s);
    return s;
}

struct site *site_get(struct qmgr *q, const char *key)
{
    struct site *s;
    HASH_FIND_STR(q->sites.all, key, s);
    return s != NULL ? s : site_new(q, key);
}

static unsigned concurrency_max(const struct qmgr *q, const struct site *s)
{
    int64_t max =
        s->rule != NULL && s->rule->concurrency_max > 0 ? s->rule->concurrency_max : q->settings.site_concurrency_max;
    return (unsigned)max;
}

/* After its time aside one delivery finds out how the site is; the others wait for what it says. */
static unsigned concurrency(const struct qmgr *q, const struct site *s)
{
    unsigned max = concurrency_max(q, s);
    if (s->failures >= SITE_FAILURES_DOWN)
        return 1;
    return s->window < max ? (unsigned)s->window : max;
}

/* -- rates and connections -------------------------------------------------------------------------------------------
 */

static const struct settings_site no_limits;

static const struct settings_site *limits_of(const struct site *s)
{
    return s->rule != NULL ? s->rule : &no_limits;
}

static struct site_worker *find_worker(const struct site *s, const struct worker *w)
{
    for (size_t i = 0; i < s->worker_count; i++)
        if (s->workers[i].worker == w)
            return &s->workers[i];
    return NULL;
}

static struct site_worker *get_worker(struct site *s, const struct worker *w)
{
    struct site_worker *found = find_worker(s, w);
    if (found != NULL)
        return found;
    struct site_worker *grown = realloc(s->workers, (s->worker_count + 1) * sizeof(*grown));
    if (grown == NULL)
        return NULL; /* it is not counted: some limit is a little loose for a while */
    s->workers = grown;
    grown[s->worker_count] = (struct site_worker){.worker = w};
    return &grown[s->worker_count++];
}

static bool has_kept(const struct site *s)
{
    for (size_t i = 0; i < s->worker_count; i++)
        if (s->workers[i].kept > 0)
            return true;
    return false;
}

/* Whether a new connection is to be avoided. */
static bool must_not_connect(struct site *s)
{
    return bucket_wait_ms(&s->connections, limits_of(s)->connections_per_minute, clock_mono_ms()) > 0;
}

/* Limits hold for the site as a whole: each worker has its share of the connections, and when they are fewer than
 * workers, some have none. */
bool site_may_use(struct site *s, const struct worker *w)
{
    const struct site_worker *of_worker = find_worker(s, w);
    unsigned max = (unsigned)limits_of(s)->connections_max, in_flight = of_worker != NULL ? of_worker->in_flight : 0;
    if (max > 0 && in_flight >= worker_share(s->qmgr, w, max))
        return false;
    return (of_worker != NULL && of_worker->kept > 0) || !must_not_connect(s);
}

size_t site_recipients_max(const struct site *s)
{
    int64_t max = limits_of(s)->recipients_per_message;
    return max > 0 && max < IPC_RECIPIENTS_MAX ? (size_t)max : IPC_RECIPIENTS_MAX;
}

/* 0 = may send now, else milliseconds until it may. */
static uint64_t rate_wait_ms(struct site *s)
{
    const struct settings_site *l = limits_of(s);
    uint64_t now = clock_mono_ms();
    uint64_t wait = bucket_wait_ms(&s->messages, l->messages_per_minute, now);
    uint64_t recipients = bucket_wait_ms(&s->recipients, l->recipients_per_minute, now);
    uint64_t connections = has_kept(s) ? 0 : bucket_wait_ms(&s->connections, l->connections_per_minute, now);
    wait = recipients > wait ? recipients : wait;
    return connections > wait ? connections : wait;
}

void site_began(struct site *s, const struct worker *w, size_t recipients)
{
    const struct settings_site *l = limits_of(s);
    struct site_worker *of_worker = get_worker(s, w);
    s->in_flight++;
    s->qmgr->sites.in_flight++;
    bucket_take(&s->messages, l->messages_per_minute, 1);
    bucket_take(&s->recipients, l->recipients_per_minute, (double)recipients);
    if (of_worker == NULL)
        return;
    of_worker->in_flight++;
    if (of_worker->kept > 0)
        of_worker->kept--;
    else
        bucket_take(&s->connections, l->connections_per_minute, 1);
}

/* What it really took: a connection that was thought to wait may have ended, and one that opens may need several tries.
 */
static void count_connections(struct site *s, const struct worker *w, const struct site_delivery *d)
{
    struct site_worker *of_worker = find_worker(s, w);
    if (d->connections > 1)
        bucket_take(&s->connections, limits_of(s)->connections_per_minute, d->connections - 1);
    if (of_worker == NULL)
        return;
    of_worker->in_flight -= of_worker->in_flight > 0;
    of_worker->kept += d->kept;
}

void site_worker_down(struct qmgr *q, const struct worker *w)
{
    for (struct site *s = q->sites.all; s != NULL; s = s->hh.next) {
        struct site_worker *of_worker = find_worker(s, w);
        if (of_worker != NULL)
            *of_worker = s->workers[--s->worker_count];
    }
}

/* -- whose turn ------------------------------------------------------------------------------------------------------
 */

static bool may_send(const struct qmgr *q, const struct site *s)
{
    return s->queue.count > 0 && s->in_flight < concurrency(q, s) && !timer_is_set(&s->rate_timer);
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

static void rate_passed(void *arg)
{
    struct site *s = arg;
    take_turn(s->qmgr, s);
    qmgr_wake(s->qmgr);
}

int site_queue(struct qmgr *q, struct part *p)
{
    struct site *s = p->site;
    const struct message *m = p->round->message;
    int r = fair_push(&s->queue, &p->turn, p->round->tenant, (enum lane)m->lane);
    if (r < 0)
        return r;
    s->used_ms = clock_mono_ms();
    take_turn(q, s);
    qmgr_wake(q);
    return 0;
}

void site_unqueue(struct qmgr *q, struct part *p)
{
    if (p->turn.share == NULL)
        return;
    fair_remove(&p->turn);
    if (p->site->queue.count == 0)
        leave_turn(q, p->site);
}

static bool site_down(const struct site *s)
{
    return s->down_until_ms > clock_mono_ms();
}

static struct part *next_part(struct site *s)
{
    struct fair_item *item = fair_next(&s->queue, NULL, NULL);
    return item != NULL ? (struct part *)((char *)item - offsetof(struct part, turn)) : NULL;
}

/* Mail for a site that is down is put off as if it had been tried, without the cost of trying. */
static void put_off(struct qmgr *q, struct site *s)
{
    struct part *p = next_part(s);
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

/* A rule may have come since it was queued.  False when nothing is left of it. */
static bool stands_rules(struct qmgr *q, struct part *p)
{
    struct round *r = p->round;
    rules_apply(p);
    if (p->count > 0)
        return true;
    site_unqueue(q, p);
    round_check(r);
    return false;
}

/* One delivery to the site whose turn it is.  0, or -EAGAIN: no smtp-out has room. */
static int send_one(struct qmgr *q, struct site *s)
{
    uint64_t wait_ms = rate_wait_ms(s);
    if (wait_ms > 0) {
        leave_turn(q, s);
        timer_set_ms(&s->rate_timer, wait_ms);
        return 0;
    }
    struct part *p = next_part(s);
    if (p->rules_seen != q->rules.generation && !stands_rules(q, p))
        return 0;
    size_t before = p->count;
    int r = worker_deliver(p);
    if (r == -EBUSY) { /* whoever has room has no connection to spare: until a delivery of the site ends */
        leave_turn(q, s);
        if (s->in_flight == 0)
            timer_set_ms(&s->rate_timer, SITE_LOOK_MS);
        return 0;
    }
    if (r < 0)
        return r;
    fair_charge(&p->turn, (int64_t)(before - p->count));
    if (p->count == 0)
        site_unqueue(q, p);
    leave_turn(q, s);
    take_turn(q, s);
    return 0;
}

void site_schedule(struct qmgr *q)
{
    struct site *s;
    while (q->settled && q->sites.in_flight < (size_t)q->settings.deliveries_max &&
           (s = TAILQ_FIRST(&q->sites.turn)) != NULL) {
        if (site_down(s))
            put_off(q, s);
        else if (send_one(q, s) < 0)
            return;
    }
}

/* -- what deliveries tell of the site --------------------------------------------------------------------------------
 */

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

/* Additive growth and halving, as TCP does it; one more for each success until the first trouble. */
static void grow_window(const struct qmgr *q, struct site *s)
{
    s->window += s->started ? 1 / s->window : 1;
    if (s->window > concurrency_max(q, s))
        s->window = concurrency_max(q, s);
}

static void cut_window(struct site *s)
{
    uint64_t now = clock_mono_ms();
    if (now - s->cut_ms < SITE_CUT_EVERY_MS)
        return;
    s->cut_ms = now;
    s->started = true;
    s->window = s->window / 2 < 1 ? 1 : s->window / 2;
}

void site_delivered(struct site *s, const struct worker *w, const struct site_delivery *d)
{
    struct qmgr *q = s->qmgr;
    count_connections(s, w, d);
    s->in_flight--;
    q->sites.in_flight--;
    s->used_ms = clock_mono_ms();
    if (!d->blamed) {
        site_revive(s);
        grow_window(q, s);
    } else if (!site_down(s)) {
        /* Those that were under way when it went down say nothing new. */
        cut_window(s);
        if (++s->failures >= SITE_FAILURES_DOWN)
            set_aside(q, s, d->reason);
    }
    take_turn(q, s);
    qmgr_wake(q);
}

void site_revive(struct site *s)
{
    s->failures = 0;
    s->down_until_ms = 0;
}

void site_take_turns(struct qmgr *q)
{
    for (struct site *s = q->sites.all; s != NULL; s = s->hh.next)
        take_turn(q, s);
    qmgr_wake(q);
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
    timer_deinit(&s->rate_timer);
    fair_deinit(&s->queue);
    free(s->key);
    free(s->down_reason);
    free(s->workers);
    free(s);
}

void site_expire(struct qmgr *q)
{
    struct site *s, *next;
    uint64_t now = clock_mono_ms();
    HASH_ITER (hh, q->sites.all, s, next)
        if (s->in_flight == 0 && s->queue.count == 0 && now - s->used_ms > SITE_FORGET_MS)
            site_free(q, s);
}

void site_free_all(struct qmgr *q)
{
    struct site *s, *next;
    HASH_ITER (hh, q->sites.all, s, next)
        site_free(q, s);
}
