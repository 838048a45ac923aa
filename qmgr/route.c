/* Routes: which site serves a domain.  smtp-out knows DNS and the configured routes; we keep its answers while they are
 * good. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "log/log.h"
#include "qmgr/qmgr.h"

#define ROUTE_FAILED_TTL_MS 30000  /* a bad answer is asked again soon */
#define ROUTE_ANSWER_MS     120000 /* a question without an answer is asked again */
#define ROUTES_MAX          200000
#define DOMAIN_CHECKS_MAX   10000 /* more are told that nobody knows */

struct route {
    char *domain;
    uint32_t status; /* enum ipc_route_status, once answered */
    bool answered;
    char *site, *enhanced, *reply;
    uint32_t code;
    uint64_t good_until_ms;
    uint64_t job, asked_ms;
    struct ipc_channel *asked; /* NULL = no question is out */
    TAILQ_HEAD(, part) waiting;
    TAILQ_HEAD(, domain_check) checks; /* smtpd waits for the same answer */
    UT_hash_handle hh, by_job;         /* by_job: while a question is out */
};

/* A question of smtpd that is not answered. */
struct domain_check {
    struct ipc_channel *from;
    uint64_t job;
    TAILQ_ENTRY(domain_check) link;
};

static bool is_waited_for(const struct route *r)
{
    return !TAILQ_EMPTY(&r->waiting) || !TAILQ_EMPTY(&r->checks);
}

static void answer_check(struct ipc_channel *to, uint64_t job, const struct route *r)
{
    struct ipc_domain_checked answer = {.job = job, .status = ROUTE_TRY_LATER, .enhanced = "", .reply = ""};
    if (r != NULL && r->answered) {
        answer.status = r->status;
        answer.code = r->code;
        answer.enhanced = r->enhanced;
        answer.reply = r->reply;
    }
    ipc_send(to, IPC_DOMAIN_CHECKED, &answer, -1);
}

static void check_over(struct qmgr *q, struct route *r, struct domain_check *c)
{
    TAILQ_REMOVE(&r->checks, c, link);
    q->domain_checks--;
    free(c);
}

static void answer_checks(struct qmgr *q, struct route *r)
{
    struct domain_check *c;
    while ((c = TAILQ_FIRST(&r->checks)) != NULL) {
        answer_check(c->from, c->job, r);
        check_over(q, r, c);
    }
}

static struct route *route_get(struct qmgr *q, const char *domain)
{
    struct route *r;
    HASH_FIND_STR(q->routes, domain, r);
    if (r != NULL)
        return r;
    r = calloc(1, sizeof(*r));
    char *copy = strdup(domain);
    if (r == NULL || copy == NULL) {
        free(r);
        free(copy);
        return NULL;
    }
    r->domain = copy;
    TAILQ_INIT(&r->waiting);
    TAILQ_INIT(&r->checks);
    HASH_ADD_KEYPTR(hh, q->routes, r->domain, strlen(r->domain), r);
    return r;
}

static void question_over(struct qmgr *q, struct route *r)
{
    if (r->asked == NULL)
        return;
    HASH_DELETE(by_job, q->asked_routes, r);
    r->asked = NULL;
}

static void forget_answer(struct route *r)
{
    free(r->site);
    free(r->enhanced);
    free(r->reply);
    r->site = r->enhanced = r->reply = NULL;
    r->answered = false;
}

static void route_free(struct qmgr *q, struct route *r)
{
    question_over(q, r);
    while (!TAILQ_EMPTY(&r->checks))
        check_over(q, r, TAILQ_FIRST(&r->checks));
    HASH_DELETE(hh, q->routes, r);
    forget_answer(r);
    free(r->domain);
    free(r);
}

static void ask(struct qmgr *q, struct route *r)
{
    struct ipc_channel *worker = worker_any(q);
    question_over(q, r);
    r->job = qmgr_job_number(q);
    r->asked_ms = clock_mono_ms();
    const struct ipc_route question = {.job = r->job, .domain = r->domain};
    if (worker == NULL || ipc_send(worker, IPC_ROUTE, &question, -1) < 0)
        return; /* asked again when a worker is there */
    r->asked = worker;
    HASH_ADD(by_job, q->asked_routes, job, sizeof(r->job), r);
}

/* Parts of one message that turn out to go to one site travel together. */
static bool merge(struct part *p)
{
    struct round *r = p->round;
    struct part *other;
    HASH_FIND(by_site, r->part_of_site, &p->site, sizeof(p->site), other);
    if (other == NULL) {
        HASH_ADD(by_site, r->part_of_site, site, sizeof(p->site), p);
        return false;
    }
    if (other->turn.share == NULL)
        return false; /* all of it is under way already */
    while (p->count > 0 && part_add(other, p->members[p->count - 1]) == 0)
        p->count--;
    return p->count == 0;
}

static void apply_failure(struct part *p, const struct route *r)
{
    const struct outcome o = {.outcome = r->status == ROUTE_FAILED ? OUTCOME_FAILED : OUTCOME_TRY_LATER,
                              .code = r->code,
                              .enhanced = r->enhanced,
                              .reply = r->reply,
                              .relay = "none",
                              .tls = "none"};
    for (size_t i = 0; i < p->count; i++)
        outcome_record(p->round, p->members[i], NULL, &o);
    p->count = 0;
    round_check(p->round);
}

/* May end the round. */
static void apply(struct qmgr *q, struct part *p, const struct route *r)
{
    if (r->status != ROUTE_FOUND) {
        apply_failure(p, r);
        return;
    }
    p->site = site_get(q, r->site);
    if (p->site != NULL) {
        rules_apply(p);
        if (p->count == 0) {
            round_check(p->round);
            return;
        }
    }
    if (p->site == NULL || (!merge(p) && site_queue(q, p) < 0))
        round_fail_all(p->round, OUTCOME_TRY_LATER, 0, "4.3.0", "out of memory");
}

void route_part(struct part *p)
{
    struct qmgr *q = p->round->qmgr;
    p->fresh = false;
    if (p->route != NULL || p->site != NULL)
        return; /* a rule made it meanwhile and had it routed */
    rules_apply(p);
    if (p->count == 0)
        return;
    struct route *r = route_get(q, p->domain);
    if (r == NULL) {
        round_fail_all(p->round, OUTCOME_TRY_LATER, 0, "4.3.0", "out of memory");
        return;
    }
    if (r->answered && r->good_until_ms > clock_mono_ms()) {
        apply(q, p, r);
        return;
    }
    bool first = !is_waited_for(r);
    p->route = r;
    TAILQ_INSERT_TAIL(&r->waiting, p, in_queue);
    if (first) {
        forget_answer(r);
        ask(q, r);
    }
}

void route_check(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct qmgr *q = arg;
    const struct ipc_check_domain *m = message;
    const struct rule_subject subject = {.domain = m->domain, .tenant = m->tenant, .sender = m->sender};
    struct route *r = NULL;
    struct domain_check *c = NULL;
    bool may_wait = q->domain_checks < DOMAIN_CHECKS_MAX && !rules_concern(q, &subject);
    if (may_wait)
        r = route_get(q, m->domain);
    if (r != NULL && r->answered && r->good_until_ms > clock_mono_ms()) {
        answer_check(from, m->job, r);
        return;
    }
    if (r != NULL)
        c = calloc(1, sizeof(*c));
    if (c == NULL) {
        answer_check(from, m->job, NULL);
        return;
    }
    *c = (struct domain_check){.from = from, .job = m->job};
    bool first = !is_waited_for(r);
    TAILQ_INSERT_TAIL(&r->checks, c, link);
    q->domain_checks++;
    if (first) {
        forget_answer(r);
        ask(q, r);
    }
}

void route_asker_down(struct qmgr *q, struct ipc_channel *channel)
{
    struct route *r, *next_route;
    HASH_ITER (hh, q->routes, r, next_route) {
        struct domain_check *c, *next;
        TAILQ_FOREACH_SAFE (c, &r->checks, link, next)
            if (c->from == channel)
                check_over(q, r, c);
    }
}

void route_cancel(struct part *p)
{
    if (p->route == NULL)
        return;
    TAILQ_REMOVE(&p->route->waiting, p, in_queue);
    p->route = NULL;
}

void route_answered(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct qmgr *q = arg;
    const struct ipc_routed *answer = message;
    struct route *r;
    struct part *p;
    HASH_FIND(by_job, q->asked_routes, &answer->job, sizeof(answer->job), r);
    if (r == NULL || r->asked != from)
        return;
    uint64_t ttl_ms = answer->status == ROUTE_FOUND ? (uint64_t)answer->ttl_s * 1000 : ROUTE_FAILED_TTL_MS;
    question_over(q, r);
    r->answered = true;
    r->status = answer->status;
    r->code = answer->code;
    r->site = strdup(answer->site);
    r->enhanced = strdup(answer->enhanced);
    r->reply = strdup(answer->reply);
    r->good_until_ms = clock_mono_ms() + (answer->status == ROUTE_TRY_LATER ? 1000 : ttl_ms);
    if (r->site == NULL || r->enhanced == NULL || r->reply == NULL) {
        forget_answer(r);
        return; /* asked again by the next check of what waits */
    }
    answer_checks(q, r);
    while ((p = TAILQ_FIRST(&r->waiting)) != NULL) {
        route_cancel(p);
        apply(q, p, r);
    }
}

void route_worker_down(struct qmgr *q, struct ipc_channel *c)
{
    struct route *r, *next;
    HASH_ITER (hh, q->routes, r, next) {
        if (r->asked == c)
            question_over(q, r);
    }
    route_ask_waiting(q);
}

void route_ask_waiting(struct qmgr *q)
{
    struct route *r, *next;
    uint64_t now = clock_mono_ms();
    HASH_ITER (hh, q->routes, r, next) {
        bool unanswered = r->asked == NULL || now - r->asked_ms > ROUTE_ANSWER_MS;
        if (is_waited_for(r) && unanswered && !r->answered)
            ask(q, r);
    }
}

void route_expire(struct qmgr *q)
{
    struct route *r, *next;
    uint64_t now = clock_mono_ms();
    bool crowded = HASH_COUNT(q->routes) > ROUTES_MAX;
    HASH_ITER (hh, q->routes, r, next)
        if (!is_waited_for(r) && r->asked == NULL && (crowded || r->good_until_ms < now))
            route_free(q, r);
}

const char *route_known_site(struct qmgr *q, const char *domain)
{
    struct route *r;
    HASH_FIND_STR(q->routes, domain, r);
    return r != NULL && r->answered && r->status == ROUTE_FOUND ? r->site : NULL;
}

void route_free_all(struct qmgr *q)
{
    struct route *r, *next;
    HASH_ITER (hh, q->routes, r, next)
        route_free(q, r);
}
