/* What became of one recipient, written down everywhere it has to stand: status in the file, history, log, counters. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "log/log.h"
#include "mail/dsn.h"
#include "qmgr/qmgr.h"
#include "queue/file.h"

/* One row per enum ipc_outcome. */
static const struct {
    const char *history, *log;
    enum recipient_status status;
} outcomes[] = {
    [OUTCOME_DELIVERED] = {"delivered", "sent", RECIPIENT_DONE},
    [OUTCOME_TRY_LATER] = {"deferred", "deferred", RECIPIENT_TODO},
    [OUTCOME_FAILED] = {"failed", "bounced", RECIPIENT_FAILED},
};

void verdict_free(struct verdict *v)
{
    if (v == NULL)
        return;
    free(v->enhanced);
    free(v->reply);
    free(v->relay);
    free(v);
}

static void keep_verdict(struct recipient_round *rr, const struct outcome *o)
{
    struct verdict *v = calloc(1, sizeof(*v));
    verdict_free(rr->verdict);
    rr->verdict = v;
    if (v == NULL)
        return; /* the notice will say less */
    v->code = o->code;
    v->time_s = clock_wall_s();
    v->enhanced = strdup(o->enhanced);
    v->reply = strdup(o->reply);
    v->relay = strdup(o->relay);
}

static void write_history(struct round *r, uint32_t index, const struct outcome *o)
{
    const struct queue_attempt a = {.time_s = clock_wall_s(),
                                    .index = index,
                                    .outcome = outcomes[o->outcome].history,
                                    .code = o->code,
                                    .enhanced = o->enhanced,
                                    .relay = o->relay,
                                    .reply = o->reply};
    record_attempt(r, &a);
}

static void log_outcome(const struct round *r, const struct envelope_recipient *rcpt, const struct site *site,
                        const struct outcome *o)
{
    const struct log_delivery line = {.queue_id = r->message->id,
                                      .recipient = rcpt->address,
                                      .tenant = r->envelope.tenant,
                                      .site = site != NULL ? site->key : "",
                                      .relay = o->relay,
                                      .tls = o->tls,
                                      .dkim = r->keys != NULL ? r->keys : "none",
                                      .status = outcomes[o->outcome].log,
                                      .enhanced = o->enhanced,
                                      .reply = o->reply,
                                      .delay_ms = (clock_wall_us() - r->envelope.arrived_us) / 1000,
                                      .attempts = r->envelope.attempts + 1};
    log_delivery(&line);
}

/* RFC 3461 section 5.2.2: the last host that knows of the wish tells; this is us when the next one does not. */
static bool owes_success(const struct round *r, const struct envelope_recipient *rcpt, const struct outcome *o)
{
    return o->outcome == OUTCOME_DELIVERED && !o->tells && (rcpt->notify & MAIL_DSN_NOTIFY_SUCCESS) != 0 &&
           r->envelope.sender[0] != '\0';
}

void outcome_record(struct round *r, size_t number, const struct site *site, const struct outcome *o)
{
    const struct envelope_recipient *rcpt = &r->envelope.recipients[number];
    struct recipient_round *rr = &r->recipients[number];
    struct qmgr *q = r->qmgr;
    if (rr->phase == RCPT_SETTLED)
        return;
    rr->phase = RCPT_SETTLED;
    r->open--;
    r->attempted = true;
    q->count.delivered += o->outcome == OUTCOME_DELIVERED;
    q->count.deferrals += o->outcome == OUTCOME_TRY_LATER;
    q->count.failed += o->outcome == OUTCOME_FAILED;
    if (o->outcome != OUTCOME_TRY_LATER)
        record_status(r, number, owes_success(r, rcpt, o) ? RECIPIENT_RELAYED : outcomes[o->outcome].status);
    if (o->outcome != OUTCOME_DELIVERED || owes_success(r, rcpt, o))
        keep_verdict(rr, o);
    write_history(r, rcpt->index, o);
    log_outcome(r, rcpt, site, o);
}

static void write_suspension(struct round *r, const struct envelope_recipient *rcpt, const struct site *site,
                             const struct outcome *o)
{
    const struct queue_attempt a = {.time_s = clock_wall_s(),
                                    .index = rcpt->index,
                                    .outcome = "suspended",
                                    .enhanced = o->enhanced,
                                    .relay = o->relay,
                                    .reply = o->reply};
    const struct log_delivery line = {.queue_id = r->message->id,
                                      .recipient = rcpt->address,
                                      .tenant = r->envelope.tenant,
                                      .site = site != NULL ? site->key : "",
                                      .relay = o->relay,
                                      .tls = o->tls,
                                      .dkim = "none",
                                      .status = "suspended",
                                      .enhanced = o->enhanced,
                                      .reply = o->reply,
                                      .delay_ms = (clock_wall_us() - r->envelope.arrived_us) / 1000,
                                      .attempts = r->envelope.attempts};
    record_attempt(r, &a);
    log_delivery(&line);
}

void outcome_suspend(struct round *r, size_t number, const struct site *site, const struct rule *rule,
                     const char *reply)
{
    const struct envelope_recipient *rcpt = &r->envelope.recipients[number];
    struct recipient_round *rr = &r->recipients[number];
    const struct outcome o = {.enhanced = "4.7.1", .reply = reply, .relay = "none", .tls = "none"};
    int64_t until = rule->expires_s != 0 ? rule->expires_s : INT64_MAX;
    if (rr->phase == RCPT_SETTLED)
        return;
    rr->phase = RCPT_SETTLED;
    r->open--;
    if (r->suspended == 0)
        r->rules_seen = r->qmgr->rules.generation;
    r->until_s = r->suspended == 0 || until < r->until_s ? until : r->until_s;
    r->rule = r->suspended == 0 || r->rule == rule->number ? rule->number : RULE_NOT_KNOWN;
    r->suspended++;
    keep_verdict(rr, &o);
    write_suspension(r, rcpt, site, &o);
}
