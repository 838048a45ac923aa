#include "ctl/ledger.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "ctl/event.h"

#define NO_REPLY "the delivery process ended before the reply was known"

static const char *const class_names[LEDGER_CLASS_COUNT] = {[LEDGER_SENT] = "sent",
                                                            [LEDGER_BOUNCED] = "bounced",
                                                            [LEDGER_EXPIRED] = "expired",
                                                            [LEDGER_SUPPRESSED] = "suppressed",
                                                            [LEDGER_REMOVED] = "removed"};

const char *ledger_class_name(enum ledger_class class)
{
    return class_names[class];
}

static void drop_recipients(struct ledger_message *m)
{
    struct ledger_recipient *r, *next;
    HASH_ITER (hh, m->recipients, r, next) {
        HASH_DELETE(hh, m->recipients, r);
        free(r);
    }
}

static void forget(struct ledger *l, struct ledger_message *m)
{
    HASH_DELETE(hh, l->messages, m);
    drop_recipients(m);
    free(m);
}

void ledger_deinit(struct ledger *l)
{
    struct ledger_message *m, *next;
    HASH_ITER (hh, l->messages, m, next)
        forget(l, m);
}

static struct ledger_message *find(const struct ledger *l, const char *id)
{
    struct ledger_message *m;
    HASH_FIND(hh, l->messages, id, QUEUE_ID_LEN, m);
    return m;
}

static struct ledger_message *get(struct ledger *l, const char *id)
{
    if (queue_id_time_us(id) < l->since_us)
        return NULL;
    struct ledger_message *m = find(l, id);
    if (m != NULL)
        return m;
    m = calloc(1, sizeof(*m));
    if (m == NULL)
        return NULL;
    memcpy(m->id, id, QUEUE_ID_LEN);
    m->late = l->second;
    HASH_ADD_KEYPTR(hh, l->messages, m->id, QUEUE_ID_LEN, m);
    return m;
}

/* -- arithmetic -- */

static uint32_t sum(const uint32_t counts[LEDGER_CLASS_COUNT])
{
    uint32_t total = 0;
    for (int i = 0; i < LEDGER_CLASS_COUNT; i++)
        total += counts[i];
    return total;
}

/* Different recipients that are finished, by class. */
static uint32_t finished(const struct ledger_message *m, uint32_t counts[LEDGER_CLASS_COUNT])
{
    const struct ledger_recipient *r;
    memcpy(counts, m->recorded, sizeof(m->recorded));
    for (r = m->recipients; r != NULL; r = r->hh.next)
        counts[r->class] += !r->recorded;
    return sum(counts);
}

/* The same address may stand in an envelope twice, and has two lines then. */
static uint32_t finished_at_most(const struct ledger_message *m)
{
    return sum(m->recorded) + sum(m->lines);
}

static bool from_before(const struct ledger *l, const struct ledger_message *m)
{
    return !m->accepted && queue_id_time_us(m->id) < l->begin_us;
}

/* How many recipients it has to account for. */
static uint32_t owed(const struct ledger *l, const struct ledger_message *m)
{
    uint32_t counts[LEDGER_CLASS_COUNT];
    if (m->accepted)
        return m->accepted_count;
    if (m->queued)
        return m->queue_count;
    return from_before(l, m) ? finished(m, counts) : 0;
}

const char *ledger_judge(const struct ledger *l, const struct ledger_message *m)
{
    uint32_t counts[LEDGER_CLASS_COUNT], least = finished(m, counts), most = finished_at_most(m), all = owed(l, m);
    if (m->corrupt)
        return "its file was not whole and stands in corrupt/";
    if (!m->accepted && !from_before(l, m) && !(m->queued && m->fresh))
        return "the log does not say that it was accepted";
    if (!m->queued && most < all)
        return "neither in the queue nor at an end in the log";
    if (!m->queued)
        return least > all ? "more recipients came to an end than were accepted" : NULL;
    if (m->queue_count != all)
        return "its queue file has another number of recipients than were accepted";
    if (m->before > all - m->waiting)
        return "waits in the queue, and came to an end in the log";
    return !m->has_file && !from_before(l, m) && most < all - m->waiting
               ? "the log does not tell of all that it is rid of"
               : NULL;
}

static uint32_t fill(uint32_t counts[LEDGER_CLASS_COUNT], const uint32_t from[LEDGER_CLASS_COUNT], uint32_t room)
{
    uint32_t filled = 0;
    for (int i = 0; i < LEDGER_CLASS_COUNT && room > filled; i++) {
        uint32_t more = from[i] > counts[i] ? from[i] - counts[i] : 0;
        more = more < room - filled ? more : room - filled;
        counts[i] += more;
        filled += more;
    }
    return filled;
}

int64_t ledger_add(struct ledger *l, const struct ledger_message *m)
{
    struct ledger_sums *s = &l->sums;
    uint32_t counts[LEDGER_CLASS_COUNT], by_line[LEDGER_CLASS_COUNT];
    uint32_t done = finished(m, counts), all = owed(l, m), waiting = m->queued ? m->waiting : 0;
    for (int i = 0; i < LEDGER_CLASS_COUNT; i++)
        by_line[i] = m->recorded[i] + m->lines[i];
    if (done + waiting > all && done <= all)
        waiting = all - done; /* more came to an end while the queue was read */
    if (done + waiting < all)
        done += fill(counts, by_line, all - waiting - done);
    if (m->has_file && !from_before(l, m) && done + waiting < all) {
        uint32_t more = fill(counts, m->in_file, all - waiting - done);
        s->unlogged += more;
        done += more;
    }
    uint32_t lines = finished_at_most(m);
    int64_t missing = (int64_t)all - done - waiting;
    /* What a message of before the log was rid of by then. */
    if (missing > 0 && from_before(l, m)) {
        all -= (uint32_t)missing;
        missing = 0;
    }
    s->messages++;
    s->accepted += from_before(l, m) ? 0 : all;
    s->before += from_before(l, m) ? all : 0;
    for (int i = 0; i < LEDGER_CLASS_COUNT; i++)
        s->class[i] += counts[i];
    s->queued += waiting;
    s->taken_over += m->taken_over;
    s->repeated += m->repeated + (lines > done ? lines - done : 0);
    s->doubtful += m->doubtful;
    s->missing += missing;
    return missing;
}

/* Nothing is said of a message behind "removed"; only its writer's line may come late. */
static void close_message(struct ledger *l, struct ledger_message *m)
{
    if (l->second || m->taken_over || !m->removed || m->corrupt || (!m->accepted && !from_before(l, m)) ||
        ledger_judge(l, m) != NULL)
        return;
    ledger_add(l, m);
    forget(l, m);
}

/* -- lines -- */

/* Behind an address between < and >, whose local part may be quoted and then say anything; NULL = not one. */
static const char *behind_path(const char *text)
{
    if (*text == '"')
        for (text++; *text != '\0' && *text != '"'; text++)
            text += text[0] == '\\' && text[1] != '\0';
    text = strchr(text, '>');
    return text != NULL ? text + 1 : NULL;
}

static bool number_behind(const char *text, const char *key, uint32_t *out)
{
    const char *at = text != NULL ? strstr(text, key) : NULL;
    return at != NULL && sscanf(at + strlen(key), "%9u", out) == 1;
}

static void accept_message(struct ledger_message *m, uint32_t recipients)
{
    m->accepted_count = recipients;
    m->accepted = true;
    m->taken_over = false;
}

static void on_accepted(struct ledger *l, const char *id, const char *text)
{
    static const char from[] = "accepted: from=<";
    struct ledger_message *m = get(l, id);
    uint32_t count;
    if (m == NULL)
        return;
    if (text_has_prefix(text, from) && number_behind(behind_path(text + strlen(from)), ", nrcpt=", &count))
        accept_message(m, count);
    close_message(l, m);
}

/* A notice is a message of its own, whatever has become of the one it tells of. */
static void on_notice(struct ledger *l, const char *about, const char *text)
{
    char id[QUEUE_ID_SIZE] = "";
    snprintf(id, sizeof(id), "%s", text + strlen("bounce: notice="));
    struct ledger_message *made = queue_id_valid(id) ? get(l, id) : NULL;
    if (made == NULL)
        return;
    accept_message(made, 1);
    close_message(l, made);
}

static void on_recipient(struct ledger_message *m, const char *address, size_t len, enum ledger_class class)
{
    struct ledger_recipient *r;
    HASH_FIND(hh, m->recipients, address, len, r);
    m->lines[class]++;
    if (r != NULL && class == LEDGER_REMOVED && r->class != class) {
        /* An admin removes what bounced and whose sender was not told yet. */
        uint32_t *counted = r->recorded ? m->recorded : m->lines;
        counted[r->class] -= counted[r->class] > 0;
        r->recorded = false;
        r->class = class;
    }
    if (r != NULL)
        return;
    r = calloc(1, sizeof(*r) + len + 1);
    if (r == NULL)
        return;
    memcpy(r->address, address, len);
    r->class = class;
    HASH_ADD_KEYPTR(hh, m->recipients, r->address, len, r);
}

static void on_delivery(struct ledger_message *m, const char *text)
{
    const char *address = text + strlen("to=<"), *end = behind_path(address);
    const char *status = end != NULL ? strstr(end, ", status=") : NULL;
    if (status == NULL)
        return;
    status += strlen(", status=");
    m->doubtful += text_has_prefix(status, "deferred (" NO_REPLY ")");
    for (int i = 0; i < LEDGER_CLASS_COUNT; i++)
        if (text_has_prefix(status, class_names[i]) && status[strlen(class_names[i])] == ' ')
            on_recipient(m, address, (size_t)(end - 1 - address), (enum ledger_class)i);
}

/* The file was written before the log each time, so it knows of every line, and of those that were never written; only
 * after a power cut it may know less, and what it does not know is done again. */
static void on_taken_over(struct ledger *l, struct ledger_message *m, const char *text)
{
    uint32_t counts[LEDGER_CLASS_COUNT], file[LEDGER_CLASS_COUNT] = {0}, all;
    uint32_t known = finished(m, counts);
    if (!number_behind(text, " nrcpt=", &all) || !number_behind(text, ", sent=", &file[LEDGER_SENT]) ||
        !number_behind(text, ", bounced=", &file[LEDGER_BOUNCED]) ||
        !number_behind(text, ", expired=", &file[LEDGER_EXPIRED]) ||
        !number_behind(text, ", removed=", &file[LEDGER_REMOVED]))
        return;
    if (!m->accepted && !from_before(l, m)) {
        accept_message(m, all);
        m->taken_over = true;
    }
    m->corrupt = false;
    if (sum(file) < known) {
        m->repeated += counts[LEDGER_SENT] > file[LEDGER_SENT] ? counts[LEDGER_SENT] - file[LEDGER_SENT] : 0;
        drop_recipients(m);
    }
    for (struct ledger_recipient *r = m->recipients; r != NULL; r = r->hh.next)
        r->recorded = true;
    /* Whose sender was told is bounced in the file, whatever the reason was. */
    uint32_t more = counts[LEDGER_EXPIRED] > file[LEDGER_EXPIRED] ? counts[LEDGER_EXPIRED] - file[LEDGER_EXPIRED] : 0;
    more = more < file[LEDGER_BOUNCED] ? more : file[LEDGER_BOUNCED];
    file[LEDGER_BOUNCED] -= more;
    file[LEDGER_EXPIRED] += more;
    memcpy(m->recorded, file, sizeof(file));
    memset(m->lines, 0, sizeof(m->lines));
}

static void on_qmgr(struct ledger *l, const char *id, const char *text)
{
    struct ledger_message *m = get(l, id);
    uint32_t count;
    if (m == NULL)
        return;
    if (text_has_prefix(text, "to=<"))
        on_delivery(m, text);
    else if (text_has_prefix(text, "taken over:"))
        on_taken_over(l, m, text);
    else if (text_has_prefix(text, "error: corrupt:"))
        m->corrupt = true;
    else if (strcmp(text, "removed") == 0)
        m->removed = true;
    else if (number_behind(text, NO_REPLY ": recipients=", &count))
        m->doubtful += count;
    close_message(l, m);
}

/* Lines that count, by program. */
static const struct {
    const char *program;
    const char *beginnings[5];
    void (*fn)(struct ledger *l, const char *id, const char *text);
} kinds[] = {
    {"smtpd", {"accepted:"}, on_accepted},
    {"bounce", {"bounce: notice="}, on_notice},
    {"qmgr", {"to=<", "taken over:", "error: corrupt:", "removed", NO_REPLY}, on_qmgr},
};

static bool begins(const char *text, const char *const beginnings[5])
{
    for (int i = 0; i < 5 && beginnings[i] != NULL; i++)
        if (text_has_prefix(text, beginnings[i]))
            return true;
    return false;
}

void ledger_line(void *ledger, char *line)
{
    struct ledger *l = ledger;
    struct event e;
    char id[QUEUE_ID_SIZE] = "";
    if (!event_split(line, &e))
        return;
    if (l->begin_us == 0)
        l->begin_us = event_time_us(&e);
    snprintf(id, sizeof(id), "%s", e.text);
    if (!queue_id_valid(id) || strncmp(e.text + QUEUE_ID_LEN, ": ", 2) != 0)
        return;
    const char *text = e.text + QUEUE_ID_LEN + 2;
    for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++) {
        if (strcmp(e.program, kinds[i].program) == 0 && begins(text, kinds[i].beginnings))
            kinds[i].fn(l, id, text);
    }
}

void ledger_first_read(struct ledger *l)
{
    uint32_t counts[LEDGER_CLASS_COUNT];
    for (struct ledger_message *m = l->messages; m != NULL; m = m->hh.next)
        m->before = finished(m, counts);
    l->second = true;
}

/* -- the queue -- */

struct ledger_message *ledger_queued(struct ledger *l, const char *id, uint32_t recipients, uint32_t waiting)
{
    bool known = find(l, id) != NULL;
    struct ledger_message *m = get(l, id);
    if (m == NULL)
        return NULL;
    m->late = known && m->late;
    m->queued = true;
    m->queue_count = recipients;
    m->waiting = waiting;
    return m;
}

struct ledger_message *ledger_file(struct ledger *l, const struct envelope *e)
{
    static const int classes[RECIPIENT_STATUS_COUNT] = {
        [RECIPIENT_TODO] = -1,
        [RECIPIENT_DONE] = LEDGER_SENT,
        [RECIPIENT_FAILED] = LEDGER_BOUNCED,
        [RECIPIENT_EXPIRED] = LEDGER_EXPIRED,
        [RECIPIENT_BOUNCED] = LEDGER_BOUNCED,
        [RECIPIENT_REMOVED] = LEDGER_REMOVED,
        [RECIPIENT_RELAYED] = LEDGER_SENT,
    };
    uint32_t in_file[LEDGER_CLASS_COUNT] = {0}, waiting = 0;
    for (size_t i = 0; i < e->recipient_count; i++) {
        int class = classes[e->recipients[i].status];
        if (class >= 0)
            in_file[class]++;
        else
            waiting++;
    }
    struct ledger_message *m = ledger_queued(l, e->id, (uint32_t)e->recipient_count, waiting);
    if (m == NULL)
        return NULL;
    memcpy(m->in_file, in_file, sizeof(in_file));
    m->has_file = true;
    return m;
}

void ledger_again(struct ledger_message *m)
{
    uint32_t counts[LEDGER_CLASS_COUNT];
    m->before = finished(m, counts);
    m->queued = m->fresh = m->has_file = false;
}
