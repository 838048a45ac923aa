#include "smtp-out/result.h"

#include <errno.h>
#include <string.h>

#include "smtp-out/job.h"
#include "log/log.h"

enum { SEND_AGAIN_MS = 20 };

static const char *text_or(const char *text, const char *otherwise)
{
    return text != NULL ? text : otherwise;
}

static int send_recipient(struct ipc_channel *c, const struct job *j, struct job_recipient *r)
{
    char enhanced[MAIL_STATUS_TEXT_MAX];
    struct ipc_result result = {
        .job = j->number,
        .queue_id = j->queue_id,
        .index = r->index,
        .outcome = r->verdict.outcome,
        .code = r->verdict.code,
        .enhanced = mail_status_format(&r->verdict.status, enhanced),
        .reply = text_or(r->reply, "(the reply did not fit into memory)"),
        .relay = text_or(r->relay, "none"),
        .tls = text_or(r->tls, "none"),
        .tells = r->tells,
    };
    int error = ipc_send(c, IPC_RESULT, &result, -1);
    r->sent = error == 0;
    return error;
}

static int send_done(struct ipc_channel *c, struct job *j)
{
    struct ipc_deliver_done done = {
        .job = j->number,
        .queue_id = j->queue_id,
        .site = j->site_key,
        .blame = j->blame,
        .connections = j->connections,
        .kept = j->kept,
        .reason = j->blamed != NULL ? text_or(j->blamed->reply, "") : "",
    };
    int error = ipc_send(c, IPC_DELIVER_DONE, &done, -1);
    j->done_sent = error == 0;
    return error;
}

/* 0 when all that is known was sent, else -errno. */
static int send_known(struct ipc_channel *c, struct job *j)
{
    int r = 0;
    for (size_t i = 0; i < j->count && r == 0; i++)
        if (j->recipients[i].decided && !j->recipients[i].sent)
            r = send_recipient(c, j, &j->recipients[i]);
    if (r == 0 && j->finished && !j->done_sent)
        r = send_done(c, j);
    return r;
}

void result_forget(struct job *j)
{
    if (j->is_unsent)
        TAILQ_REMOVE(&j->out->unsent, j, unsent);
    j->is_unsent = false;
}

void result_send(struct job *j)
{
    struct ipc_channel *c = ipc_client_channel(j->out->qmgr);
    int r = c != NULL ? send_known(c, j) : -EPIPE;
    if (r == 0 || c == NULL) {
        result_forget(j); /* without a channel: result_resume sends it */
        return;
    }
    if (!j->is_unsent)
        TAILQ_INSERT_TAIL(&j->out->unsent, j, unsent);
    j->is_unsent = true;
    timer_set_ms(&j->out->send_later, SEND_AGAIN_MS);
}

void result_send_unsent(struct out *out)
{
    struct job *j, *next;
    TAILQ_FOREACH_SAFE (j, &out->unsent, unsent, next)
        result_send(j);
}

static int send_inflight(struct ipc_channel *c, const struct job *j)
{
    struct ipc_inflight_recipient recipients[IPC_RECIPIENTS_MAX];
    for (size_t i = 0; i < j->count; i++)
        recipients[i].index = j->recipients[i].index;
    struct ipc_inflight inflight = {
        .job = j->number,
        .queue_id = j->queue_id,
        .site = j->site_key,
        .recipients = recipients,
        .recipients_count = (uint32_t)j->count,
    };
    return ipc_send(c, IPC_INFLIGHT, &inflight, -1);
}

void result_resume(struct out *out)
{
    struct ipc_channel *c = ipc_client_channel(out->qmgr);
    struct job *j, *next;
    struct ipc_inflight_end end = {0};
    int r = 0;
    HASH_ITER (hh, out->jobs, j, next) {
        if (r == 0)
            r = send_inflight(c, j);
        end.count++;
        j->done_sent = false;
        for (size_t i = 0; i < j->count; i++)
            j->recipients[i].sent = false;
    }
    if (r == 0)
        r = ipc_send(c, IPC_INFLIGHT_END, &end, -1);
    if (r < 0) {
        /* Half a list would let qmgr deliver the other half twice. */
        ipc_channel_break(c, "the list of deliveries under way could not be sent");
        return;
    }
    HASH_ITER (hh, out->jobs, j, next)
        result_send(j);
}
