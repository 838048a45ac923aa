#include "qmgr/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "log/log.h"
#include "qmgr/qmgr.h"
#include "queue/file.h"

#define SLICE_MS    2 /* of looking, then the loop sees to others */
#define PAUSE_MS    1
#define FULL_MS     20 /* until a reader that does not keep up is looked at again */
#define BACKLOG_MAX (256 * 1024)
#define TELL_MS     3000 /* how often who asked hears that it goes on */

static void walk_free(struct walk *w)
{
    for (size_t i = 0; i < ARRAY_LENGTH(w->texts); i++)
        free(w->texts[i]);
    free(w->plan.data);
    free(w);
}

static const char *keep(struct walk *w, size_t i, const char *text)
{
    w->texts[i] = strdup(text != NULL ? text : "");
    return w->texts[i];
}

static bool keep_texts(struct walk *w)
{
    struct walk_plan *p = &w->plan;
    bool kept = true;
    for (size_t i = 0; i < RULE_KIND_COUNT; i++)
        kept &= (p->filter.what[i] = keep(w, i, p->filter.what[i])) != NULL;
    kept &= (p->filter.state = keep(w, RULE_KIND_COUNT, p->filter.state)) != NULL;
    kept &= (p->reason = keep(w, RULE_KIND_COUNT + 1, p->reason)) != NULL;
    return kept;
}

int walk_begin(struct qmgr *q, const struct walk_plan *plan)
{
    struct walk *w = calloc(1, sizeof(*w));
    if (w == NULL) {
        free(plan->data);
        return -ENOMEM;
    }
    *w = (struct walk){.qmgr = q, .plan = *plan, .next = q->messages, .left = HASH_COUNT(q->messages)};
    w->told_ms = clock_mono_ms();
    if (!keep_texts(w)) {
        walk_free(w);
        return -ENOMEM;
    }
    TAILQ_INSERT_TAIL(&q->walks, w, link);
    timer_set_ms(&q->walk_timer, 0);
    return 0;
}

bool walk_filter_is_empty(const struct walk_filter *f)
{
    bool empty = f->older_than_s == 0;
    for (size_t i = 0; i < RULE_KIND_COUNT; i++)
        empty &= f->what[i] == NULL || f->what[i][0] == '\0';
    return empty;
}

/* -- does it fit ----------------------------------------------------------------------------------------------------
 */

/* The host that was last spoken to about the message. */
struct last_relay {
    char host[256];
};

static void take_relay(void *arg, const struct queue_attempt *a)
{
    struct last_relay *last = arg;
    size_t len = strcspn(a->relay, "[:");
    if (strcmp(a->relay, "none") == 0 || len == 0 || len >= sizeof(last->host))
        return;
    memcpy(last->host, a->relay, len);
    last->host[len] = '\0';
}

struct look {
    const struct walk_filter *filter;
    struct qmgr *qmgr;
    const struct envelope *envelope;
    int fd;
    bool relay_read, unknown_fits;
    struct last_relay relay;
};

static bool asks(const struct walk_filter *f, enum rule_kind kind)
{
    return f->what[kind][0] != '\0';
}

/* Where mail for the domain goes as far as we know, else where this message went last. */
static bool site_fits(struct look *k, struct rule_subject *s)
{
    s->site = route_known_site(k->qmgr, s->domain);
    if (s->site == NULL && !k->relay_read) {
        k->relay_read = true;
        queue_file_history(k->fd, k->envelope, take_relay, &k->relay);
    }
    if (s->site == NULL && k->relay.host[0] != '\0')
        s->site = k->relay.host;
    return s->site == NULL ? k->unknown_fits : rule_kind_matches(RULE_SITE, k->filter->what[RULE_SITE], s);
}

static bool recipient_fits(struct look *k, const struct envelope_recipient *rcpt)
{
    const char *at = strrchr(rcpt->address, '@');
    struct rule_subject s = {.domain = at != NULL ? at + 1 : "", .tenant = "", .sender = ""};
    if (rcpt->status != RECIPIENT_TODO)
        return false;
    if (asks(k->filter, RULE_DOMAIN) && !rule_kind_matches(RULE_DOMAIN, k->filter->what[RULE_DOMAIN], &s))
        return false;
    return !asks(k->filter, RULE_SITE) || site_fits(k, &s);
}

static bool envelope_fits(struct look *k)
{
    const struct envelope *e = k->envelope;
    const struct rule_subject s = {.domain = "", .tenant = e->tenant, .sender = e->sender};
    static const enum rule_kind of_message[] = {RULE_TENANT, RULE_SENDER};
    for (size_t i = 0; i < ARRAY_LENGTH(of_message); i++)
        if (asks(k->filter, of_message[i]) && !rule_kind_matches(of_message[i], k->filter->what[of_message[i]], &s))
            return false;
    if (!asks(k->filter, RULE_DOMAIN) && !asks(k->filter, RULE_SITE))
        return true;
    for (size_t i = 0; i < e->recipient_count; i++)
        if (recipient_fits(k, &e->recipients[i]))
            return true;
    return false;
}

static bool file_fits(const struct walk *w, const struct message *m)
{
    struct envelope e = {0};
    struct look k = {.filter = &w->plan.filter, .qmgr = w->qmgr, .unknown_fits = w->plan.put_off_by != 0};
    char path[QUEUE_PATH_MAX];
    if (m->round != NULL) {
        k.envelope = &m->round->envelope;
        k.fd = m->round->fd;
        return envelope_fits(&k);
    }
    message_file(m, path);
    _cleanup_(fd_closep) int fd = openat(w->qmgr->queue_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || queue_file_read(fd, &e) < 0)
        return false; /* whoever opens it for a round says so */
    k.envelope = &e;
    k.fd = fd;
    bool fits = envelope_fits(&k);
    envelope_free(&e);
    return fits;
}

/* From memory: 1 = fits, 0 = does not, -1 = the file has to tell. */
static int known_to_fit(const struct walk *w, const struct message *m)
{
    const struct walk_plan *p = &w->plan;
    const struct walk_filter *f = &p->filter;
    if (p->only_waiting && m->phase != MESSAGE_DEFERRED && m->phase != MESSAGE_READY)
        return 0;
    if (p->put_off_by != 0 && m->rule != RULE_NOT_KNOWN)
        return m->rule == p->put_off_by;
    if (f->state[0] != '\0' && strcmp(f->state, message_state_name(m)) != 0)
        return 0;
    if (f->older_than_s > 0 && clock_wall_s() - queue_id_time_us(m->id) / 1000000 < f->older_than_s)
        return 0;
    bool tenant_known = m->tenant != TENANT_UNKNOWN;
    if (asks(f, RULE_TENANT) && tenant_known &&
        strcmp(w->qmgr->tenants.by_number[m->tenant]->name, f->what[RULE_TENANT]) != 0)
        return 0;
    bool ask_file =
        asks(f, RULE_DOMAIN) || asks(f, RULE_SITE) || asks(f, RULE_SENDER) || (asks(f, RULE_TENANT) && !tenant_known);
    return ask_file ? -1 : 1;
}

/* -- slices ---------------------------------------------------------------------------------------------------------
 */

static bool is_over(const struct walk *w)
{
    return w->next == NULL || w->left == 0 || (w->plan.limit > 0 && w->count >= w->plan.limit);
}

/* False: nothing is left to do. */
static bool step(struct walk *w)
{
    if (is_over(w))
        return w->plan.more != NULL && w->plan.more(w);
    struct message *m = w->next;
    w->next = m->hh.next;
    w->left--;
    w->seen++;
    int known = known_to_fit(w, m);
    if (known == 1 || (known < 0 && file_fits(w, m)))
        w->count += w->plan.fn(w, m);
    return true;
}

static bool is_full(const struct walk *w)
{
    return w->plan.to != NULL && ipc_channel_backlog(w->plan.to) > BACKLOG_MAX;
}

static void tell(struct walk *w)
{
    const struct ipc_queue_walked walked = {.seen = w->seen};
    if (w->plan.to == NULL || clock_mono_ms() - w->told_ms < TELL_MS)
        return;
    w->told_ms = clock_mono_ms();
    ipc_send(w->plan.to, IPC_QUEUE_WALKED, &walked, -1);
}

/* Walks take turns, a slice each. */
void walk_go_on(void *qmgr)
{
    struct qmgr *q = qmgr;
    struct walk *w = TAILQ_FIRST(&q->walks);
    uint64_t began = clock_mono_ms();
    if (w == NULL)
        return;
    TAILQ_REMOVE(&q->walks, w, link);
    TAILQ_INSERT_TAIL(&q->walks, w, link);
    bool going = true;
    while (going && !is_full(w) && clock_mono_ms() - began < SLICE_MS)
        going = step(w);
    bool full = is_full(w);
    if (!going) {
        if (w->plan.done != NULL)
            w->plan.done(w);
        TAILQ_REMOVE(&q->walks, w, link);
        walk_free(w);
    } else {
        tell(w);
    }
    if (!TAILQ_EMPTY(&q->walks))
        timer_set_ms(&q->walk_timer, full ? FULL_MS : PAUSE_MS);
}

void walk_forgotten(struct qmgr *q, const struct message *m)
{
    struct walk *w;
    TAILQ_FOREACH (w, &q->walks, link)
        if (w->next == m)
            w->next = m->hh.next;
}

void walk_channel_down(struct qmgr *q, const struct ipc_channel *c)
{
    struct walk *w, *next;
    TAILQ_FOREACH_SAFE (w, &q->walks, link, next) {
        if (w->plan.to != c)
            continue;
        log_info("order of the admin: stopped after %u messages, as posthouse went away", w->count);
        TAILQ_REMOVE(&q->walks, w, link);
        walk_free(w);
    }
}

void walk_free_all(struct qmgr *q)
{
    struct walk *w;
    while ((w = TAILQ_FIRST(&q->walks)) != NULL) {
        TAILQ_REMOVE(&q->walks, w, link);
        walk_free(w);
    }
}
