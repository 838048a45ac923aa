/* A round: one pass of a message through signer, routes and deliveries. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "log/log.h"
#include "qmgr/qmgr.h"
#include "qmgr/retry.h"
#include "queue/file.h"

#define HISTORY_BUFFER     (256 * 1024)
#define OPEN_RETRY_MS      5000
#define UNFINISHED_LOOK_MS 1000

static void part_free(struct part *p)
{
    free(p->domain);
    free(p->members);
    free(p);
}

static void round_free(struct round *r)
{
    struct part *p;
    sign_cancel(r);
    HASH_CLEAR(by_domain, r->part_of_domain);
    HASH_CLEAR(by_site, r->part_of_site);
    while ((p = TAILQ_FIRST(&r->parts)) != NULL) {
        TAILQ_REMOVE(&r->parts, p, link);
        route_cancel(p);
        site_unqueue(r->qmgr, p);
        part_free(p);
    }
    for (size_t i = 0; r->recipients != NULL && i < r->envelope.recipient_count; i++)
        verdict_free(r->recipients[i].verdict);
    free(r->recipients);
    free(r->headers);
    free(r->keys);
    free(r->wish_reason);
    buf_deinit(&r->history);
    envelope_free(&r->envelope);
    free(r->changed);
    if (r->fd >= 0)
        close(r->fd);
    if (r->write_fd >= 0)
        close(r->write_fd);
    free(r);
}

static void set_corrupt(struct qmgr *q, struct message *m)
{
    char path[QUEUE_PATH_MAX];
    message_file(m, path);
    q->count.corrupt++;
    int r = message_move(q, m, QUEUE_CORRUPT, 0);
    log_message(LOG_LEVEL_ERROR, m->id, "corrupt: %s is not a whole queue file, %s", path,
                r == 0 ? "moved to corrupt/ for you to look at" : "and can not be moved to corrupt/, ignoring it");
    message_forget(q, m);
}

static bool is_short(struct qmgr *q, const char *path)
{
    _cleanup_(fd_closep) int fd = openat(q->queue_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 && queue_file_is_short(fd);
}

/* In new/ a file that is short was never whole: what is promised is whole there, and after a power cut the recovery has
 * seen to it.  So a scan found it before its writer was done, or its writer was killed at it, and the client had no
 * answer.  Should the writer be done just now, one of us sees it: we look again when it is aside, and a writer who took
 * long looks whether it was put there (lib/queue/inject.c). */
static void found_unfinished(struct qmgr *q, struct message *m)
{
    char path[QUEUE_PATH_MAX], aside[QUEUE_PATH_MAX];
    uint32_t now_s = (uint32_t)(clock_mono_ms() / 1000);
    if (m->unfinished_since_s == 0)
        m->unfinished_since_s = now_s;
    if ((now_s - m->unfinished_since_s) * 1000 <= QUEUE_UNFINISHED_MS) {
        message_retry(q, m, UNFINISHED_LOOK_MS);
        return;
    }
    message_file(m, path);
    snprintf(aside, sizeof(aside), QUEUE_UNFINISHED "/%s", m->id);
    if (renameat(q->queue_fd, path, q->queue_fd, aside) == 0 && !is_short(q, aside) &&
        renameat(q->queue_fd, aside, q->queue_fd, path) == 0) {
        message_retry(q, m, UNFINISHED_LOOK_MS);
        return;
    }
    log_message(LOG_LEVEL_INFO, m->id,
                "unfinished: the writer of %s was killed before it accepted the message, moved to %s", path, aside);
    message_forget(q, m);
}

/* The file can not be read now.  Gone means that it was removed behind our back; anything else passes, we hope. */
static void open_failed(struct qmgr *q, struct message *m, int err)
{
    if (err == -EPROTO) {
        set_corrupt(q, m);
    } else if (err == -EINPROGRESS) {
        found_unfinished(q, m);
    } else if (err == -ENOENT) {
        log_message(LOG_LEVEL_WARNING, m->id, "its queue file is gone, forgetting it");
        message_forget(q, m);
    } else {
        log_message(LOG_LEVEL_WARNING, m->id, "its queue file can not be read: %s, will retry", text_errno(err));
        message_retry(q, m, OPEN_RETRY_MS);
    }
}

static struct round *round_open(struct qmgr *q, struct message *m, int *err)
{
    char path[QUEUE_PATH_MAX];
    struct round *r = calloc(1, sizeof(*r));
    *err = -ENOMEM;
    if (r == NULL)
        return NULL;
    *r = (struct round){.qmgr = q, .message = m, .write_fd = -1};
    TAILQ_INIT(&r->parts);
    buf_init(&r->history, HISTORY_BUFFER);
    message_file(m, path);
    r->fd = openat(q->queue_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    *err = r->fd < 0 ? -errno : queue_file_read(r->fd, &r->envelope);
    if (*err == -EPROTO && m->state == QUEUE_NEW && queue_file_is_short(r->fd))
        *err = -EINPROGRESS;
    if (*err == 0 && strcmp(r->envelope.id, m->id) != 0)
        *err = -EPROTO;
    if (*err == 0) {
        r->recipients = calloc(r->envelope.recipient_count, sizeof(*r->recipients));
        *err = r->recipients == NULL ? -ENOMEM : 0;
    }
    if (*err < 0) {
        round_free(r);
        return NULL;
    }
    return r;
}

static struct part *part_for(struct round *r, const char *domain)
{
    struct part *p;
    HASH_FIND(by_domain, r->part_of_domain, domain, strlen(domain), p);
    if (p != NULL)
        return p;
    p = calloc(1, sizeof(*p));
    if (p == NULL || (p->domain = strdup(domain)) == NULL) {
        free(p);
        return NULL;
    }
    p->round = r;
    TAILQ_INSERT_TAIL(&r->parts, p, link);
    HASH_ADD_KEYPTR(by_domain, r->part_of_domain, p->domain, strlen(p->domain), p);
    return p;
}

int part_add(struct part *p, uint32_t number)
{
    if (p->count == p->capacity) {
        size_t capacity = p->capacity > 0 ? p->capacity * 2 : 4;
        uint32_t *grown = realloc(p->members, capacity * sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        p->members = grown;
        p->capacity = capacity;
    }
    p->members[p->count++] = number;
    return 0;
}

int part_reroute(struct round *r, const char *to, uint32_t number)
{
    struct part *p;
    HASH_FIND(by_domain, r->part_of_domain, to, strlen(to), p);
    if (p != NULL && p->count > 0)
        return part_add(p, number);
    /* What flew already stays behind; a part is routed once. */
    if (p != NULL)
        HASH_DELETE(by_domain, r->part_of_domain, p);
    p = part_for(r, to);
    if (p == NULL)
        return -ENOMEM;
    p->rerouted = p->fresh = true;
    int err = part_add(p, number);
    return err < 0 ? err : 1;
}

/* Everything behind the last @, lower case: what routes are looked up by. */
static char *domain_of(const char *address)
{
    const char *at = strrchr(address, '@');
    char *domain = strdup(at != NULL ? at + 1 : "");
    if (domain != NULL)
        text_lower(domain);
    return domain;
}

static int make_parts(struct round *r)
{
    for (size_t i = 0; i < r->envelope.recipient_count; i++) {
        if (r->envelope.recipients[i].status != RECIPIENT_TODO || r->recipients[i].phase == RCPT_FLYING)
            continue;
        char *domain = domain_of(r->envelope.recipients[i].address);
        struct part *p = domain != NULL ? part_for(r, domain) : NULL;
        free(domain);
        if (p == NULL || part_add(p, (uint32_t)i) < 0)
            return -ENOMEM;
        r->recipients[i].phase = RCPT_WAITING;
        r->open++;
    }
    return 0;
}

/* What the header said counts before what its sender is. */
static enum lane lane_of(const struct round *r)
{
    if (r->envelope.flags & (ENVELOPE_BULK | ENVELOPE_TRANSACTIONAL))
        return r->envelope.flags & ENVELOPE_BULK ? LANE_BULK : LANE_TRANSACTIONAL;
    return r->envelope.priority > 0 || r->tenant->lane == LANE_BULK ? LANE_BULK : LANE_TRANSACTIONAL;
}

static void enter(struct qmgr *q, struct message *m, struct round *r)
{
    fair_charge(&m->turn, 1);
    fair_remove(&m->turn);
    m->phase = MESSAGE_ACTIVE;
    m->round = r;
    r->rules_seen = q->rules.generation;
    q->active_count++;
    q->active_recipients += r->envelope.recipient_count;
    r->tenant = tenant_get(&q->tenants, &q->settings, r->envelope.tenant);
    r->tenant->active++;
    m->tenant = r->tenant->number;
    m->lane = (uint8_t)lane_of(r);
}

static void leave(struct round *r)
{
    struct message *m = r->message;
    record_write(r);
    r->qmgr->active_count--;
    r->qmgr->active_recipients -= r->envelope.recipient_count;
    r->tenant->active--;
    m->round = NULL;
    m->phase = MESSAGE_HELD; /* in no list */
    round_free(r);
}

int64_t round_begins_us(const struct round *r)
{
    int64_t release_us = r->envelope.release_s * 1000000;
    return release_us > r->envelope.arrived_us ? release_us : r->envelope.arrived_us;
}

int64_t round_lifetime_ms(const struct round *r)
{
    const struct settings_qmgr *s = &r->qmgr->settings;
    return r->envelope.sender[0] == '\0' ? s->bounce_lifetime_ms : s->lifetime_ms;
}

int64_t round_expires_s(const struct round *r)
{
    const struct envelope *e = &r->envelope;
    int64_t end = (round_begins_us(r) / 1000 + round_lifetime_ms(r)) / 1000;
    /* RFC 2852 section 4.1.4: no longer than the sender said. */
    return e->return_by_s > 0 && e->return_by_s < end ? e->return_by_s : end;
}

/* Too old before it is even tried: it waited on hold, or the suite was down. */
static bool round_too_old(const struct round *r)
{
    return (r->envelope.attempts > 0 || r->envelope.return_by_s > 0) && clock_wall_s() >= round_expires_s(r);
}

/* On hold it grows old like any other; with a lifetime of 0 each has one attempt, and this one had none yet. */
static bool held_too_long(const struct round *r)
{
    return round_lifetime_ms(r) > 0 && clock_wall_s() >= round_expires_s(r);
}

/* What still waits is let go, without an answer of its own: the admin took the message out. */
static void round_ground(struct round *r)
{
    struct part *p;
    TAILQ_FOREACH (p, &r->parts, link) {
        route_cancel(p);
        site_unqueue(r->qmgr, p);
        for (size_t i = 0; i < p->count; i++)
            r->recipients[p->members[i]].phase = RCPT_SETTLED;
        r->open -= p->count;
        p->count = 0;
    }
    sign_cancel(r);
}

void round_wish(struct round *r, enum round_wish wish, const char *reason)
{
    r->wish = (uint8_t)wish;
    free(r->wish_reason);
    r->wish_reason = strdup(reason);
    round_check(r);
}

/* Nobody announced it, so a program was killed on the way, and with it perhaps the line of the log that ought to be
 * there: that it was accepted, or what became of a recipient.  The file knows both, and the books of the log are to
 * balance. */
static void log_taken_over(const struct round *r)
{
    const struct envelope *e = &r->envelope;
    struct message *m = r->message;
    size_t count[RECIPIENT_STATUS_COUNT] = {0};
    for (size_t i = 0; i < e->recipient_count; i++)
        count[e->recipients[i].status]++;
    bool told = m->heard || (m->state != QUEUE_NEW && count[RECIPIENT_TODO] == e->recipient_count);
    m->heard = true;
    if (told)
        return;
    log_message(LOG_LEVEL_INFO, m->id,
                "taken over: nrcpt=%zu, waiting=%zu, sent=%zu, bounced=%zu, expired=%zu, removed=%zu",
                e->recipient_count, count[RECIPIENT_TODO], count[RECIPIENT_DONE] + count[RECIPIENT_RELAYED],
                count[RECIPIENT_FAILED] + count[RECIPIENT_BOUNCED], count[RECIPIENT_EXPIRED], count[RECIPIENT_REMOVED]);
}

void round_begin(struct qmgr *q, struct message *m)
{
    round_begin_with(q, m, WISH_NONE, "");
}

void round_begin_with(struct qmgr *q, struct message *m, enum round_wish wish, const char *reason)
{
    int err;
    struct round *r = round_open(q, m, &err);
    if (r == NULL) {
        fair_remove(&m->turn);
        m->phase = MESSAGE_HELD;
        open_failed(q, m, err);
        return;
    }
    enter(q, m, r);
    log_taken_over(r);
    worker_adopt(r);
    r->early = m->state == QUEUE_DEFERRED && !m->forced && m->path_due_s > clock_wall_s() && r->jobs == 0;
    /* RFC 4865: it is not to leave yet.  An admin may think otherwise. */
    r->unreleased = r->envelope.release_s > clock_wall_s() && !m->forced && r->jobs == 0;
    const bool held = message_is_held(m);
    if (make_parts(r) < 0) {
        log_message(LOG_LEVEL_ERROR, m->id, "out of memory for its recipients, will retry");
        round_abandon(r, OPEN_RETRY_MS);
    } else if (wish != WISH_NONE) {
        round_wish(r, wish, reason);
    } else if (r->open > 0 && (r->early || r->unreleased || held || (round_too_old(r) && r->jobs == 0))) {
        round_ground(r);
        r->looked = held;
        r->too_old = !r->early && !r->unreleased && (!held || held_too_long(r));
        round_check(r);
    } else if (r->open > 0) {
        sign_request(r);
    } else {
        round_check(r);
    }
}

void round_signed(struct round *r, const char *headers, const char *keys)
{
    struct part *p, *next;
    r->headers = strdup(headers);
    r->keys = strdup(keys);
    if (r->headers == NULL || r->keys == NULL) {
        round_fail_all(r, OUTCOME_TRY_LATER, 0, "4.3.0", "out of memory");
        return;
    }
    /* An answer that is known already may settle the whole round: then r is gone behind the last part. */
    r->routing = true;
    TAILQ_FOREACH_SAFE (p, &r->parts, link, next)
        route_part(p);
    r->routing = false;
    round_check(r);
}

void round_fail_all(struct round *r, uint32_t outcome, uint32_t code, const char *enhanced, const char *reply)
{
    const struct outcome o = {
        .outcome = outcome, .code = code, .enhanced = enhanced, .reply = reply, .relay = "none", .tls = "none"};
    struct part *p;
    TAILQ_FOREACH (p, &r->parts, link) {
        route_cancel(p);
        site_unqueue(r->qmgr, p);
        for (size_t i = 0; i < p->count; i++)
            outcome_record(r, p->members[i], p->site, &o);
        p->count = 0;
    }
    round_check(r);
}

void round_check(struct round *r)
{
    if (r->routing)
        return;
    if (r->wish != WISH_NONE && !r->settling)
        round_ground(r);
    if (r->signing || r->open > 0 || r->jobs > 0 || r->settling)
        return;
    settle_round(r);
}

void round_end(struct round *r)
{
    leave(r);
}

void round_abandon(struct round *r, int64_t wait_ms)
{
    struct qmgr *q = r->qmgr;
    struct message *m = r->message;
    leave(r);
    message_defer(q, m, retry_due_s(clock_wall_us() / 1000, wait_ms, 0), 0);
}

long round_find_recipient(const struct round *r, uint32_t index)
{
    size_t low = 0, high = r->envelope.recipient_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->envelope.recipients[middle].index == index)
            return (long)middle;
        if (r->envelope.recipients[middle].index < index)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}
