/* What the admin asks: list, show, retry, hold, release, delete, counts.  What is named by a filter is looked for in a
 * walk, and answered at its end. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "log/log.h"
#include "qmgr/qmgr.h"
#include "qmgr/walk.h"
#include "queue/file.h"

#define LIST_MAX      10000 /* items of one answer; the asker continues after the last */
#define ADDRESSES_MAX 1000  /* bytes of recipients shown of a message */

static void answer(struct ipc_channel *to, enum ipc_order_status status, uint32_t count, const char *text)
{
    const struct ipc_order_done done = {.status = status, .count = count, .text = text};
    ipc_send(to, IPC_ORDER_DONE, &done, -1);
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

/* Those not finished yet, as many as fit. */
static void name_recipients(const struct envelope *e, struct buf *out)
{
    size_t shown = 0, waiting = 0;
    for (size_t i = 0; i < e->recipient_count; i++) {
        if (e->recipients[i].status != RECIPIENT_TODO)
            continue;
        waiting++;
        if (out->len + strlen(e->recipients[i].address) + 1 > ADDRESSES_MAX)
            continue;
        buf_printf(out, "%s%s", shown++ > 0 ? " " : "", e->recipients[i].address);
    }
    if (shown < waiting)
        buf_printf(out, " and %zu more", waiting - shown);
}

enum item_extra { ITEM_ALONE, ITEM_WITH_FILE, ITEM_WITH_ADDRESSES };

static int send_item(struct qmgr *q, struct ipc_channel *to, const struct message *m, enum item_extra extra)
{
    struct buf addresses;
    buf_init(&addresses, ADDRESSES_MAX + 64);
    struct envelope e = {0};
    struct last_attempt last = {0};
    char path[QUEUE_PATH_MAX];
    message_file(m, path);
    struct ipc_queue_item item = {.queue_id = m->id,
                                  .state = message_state_name(m),
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
        if (extra == ITEM_WITH_ADDRESSES)
            name_recipients(&e, &addresses);
    }
    item.addresses = buf_str(&addresses);
    int r = ipc_send(to, IPC_QUEUE_ITEM, &item, extra == ITEM_WITH_FILE ? fd : -1);
    buf_deinit(&addresses);
    free(last.reason);
    envelope_free(&e);
    if (fd >= 0)
        close(fd);
    return r;
}

static void walk_done(struct walk *w)
{
    answer(w->plan.to, ORDER_OK, w->count, "");
}

static void begin_walk(struct qmgr *q, const struct walk_plan *plan)
{
    if (walk_begin(q, plan) < 0)
        answer(plan->to, ORDER_REFUSED, 0, "out of memory");
}

static bool list_one(struct walk *w, struct message *m)
{
    return send_item(w->qmgr, w->plan.to, m, ITEM_ALONE) == 0;
}

/* The messages of an answer in order: the first ones behind an id, chosen while all are looked at. */
struct page {
    char after[QUEUE_ID_SIZE];
    size_t limit, count, sent;
    bool more, sorted;
    char ids[][QUEUE_ID_SIZE]; /* a heap with the last one on top, until it is sorted */
};

static int by_id(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void swap_ids(struct page *p, size_t a, size_t b)
{
    char kept[QUEUE_ID_SIZE];
    memcpy(kept, p->ids[a], sizeof(kept));
    memcpy(p->ids[a], p->ids[b], sizeof(kept));
    memcpy(p->ids[b], kept, sizeof(kept));
}

static void page_rise(struct page *p, size_t place)
{
    for (; place > 0 && strcmp(p->ids[(place - 1) / 2], p->ids[place]) < 0; place = (place - 1) / 2)
        swap_ids(p, place, (place - 1) / 2);
}

static void page_sink(struct page *p)
{
    for (size_t place = 0, child; (child = place * 2 + 1) < p->count; place = child) {
        child += child + 1 < p->count && strcmp(p->ids[child], p->ids[child + 1]) < 0;
        if (strcmp(p->ids[place], p->ids[child]) >= 0)
            return;
        swap_ids(p, place, child);
    }
}

static bool page_choose(struct walk *w, struct message *m)
{
    struct page *p = w->plan.data;
    if (strcmp(m->id, p->after) <= 0)
        return false;
    if (p->count < p->limit) {
        memcpy(p->ids[p->count], m->id, QUEUE_ID_SIZE);
        page_rise(p, p->count++);
        return true;
    }
    p->more = true;
    if (strcmp(m->id, p->ids[0]) < 0) {
        memcpy(p->ids[0], m->id, QUEUE_ID_SIZE);
        page_sink(p);
    }
    return false;
}

/* One more item.  What has gone meanwhile is left out. */
static bool page_send(struct walk *w)
{
    struct page *p = w->plan.data;
    if (!p->sorted)
        qsort(p->ids, p->count, sizeof(p->ids[0]), by_id);
    p->sorted = true;
    if (p->sent == p->count)
        return false;
    struct message *m = message_find(w->qmgr, p->ids[p->sent++]);
    if (m != NULL)
        send_item(w->qmgr, w->plan.to, m, ITEM_ALONE);
    return true;
}

static void page_done(struct walk *w)
{
    const struct page *p = w->plan.data;
    answer(w->plan.to, ORDER_OK, (uint32_t)p->count, p->more ? "more" : "");
}

static void list_page(struct qmgr *q, struct walk_plan *plan, const char *after, uint32_t limit)
{
    size_t most = limit > 0 && limit < LIST_MAX ? limit : LIST_MAX;
    struct page *p = calloc(1, sizeof(*p) + most * sizeof(p->ids[0]));
    if (p == NULL) {
        answer(plan->to, ORDER_REFUSED, 0, "out of memory");
        return;
    }
    p->limit = most;
    snprintf(p->after, sizeof(p->after), "%s", after);
    plan->limit = 0;
    plan->data = p;
    plan->fn = page_choose;
    plan->more = page_send;
    plan->done = page_done;
    begin_walk(q, plan);
}

void orders_list(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct qmgr *q = arg;
    const struct ipc_queue_list *list = message;
    struct walk_plan plan = {.filter = {.what = {list->domain, list->site, list->tenant, list->sender},
                                        .state = list->state,
                                        .older_than_s = (int64_t)(list->older_than_s & INT32_MAX)},
                             .to = from,
                             .limit = list->limit,
                             .fn = list_one,
                             .done = walk_done};
    if (walk_filter_is_empty(&plan.filter)) /* a state is no matter for the filter: it is known */
        list_page(q, &plan, list->after, list->limit);
    else
        begin_walk(q, &plan);
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
    send_item(q, from, m, ITEM_WITH_FILE);
    answer(from, ORDER_OK, 1, "");
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

static void order_retry(struct qmgr *q, struct message *m, const char *reason)
{
    log_message(LOG_LEVEL_INFO, m->id, "retry ordered: %s", reason);
    m->forced = true;
    message_ready(q, m);
}

static void order_hold(struct qmgr *q, struct message *m, const char *reason)
{
    log_message(LOG_LEVEL_INFO, m->id, "hold ordered: %s", reason);
    take_out(q, m, WISH_HOLD, reason);
}

static void order_release(struct qmgr *q, struct message *m, const char *reason)
{
    log_message(LOG_LEVEL_INFO, m->id, "release ordered: %s", reason);
    if (m->phase == MESSAGE_HELD)
        message_defer(q, m, clock_wall_s(), 0);
    else
        m->forced = true; /* it is being looked at; see settle.c */
}

static void order_delete(struct qmgr *q, struct message *m, const char *reason)
{
    log_message(LOG_LEVEL_INFO, m->id, "delete ordered: %s", reason);
    take_out(q, m, WISH_DELETE, reason);
}

static bool is_deferred(const struct message *m)
{
    return m->phase == MESSAGE_DEFERRED;
}

static bool is_not_held(const struct message *m)
{
    return !message_is_held(m);
}

static bool is_there(const struct message *m)
{
    return true;
}

static const struct {
    bool (*applies)(const struct message *m);
    /* The message may be gone behind it. */
    void (*apply)(struct qmgr *q, struct message *m, const char *reason);
    const char *refusal;
} verbs[] = {
    [QUEUE_VERB_RETRY] = {is_deferred, order_retry, "it is not deferred"},
    [QUEUE_VERB_HOLD] = {is_not_held, order_hold, "it is on hold already"},
    [QUEUE_VERB_RELEASE] = {message_is_held, order_release, "it is not on hold"},
    [QUEUE_VERB_DELETE] = {is_there, order_delete, "it is gone"},
};

static bool apply_one(struct walk *w, struct message *m)
{
    if (!verbs[w->plan.verb].applies(m))
        return false;
    verbs[w->plan.verb].apply(w->qmgr, m, w->plan.reason);
    return true;
}

static bool show_one(struct walk *w, struct message *m)
{
    return verbs[w->plan.verb].applies(m) && send_item(w->qmgr, w->plan.to, m, ITEM_WITH_ADDRESSES) == 0;
}

static void change_by_filter(struct qmgr *q, struct ipc_channel *from, const struct ipc_queue_order *order,
                             const char *reason)
{
    const struct walk_plan plan = {.filter = {.what = {order->domain, order->site, order->tenant, order->sender},
                                              .state = order->state,
                                              .older_than_s = (int64_t)(order->older_than_s & INT32_MAX)},
                                   .to = from,
                                   .verb = order->verb,
                                   .reason = reason,
                                   .fn = order->dry_run ? show_one : apply_one,
                                   .done = walk_done};
    begin_walk(q, &plan);
}

static void change_by_id(struct qmgr *q, struct ipc_channel *from, const struct ipc_queue_order *order,
                         const char *reason)
{
    struct message *m = queue_id_valid(order->queue_id) ? message_find(q, order->queue_id) : NULL;
    if (m == NULL) {
        answer(from, ORDER_NOT_FOUND, 0, "no such message in the queue");
        return;
    }
    if (!verbs[order->verb].applies(m)) {
        answer(from, ORDER_REFUSED, 0, verbs[order->verb].refusal);
        return;
    }
    if (order->dry_run)
        send_item(q, from, m, ITEM_WITH_ADDRESSES);
    else
        verbs[order->verb].apply(q, m, reason);
    answer(from, ORDER_OK, 1, "");
}

void orders_change(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct qmgr *q = arg;
    const struct ipc_queue_order *order = message;
    const char *reason = order->reason[0] != '\0' ? order->reason : "by the admin";
    if (order->verb >= ARRAY_LENGTH(verbs)) {
        answer(from, ORDER_REFUSED, 0, "no such order");
        return;
    }
    if (order->verb == QUEUE_VERB_RETRY && !order->dry_run)
        site_revive_all(q); /* the admin knows better than the last failures */
    if (strcmp(order->queue_id, "ALL") == 0)
        change_by_filter(q, from, order, reason);
    else
        change_by_id(q, from, order, reason);
}

void orders_status(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct qmgr *q = arg;
    uint64_t known = HASH_COUNT(q->messages), deferred = q->timetable.count - q->held_timed,
             waiting = q->active_count + q->ready.count + deferred;
    const struct ipc_queue_counts counts = {.active = q->active_count + q->ready.count,
                                            .deferred = deferred,
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
