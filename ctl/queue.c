/* posthouse queue ...: waiting messages, asked of qmgr. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "ctl/commands.h"
#include "ctl/item.h"
#include "ctl/listing.h"
#include "queue/file.h"

#define PAGE 1000

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

/* One question: qmgr answers with a page of its own size at most. */
static int show_page(struct ctl *c, const char *state, uint32_t limit, struct page *p, struct listing *l)
{
    const struct ipc_queue_list ask = {.state = state, .after = p->after, .limit = limit};
    if (ipc_sync_send(c->peer, IPC_QUEUE_LIST, &ask) < 0)
        return ctl_say(CTL_TRY_LATER, "qmgr is gone; try again later");
    for (p->rows = 0;; p->rows++) {
        enum ipc_type type;
        union ipc_any m;
        _cleanup_(fd_closep) int fd = -1;
        int status = ctl_receive(c->peer, &type, &m, &fd);
        if (status != CTL_OK)
            return status;
        if (type == IPC_ORDER_DONE)
            return ctl_order_done(c, &m.order_done);
        if (type != IPC_QUEUE_ITEM)
            return ctl_say(CTL_FAILED, "qmgr sent %s where a message of the queue was expected", ipc_type_name(type));
        show_row(&m.queue_item, l);
        snprintf(p->after, sizeof(p->after), "%s", m.queue_item.queue_id);
    }
}

static bool known_state(const char *state)
{
    static const char *const states[] = {"", "incoming", "active", "deferred", "hold"};
    for (size_t i = 0; i < ARRAY_LENGTH(states); i++)
        if (strcmp(states[i], state) == 0)
            return true;
    return false;
}

int queue_list(struct ctl *c, const struct args *a)
{
    const char *state = args_at(a, 0) != NULL ? args_at(a, 0) : "", *limit_text = args_option(a, "limit");
    uint64_t limit = 0;
    struct listing l;
    struct page page = {.after = ""};
    int status;
    if (!known_state(state))
        return ctl_say(CTL_USAGE, "%s: expected incoming, active, deferred or hold", state);
    if (limit_text != NULL && text_parse_u64(limit_text, UINT32_MAX, &limit) < 0)
        return ctl_say(CTL_USAGE, "--limit %s: expected a number", limit_text);
    uint64_t left = limit > 0 ? limit : UINT64_MAX;
    listing_begin(&l, stdout, c->json, columns);
    do {
        status = show_page(c, state, left < PAGE ? (uint32_t)left : PAGE, &page, &l);
        left -= page.rows < left ? page.rows : left;
    } while (status == CTL_OK && page.rows > 0 && left > 0);
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

static int order_each(struct ctl *c, const struct args *a, enum ipc_queue_verb verb)
{
    int status = CTL_OK;
    for (size_t i = 0; i < a->count; i++) {
        const struct ipc_queue_order order = {
            .verb = verb, .queue_id = a->positional[i], .reason = "ordered by the administrator"};
        enum ipc_type type = IPC_NONE;
        union ipc_any m;
        _cleanup_(fd_closep) int fd = -1;
        if (ipc_sync_send(c->peer, IPC_QUEUE_ORDER, &order) < 0)
            return ctl_say(CTL_TRY_LATER, "qmgr is gone; try again later");
        int one = ctl_receive(c->peer, &type, &m, &fd);
        if (one != CTL_OK)
            return one;
        if (type != IPC_ORDER_DONE)
            return ctl_say(CTL_FAILED, "qmgr sent %s where ORDER_DONE was expected", ipc_type_name(type));
        uint32_t touched = m.order_done.count;
        one = ctl_order_done(c, &m.order_done);
        if (one == CTL_OK && m.order_done.text[0] == '\0')
            ctl_note(c, "%s: %u message%s", a->positional[i], touched, touched == 1 ? "" : "s");
        status = one != CTL_OK ? one : status;
    }
    return status;
}

int queue_retry(struct ctl *c, const struct args *a)
{
    return order_each(c, a, QUEUE_VERB_RETRY);
}

int queue_hold(struct ctl *c, const struct args *a)
{
    return order_each(c, a, QUEUE_VERB_HOLD);
}

int queue_release(struct ctl *c, const struct args *a)
{
    return order_each(c, a, QUEUE_VERB_RELEASE);
}

int queue_delete(struct ctl *c, const struct args *a)
{
    return order_each(c, a, QUEUE_VERB_DELETE);
}
