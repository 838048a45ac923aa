/* smtp-out processes and the DELIVERs they have.  A job lives until its DELIVER_DONE is settled, or its worker dies. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log/log.h"
#include "qmgr/qmgr.h"

#define SETTLE_QUIET_MS 300 /* after a start: how long no further smtp-out shows up before scheduling begins */

struct worker {
    struct ipc_channel *channel;
    unsigned capacity, in_flight;
    bool ready; /* INFLIGHT_END came */
    TAILQ_ENTRY(worker) link;
};

struct job {
    uint64_t number;
    struct worker *worker;
    struct round *round; /* NULL: taken over from before our start, message not opened yet */
    struct site *site;
    char queue_id[QUEUE_ID_SIZE];
    uint32_t *indexes; /* of the recipients */
    size_t count;
    UT_hash_handle hh;
};

static void job_free(struct qmgr *q, struct job *j)
{
    HASH_DELETE(hh, q->jobs, j);
    free(j->indexes);
    free(j);
}

static struct job *job_new(struct qmgr *q, struct worker *w, uint64_t number, const char *queue_id, size_t count)
{
    struct job *j = calloc(1, sizeof(*j));
    if (j == NULL || (j->indexes = calloc(count + 1, sizeof(*j->indexes))) == NULL) {
        free(j);
        return NULL;
    }
    j->number = number;
    j->worker = w;
    j->count = count;
    memcpy(j->queue_id, queue_id, QUEUE_ID_LEN);
    HASH_ADD(hh, q->jobs, number, sizeof(j->number), j);
    return j;
}

static struct job *job_find(struct qmgr *q, const struct worker *w, uint64_t number, const char *queue_id)
{
    struct job *j;
    HASH_FIND(hh, q->jobs, &number, sizeof(number), j);
    return j != NULL && j->worker == w && strcmp(j->queue_id, queue_id) == 0 ? j : NULL;
}

size_t worker_jobs(const struct qmgr *q)
{
    return HASH_COUNT(q->jobs);
}

void worker_settled(void *arg)
{
    struct qmgr *q = arg;
    q->settled = true;
    qmgr_wake(q);
}

void worker_up(struct qmgr *q, struct ipc_channel *c)
{
    struct worker *w = calloc(1, sizeof(*w));
    if (w == NULL) {
        ipc_channel_break(c, "out of memory");
        return;
    }
    w->channel = c;
    ipc_channel_set_user(c, w);
    TAILQ_INSERT_TAIL(&q->workers, w, link);
    if (!q->settled)
        timer_set_ms(&q->settle_timer, SETTLE_QUIET_MS);
}

void worker_capacity(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct qmgr *q = arg;
    const struct ipc_capacity *capacity = message;
    struct worker *w = ipc_channel_user(from);
    w->capacity = capacity->deliveries;
    site_take_turns(q); /* the shares of the others are larger or smaller now */
}

static bool has_room(const struct worker *w)
{
    return w->ready && w->in_flight < w->capacity;
}

/* NULL: *err is -EAGAIN or -EBUSY. */
static struct worker *least_busy(struct qmgr *q, struct site *site, int *err)
{
    struct worker *w, *best = NULL;
    *err = -EAGAIN;
    TAILQ_FOREACH (w, &q->workers, link) {
        if (!has_room(w))
            continue;
        *err = -EBUSY;
        if ((best == NULL || w->in_flight < best->in_flight) && site_may_use(site, w))
            best = w;
    }
    return best;
}

unsigned worker_share(const struct qmgr *q, const struct worker *wanted, unsigned count)
{
    const struct worker *w;
    unsigned workers = 0, place = 0;
    TAILQ_FOREACH (w, &q->workers, link) {
        if (w == wanted)
            place = workers;
        workers += w->ready && w->capacity > 0;
    }
    return workers == 0 ? 0 : count / workers + (place < count % workers);
}

struct ipc_channel *worker_any(struct qmgr *q)
{
    struct worker *w, *best = NULL;
    TAILQ_FOREACH (w, &q->workers, link)
        if (w->ready && (best == NULL || w->in_flight < best->in_flight))
            best = w;
    return best != NULL ? best->channel : NULL;
}

/* The last members of the part, at most what one DELIVER takes, in file order. */
static size_t choose(const struct part *p, struct ipc_deliver_recipient *out, uint32_t *numbers)
{
    const struct round *r = p->round;
    size_t most = site_recipients_max(p->site), count = p->count < most ? p->count : most;
    for (size_t i = 0; i < count; i++) {
        uint32_t number = p->members[p->count - count + i];
        const struct envelope_recipient *rcpt = &r->envelope.recipients[number];
        numbers[i] = number;
        out[i] = (struct ipc_deliver_recipient){
            .index = rcpt->index, .address = rcpt->address, .notify = rcpt->notify, .orcpt = rcpt->orcpt};
    }
    return count;
}

static int send_job(struct job *j, const struct part *p, const struct ipc_deliver_recipient *recipients)
{
    const struct round *r = p->round;
    const struct envelope *e = &r->envelope;
    const struct ipc_deliver deliver = {
        .job = j->number,
        .queue_id = e->id,
        .site = p->site->key,
        .domain = p->domain,
        .tenant = e->tenant,
        .sender = e->sender,
        .flags = e->flags,
        .content_offset = e->content_offset,
        .content_length = e->content_length,
        .headers = r->headers,
        .ret = e->ret,
        .envid = e->envid,
        .return_by_s = (uint64_t)e->return_by_s,
        .notify_by_s = (uint64_t)e->notify_by_s,
        .mt_priority = e->mt_priority,
        .messages_per_connection = p->site->rule != NULL ? (uint32_t)p->site->rule->messages_per_connection : 0,
        .recipients = recipients,
        .recipients_count = (uint32_t)j->count};
    return ipc_send(j->worker->channel, IPC_DELIVER, &deliver, r->fd);
}

int worker_deliver(struct part *p)
{
    struct round *r = p->round;
    struct qmgr *q = r->qmgr;
    struct ipc_deliver_recipient recipients[IPC_RECIPIENTS_MAX];
    uint32_t numbers[IPC_RECIPIENTS_MAX];
    int err;
    struct worker *w = least_busy(q, p->site, &err);
    if (w == NULL)
        return err;
    size_t count = choose(p, recipients, numbers);
    struct job *j = job_new(q, w, qmgr_job_number(q), r->message->id, count);
    if (j == NULL)
        return -ENOMEM;
    j->round = r;
    j->site = p->site;
    err = send_job(j, p, recipients);
    if (err < 0) {
        job_free(q, j);
        return err;
    }
    for (size_t i = 0; i < count; i++) {
        j->indexes[i] = recipients[i].index;
        r->recipients[numbers[i]].phase = RCPT_FLYING;
    }
    p->count -= count;
    w->in_flight++;
    r->jobs++;
    site_began(p->site, w, count);
    return 0;
}

void worker_inflight(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct qmgr *q = arg;
    const struct ipc_inflight *flight = message;
    struct worker *w = ipc_channel_user(from);
    struct message *m = queue_id_valid(flight->queue_id) ? message_find(q, flight->queue_id) : NULL;
    struct job *j = m != NULL && m->phase != MESSAGE_ACTIVE
                        ? job_new(q, w, flight->job, flight->queue_id, flight->recipients_count)
                        : NULL;
    if (j == NULL) {
        /* Finished long ago, or opened before this worker came back: there is nothing to wait for. */
        const struct ipc_settled settled = {.job = flight->job, .queue_id = flight->queue_id};
        ipc_send(from, IPC_SETTLED, &settled, -1);
        return;
    }
    for (uint32_t i = 0; i < flight->recipients_count; i++)
        j->indexes[i] = flight->recipients[i].index;
    j->site = site_get(q, flight->site);
    if (j->site != NULL)
        site_began(j->site, w, flight->recipients_count);
    w->in_flight++;
    q->orphans++;
    message_ready(q, m);
}

void worker_adopt(struct round *r)
{
    struct job *j, *next;
    if (r->qmgr->orphans == 0)
        return;
    HASH_ITER (hh, r->qmgr->jobs, j, next) {
        if (j->round != NULL || strcmp(j->queue_id, r->message->id) != 0)
            continue;
        j->round = r;
        r->qmgr->orphans--;
        r->jobs++;
        for (size_t i = 0; i < j->count; i++) {
            long number = round_find_recipient(r, j->indexes[i]);
            if (number < 0 || r->envelope.recipients[number].status != RECIPIENT_TODO)
                continue;
            r->recipients[number].phase = RCPT_FLYING;
            r->open++;
        }
    }
}

void worker_inflight_end(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct qmgr *q = arg;
    struct worker *w = ipc_channel_user(from);
    w->ready = true;
    route_ask_waiting(q);
    qmgr_wake(q);
}

/* A result for a message that waits its turn after a restart: it is opened now. */
static struct round *round_of(struct qmgr *q, struct job *j)
{
    struct message *m = message_find(q, j->queue_id);
    if (j->round == NULL && m != NULL && m->phase == MESSAGE_READY)
        round_begin(q, m);
    return j->round;
}

void worker_result(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct qmgr *q = arg;
    const struct ipc_result *result = message;
    struct job *j = job_find(q, ipc_channel_user(from), result->job, result->queue_id);
    struct round *r = j != NULL ? round_of(q, j) : NULL;
    long number = r != NULL ? round_find_recipient(r, result->index) : -1;
    if (number < 0 || r->recipients[number].phase != RCPT_FLYING)
        return;
    const struct outcome o = {
        .outcome = result->outcome <= OUTCOME_FAILED ? result->outcome : OUTCOME_TRY_LATER,
        .code = result->code,
        .enhanced = result->enhanced,
        .reply = result->reply,
        .relay = result->relay,
        .tls = result->tls,
        .tells = result->tells != 0,
    };
    outcome_record(r, (size_t)number, j->site, &o);
}

/* Recipients of a job that ended without a word about them. */
static void close_job(struct qmgr *q, struct job *j, const struct site_delivery *d)
{
    struct round *r = j->round;
    struct site *site = j->site;
    struct worker *w = j->worker;
    const struct outcome o = {
        .outcome = OUTCOME_TRY_LATER, .enhanced = "4.3.0", .reply = d->reason, .relay = "none", .tls = "none"};
    for (size_t i = 0; r != NULL && i < j->count; i++) {
        long number = round_find_recipient(r, j->indexes[i]);
        if (number >= 0 && r->recipients[number].phase == RCPT_FLYING)
            outcome_record(r, (size_t)number, site, &o);
    }
    w->in_flight--;
    q->orphans -= r == NULL;
    job_free(q, j);
    if (site != NULL)
        site_delivered(site, w, d);
    if (r != NULL) {
        r->jobs--;
        round_check(r);
    }
}

void worker_done(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct qmgr *q = arg;
    const struct ipc_deliver_done *done = message;
    struct job *j = job_find(q, ipc_channel_user(from), done->job, done->queue_id);
    const struct ipc_settled settled = {.job = done->job, .queue_id = done->queue_id};
    if (j != NULL) {
        const struct site_delivery d = {.blamed = done->blame == BLAME_SITE,
                                        .reason = done->reason[0] != '\0' ? done->reason : "no result was reported",
                                        .connections = done->connections,
                                        .kept = done->kept != 0};
        round_of(q, j);
        close_job(q, j, &d);
    }
    ipc_send(from, IPC_SETTLED, &settled, -1);
    qmgr_wake(q);
}

void worker_down(struct qmgr *q, struct ipc_channel *c)
{
    struct worker *w = ipc_channel_user(c);
    struct job *j, *next;
    if (w == NULL)
        return;
    TAILQ_REMOVE(&q->workers, w, link);
    HASH_ITER (hh, q->jobs, j, next) {
        if (j->worker != w)
            continue;
        if (j->round == NULL) /* no delivery line will tell: the message is not even opened since our start */
            log_message(
                LOG_LEVEL_INFO, j->queue_id,
                "the delivery process ended before the reply was known: recipients=%zu, will be delivered again",
                (size_t)j->count);
        close_job(q, j, &(struct site_delivery){.reason = "the delivery process ended before the reply was known"});
    }
    site_worker_down(q, w);
    route_worker_down(q, c);
    free(w);
    qmgr_wake(q);
}

void worker_free_all(struct qmgr *q)
{
    struct job *j, *next;
    struct worker *w;
    HASH_ITER (hh, q->jobs, j, next)
        job_free(q, j);
    while ((w = TAILQ_FIRST(&q->workers)) != NULL) {
        TAILQ_REMOVE(&q->workers, w, link);
        free(w);
    }
}
