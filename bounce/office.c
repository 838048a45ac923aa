#include "bounce/office.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/text.h"
#include "io/offload.h"
#include "log/log.h"
#include "mail/dsn.h"
#include "bounce/notice.h"
#include "bounce/original.h"
#include "bounce/owed.h"
#include "bounce/remember.h"

#define EXPIRE_INTERVAL_MS (60 * 60 * 1000)
#define ANSWERED_MAX       1024

/* A BOUNCE that is worked on. */
struct report {
    struct offload_job step; /* first: the helper thread knows the report by it */
    struct office *office;
    struct buf record;   /* the BOUNCE as it came … */
    union ipc_any about; /* … decoded again: its texts outlive the channel */
    uint64_t fingerprint;
    int fd;
    struct owed owed;
    struct original original;
    int read_error;
    struct remembered remembered;
    TAILQ_ENTRY(report) link;
};
TAILQ_HEAD(report_list, report);

/* An answer that may have to be given again. */
struct answered {
    uint64_t fingerprint;
    uint32_t suppressed;
    char notice_id[QUEUE_ID_SIZE];
};

struct office {
    struct office_setup setup;
    char *notice_from;
    struct offload *thread; /* one: the suppression list belongs to it */
    struct report_list reports;
    size_t count;
    bool closed;
    struct timer expire;
    struct offload_job expire_job;
    struct answered answered[ANSWERED_MAX]; /* a ring */
    size_t answered_next;
};

static const struct ipc_bounce *about(const struct report *r)
{
    return &r->about.bounce;
}

/* -- answers --------------------------------------------------------------------------------------------------------
 */

static void send_answer(struct office *o, const struct ipc_bounced *answer)
{
    struct ipc_channel *c = o->setup.channel(o->setup.arg);
    /* Without a way to qmgr the answer waits in the ring until the same report comes again. */
    if (c != NULL && ipc_send(c, IPC_BOUNCED, answer, -1) < 0)
        log_warning("qmgr does not take the answer to job %" PRIu64 ", it will ask again", answer->job);
}

static void answer_later(struct office *o, uint64_t job, const char *reason)
{
    const struct ipc_bounced answer = {.job = job, .status = 1, .notice_id = "", .reason = reason};
    send_answer(o, &answer);
}

static void answer_done(struct office *o, uint64_t job, const struct answered *a)
{
    const struct ipc_bounced answer = {
        .job = job, .notice_id = a->notice_id, .suppressed = a->suppressed, .reason = ""};
    send_answer(o, &answer);
}

static const struct answered *find_answered(const struct office *o, uint64_t fingerprint)
{
    for (size_t i = 0; i < ANSWERED_MAX; i++)
        if (o->answered[i].fingerprint == fingerprint)
            return &o->answered[i];
    return NULL;
}

static struct report *find_report(const struct office *o, uint64_t fingerprint)
{
    struct report *r;
    TAILQ_FOREACH (r, &o->reports, link)
        if (r->fingerprint == fingerprint)
            return r;
    return NULL;
}

static void report_free(struct report *r)
{
    ipc_decoded_free(IPC_BOUNCE, &r->about);
    buf_deinit(&r->record);
    original_free(&r->original);
    fd_closep(&r->fd);
    free(r);
}

static void report_end(struct report *r)
{
    struct office *o = r->office;
    TAILQ_REMOVE(&o->reports, r, link);
    o->count--;
    report_free(r);
    if (o->count == 0)
        o->setup.idle(o->setup.arg);
}

/* notice_id: "" = nobody was owed one. */
static void report_finish(struct report *r, const char *notice_id)
{
    struct office *o = r->office;
    struct answered *a = &o->answered[o->answered_next++ % ANSWERED_MAX];
    *a = (struct answered){.fingerprint = r->fingerprint, .suppressed = r->remembered.count};
    memcpy(a->notice_id, notice_id, strnlen(notice_id, QUEUE_ID_LEN));
    answer_done(o, about(r)->job, a);
    report_end(r);
}

static void report_put_off(struct report *r, const char *what, int error)
{
    log_message(LOG_LEVEL_WARNING, about(r)->queue_id, "bounce: %s: %s, will be tried again later", what,
                text_errno(error));
    answer_later(r->office, about(r)->job, what);
    report_end(r);
}

/* -- the notice -----------------------------------------------------------------------------------------------------
 */

static const char *const kind_names[] = {
    [BOUNCE_FAILED] = "failed", [BOUNCE_DELAYED] = "delayed", [BOUNCE_DELIVERED] = "delivered"};

static void notice_committed(void *arg, const char *id, int result)
{
    struct report *r = arg;
    if (result < 0) {
        report_put_off(r, "the notice can not be written to the queue", result);
        return;
    }
    log_message(LOG_LEVEL_INFO, about(r)->queue_id, "bounce: notice=%s, kind=%s, to=<%s>, recipients=%zu", id,
                kind_names[about(r)->kind], r->owed.to, r->owed.count);
    const struct ipc_submitted submitted = {.queue_id = id, .tenant = about(r)->tenant};
    struct ipc_channel *c = r->office->setup.channel(r->office->setup.arg);
    if (c != NULL)
        ipc_send(c, IPC_SUBMITTED, &submitted, -1); /* a lost one is found by qmgr's scan */
    report_finish(r, id);
}

static int notice_begin(struct report *r, struct injection **out)
{
    /* RFC 3461 section 6.3 advises NOTIFY=NEVER for notices. */
    struct envelope_recipient to = {.notify = MAIL_DSN_NOTIFY_NEVER, .orcpt = "", .address = r->owed.to};
    struct envelope envelope = {.arrived_us = clock_wall_us(),
                                .sender = "",
                                .tenant = about(r)->tenant,
                                /* RFC 8689 section 5: what it tells is as private as the message was. */
                                .flags = ENVELOPE_NOTICE | (about(r)->flags & ENVELOPE_REQUIRETLS),
                                .recipients = &to,
                                .recipient_count = 1};
    return injection_begin(r->office->setup.injector, &envelope, out);
}

static int notice_fill(struct report *r, struct injection *injection, uint32_t *flags)
{
    const struct notice notice = {.about = about(r),
                                  .owed = &r->owed,
                                  .original = &r->original,
                                  .id = injection_id(injection),
                                  .hostname = r->office->setup.hostname,
                                  .from = r->office->notice_from,
                                  .now_s = clock_wall_s()};
    struct buf content;
    buf_init(&content, r->original.len + NOTICE_OVERHEAD_MAX);
    int e = notice_compose(&notice, &content, flags);
    if (e == 0)
        e = injection_write(injection, content.data, content.len);
    buf_deinit(&content);
    return e;
}

static void report_notify(struct report *r)
{
    struct injection *injection;
    uint32_t flags = 0;
    int e = notice_begin(r, &injection);
    if (e == 0 && (e = notice_fill(r, injection, &flags)) < 0)
        injection_abort(injection);
    if (e < 0) {
        report_put_off(r, "the notice can not be written to the queue", e);
        return;
    }
    injection_commit(injection, flags, notice_committed, r);
}

/* -- the steps before it --------------------------------------------------------------------------------------------
 */

/* RFC 3461 section 4.3; of what is no text, or was not to be seen on its way, the header is enough. */
static bool returns_all(const struct ipc_bounce *b)
{
    return b->ret == MAIL_DSN_RET_FULL && (b->flags & (ENVELOPE_BINARY | ENVELOPE_REQUIRETLS)) == 0;
}

/* In the helper thread. */
static void prepare_work(struct offload_job *step)
{
    struct report *r = (struct report *)step;
    const struct ipc_bounce *b = about(r);
    const struct office_setup *s = &r->office->setup;
    remember_failures(s->suppression, s->settings, b, &r->remembered);
    remember_bounces(s->usage, s->settings, b, &r->remembered);
    if (r->owed.to != NULL)
        r->read_error = original_read(r->fd, b->content_offset, b->content_length, returns_all(b),
                                      (size_t)s->settings->bounce_size_limit_bytes, &r->original);
}

static void log_remembered(const struct report *r)
{
    const struct ipc_bounce *b = about(r);
    for (uint32_t i = 0; i < b->recipients_count; i++)
        if (r->remembered.suppressed[i])
            log_message(LOG_LEVEL_INFO, b->queue_id, "suppressed: address=<%s>, reason=%s, reply=%s",
                        b->recipients[i].address, failure_name(r->remembered.class[i]), b->recipients[i].reply);
    if (r->remembered.error < 0)
        log_message(LOG_LEVEL_WARNING, b->queue_id,
                    "bounce: the suppression list can not be written: %s; the sender is told all the same, and the "
                    "next failure will be remembered",
                    text_errno(r->remembered.error));
    if (r->remembered.frozen > 0)
        log_message(LOG_LEVEL_WARNING, b->queue_id,
                    "frozen: credential=%s, bounced=%" PRIu32 ", recipients=%" PRIu32
                    ", its mail is put off at MAIL until 'posthouse user thaw'",
                    b->credential, r->remembered.day_bounced, r->remembered.day_recipients);
    else if (r->remembered.frozen < 0)
        log_message(LOG_LEVEL_WARNING, b->queue_id, "bounces of credential %s can not be counted: %s", b->credential,
                    text_errno(r->remembered.frozen));
}

static void prepare_done(struct offload_job *step)
{
    struct report *r = (struct report *)step;
    log_remembered(r);
    if (r->owed.to == NULL) {
        log_message(LOG_LEVEL_INFO, about(r)->queue_id, "bounce: notice=none, kind=%s, from=<%s>, recipients=%" PRIu32,
                    kind_names[about(r)->kind], about(r)->sender, about(r)->recipients_count);
        report_finish(r, "");
        return;
    }
    if (r->read_error < 0)
        log_message(LOG_LEVEL_WARNING, about(r)->queue_id,
                    "bounce: the message can not be read: %s; the notice goes without it", text_errno(r->read_error));
    report_notify(r);
}

/* A copy of the message that lives as long as the report does. */
static int report_copy(struct report *r, const struct ipc_bounce *b)
{
    enum ipc_type type;
    buf_init(&r->record, IPC_RECORD_MAX);
    int e = ipc_encode(IPC_BOUNCE, b, &r->record);
    return e < 0 ? e : ipc_decode(r->record.data, r->record.len, &type, &r->about);
}

static int report_new(struct office *o, const struct ipc_bounce *b, int *fd, struct report **out)
{
    struct report *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return -ENOMEM;
    int e = report_copy(r, b);
    if (e < 0) {
        buf_deinit(&r->record);
        free(r);
        return e;
    }
    r->office = o;
    r->fd = TAKE_FD(*fd);
    r->fingerprint = notice_fingerprint(b);
    r->step.work = prepare_work;
    r->step.done = prepare_done;
    owed_find(about(r), o->setup.settings->double_bounce_recipient, &r->owed);
    *out = r;
    return 0;
}

/* Reports that need no work of their own.  true = the report is dealt with. */
static bool answer_known(struct office *o, const struct ipc_bounce *b)
{
    uint64_t fingerprint = notice_fingerprint(b);
    struct report *running = find_report(o, fingerprint);
    if (running != NULL) {
        running->about.bounce.job = b->job;
        return true;
    }
    const struct answered *before = find_answered(o, fingerprint);
    if (before != NULL)
        answer_done(o, b->job, before);
    return before != NULL;
}

void office_take(struct office *o, const struct ipc_bounce *b, int *fd)
{
    struct report *r;
    if (b->kind > BOUNCE_DELIVERED || !queue_id_valid(b->queue_id) || b->recipients_count > IPC_RECIPIENTS_MAX) {
        log_warning("BOUNCE with a kind, queue id or number of recipients that can not be, ignoring");
        answer_later(o, b->job, "not understood");
        return;
    }
    if (answer_known(o, b))
        return;
    if (o->closed || o->count >= (size_t)o->setup.settings->notices_max) {
        answer_later(o, b->job, o->closed ? "bounce is stopping" : "bounce is at notices_max");
        return;
    }
    int e = report_new(o, b, fd, &r);
    if (e < 0) {
        log_message(LOG_LEVEL_WARNING, b->queue_id, "bounce: %s, will be tried again later", text_errno(e));
        answer_later(o, b->job, "memory is short");
        return;
    }
    TAILQ_INSERT_TAIL(&o->reports, r, link);
    o->count++;
    offload_submit(o->thread, &r->step);
}

/* -- the office itself ----------------------------------------------------------------------------------------------
 */

static void expire_work(struct offload_job *job)
{
    struct office *o = (struct office *)((char *)job - offsetof(struct office, expire_job));
    suppression_expire(o->setup.suppression); /* what stays is looked for again in an hour, and does not count anyway */
}

static void expire_done(struct offload_job *job)
{
    struct office *o = (struct office *)((char *)job - offsetof(struct office, expire_job));
    timer_set_ms(&o->expire, EXPIRE_INTERVAL_MS);
}

static void expire_begin(void *arg)
{
    struct office *o = arg;
    offload_submit(o->thread, &o->expire_job);
}

struct office *office_new(const struct office_setup *setup)
{
    struct office *o = calloc(1, sizeof(*o));
    if (o == NULL)
        return NULL;
    o->setup = *setup;
    o->expire_job = (struct offload_job){.work = expire_work, .done = expire_done};
    TAILQ_INIT(&o->reports);
    const char *from = setup->settings->notice_from;
    o->notice_from = from[0] != '\0' ? strdup(from) : text_format("MAILER-DAEMON@%s", setup->hostname);
    o->thread = offload_new(setup->loop, 1);
    if (o->notice_from == NULL || o->thread == NULL || timer_init(&o->expire, setup->loop, expire_begin, o) < 0 ||
        timer_set_ms(&o->expire, 0) < 0) {
        office_free(o);
        return NULL;
    }
    return o;
}

void office_free(struct office *o)
{
    if (o == NULL)
        return;
    timer_deinit(&o->expire);
    if (o->thread != NULL)
        offload_free(o->thread);
    while (!TAILQ_EMPTY(&o->reports)) {
        struct report *r = TAILQ_FIRST(&o->reports);
        TAILQ_REMOVE(&o->reports, r, link);
        report_free(r);
    }
    free(o->notice_from);
    free(o);
}

void office_close(struct office *o)
{
    o->closed = true;
}

size_t office_reports(const struct office *o)
{
    return o->count;
}
