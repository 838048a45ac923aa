#include "smtp-out/job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "log/log.h"
#include "smtp-out/pool.h"
#include "smtp-out/result.h"

static void job_find_session(struct job *j);

static char *job_key(uint64_t number, const char *queue_id)
{
    return text_format("%llu/%s", (unsigned long long)number, queue_id);
}

struct job *job_find(struct out *out, uint64_t number, const char *queue_id)
{
    struct job *j = NULL;
    char *key = job_key(number, queue_id);
    if (key != NULL)
        HASH_FIND_STR(out->jobs, key, j);
    free(key);
    return j;
}

static void close_content(struct job *j)
{
    if (j->fd >= 0)
        close(j->fd);
    j->fd = -1;
}

static void drop_work(struct job *j)
{
    if (j->connect != NULL)
        j->connections += connect_opened(j->connect);
    site_lookup_cancel(j->lookup);
    j->lookup = NULL;
    connect_free(j->connect);
    j->connect = NULL;
    session_free(j->session);
    j->session = NULL;
    free(j->site);
    j->site = NULL;
}

/* Mirror of job_new alone: the job is in no list. */
static void job_destroy(struct job *j)
{
    drop_work(j);
    close_content(j);
    timer_deinit(&j->deadline);
    for (size_t i = 0; i < j->count; i++) {
        struct job_recipient *r = &j->recipients[i];
        char *const texts[] = {r->address, r->orcpt, r->reply, r->relay, r->tls};
        for (size_t k = 0; k < ARRAY_LENGTH(texts); k++)
            free(texts[k]);
    }
    char *const texts[] = {j->key,    j->queue_id, j->site_key, j->domain,
                           j->sender, j->headers,  j->envid,    j->mt_priority};
    for (size_t k = 0; k < ARRAY_LENGTH(texts); k++)
        free(texts[k]);
    free(j->recipients);
    free(j);
}

void job_free(struct job *j)
{
    struct out *out = j->out;
    if (!j->finished)
        out->working--;
    result_forget(j);
    HASH_DEL(out->jobs, j);
    job_destroy(j);
}

static bool copy_recipients(struct job *j, const struct ipc_deliver *order)
{
    j->recipients = calloc(order->recipients_count, sizeof(j->recipients[0]));
    if (j->recipients == NULL)
        return false;
    for (; j->count < order->recipients_count; j->count++) {
        const struct ipc_deliver_recipient *from = &order->recipients[j->count];
        struct job_recipient *to = &j->recipients[j->count];
        to->index = from->index;
        to->notify = from->notify;
        to->address = strdup(from->address);
        to->orcpt = strdup(from->orcpt);
        if (to->address == NULL || to->orcpt == NULL) {
            j->count++;
            return false;
        }
    }
    return true;
}

static bool copy_texts(struct job *j, const struct ipc_deliver *order)
{
    const struct {
        char **to;
        const char *from;
    } texts[] = {
        {&j->queue_id, order->queue_id},       {&j->site_key, order->site},   {&j->domain, order->domain},
        {&j->sender, order->sender},           {&j->headers, order->headers}, {&j->envid, order->envid},
        {&j->mt_priority, order->mt_priority},
    };
    j->key = job_key(order->job, order->queue_id);
    bool complete = j->key != NULL;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        *texts[i].to = strdup(texts[i].from);
        complete = complete && *texts[i].to != NULL;
    }
    return complete;
}

static void deadline_passed(void *arg)
{
    struct job *j = arg;
    struct failure f;
    enum stage stage = j->session != NULL && j->deliver.ended ? STAGE_END : STAGE_CONTENT;
    failure_from_loss(&f, j->session, stage, "delivery_timeout passed");
    drop_work(j);
    job_decide_rest(j, &f);
    job_transaction_over(j);
}

static struct job *job_new(struct out *out, const struct ipc_deliver *order, int fd)
{
    struct job *j = calloc(1, sizeof(*j));
    if (j == NULL) {
        close(fd);
        return NULL;
    }
    *j = (struct job){
        .out = out,
        .number = order->job,
        .flags = order->flags,
        .ret = order->ret,
        .return_by_s = order->return_by_s,
        .notify_by_s = order->notify_by_s,
        .content_offset = order->content_offset,
        .content_length = order->content_length,
        .messages_per_connection = order->messages_per_connection,
        .fd = fd,
    };
    if (!copy_texts(j, order) || !copy_recipients(j, order) ||
        timer_init(&j->deadline, out->loop, deadline_passed, j) < 0 ||
        timer_set_ms(&j->deadline, (uint64_t)out->settings->delivery_timeout_ms) < 0) {
        job_destroy(j);
        return NULL;
    }
    return j;
}

int job_start(struct out *out, const struct ipc_deliver *order, int fd)
{
    if (job_find(out, order->job, order->queue_id) != NULL) {
        close(fd);
        return -EEXIST;
    }
    struct job *j = job_new(out, order, fd);
    if (j == NULL)
        return -ENOMEM;
    HASH_ADD_KEYPTR(hh, out->jobs, j->key, strlen(j->key), j);
    out->working++;
    job_find_session(j);
    return 0;
}

void job_decide(struct job *j, struct job_recipient *r, const struct failure *f)
{
    char enhanced[MAIL_STATUS_TEXT_MAX];
    if (r->decided)
        return;
    r->decided = true;
    r->verdict = f->verdict;
    r->reply = strdup(f->reason);
    r->relay = strdup(f->relay);
    r->tls = strdup(f->tls);
    r->tells = f->verdict.outcome == OUTCOME_DELIVERED && j->session != NULL &&
               (j->session->offers.extensions & SMTP_EXT_DSN) != 0;
    if (f->verdict.blame != BLAME_NOBODY &&
        (j->blamed == NULL || blame_worse(j->blame, f->verdict.blame) != j->blame)) {
        j->blame = f->verdict.blame;
        j->blamed = r;
    }
    log_message(LOG_LEVEL_DEBUG, j->queue_id, "to=<%s>, relay=%s, dsn=%s: %s", r->address, f->relay,
                mail_status_format(&f->verdict.status, enhanced), f->reason);
    result_send(j);
}

void job_decide_rest(struct job *j, const struct failure *f)
{
    for (size_t i = 0; i < j->count; i++)
        job_decide(j, &j->recipients[i], f);
}

static void job_finish(struct job *j)
{
    j->finished = true;
    j->out->working--;
    drop_work(j);
    close_content(j);
    timer_stop(&j->deadline);
    result_send(j);
    out_check_drained(j->out);
}

void job_transaction_over(struct job *j)
{
    struct failure f;
    if (j->session != NULL) {
        j->session->messages_max = j->messages_per_connection;
        j->kept = pool_put(j->session);
    }
    j->session = NULL;
    failure_from_trouble(&f, NULL, TROUBLE_OURS, "the delivery ended without a result");
    job_decide_rest(j, &f);
    job_finish(j);
}

/* No session and no further address. */
static void job_fail(struct job *j, const struct failure *f)
{
    job_decide_rest(j, f);
    job_finish(j);
}

static void job_fail_locally(struct job *j, const char *why)
{
    struct failure f;
    failure_from_trouble(&f, NULL, TROUBLE_OURS, why);
    job_fail(j, &f);
}

static void job_connected(void *arg, struct session *s, const struct failure *failure)
{
    struct job *j = arg;
    if (s == NULL) {
        job_fail(j, failure);
        return;
    }
    j->session = s;
    deliver_start(j);
}

static void job_connect(struct job *j)
{
    j->connect = connect_new(j->out, j->site, job_connected, j);
    if (j->connect == NULL)
        job_fail_locally(j, "out of memory");
    else
        connect_next(j->connect, NULL);
}

static bool is_all_of_domain(const struct job *j)
{
    for (size_t i = 0; i < j->count; i++) {
        const char *at = strrchr(j->recipients[i].address, '@');
        if (at == NULL || !text_equal_nocase(at + 1, j->domain))
            return false;
    }
    return true;
}

static void job_site_found(void *arg, struct site *site)
{
    struct job *j = arg;
    struct failure f;
    j->lookup = NULL;
    j->site = site;
    if (site == NULL) {
        job_fail_locally(j, "out of memory");
        return;
    }
    if (!site->found) {
        failure_from_trouble(&f, NULL, TROUBLE_DNS, site->reply);
        f.verdict = site->verdict;
        job_fail(j, &f);
        return;
    }
    if (strcmp(site->key, j->site_key) != 0 && !is_all_of_domain(j)) {
        job_fail_locally(j, "the mail servers of the domains changed");
        return;
    }
    job_connect(j);
}

static void job_look_up(struct job *j)
{
    j->lookup = site_lookup(j->out, j->domain, job_site_found, j);
    if (j->lookup == NULL)
        job_fail_locally(j, "out of memory");
}

static void job_find_session(struct job *j)
{
    j->session = pool_take(j->out, j->site_key);
    if (j->session == NULL) {
        job_look_up(j);
        return;
    }
    deliver_start(j);
}

void job_session_lost(struct job *j, const struct failure *why)
{
    if (j->connect != NULL) {
        connect_next(j->connect, why);
        return;
    }
    /* A kept connection that ended meanwhile says nothing about the server. */
    log_debug("kept connection to %s: %s, connecting again", why->relay, why->reason);
    job_look_up(j);
}
