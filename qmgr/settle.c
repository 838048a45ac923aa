/* The end of a round: tell the sender what has to be told, then plan the next attempt, or remove the message. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "log/log.h"
#include "mail/dsn.h"
#include "qmgr/qmgr.h"
#include "qmgr/retry.h"
#include "queue/file.h"

#define LOOK_AGAIN_S    10    /* at a message on hold */
#define NOTICE_RETRY_MS 10000 /* bounce is not there, or could not write */

static size_t count_status(const struct round *r, enum recipient_status status)
{
    size_t count = 0;
    for (size_t i = 0; i < r->envelope.recipient_count; i++)
        count += r->envelope.recipients[i].status == status;
    return count;
}

static uint64_t random_number(void)
{
    uint64_t n = 0;
    if (getrandom(&n, sizeof(n), 0) != (ssize_t)sizeof(n))
        n = (uint64_t)clock_wall_us();
    return n;
}

/* Lifetime over: what is still to do has expired. */
static void expire(struct round *r)
{
    if (clock_wall_s() < round_expires_s(r))
        return;
    for (size_t i = 0; i < r->envelope.recipient_count; i++) {
        const struct envelope_recipient *rcpt = &r->envelope.recipients[i];
        if (rcpt->status != RECIPIENT_TODO)
            continue;
        record_status(r, i, RECIPIENT_EXPIRED);
        const struct verdict *v = r->recipients[i].verdict;
        const struct log_delivery line = {.queue_id = r->message->id,
                                          .recipient = rcpt->address,
                                          .tenant = r->envelope.tenant,
                                          .site = "",
                                          .relay = v != NULL && v->relay != NULL ? v->relay : "none",
                                          .tls = "none",
                                          .dkim = r->keys != NULL ? r->keys : "none",
                                          .status = "expired",
                                          .enhanced = "4.4.7",
                                          .reply = v != NULL && v->reply != NULL ? v->reply : "delivery time expired",
                                          .delay_ms = (clock_wall_us() - r->envelope.arrived_us) / 1000,
                                          .attempts = r->envelope.attempts};
        log_delivery(&line);
    }
}

/* After a restart the last reply stands only in the file. */
static void learn_verdict(void *arg, const struct queue_attempt *a)
{
    struct round *r = arg;
    long number = round_find_recipient(r, a->index);
    if (number < 0 ||
        (strcmp(a->outcome, "delivered") == 0) != (r->envelope.recipients[number].status == RECIPIENT_RELAYED))
        return;
    struct recipient_round *rr = &r->recipients[number];
    struct verdict *v = calloc(1, sizeof(*v));
    if (v == NULL)
        return;
    *v = (struct verdict){.code = a->code,
                          .time_s = a->time_s,
                          .enhanced = strdup(a->enhanced),
                          .reply = strdup(a->reply),
                          .relay = strdup(a->relay)};
    verdict_free(rr->verdict);
    rr->verdict = v;
}

static void learn_verdicts(struct round *r)
{
    bool missing = false;
    for (size_t i = 0; i < r->envelope.recipient_count; i++) {
        enum recipient_status status = r->envelope.recipients[i].status;
        bool told = status == RECIPIENT_FAILED || status == RECIPIENT_EXPIRED || status == RECIPIENT_RELAYED ||
                    (r->too_old && status == RECIPIENT_TODO);
        missing |= told && r->recipients[i].verdict == NULL;
    }
    if (missing)
        queue_file_history(r->fd, &r->envelope, learn_verdict, r);
}

/* Sends every matching recipient to bounce, in slices.  0 or -errno. */
static int notify(struct round *r, enum ipc_bounce_kind kind, bool (*wanted)(const struct envelope_recipient *))
{
    size_t numbers[IPC_RECIPIENTS_MAX], count = 0;
    int err = 0;
    for (size_t i = 0; i < r->envelope.recipient_count && err == 0; i++) {
        if (!wanted(&r->envelope.recipients[i]))
            continue;
        numbers[count++] = i;
        if (count == IPC_RECIPIENTS_MAX) {
            err = notice_send(r, kind, numbers, count);
            count = 0;
        }
    }
    return err == 0 && count > 0 ? notice_send(r, kind, numbers, count) : err;
}

static bool is_undeliverable(const struct envelope_recipient *rcpt)
{
    return rcpt->status == RECIPIENT_FAILED || rcpt->status == RECIPIENT_EXPIRED;
}

static bool is_relayed(const struct envelope_recipient *rcpt)
{
    return rcpt->status == RECIPIENT_RELAYED;
}

/* RFC 3461 section 4.1: without NOTIFY the sender hears of delays too. */
static bool is_delayed(const struct envelope_recipient *rcpt)
{
    return rcpt->status == RECIPIENT_TODO && (rcpt->notify == 0 || (rcpt->notify & MAIL_DSN_NOTIFY_DELAY));
}

/* When the sender is to be told of the delay, wall-clock seconds; 0 = never, or done. */
static int64_t warning_time_s(const struct round *r)
{
    int64_t after_ms = r->qmgr->settings.delay_warning_ms, by_s = r->envelope.notify_by_s;
    if ((after_ms == 0 && by_s == 0) || r->envelope.warned || r->envelope.sender[0] == '\0' ||
        (r->envelope.flags & ENVELOPE_NOTICE))
        return 0;
    int64_t when = after_ms > 0 ? (round_begins_us(r) / 1000 + after_ms + 999) / 1000 : 0;
    return by_s > 0 && (when == 0 || by_s < when) ? by_s : when;
}

static bool warning_due(const struct round *r)
{
    int64_t when = warning_time_s(r);
    return when > 0 && clock_wall_s() >= when && count_status(r, RECIPIENT_TODO) > 0;
}

static void finish(struct round *r)
{
    struct qmgr *q = r->qmgr;
    struct message *m = r->message;
    record_forget(r);
    record_remove(q, m);
    round_end(r);
    message_forget(q, m);
    qmgr_wake(q);
}

/* RFC 6647: the servers that put a stranger's first attempt off take the second, a minute later. */
static bool greylisted(const struct round *r)
{
    for (size_t i = 0; i < r->envelope.recipient_count; i++) {
        const struct verdict *v = r->recipients[i].verdict;
        if (r->envelope.recipients[i].status == RECIPIENT_TODO && v != NULL && (v->code == 450 || v->code == 451))
            return true;
    }
    return false;
}

/* When the next attempt of what was tried is due, and what a rule put off is looked at again: whichever is first. */
static int64_t next_due_s(const struct round *r)
{
    const struct settings_qmgr *s = &r->qmgr->settings;
    int64_t now_s = clock_wall_s(), expires_s = round_expires_s(r), until_s = r->until_s;
    int64_t wait = retry_wait_ms(r->envelope.attempts, s->retry_min_ms, s->retry_max_ms, random_number());
    if (r->envelope.attempts == 1 && greylisted(r) && s->greylist_retry_ms < wait)
        wait = s->greylist_retry_ms;
    int64_t retry = retry_due_s(clock_wall_us() / 1000, wait, expires_s);
    if (r->suspended == 0)
        return retry;
    if (until_s > expires_s)
        until_s = expires_s;
    if (until_s <= now_s)
        until_s = now_s + 1;
    return r->suspended < count_status(r, RECIPIENT_TODO) && retry < until_s ? retry : until_s;
}

/* When a message on hold is looked at the next time; 0 = never. */
static int64_t held_look_s(const struct round *r)
{
    int64_t look = warning_time_s(r), end = round_lifetime_ms(r) > 0 ? round_expires_s(r) : 0, now = clock_wall_s();
    if (look == 0 || (end > 0 && end < look))
        look = end;
    return look > 0 && look <= now ? now + LOOK_AGAIN_S : look; /* overdue: bounce is not there */
}

static void stay_on_hold(struct round *r)
{
    struct qmgr *q = r->qmgr;
    struct message *m = r->message;
    int64_t look = held_look_s(r);
    round_end(r);
    if (m->forced) /* released meanwhile */
        message_defer(q, m, clock_wall_s(), 0);
    else
        message_hold(q, m, look);
}

static void put_off(struct round *r)
{
    struct qmgr *q = r->qmgr;
    struct message *m = r->message;
    /* Whoever ended or changed a rule meanwhile did not find this message among those that wait. */
    bool stale = (r->suspended > 0 || (r->early && m->rule != 0)) && r->rules_seen != q->rules.generation;
    int64_t due = stale           ? clock_wall_s() + 1
                  : r->unreleased ? r->envelope.release_s
                  : r->early      ? m->path_due_s
                                  : next_due_s(r);
    int64_t look = warning_time_s(r);
    m->rule = r->early ? m->rule : r->rule;
    round_end(r);
    message_defer(q, m, due, look);
}

static void hold(struct round *r)
{
    struct qmgr *q = r->qmgr;
    struct message *m = r->message;
    record_write(r);
    int err = message_move(q, m, QUEUE_HOLD, 0);
    if (err < 0)
        log_message(LOG_LEVEL_ERROR, m->id, "can not be moved to hold/: %s; it is held until qmgr restarts",
                    text_errno(err));
    log_message(LOG_LEVEL_INFO, m->id, "held: %s", r->wish_reason != NULL ? r->wish_reason : "");
    m->forced = false;
    stay_on_hold(r);
}

static void delete_rest(struct round *r)
{
    for (size_t i = 0; i < r->envelope.recipient_count; i++) {
        const struct envelope_recipient *rcpt = &r->envelope.recipients[i];
        if (rcpt->status == RECIPIENT_DONE || rcpt->status == RECIPIENT_BOUNCED || rcpt->status == RECIPIENT_REMOVED ||
            rcpt->status == RECIPIENT_RELAYED)
            continue;
        record_status(r, i, RECIPIENT_REMOVED);
        const struct log_delivery line = {.queue_id = r->message->id,
                                          .recipient = rcpt->address,
                                          .tenant = r->envelope.tenant,
                                          .site = "",
                                          .relay = "none",
                                          .tls = "none",
                                          .dkim = "none",
                                          .status = "removed",
                                          .enhanced = "5.7.0",
                                          .reply = r->wish_reason != NULL ? r->wish_reason : "deleted by the admin",
                                          .delay_ms = (clock_wall_us() - r->envelope.arrived_us) / 1000,
                                          .attempts = r->envelope.attempts};
        log_delivery(&line);
    }
    finish(r);
}

/* Notices are out, or none were owed. */
static void conclude(struct round *r)
{
    if (r->wish == WISH_HOLD)
        hold(r);
    else if (r->wish == WISH_DELETE)
        delete_rest(r);
    else if (count_status(r, RECIPIENT_FAILED) + count_status(r, RECIPIENT_EXPIRED) +
                 count_status(r, RECIPIENT_RELAYED) >
             0)
        round_abandon(r, NOTICE_RETRY_MS);
    else if (count_status(r, RECIPIENT_TODO) > 0 && r->looked)
        stay_on_hold(r);
    else if (count_status(r, RECIPIENT_TODO) > 0)
        put_off(r);
    else
        finish(r);
}

void settle_notice_done(struct round *r)
{
    if (r->bounces == 0)
        conclude(r);
}

void settle_round(struct round *r)
{
    r->settling = true;
    if (r->attempted) {
        r->envelope.attempts++;
        record_state(r);
    }
    if (r->wish != WISH_DELETE) {
        learn_verdicts(r);
        if (r->attempted || r->too_old || r->suspended > 0)
            expire(r);
        int err = notify(r, BOUNCE_FAILED, is_undeliverable);
        if (err == 0)
            err = notify(r, BOUNCE_DELIVERED, is_relayed);
        if (err == 0 && warning_due(r))
            err = notify(r, BOUNCE_DELAYED, is_delayed);
        if (err < 0)
            log_message(LOG_LEVEL_WARNING, r->message->id, "notice not made: %s, will retry",
                        err == -EPIPE ? "bounce is not running" : text_errno(err));
    }
    if (r->bounces == 0)
        conclude(r);
}
