/* What the admin asks: list, show, retry, hold, release, delete, counts. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "log/log.h"
#include "qmgr/qmgr.h"
#include "queue/file.h"

#define LIST_MAX 1000 /* items of one answer; the asker continues after the last */

static void answer(struct ipc_channel *to, enum ipc_order_status status, uint32_t count, const char *text)
{
    const struct ipc_order_done done = {.status = status, .count = count, .text = text};
    ipc_send(to, IPC_ORDER_DONE, &done, -1);
}

static const char *state_name(const struct message *m)
{
    switch (m->phase) {
    case MESSAGE_READY:
        return "incoming";
    case MESSAGE_ACTIVE:
        return "active";
    case MESSAGE_DEFERRED:
        return "deferred";
    default:
        return "hold";
    }
}

/* The last line of the history. */
struct last_attempt {
    char *reason;
};
static void take_last(void *arg, const struct queue_attempt *a)
{
    struct last_attempt *last = arg;
    if (strcmp(a->outcome, "delivered") == 0)
        return;
    free(last->reason);
    last->reason = text_format("%s%s%s", a->reply, strcmp(a->relay, "none") == 0 ? "" : " said ",
                               strcmp(a->relay, "none") == 0 ? "" : a->relay);
}

static int send_item(struct qmgr *q, struct ipc_channel *to, const struct message *m, bool with_file)
{
    struct envelope e = {0};
    struct last_attempt last = {0};
    char path[QUEUE_PATH_MAX];
    message_file(m, path);
    struct ipc_queue_item item = {.queue_id = m->id,
                                  .state = state_name(m),
                                  .path = path,
                                  .arrived_s = (uint64_t)(queue_id_time_us(m->id) / 1000000),
                                  .due_s = m->phase == MESSAGE_DEFERRED ? (uint64_t)m->path_due_s : 0};
    int fd = openat(q->queue_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && queue_file_read(fd, &e) == 0) {
        queue_file_history(fd, &e, take_last, &last);
        item.arrived_s = (uint64_t)(e.arrived_us / 1000000);
        item.size = e.content_length;
        item.sender = e.sender;
        item.tenant = e.tenant;
        item.recipients = (uint32_t)e.recipient_count;
        item.attempts = e.attempts;
        item.reason = last.reason;
        for (size_t i = 0; i < e.recipient_count; i++)
            item.waiting += e.recipients[i].status == RECIPIENT_TODO;
    }
    int r = ipc_send(to, IPC_QUEUE_ITEM, &item, with_file ? fd : -1);
    free(last.reason);
    envelope_free(&e);
    if (fd >= 0)
        close(fd);
    return r;
}

static int by_id(const void *a, const void *b)
{
    return strcmp((*(struct message *const *)a)->id, (*(struct message *const *)b)->id);
}

static bool wanted(const struct message *m, const struct ipc_queue_list *list)
{
    return strcmp(m->id, list->after) > 0 && (list->state[0] == '\0' || strcmp(list->state, state_name(m)) == 0);
}

void orders_list(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct qmgr *q = arg;
    const struct ipc_queue_list *list = message;
    struct message **found = calloc(HASH_COUNT(q->messages) + 1, sizeof(*found)), *m, *next;
    uint32_t count = 0, limit = list->limit > 0 && list->limit < LIST_MAX ? list->limit : LIST_MAX, sent = 0;
    if (found == NULL) {
        answer(from, ORDER_REFUSED, 0, "out of memory");
        return;
    }
    HASH_ITER (hh, q->messages, m, next)
        if (wanted(m, list))
            found[count++] = m;
    qsort(found, count, sizeof(*found), by_id);
    while (sent < count && sent < limit && send_item(q, from, found[sent], false) == 0)
        sent++;
    free(found);
    answer(from, ORDER_OK, sent, sent < count ? "more" : "");
}

void orders_show(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct qmgr *q = arg;
    const struct ipc_queue_show *show = message;
    struct message *m = queue_id_valid(show->queue_id) ? message_find(q, show->queue_id) : NULL;
    if (m == NULL) {
        answer(from, ORDER_NOT_FOUND, 0, "no such message in the queue");
        return;
    }
    send_item(q, from, m, true);
    answer(from, ORDER_OK, 1, "");
}

/* One order on one message.  Whether it applied. */
static bool order_retry(struct qmgr *q, struct message *m, const char *reason)
{
    if (m->phase != MESSAGE_DEFERRED)
        return false;
    log_message(LOG_LEVEL_INFO, m->id, "retry ordered: %s", reason);
    m->forced = true;
    message_ready(q, m);
    return true;
}

/* Takes a message out, whichever phase it is in. */
static void take_out(struct qmgr *q, struct message *m, enum round_wish wish, const char *reason)
{
    if (m->phase == MESSAGE_ACTIVE) {
        round_wish(m->round, wish, reason);
        return;
    }
    message_ready(q, m);
    if (m->phase == MESSAGE_READY)
        round_begin_with(q, m, wish, reason);
}

static bool order_hold(struct qmgr *q, struct message *m, const char *reason)
{
    if (m->phase == MESSAGE_HELD)
        return false;
    log_message(LOG_LEVEL_INFO, m->id, "hold ordered: %s", reason);
    take_out(q, m, WISH_HOLD, reason);
    return true;
}

static bool order_release(struct qmgr *q, struct message *m, const char *reason)
{
    if (m->phase != MESSAGE_HELD)
        return false;
    log_message(LOG_LEVEL_INFO, m->id, "release ordered: %s", reason);
    message_defer(q, m, clock_wall_s(), 0);
    return true;
}

static bool order_delete(struct qmgr *q, struct message *m, const char *reason)
{
    log_message(LOG_LEVEL_INFO, m->id, "delete ordered: %s", reason);
    take_out(q, m, WISH_DELETE, reason);
    return true;
}

static const struct {
    bool (*apply)(struct qmgr *q, struct message *m, const char *reason);
    const char *refusal;
} verbs[] = {
    [QUEUE_VERB_RETRY] = {order_retry, "it is not deferred"},
    [QUEUE_VERB_HOLD] = {order_hold, "it is on hold already"},
    [QUEUE_VERB_RELEASE] = {order_release, "it is not on hold"},
    [QUEUE_VERB_DELETE] = {order_delete, "it is gone"},
};

/* The message may be gone when this returns. */
static bool apply(struct qmgr *q, uint32_t verb, struct message *m, const char *reason)
{
    return verbs[verb].apply(q, m, reason[0] != '\0' ? reason : "by the admin");
}

void orders_change(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct qmgr *q = arg;
    const struct ipc_queue_order *order = message;
    struct message *m, *next;
    uint32_t count = 0;
    if (order->verb >= ARRAY_LENGTH(verbs)) {
        answer(from, ORDER_REFUSED, 0, "no such order");
        return;
    }
    if (order->verb == QUEUE_VERB_RETRY)
        site_revive_all(q); /* the admin knows better than the last failures */
    if (strcmp(order->queue_id, "ALL") == 0) {
        HASH_ITER (hh, q->messages, m, next)
            count += apply(q, order->verb, m, order->reason);
        answer(from, ORDER_OK, count, "");
        return;
    }
    m = queue_id_valid(order->queue_id) ? message_find(q, order->queue_id) : NULL;
    if (m == NULL)
        answer(from, ORDER_NOT_FOUND, 0, "no such message in the queue");
    else if (!apply(q, order->verb, m, order->reason))
        answer(from, ORDER_REFUSED, 0, verbs[order->verb].refusal);
    else
        answer(from, ORDER_OK, 1, "");
}

void orders_status(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct qmgr *q = arg;
    uint64_t known = HASH_COUNT(q->messages), waiting = q->active_count + q->ready.count + q->timetable.count;
    const struct ipc_queue_counts counts = {.active = q->active_count + q->ready.count,
                                            .deferred = q->timetable.count,
                                            .hold = known > waiting ? known - waiting : 0,
                                            .corrupt = q->count.corrupt,
                                            .delivering = worker_jobs(q),
                                            .sites = HASH_COUNT(q->sites.all),
                                            .delivered = q->count.delivered,
                                            .deferrals = q->count.deferrals,
                                            .failed = q->count.failed};
    ipc_send(from, IPC_QUEUE_COUNTS, &counts, -1);
    answer(from, ORDER_OK, 0, "");
}
