#include "smtp-out/order.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "smtp-out/job.h"
#include "log/log.h"
#include "smtp-out/result.h"
#include "smtp-out/site.h"

enum { SEND_AGAIN_MS = 20 };

/* One ROUTE, until it is answered. */
struct routing {
    struct out *out;
    uint64_t number;
    struct site_lookup *lookup;
    struct site *site; /* NULL while it is looked up */
    TAILQ_ENTRY(routing) link;
};

static void routing_free(struct routing *r)
{
    TAILQ_REMOVE(&r->out->routing, r, link);
    site_lookup_cancel(r->lookup);
    free(r->site);
    free(r);
}

static void routing_answer(struct routing *r)
{
    struct ipc_channel *c = ipc_client_channel(r->out->qmgr);
    char enhanced[MAIL_STATUS_TEXT_MAX];
    const struct verdict *v = &r->site->verdict;
    struct ipc_routed routed = {
        .job = r->number,
        .status = r->site->found                 ? ROUTE_FOUND
                  : v->outcome == OUTCOME_FAILED ? ROUTE_FAILED
                                                 : ROUTE_TRY_LATER,
        .site = r->site->key,
        .ttl_s = r->site->ttl_s,
        .code = v->code,
        .enhanced = mail_status_format(&v->status, enhanced),
        .reply = r->site->reply,
    };
    if (c != NULL && ipc_send(c, IPC_ROUTED, &routed, -1) == -EAGAIN)
        timer_set_ms(&r->out->send_later, SEND_AGAIN_MS);
    else
        routing_free(r);
}

static void routing_looked_up(void *arg, struct site *site)
{
    struct routing *r = arg;
    r->lookup = NULL;
    r->site = site;
    if (site == NULL)
        routing_free(r); /* qmgr asks again when no answer comes */
    else
        routing_answer(r);
}

static void on_route(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct out *out = arg;
    const struct ipc_route *order = message;
    struct routing *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return;
    *r = (struct routing){.out = out, .number = order->job};
    TAILQ_INSERT_TAIL(&out->routing, r, link);
    r->lookup = site_lookup(out, order->domain, routing_looked_up, r);
    if (r->lookup == NULL)
        routing_free(r);
}

/* The DELIVER cannot be taken; its recipients are nobody's fault. */
static void refuse(struct ipc_channel *from, const struct ipc_deliver *order, const char *why)
{
    for (uint32_t i = 0; i < order->recipients_count; i++) {
        struct ipc_result result = {
            .job = order->job,
            .queue_id = order->queue_id,
            .index = order->recipients[i].index,
            .outcome = OUTCOME_TRY_LATER,
            .enhanced = "4.3.2",
            .reply = why,
            .relay = "none",
            .tls = "none",
        };
        ipc_send(from, IPC_RESULT, &result, -1);
    }
    struct ipc_deliver_done done = {
        .job = order->job, .queue_id = order->queue_id, .site = order->site, .blame = BLAME_NOBODY, .reason = why};
    ipc_send(from, IPC_DELIVER_DONE, &done, -1);
}

static void on_deliver(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct out *out = arg;
    const struct ipc_deliver *order = message;
    if (*fd < 0 || order->recipients_count == 0 || order->recipients_count > IPC_RECIPIENTS_MAX) {
        ipc_channel_break(from, "DELIVER without a descriptor or with a wrong number of recipients");
        return;
    }
    if (out->draining) {
        refuse(from, order, "this worker is shutting down");
        return;
    }
    if (out->working >= (size_t)out->settings->deliveries_max) {
        refuse(from, order, "this worker has as many deliveries under way as it may");
        return;
    }
    int r = job_start(out, order, TAKE_FD(*fd));
    if (r == -EEXIST)
        log_message(LOG_LEVEL_WARNING, order->queue_id, "qmgr ordered a delivery again that is under way, ignoring");
    else if (r < 0)
        refuse(from, order, text_errno(r));
}

static void on_settled(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct out *out = arg;
    const struct ipc_settled *order = message;
    struct job *j = job_find(out, order->job, order->queue_id);
    if (j != NULL && j->finished)
        job_free(j);
    out_check_drained(out);
}

static const struct ipc_handler handlers[] = {
    {IPC_ROUTE, on_route},
    {IPC_DELIVER, on_deliver},
    {IPC_SETTLED, on_settled},
    {IPC_NONE, NULL},
};

static void on_up(void *arg, struct ipc_channel *c)
{
    struct out *out = arg;
    log_debug("qmgr is there, %zu deliveries under way", out->working);
    order_send_capacity(out);
    result_resume(out);
}

/* Deliveries go on; what they bring is told to the next qmgr.  Its questions are its own. */
static void on_down(void *arg, struct ipc_channel *c, const char *why)
{
    struct out *out = arg;
    if (!out->draining)
        log_warning("qmgr is gone (%s), %zu deliveries go on", why, out->working);
    while (!TAILQ_EMPTY(&out->routing))
        routing_free(TAILQ_FIRST(&out->routing));
    out_check_drained(out);
}

int order_open(struct out *out, const char *socket_path, const struct ipc_identity *self)
{
    const struct ipc_face face = {.self = *self, .handlers = handlers, .on_up = on_up, .on_down = on_down, .arg = out};
    out->qmgr = ipc_client_new(out->loop, socket_path, ROLE_QMGR, &face);
    return out->qmgr != NULL ? 0 : -ENOMEM;
}

void order_close(struct out *out)
{
    ipc_client_free(out->qmgr);
    out->qmgr = NULL;
    while (!TAILQ_EMPTY(&out->routing))
        routing_free(TAILQ_FIRST(&out->routing));
}

void order_send_capacity(struct out *out)
{
    struct ipc_channel *c = out->qmgr != NULL ? ipc_client_channel(out->qmgr) : NULL;
    struct ipc_capacity capacity = {.deliveries = out->draining ? 0 : (uint32_t)out->settings->deliveries_max};
    if (c != NULL)
        ipc_send(c, IPC_CAPACITY, &capacity, -1);
}

void order_send_unsent(struct out *out)
{
    struct routing *r, *next;
    TAILQ_FOREACH_SAFE (r, &out->routing, link, next)
        if (r->site != NULL)
            routing_answer(r);
}
