#include "qmgr/rules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "base/whole.h"
#include "log/log.h"
#include "qmgr/qmgr.h"
#include "qmgr/walk.h"

#define FOLDER      "rules"
#define FILE_NAME   FOLDER "/rules"
#define NEW_NAME    FOLDER "/rules.new"
#define LOOK_MAX_MS 60000 /* the clock may be set meanwhile */

/* -- the file -------------------------------------------------------------------------------------------------------
 */

static int replace_file(struct qmgr *q, const struct buf *text)
{
    _cleanup_(fd_closep) int fd =
        openat(q->queue_fd, NEW_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int err = whole_write(fd, buf_str(text), text->len);
    if (err == 0 && fsync(fd) < 0)
        err = -errno;
    if (err == 0 && renameat(q->queue_fd, NEW_NAME, q->queue_fd, FILE_NAME) < 0)
        err = -errno;
    _cleanup_(fd_closep) int folder = openat(q->queue_fd, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (err == 0 && (folder < 0 || fsync(folder) < 0))
        err = -errno;
    return err;
}

static int save(struct qmgr *q)
{
    struct buf text;
    buf_init(&text, RULES_FILE_MAX);
    mkdirat(q->queue_fd, FOLDER, 0700);
    int err = rule_list_format(&q->rules.list, &text);
    if (err == 0)
        err = replace_file(q, &text);
    buf_deinit(&text);
    return err;
}

static int read_file(struct qmgr *q, struct buf *text)
{
    ssize_t n = 1;
    _cleanup_(fd_closep) int fd = openat(q->queue_fd, FILE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    while (n > 0) {
        int err = buf_reserve(text, 4096);
        if (err < 0)
            return err;
        n = read(fd, buf_tail(text), 4096);
        if (n > 0)
            buf_added(text, (size_t)n);
    }
    return n < 0 ? -errno : 0;
}

/* Nothing of it counts, and nothing of it is lost. */
static int set_aside(struct qmgr *q, unsigned line)
{
    char name[64];
    snprintf(name, sizeof(name), FOLDER "/broken-%lld", (long long)clock_wall_s());
    int err = renameat(q->queue_fd, FILE_NAME, q->queue_fd, name) < 0 ? -errno : 0;
    if (err < 0)
        log_error("queue: " FILE_NAME ":%u: not a file of rules and can not be set aside: %s", line, text_errno(err));
    else
        log_error("queue: " FILE_NAME ":%u: not a file of rules: set aside as %s, no rule is in force; order them "
                  "again, \"posthouse queue retry ALL\" wakes what they put off",
                  line, name);
    return err;
}

static int load(struct qmgr *q)
{
    struct buf text;
    unsigned line = 0;
    buf_init(&text, RULES_FILE_MAX + 4096);
    int err = read_file(q, &text);
    if (err == 0)
        err = rule_list_parse(buf_str(&text), text.len, &q->rules.list, &line);
    buf_deinit(&text);
    if (err == -EPROTO || err == -ENOBUFS)
        return set_aside(q, line);
    if (err < 0 && err != -ENOENT)
        log_error("queue: " FILE_NAME " can not be read: %s", text_errno(err));
    return err == -ENOENT ? 0 : err;
}

/* -- beginning and end of a rule ------------------------------------------------------------------------------------
 */

static void describe(const struct rule *r, struct buf *out)
{
    buf_printf(out, "%s, %s=%s", rule_action_name(r->action), rule_kind_name(r->kind), r->what);
    if (r->to[0] != '\0')
        buf_printf(out, ", to=%s", r->to);
    if (r->reason[0] != '\0')
        buf_printf(out, ", reason=%s", r->reason);
}

static void log_rule(const struct rule *r, const char *event)
{
    struct buf text;
    buf_init(&text, 4096);
    describe(r, &text);
    log_info("rule %u %s: %s", r->number, event, buf_str(&text));
    buf_deinit(&text);
}

/* One that was in line only to tell its sender of the delay gets its attempt along with that. */
static bool wake_one(struct walk *w, struct message *m)
{
    m->forced = true;
    m->rule = 0;
    message_ready(w->qmgr, m);
    return true;
}

/* What the rule put off, or what it is for, is looked at soon; the queue takes it as fast as it goes. */
static void wake(struct qmgr *q, const struct rule *r, bool only_put_off)
{
    struct walk_plan plan = {.only_waiting = true, .put_off_by = only_put_off ? r->number : 0, .fn = wake_one};
    plan.filter.what[r->kind] = r->what;
    if (walk_begin(q, &plan) < 0)
        log_warning("rule %u: out of memory, deferred mail waits for its due time", r->number);
}

static void set_timer(struct qmgr *q)
{
    int64_t first = INT64_MAX, now_ms = clock_wall_us() / 1000;
    for (size_t i = 0; i < q->rules.list.count; i++)
        if (q->rules.list.items[i].expires_s != 0 && q->rules.list.items[i].expires_s < first)
            first = q->rules.list.items[i].expires_s;
    timer_stop(&q->rules.timer);
    if (first == INT64_MAX)
        return;
    int64_t wait_ms = first > now_ms / 1000 + LOOK_MAX_MS ? LOOK_MAX_MS : first * 1000 - now_ms;
    timer_set_ms(&q->rules.timer, wait_ms < 1 ? 1 : wait_ms > LOOK_MAX_MS ? LOOK_MAX_MS : (uint64_t)wait_ms);
}

static void changed(struct qmgr *q)
{
    q->rules.generation = q->rules.generation == UINT32_MAX ? 1 : q->rules.generation + 1;
    set_timer(q);
    qmgr_wake(q);
}

static struct rule take(struct rule_list *l, size_t i)
{
    struct rule taken = l->items[i];
    memmove(&l->items[i], &l->items[i + 1], (l->count - i - 1) * sizeof(*l->items));
    l->count--;
    return taken;
}

static void end_rule(struct qmgr *q, size_t i, const char *event)
{
    struct rule r = take(&q->rules.list, i);
    log_rule(&r, event);
    if (r.action == RULE_SUSPEND)
        wake(q, &r, true);
    rule_free(&r);
}

/* A rule that ended stays ended in memory, even where the file can not say so. */
static int save_ended(struct qmgr *q)
{
    int err = save(q);
    if (err < 0)
        log_error("queue: " FILE_NAME " can not be written: %s; a restart brings the ended rules back",
                  text_errno(err));
    return err;
}

static void on_timer(void *arg)
{
    struct qmgr *q = arg;
    int64_t now = clock_wall_s();
    bool any = false;
    for (size_t i = q->rules.list.count; i-- > 0;) {
        if (!rule_expired(&q->rules.list.items[i], now))
            continue;
        end_rule(q, i, "expired");
        any = true;
    }
    if (!any) {
        set_timer(q);
        return;
    }
    save_ended(q);
    changed(q);
}

int rules_start(struct qmgr *q)
{
    int err = timer_init(&q->rules.timer, q->service->loop, on_timer, q);
    if (err == 0)
        err = load(q);
    if (err < 0)
        return err;
    if (q->rules.list.next_number == 0)
        q->rules.list.next_number = 1;
    for (size_t i = 0; i < q->rules.list.count; i++)
        log_rule(&q->rules.list.items[i], "is in force");
    changed(q);
    return 0;
}

void rules_free(struct qmgr *q)
{
    rule_list_free(&q->rules.list);
    timer_deinit(&q->rules.timer);
}

/* -- what rules do --------------------------------------------------------------------------------------------------
 */

static const char *domain_of(const struct envelope_recipient *rcpt)
{
    const char *at = strrchr(rcpt->address, '@');
    return at != NULL ? at + 1 : "";
}

/* The newest one that fits. */
static struct rule *find(struct qmgr *q, const struct rule_subject *s, int64_t now_s)
{
    for (size_t i = q->rules.list.count; i-- > 0;) {
        struct rule *r = &q->rules.list.items[i];
        if (!rule_expired(r, now_s) && rule_matches(r, s))
            return r;
    }
    return NULL;
}

bool rules_concern(struct qmgr *q, const struct rule_subject *s)
{
    return q->rules.list.count > 0 && find(q, s, clock_wall_s()) != NULL;
}

static void count_use(struct rule *rule, const struct round *r, size_t number)
{
    if (rule->recipients++ == 0)
        log_message(LOG_LEVEL_INFO, r->message->id, "rule %u applied for the first time: %s, %s=%s, to=<%s>",
                    rule->number, rule_action_name(rule->action), rule_kind_name(rule->kind), rule->what,
                    r->envelope.recipients[number].address);
}

static void suspend(struct part *p, size_t number, const struct rule *rule)
{
    char reply[RULE_TEXT_MAX + 64];
    snprintf(reply, sizeof(reply), "suspended by the administrator%s%s", rule->reason[0] != '\0' ? ": " : "",
             rule->reason);
    outcome_suspend(p->round, number, p->site, rule, reply);
}

static void bounce(struct part *p, size_t number, const struct rule *rule)
{
    char reply[RULE_TEXT_MAX + 64];
    const struct outcome o = {
        .outcome = OUTCOME_FAILED, .code = 550, .enhanced = "5.7.1", .reply = reply, .relay = "none", .tls = "none"};
    snprintf(reply, sizeof(reply), "550 5.7.1 stopped by the administrator%s%s", rule->reason[0] != '\0' ? ": " : "",
             rule->reason);
    outcome_record(p->round, number, p->site, &o);
}

/* Whether the recipient leaves the part; *fresh: to one that has to be routed. */
static bool apply_to(struct part *p, uint32_t number, struct rule *rule, bool *fresh)
{
    if (rule == NULL || (rule->action == RULE_REROUTE && p->rerouted))
        return false;
    if (rule->action == RULE_REROUTE) {
        int r = part_reroute(p->round, rule->to, number);
        if (r < 0)
            return false; /* out of memory: it goes the usual way */
        *fresh |= r > 0;
    }
    count_use(rule, p->round, number);
    if (rule->action == RULE_SUSPEND)
        suspend(p, number, rule);
    else if (rule->action == RULE_BOUNCE)
        bounce(p, number, rule);
    return true;
}

static void route_rerouted(struct round *r)
{
    struct part *p, *next;
    bool before = r->routing;
    r->routing = true; /* the round stays while we are in its parts */
    TAILQ_FOREACH_SAFE (p, &r->parts, link, next)
        if (p->fresh)
            route_part(p);
    r->routing = before;
}

void rules_apply(struct part *p)
{
    struct round *r = p->round;
    struct qmgr *q = r->qmgr;
    struct rule_subject s = {
        .site = p->site != NULL ? p->site->key : NULL, .tenant = r->envelope.tenant, .sender = r->envelope.sender};
    struct rule *rule = NULL;
    size_t kept = 0;
    bool fresh = false;
    int64_t now = clock_wall_s();
    p->rules_seen = q->rules.generation;
    if (q->rules.list.count == 0)
        return;
    for (size_t i = 0; i < p->count; i++) {
        const char *domain = domain_of(&r->envelope.recipients[p->members[i]]);
        if (s.domain == NULL || !text_equal_nocase(s.domain, domain)) {
            s.domain = domain;
            rule = find(q, &s, now);
        }
        if (!apply_to(p, p->members[i], rule, &fresh))
            p->members[kept++] = p->members[i];
    }
    p->count = kept;
    if (fresh)
        route_rerouted(r);
}

/* -- the admin ------------------------------------------------------------------------------------------------------
 */

static void answer(struct ipc_channel *to, enum ipc_order_status status, uint32_t count, const char *text)
{
    const struct ipc_order_done done = {.status = status, .count = count, .text = text};
    ipc_send(to, IPC_ORDER_DONE, &done, -1);
}

static bool is_meant(const struct rule *r, const struct ipc_rule_order *order)
{
    if (order->number != 0)
        return r->number == order->number;
    bool same = r->kind == RULE_TENANT ? strcmp(r->what, order->what) == 0 : text_equal_nocase(r->what, order->what);
    return (uint32_t)r->kind == order->kind && same;
}

static uint32_t end_meant(struct qmgr *q, const struct ipc_rule_order *order, const char *event)
{
    uint32_t count = 0;
    for (size_t i = q->rules.list.count; i-- > 0;) {
        if (!is_meant(&q->rules.list.items[i], order))
            continue;
        end_rule(q, i, event);
        count++;
    }
    return count;
}

static void resume(struct qmgr *q, struct ipc_channel *from, const struct ipc_rule_order *order)
{
    char event[RULE_TEXT_MAX + 64];
    snprintf(event, sizeof(event), "removed by the administrator%s%.512s", order->reason[0] != '\0' ? ": " : "",
             order->reason);
    uint32_t count = end_meant(q, order, event);
    if (count == 0) {
        answer(from, ORDER_NOT_FOUND, 0, "no such rule");
        return;
    }
    int err = save_ended(q);
    changed(q);
    answer(from, ORDER_OK, count, err < 0 ? "ended, but rules/rules can not be written: a restart brings it back" : "");
}

static int append(struct rule_list *l, const struct rule *r)
{
    struct rule copy, *grown;
    int err = rule_copy(r, &copy);
    if (err < 0)
        return err;
    grown = realloc(l->items, (l->count + 1) * sizeof(*grown));
    if (grown == NULL) {
        rule_free(&copy);
        return -ENOMEM;
    }
    l->items = grown;
    l->items[l->count++] = copy;
    l->next_number++;
    return 0;
}

/* It is on disk before it counts.  0 or -errno, and then nothing changed. */
static int put_in_force(struct qmgr *q, const struct rule *r)
{
    struct rule_list *l = &q->rules.list;
    int err = append(l, r);
    if (err < 0)
        return err;
    if ((err = save(q)) == 0)
        return 0;
    struct rule taken = take(l, l->count - 1);
    rule_free(&taken);
    l->next_number--;
    return err;
}

static void set(struct qmgr *q, struct ipc_channel *from, const struct ipc_rule_order *order, const struct rule *r)
{
    char text[64];
    int err = put_in_force(q, r);
    if (err < 0) {
        log_error("queue: " FILE_NAME " can not be written: %s, the rule is refused", text_errno(err));
        answer(from, ORDER_REFUSED, 0, "the rule can not be written down; the log says why");
        return;
    }
    /* Those before it for the same mail are replaced. */
    struct rule newest = take(&q->rules.list, q->rules.list.count - 1);
    uint32_t replaced = end_meant(q, order, "replaced");
    q->rules.list.items[q->rules.list.count++] = newest;
    if (replaced > 0)
        save_ended(q);
    log_rule(&newest, "set");
    if (newest.action != RULE_SUSPEND)
        wake(q, &newest, false);
    changed(q);
    snprintf(text, sizeof(text), "rule %u is in force", newest.number);
    answer(from, ORDER_OK, 1, text);
}

void rules_order(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct qmgr *q = arg;
    const struct ipc_rule_order *order = message;
    struct buf why;
    int64_t now = clock_wall_s();
    if (order->verb == RULE_VERB_RESUME) {
        resume(q, from, order);
        return;
    }
    struct ipc_rule_order same = *order;
    same.number = 0;
    const struct rule r = {.number = q->rules.list.next_number,
                           .action = (enum rule_action)order->verb,
                           .kind = (enum rule_kind)order->kind,
                           .since_s = now,
                           .expires_s = order->for_s > 0 ? now + (int64_t)(order->for_s & INT32_MAX) : 0,
                           .what = (char *)(uintptr_t)order->what,
                           .to = (char *)(uintptr_t)order->to,
                           .reason = (char *)(uintptr_t)order->reason};
    buf_init(&why, 1024);
    if (rule_check(&r, &why) < 0)
        answer(from, ORDER_REFUSED, 0, buf_str(&why));
    else if (q->rules.list.count >= RULES_MAX || r.number > RULE_NUMBER_MAX)
        answer(from, ORDER_REFUSED, 0, "there are as many rules as there may be");
    else
        set(q, from, &same, &r);
    buf_deinit(&why);
}

void rules_list(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct qmgr *q = arg;
    const struct rule_list *l = &q->rules.list;
    for (size_t i = 0; i < l->count; i++) {
        const struct rule *r = &l->items[i];
        const struct ipc_rule_item item = {.number = r->number,
                                           .action = rule_action_name(r->action),
                                           .kind = rule_kind_name(r->kind),
                                           .what = r->what,
                                           .to = r->to,
                                           .reason = r->reason,
                                           .since_s = (uint64_t)r->since_s,
                                           .expires_s = (uint64_t)r->expires_s,
                                           .recipients = r->recipients};
        ipc_send(from, IPC_RULE_ITEM, &item, -1);
    }
    answer(from, ORDER_OK, (uint32_t)l->count, "");
}
