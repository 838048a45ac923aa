/* Notices: bounce is asked to tell the sender, and says when the notice is safe on disk.  Only then is a recipient
 * marked as bounced; after a crash in between the notice may be sent twice, never not at all. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "log/log.h"
#include "qmgr/qmgr.h"
#include "queue/file.h"

struct notice {
    uint64_t number;
    struct round *round;
    enum ipc_bounce_kind kind;
    uint32_t count;
    uint32_t numbers[IPC_RECIPIENTS_MAX];
    UT_hash_handle hh;
};

static void describe(const struct round *r, size_t number, struct ipc_bounce_recipient *out)
{
    const struct envelope_recipient *rcpt = &r->envelope.recipients[number];
    const struct verdict *v = r->recipients[number].verdict;
    bool expired = rcpt->status == RECIPIENT_EXPIRED;
    *out = (struct ipc_bounce_recipient){.index = rcpt->index,
                                         .address = rcpt->address,
                                         .orcpt = rcpt->orcpt,
                                         .notify = rcpt->notify,
                                         .code = v != NULL ? v->code : 0,
                                         .enhanced = v != NULL && v->enhanced != NULL    ? v->enhanced
                                                     : rcpt->status == RECIPIENT_RELAYED ? "2.0.0"
                                                                                         : "5.0.0",
                                         .reply = v != NULL && v->reply != NULL       ? v->reply
                                                  : rcpt->status == RECIPIENT_RELAYED ? ""
                                                                                      : "delivery failed",
                                         .relay = v != NULL && v->relay != NULL ? v->relay : "none",
                                         .attempted_s = v != NULL ? (uint64_t)v->time_s : 0,
                                         .expired = expired};
}

int notice_send(struct round *r, enum ipc_bounce_kind kind, const size_t *numbers, size_t count)
{
    struct qmgr *q = r->qmgr;
    const struct envelope *e = &r->envelope;
    struct ipc_bounce_recipient recipients[IPC_RECIPIENTS_MAX];
    struct notice *n = calloc(1, sizeof(*n));
    if (n == NULL)
        return -ENOMEM;
    *n = (struct notice){.number = qmgr_job_number(q), .round = r, .kind = kind, .count = (uint32_t)count};
    for (size_t i = 0; i < count; i++) {
        n->numbers[i] = (uint32_t)numbers[i];
        describe(r, numbers[i], &recipients[i]);
    }
    const struct ipc_bounce bounce = {.job = n->number,
                                      .queue_id = e->id,
                                      .kind = kind,
                                      .sender = e->sender,
                                      .tenant = e->tenant,
                                      .credential = e->credential,
                                      .flags = e->flags,
                                      .ret = e->ret,
                                      .envid = e->envid,
                                      .arrived_s = (uint64_t)(e->arrived_us / 1000000),
                                      .expires_s = (uint64_t)round_expires_s(r),
                                      .content_offset = e->content_offset,
                                      .content_length = e->content_length,
                                      .recipients = recipients,
                                      .recipients_count = (uint32_t)count};
    int err = ipc_send(q->bouncer, IPC_BOUNCE, &bounce, r->fd);
    if (err < 0) {
        free(n);
        return err;
    }
    HASH_ADD(hh, q->notices, number, sizeof(n->number), n);
    r->bounces++;
    return 0;
}

/* The sender was told. */
static void mark_told(struct round *r, const struct notice *n)
{
    for (uint32_t i = 0; i < n->count; i++) {
        const struct envelope_recipient *rcpt = &r->envelope.recipients[n->numbers[i]];
        if (rcpt->status == RECIPIENT_RELAYED)
            record_status(r, n->numbers[i], RECIPIENT_DONE);
        else if (rcpt->status == RECIPIENT_FAILED || rcpt->status == RECIPIENT_EXPIRED)
            record_status(r, n->numbers[i], RECIPIENT_BOUNCED);
    }
}

static void notice_end(struct qmgr *q, struct notice *n)
{
    struct round *r = n->round;
    HASH_DELETE(hh, q->notices, n);
    free(n);
    r->bounces--;
    settle_notice_done(r);
}

void notice_answered(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct qmgr *q = arg;
    const struct ipc_bounced *answer = message;
    struct notice *n;
    HASH_FIND(hh, q->notices, &answer->job, sizeof(answer->job), n);
    if (n == NULL)
        return;
    if (answer->status != 0) {
        log_message(LOG_LEVEL_WARNING, n->round->message->id, "notice not made: %s, will retry", answer->reason);
    } else if (n->kind == BOUNCE_DELAYED) {
        n->round->envelope.warned = true;
        record_state(n->round);
    } else {
        mark_told(n->round, n);
    }
    notice_end(q, n);
}

void notice_bouncer_down(struct qmgr *q)
{
    struct notice *n, *next;
    q->bouncer = NULL;
    HASH_ITER (hh, q->notices, n, next)
        notice_end(q, n);
}

void notice_free_all(struct qmgr *q)
{
    struct notice *n, *next;
    HASH_ITER (hh, q->notices, n, next) {
        HASH_DELETE(hh, q->notices, n);
        free(n);
    }
}
