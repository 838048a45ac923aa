#include "store/usage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "store/table.h"

#define USAGE_MAGIC    UINT64_C(0x3265676173757000)
#define NAME_MAX_BYTES 512

enum { BUCKETS = 16384, WAYS = 4 };

static const int64_t period_s[USAGE_PERIODS] = {60, 3600, 86400};

enum { MESSAGES, RECIPIENTS, BOUNCES, COUNTED };

/* What was counted in the present period, told by its number since 1970, and in the one before. */
struct window {
    uint32_t number, now[COUNTED], before[COUNTED];
};

struct entry {
    uint64_t fingerprint[2]; /* 0, 0 = free */
    int64_t used_s, frozen_s, void_us;
    struct window windows[USAGE_PERIODS];
};

static const struct table_shape shape = {.entry_size = sizeof(struct entry), .buckets = BUCKETS, .ways = WAYS};

struct usage {
    struct table table;
};

int usage_open(const char *path, struct usage **out)
{
    struct usage *u = calloc(1, sizeof(*u));
    if (u == NULL)
        return -ENOMEM;
    int r = table_open(&u->table, path, &shape, USAGE_MAGIC);
    if (r < 0) {
        usage_close(u);
        return r;
    }
    *out = u;
    return 0;
}

void usage_close(struct usage *u)
{
    if (u == NULL)
        return;
    table_close(&u->table);
    free(u);
}

const char *usage_kind_name(enum usage_kind kind)
{
    static const char *const names[USAGE_KINDS] = {"credential", "tenant", "client", "network"};
    return names[kind];
}

/* Credentials are one whatever the case of their letters. */
static int fingerprint_of(struct usage *u, enum usage_kind kind, const char *name, uint64_t out[2])
{
    char folded[NAME_MAX_BYTES];
    size_t len = strlen(name);
    if (kind != USAGE_CREDENTIAL || len >= sizeof(folded))
        return table_fingerprint(&u->table, usage_kind_name(kind), name, out);
    memcpy(folded, name, len + 1);
    text_lower(folded);
    return table_fingerprint(&u->table, usage_kind_name(kind), folded, out);
}

/* The frozen ones stay. */
static struct entry *make(struct usage *u, const uint64_t fingerprint[2])
{
    struct entry *bucket = table_bucket(&u->table), *oldest = NULL;
    for (int i = 0; i < WAYS; i++)
        if (bucket[i].frozen_s == 0 && (oldest == NULL || bucket[i].used_s < oldest->used_s))
            oldest = &bucket[i];
    if (oldest == NULL)
        oldest = bucket;
    *oldest = (struct entry){.fingerprint = {fingerprint[0], fingerprint[1]}};
    return oldest;
}

/* Brings the windows to the present. */
static void pass_time(struct entry *e, int64_t now_s)
{
    e->used_s = now_s;
    for (int p = 0; p < USAGE_PERIODS; p++) {
        struct window *w = &e->windows[p];
        uint32_t number = (uint32_t)(now_s / period_s[p]);
        if (number == w->number)
            continue;
        bool next = number == w->number + 1;
        for (int c = 0; c < COUNTED; c++) {
            w->before[c] = next ? w->now[c] : 0;
            w->now[c] = 0;
        }
        w->number = number;
    }
}

static int64_t count_of(const struct entry *e, int period, int what, int64_t now_s)
{
    const struct window *w = &e->windows[period];
    int64_t left_s = period_s[period] - now_s % period_s[period];
    return w->now[what] + w->before[what] * left_s / period_s[period];
}

static void add(uint32_t *count, int64_t n)
{
    int64_t sum = (int64_t)*count + n;
    *count = sum < 0 ? 0 : sum > UINT32_MAX ? UINT32_MAX : (uint32_t)sum;
}

static void count(struct entry *e, int what, int64_t n)
{
    for (int p = 0; p < USAGE_PERIODS; p++)
        add(&e->windows[p].now[what], n);
}

/* When so many more fit: the present period's own may already be too many, else what came before has to shrink. */
static int64_t wait_of(const struct entry *e, int period, int what, int64_t limit, int64_t now_s)
{
    const struct window *w = &e->windows[period];
    int64_t length_s = period_s[period], passed_s = now_s % length_s, free = limit - 1 - w->now[what];
    if (free < 0 || w->before[what] == 0)
        return length_s - passed_s;
    int64_t at_s = length_s - free * length_s / w->before[what]; /* then before counts for no more than free */
    return at_s > passed_s ? at_s - passed_s : 1;
}

/* The smallest room in all periods; beyond what is wanted is set in excess. */
static int64_t room_of(const struct entry *e, int what, const int64_t limits[USAGE_PERIODS], int64_t wanted,
                       int64_t now_s, struct usage_excess *excess)
{
    int64_t room = INT64_MAX;
    for (int p = 0; p < USAGE_PERIODS; p++) {
        if (limits[p] == 0)
            continue;
        int64_t left = limits[p] - count_of(e, p, what, now_s);
        if (left >= room)
            continue;
        room = left < 0 ? 0 : left;
        if (left < wanted)
            *excess = (struct usage_excess){.period = (enum usage_period)p,
                                            .recipients = what == RECIPIENTS,
                                            .limit = limits[p],
                                            .wait_s = wait_of(e, p, what, limits[p], now_s)};
    }
    return room;
}

/* Finds or makes the entry in the bucket that was read, and brings it to the present. */
static struct entry *entry_of(struct usage *u, const uint64_t fingerprint[2], int64_t now_s)
{
    struct entry *e = table_find(&u->table, fingerprint);
    if (e == NULL)
        e = make(u, fingerprint);
    pass_time(e, now_s);
    return e;
}

/* Locks and finds the entry.  0 or -errno; then nothing is locked. */
static int open_entry(struct usage *u, enum usage_kind kind, const char *name, int64_t now_s, struct entry **out)
{
    uint64_t fingerprint[2];
    int r = fingerprint_of(u, kind, name, fingerprint);
    if (r < 0 || (r = table_begin(&u->table, fingerprint)) < 0)
        return r;
    *out = entry_of(u, fingerprint, now_s);
    return 0;
}

int64_t usage_room(struct usage *u, enum usage_kind kind, const char *name, const struct usage_quota *quota,
                   int64_t wanted, struct usage_excess *excess)
{
    uint64_t fingerprint[2];
    int64_t now_s = clock_wall_s();
    if (fingerprint_of(u, kind, name, fingerprint) < 0 || table_look(&u->table, fingerprint) < 0)
        return INT64_MAX;
    const struct entry *e = entry_of(u, fingerprint, now_s);
    return room_of(e, MESSAGES, quota->messages, 1, now_s, excess) > 0
               ? room_of(e, RECIPIENTS, quota->recipients, wanted, now_s, excess)
               : 0;
}

int usage_take(struct usage *u, enum usage_kind kind, const char *name, const struct usage_quota *quota,
               uint32_t recipients, struct usage_excess *excess)
{
    struct entry *e;
    int64_t now_s = clock_wall_s();
    int r = open_entry(u, kind, name, now_s, &e);
    if (r < 0)
        return r;
    bool fits = room_of(e, MESSAGES, quota->messages, 1, now_s, excess) >= 1 &&
                room_of(e, RECIPIENTS, quota->recipients, recipients, now_s, excess) >= recipients;
    if (fits) {
        count(e, MESSAGES, 1);
        count(e, RECIPIENTS, recipients);
    }
    r = table_end(&u->table, fits);
    return r < 0 ? r : !fits;
}

int usage_give_back(struct usage *u, enum usage_kind kind, const char *name, uint32_t recipients)
{
    struct entry *e;
    int r = open_entry(u, kind, name, clock_wall_s(), &e);
    if (r < 0)
        return r;
    count(e, MESSAGES, -1);
    count(e, RECIPIENTS, -(int64_t)recipients);
    return table_end(&u->table, true);
}

int usage_read(struct usage *u, enum usage_kind kind, const char *name, struct usage_counts *out)
{
    uint64_t fingerprint[2];
    int64_t now_s = clock_wall_s();
    int r = fingerprint_of(u, kind, name, fingerprint);
    if (r < 0 || (r = table_look(&u->table, fingerprint)) < 0)
        return r;
    const struct entry *found = table_find(&u->table, fingerprint);
    struct entry e = found != NULL ? *found : (struct entry){0};
    pass_time(&e, now_s);
    for (int p = 0; p < USAGE_PERIODS; p++) {
        out->messages[p] = count_of(&e, p, MESSAGES, now_s);
        out->recipients[p] = count_of(&e, p, RECIPIENTS, now_s);
        out->bounces[p] = count_of(&e, p, BOUNCES, now_s);
    }
    return found != NULL ? 0 : -ENOENT;
}

int usage_bounced(struct usage *u, const char *credential, uint32_t failures, const struct usage_freeze *rule,
                  uint32_t *now_bounced, uint32_t *now_recipients)
{
    struct entry *e;
    int64_t now_s = clock_wall_s();
    int r = open_entry(u, USAGE_CREDENTIAL, credential, now_s, &e);
    if (r < 0)
        return r;
    count(e, BOUNCES, failures);
    int64_t bounced = count_of(e, USAGE_DAY, BOUNCES, now_s), all = count_of(e, USAGE_DAY, RECIPIENTS, now_s);
    bool freezes =
        e->frozen_s == 0 && rule->percent > 0 && bounced >= rule->bounces && bounced * 100 >= rule->percent * all;
    if (freezes)
        e->frozen_s = now_s;
    *now_bounced = (uint32_t)bounced;
    *now_recipients = (uint32_t)all;
    r = table_end(&u->table, true);
    return r < 0 ? r : freezes;
}

/* Without the lock, as it is asked with every message: what it may see of an entry that is just replaced is asked again
 * with the next one. */
void usage_standing(struct usage *u, const char *credential, struct usage_standing *out)
{
    uint64_t fingerprint[2];
    *out = (struct usage_standing){0};
    if (fingerprint_of(u, USAGE_CREDENTIAL, credential, fingerprint) < 0 || table_look(&u->table, fingerprint) < 0)
        return;
    const struct entry *e = table_find(&u->table, fingerprint);
    if (e != NULL)
        *out = (struct usage_standing){.frozen_s = e->frozen_s, .void_us = e->void_us};
}

int usage_void_sessions(struct usage *u, const char *credential)
{
    struct entry *e;
    int r = open_entry(u, USAGE_CREDENTIAL, credential, clock_wall_s(), &e);
    if (r < 0)
        return r;
    e->void_us = clock_wall_us();
    return table_end(&u->table, true);
}

int usage_thaw(struct usage *u, const char *credential)
{
    uint64_t fingerprint[2];
    int r = fingerprint_of(u, USAGE_CREDENTIAL, credential, fingerprint);
    if (r < 0 || (r = table_begin(&u->table, fingerprint)) < 0)
        return r;
    struct entry *e = table_find(&u->table, fingerprint);
    bool frozen = e != NULL && e->frozen_s != 0;
    for (int p = 0; p < USAGE_PERIODS && frozen; p++)
        e->windows[p].now[BOUNCES] = e->windows[p].before[BOUNCES] = 0;
    if (frozen)
        e->frozen_s = 0;
    r = table_end(&u->table, frozen);
    return r < 0 ? r : frozen ? 0 : -ENOENT;
}
