/* posthouse queue ...: waiting messages, asked of qmgr. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "ctl/commands.h"
#include "ctl/filter.h"
#include "ctl/item.h"
#include "ctl/listing.h"
#include "queue/file.h"

#define PAGE 10000

static const struct listing_column columns[] = {
    {"queue_id", "ID", 13},   {"state", "STATE", 8},    {"arrived", "ARRIVED", 19}, {"due", "NEXT ATTEMPT", 19},
    {"size", "SIZE", 8},      {"waiting", "LEFT", 4},   {"recipients", "OF", 4},    {"attempts", "TRIED", 5},
    {"tenant", "TENANT", 10}, {"sender", "SENDER", 24}, {"reason", "REASON", 0},    {NULL, NULL, 0},
};

static void show_row(const struct ipc_queue_item *m, struct listing *l)
{
    listing_text(l, m->queue_id);
    listing_text(l, m->state);
    listing_time(l, (int64_t)m->arrived_s);
    listing_time(l, (int64_t)m->due_s);
    listing_number(l, (int64_t)m->size);
    listing_number(l, m->waiting);
    listing_number(l, m->recipients);
    listing_number(l, m->attempts);
    listing_text(l, m->tenant);
    listing_text(l, m->sender);
    listing_text(l, m->reason);
}

struct page {
    char after[64];
    uint64_t rows;
};

/* One question: qmgr answers with a page of its own size at most, or with all that a filter lets through. */
static int show_page(struct ctl *c, const struct filter *f, uint32_t limit, struct page *p, struct listing *l)
{
    const struct ipc_queue_list ask = {.state = f->state,
                                       .after = p->after,
                                       .limit = limit,
                                       .domain = f->domain,
                                       .site = f->site,
                                       .tenant = f->tenant,
                                       .sender = f->sender,
                                       .older_than_s = f->older_than_s};
    if (ipc_sync_send(c->peer, IPC_QUEUE_LIST, &ask) < 0)
        return ctl_say(CTL_TRY_LATER, "qmgr is gone; try again later");
    for (p->rows = 0;;) {
        enum ipc_type type;
        union ipc_any m;
        _cleanup_(fd_closep) int fd = -1;
        int status = ctl_receive(c->peer, &type, &m, &fd);
        if (status != CTL_OK)
            return status;
        if (type == IPC_ORDER_DONE)
            return ctl_order_done(c, &m.order_done);
        if (type == IPC_QUEUE_WALKED)
            continue;
        if (type != IPC_QUEUE_ITEM)
            return ctl_say(CTL_FAILED, "qmgr sent %s where a message of the queue was expected", ipc_type_name(type));
        show_row(&m.queue_item, l);
        p->rows++;
        snprintf(p->after, sizeof(p->after), "%s", m.queue_item.queue_id);
    }
}

/* Only the state: qmgr knows that without looking, and answers in order and in pages. */
static bool is_paged(const struct filter *f)
{
    struct filter others = *f;
    others.state = "";
    return filter_is_empty(&others);
}

static int show_pages(struct ctl *c, const struct filter *f, uint64_t limit, struct listing *l)
{
    struct page page = {.after = ""};
    uint64_t left = limit > 0 ? limit : UINT64_MAX;
    int status;
    if (!is_paged(f))
        return show_page(c, f, (uint32_t)limit, &page, l);
    do {
        status = show_page(c, f, left < PAGE ? (uint32_t)left : PAGE, &page, l);
        left -= page.rows < left ? page.rows : left;
    } while (status == CTL_OK && page.rows > 0 && left > 0);
    return status;
}

int queue_list(struct ctl *c, const struct args *a)
{
    const char *state = args_at(a, 0), *limit_text = args_option(a, "limit");
    uint64_t limit = 0;
    struct listing l;
    struct args given = *a;
    struct filter f;
    if (state != NULL && given.option_count < OPTIONS_MAX) {
        given.options[given.option_count].name = "state";
        given.options[given.option_count++].value = state;
    }
    int status = filter_parse(&given, &f);
    if (status != CTL_OK)
        return status;
    if (limit_text != NULL && text_parse_u64(limit_text, UINT32_MAX, &limit) < 0)
        return ctl_say(CTL_USAGE, "--limit %s: expected a number", limit_text);
    listing_begin(&l, stdout, c->json, columns);
    status = show_pages(c, &f, limit, &l);
    listing_end(&l);
    return status;
}

static int copy_content(int fd, const struct envelope *e)
{
    char block[65536];
    for (uint64_t at = 0; at < e->content_length;) {
        uint64_t left = e->content_length - at;
        ssize_t n =
            pread(fd, block, left < sizeof(block) ? (size_t)left : sizeof(block), (off_t)(e->content_offset + at));
        if (n <= 0)
            return ctl_say(CTL_FAILED, "the content can not be read: %s", n < 0 ? text_errno(errno) : "file too short");
        fwrite(block, 1, (size_t)n, stdout);
        at += (uint64_t)n;
    }
    return CTL_OK;
}

int queue_show(struct ctl *c, const struct args *a)
{
    struct item item;
    int status = item_ask(c, c->peer, args_at(a, 0), &item);
    if (status != CTL_OK)
        return status;
    if (!item.readable)
        status = ctl_say(CTL_FAILED, "%s: the queue file can not be read", args_at(a, 0));
    else if (args_option(a, "content") != NULL)
        status = copy_content(item.fd, &item.envelope);
    else
        item_print(c, &item);
    item_deinit(&item);
    return status;
}

static const struct listing_column dry_columns[] = {
    {"queue_id", "ID", 13},   {"state", "STATE", 8},    {"arrived", "ARRIVED", 19},
    {"tenant", "TENANT", 10}, {"sender", "SENDER", 24}, {"recipients", "RECIPIENTS", 0},
    {NULL, NULL, 0},
};

static void show_dry(const struct ipc_queue_item *m, struct listing *l)
{
    listing_text(l, m->queue_id);
    listing_text(l, m->state);
    listing_time(l, (int64_t)m->arrived_s);
    listing_text(l, m->tenant);
    listing_text(l, m->sender);
    listing_text(l, m->addresses);
}

/* CTL_OK with ORDER_DONE in *done, whose texts last until the next message. */
static int give(struct ctl *c, const struct ipc_queue_order *order, struct listing *l, struct ipc_order_done *done)
{
    if (ipc_sync_send(c->peer, IPC_QUEUE_ORDER, order) < 0)
        return ctl_say(CTL_TRY_LATER, "qmgr is gone; try again later");
    for (;;) {
        enum ipc_type type = IPC_NONE;
        union ipc_any m;
        _cleanup_(fd_closep) int fd = -1;
        int status = ctl_receive(c->peer, &type, &m, &fd);
        if (status != CTL_OK)
            return status;
        if (type == IPC_QUEUE_ITEM && order->dry_run)
            show_dry(&m.queue_item, l);
        else if (type == IPC_ORDER_DONE) {
            *done = m.order_done;
            return CTL_OK;
        } else if (type != IPC_QUEUE_WALKED)
            return ctl_say(CTL_FAILED, "qmgr sent %s where ORDER_DONE was expected", ipc_type_name(type));
    }
}

static int order_one(struct ctl *c, const struct ipc_queue_order *order, const char *name, struct listing *l)
{
    struct ipc_order_done done;
    int status = give(c, order, l, &done);
    if (status != CTL_OK)
        return status;
    status = ctl_order_done(c, &done);
    if (status == CTL_OK && done.text[0] == '\0')
        ctl_note(c, "%s: %u message%s%s", name, done.count, done.count == 1 ? "" : "s",
                 order->dry_run ? ", not touched" : "");
    return status;
}

static int order_each(struct ctl *c, const struct args *a, struct ipc_queue_order *order, struct listing *l)
{
    int status = CTL_OK;
    for (size_t i = 0; i < a->count; i++) {
        order->queue_id = a->positional[i];
        int one = order_one(c, order, a->positional[i], l);
        if (one == CTL_TRY_LATER)
            return one;
        status = one != CTL_OK ? one : status;
    }
    return status;
}

static int order_queue(struct ctl *c, const struct args *a, enum ipc_queue_verb verb)
{
    struct filter f;
    struct listing l;
    int status = filter_parse(a, &f);
    if (status != CTL_OK)
        return status;
    if ((a->count == 0) == filter_is_empty(&f))
        return ctl_say(CTL_USAGE, "expected either ids or options that say which messages");
    struct ipc_queue_order order = {.verb = verb,
                                    .queue_id = "ALL",
                                    .reason = "ordered by the administrator",
                                    .dry_run = args_option(a, "dry-run") != NULL,
                                    .state = f.state,
                                    .domain = f.domain,
                                    .site = f.site,
                                    .tenant = f.tenant,
                                    .sender = f.sender,
                                    .older_than_s = f.older_than_s};
    if (order.dry_run)
        listing_begin(&l, stdout, c->json, dry_columns);
    status = a->count > 0 ? order_each(c, a, &order, &l) : order_one(c, &order, "in all", &l);
    if (order.dry_run)
        listing_end(&l);
    return status;
}

int queue_retry(struct ctl *c, const struct args *a)
{
    return order_queue(c, a, QUEUE_VERB_RETRY);
}

int queue_hold(struct ctl *c, const struct args *a)
{
    return order_queue(c, a, QUEUE_VERB_HOLD);
}

int queue_release(struct ctl *c, const struct args *a)
{
    return order_queue(c, a, QUEUE_VERB_RELEASE);
}

int queue_delete(struct ctl *c, const struct args *a)
{
    return order_queue(c, a, QUEUE_VERB_DELETE);
}
