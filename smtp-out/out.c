#include "smtp-out/out.h"

#include <errno.h>

#include "smtp-out/job.h"
#include "smtp-out/order.h"
#include "smtp-out/pool.h"
#include "smtp-out/result.h"

static void send_again(void *arg)
{
    struct out *out = arg;
    result_send_unsent(out);
    order_send_unsent(out);
}

int out_init(struct out *out, struct loop *l, const struct dns_config *dns)
{
    out->loop = l;
    TAILQ_INIT(&out->idle);
    TAILQ_INIT(&out->quitting);
    TAILQ_INIT(&out->unsent);
    TAILQ_INIT(&out->routing);
    out->resolver = dns_resolver_new(l, dns);
    if (out->resolver != NULL)
        out->dns = dns_cache_new(l, out->resolver, (size_t)out->settings->dns_cache_entries_max,
                                 (uint32_t)(out->settings->dns_cache_ttl_max_ms / 1000));
    int r = timer_init(&out->send_later, l, send_again, out);
    return out->dns == NULL ? -ENOMEM : r;
}

void out_deinit(struct out *out)
{
    struct job *j, *next;
    if (out->loop == NULL)
        return;
    out->draining = true;
    out->on_drained = NULL;
    order_close(out);
    HASH_ITER (hh, out->jobs, j, next)
        job_free(j);
    pool_clear(out);
    while (!TAILQ_EMPTY(&out->quitting))
        session_free(TAILQ_FIRST(&out->quitting));
    timer_deinit(&out->send_later);
    dns_cache_free(out->dns);
    dns_resolver_free(out->resolver);
    out->loop = NULL;
}

void out_check_drained(struct out *out)
{
    bool qmgr_listens = out->qmgr != NULL && ipc_client_channel(out->qmgr) != NULL;
    bool idle = out->working == 0 && TAILQ_EMPTY(&out->quitting) && (out->jobs == NULL || !qmgr_listens);
    if (out->draining && idle && out->on_drained != NULL)
        out->on_drained(out->on_drained_arg);
}

void out_drain(struct out *out)
{
    out->draining = true;
    order_send_capacity(out);
    pool_clear(out);
    out_check_drained(out);
}
