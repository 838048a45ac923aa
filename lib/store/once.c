#include "store/once.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/table.h"

#define ONCE_MAGIC UINT64_C(0x3165636e6f687000)
#define BUCKETS    65536
#define WAYS       4

struct entry {
    uint64_t fingerprint[2]; /* 0, 0 = free */
    int64_t time_s;
    char id[ONCE_ID_SIZE]; /* "" = claimed, not finished */
};

static const struct table_shape shape = {.entry_size = sizeof(struct entry), .buckets = BUCKETS, .ways = WAYS};

struct once {
    struct table table;
};

int once_open(const char *path, struct once **out)
{
    struct once *o = calloc(1, sizeof(*o));
    if (o == NULL)
        return -ENOMEM;
    int r = table_open(&o->table, path, &shape, ONCE_MAGIC);
    if (r < 0) {
        once_close(o);
        return r;
    }
    *out = o;
    return 0;
}

void once_close(struct once *o)
{
    if (o == NULL)
        return;
    table_close(&o->table);
    free(o);
}

static bool counts(const struct entry *e, int64_t now_s)
{
    int64_t age_s = now_s - e->time_s;
    return age_s < (e->id[0] != '\0' ? ONCE_KEEP_S : ONCE_PENDING_S);
}

/* A free one, or the oldest. */
static struct entry *find_room(struct once *o)
{
    struct entry *bucket = table_bucket(&o->table), *best = bucket;
    for (int i = 0; i < WAYS; i++) {
        if (bucket[i].fingerprint[0] == 0)
            return &bucket[i];
        if (bucket[i].time_s < best->time_s)
            best = &bucket[i];
    }
    return best;
}

int once_claim(struct once *o, const char *owner, const char *key, struct once_claim *claim, char id[ONCE_ID_SIZE])
{
    int64_t now_s = clock_wall_s();
    int r = table_fingerprint(&o->table, owner, key, claim->fingerprint);
    if (r < 0 || (r = table_begin(&o->table, claim->fingerprint)) < 0)
        return r;
    struct entry *e = table_find(&o->table, claim->fingerprint);
    if (e != NULL && counts(e, now_s)) {
        int state = e->id[0] != '\0' ? ONCE_TAKEN : ONCE_PENDING;
        memcpy(id, e->id, ONCE_ID_SIZE);
        id[ONCE_ID_SIZE - 1] = '\0';
        table_end(&o->table, false);
        return state;
    }
    if (e == NULL)
        e = find_room(o);
    *e = (struct entry){.fingerprint = {claim->fingerprint[0], claim->fingerprint[1]}, .time_s = now_s};
    r = table_end(&o->table, true);
    return r < 0 ? r : ONCE_CLAIMED;
}

int once_finish(struct once *o, const struct once_claim *claim, const char *id)
{
    int r = table_begin(&o->table, claim->fingerprint);
    if (r < 0)
        return r;
    struct entry *e = table_find(&o->table, claim->fingerprint);
    if (e != NULL)
        snprintf(e->id, sizeof(e->id), "%s", id);
    return table_end(&o->table, e != NULL);
}

int once_give_back(struct once *o, const struct once_claim *claim)
{
    int r = table_begin(&o->table, claim->fingerprint);
    if (r < 0)
        return r;
    struct entry *e = table_find(&o->table, claim->fingerprint);
    bool ours = e != NULL && e->id[0] == '\0';
    if (ours)
        *e = (struct entry){0};
    return table_end(&o->table, ours);
}
