#include "smtpd/auth/throttle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/net.h"
#include "base/text.h"
#include "log/log.h"
#include "store/table.h"

#define THROTTLE_MAGIC UINT64_C(0x316c696166687000)
#define NAME_MAX_BYTES 260 /* the longest account name */
#define MINUTE_MS      60000

enum { BUCKETS = 32768, WAYS = 4 };

struct entry {
    uint64_t fingerprint[2];     /* 0, 0 = free */
    uint64_t last_ms, minute_ms; /* CLOCK_MONOTONIC; when the minute began that minute_failures counts */
    uint32_t failures, minute_failures;
};

static const struct table_shape shape = {.entry_size = sizeof(struct entry), .buckets = BUCKETS, .ways = WAYS};

struct throttle {
    struct throttle_limits limits;
    struct table table;
};

int throttle_open(const char *path, const struct throttle_limits *limits, struct throttle **out)
{
    struct throttle *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return -ENOMEM;
    t->limits = *limits;
    int r = table_open(&t->table, path, &shape, THROTTLE_MAGIC);
    if (r < 0) {
        throttle_close(t);
        return r;
    }
    *out = t;
    return 0;
}

void throttle_close(struct throttle *t)
{
    if (t == NULL)
        return;
    table_close(&t->table);
    free(t);
}

static int fingerprint_address(const struct throttle *t, const char *address, uint64_t out[2])
{
    struct net_address a;
    char text[NET_TEXT_MAX];
    const char *name = net_parse(address, 0, &a) == 0 ? net_format_client(&a, text) : address;
    return table_fingerprint(&t->table, "address", name, out);
}

static int fingerprint_account(const struct throttle *t, const char *account, uint64_t out[2])
{
    char folded[NAME_MAX_BYTES];
    snprintf(folded, sizeof(folded), "%s", account);
    text_lower(folded);
    return table_fingerprint(&t->table, "account", folded, out);
}

/* Since then; a machine that started anew counts from nothing. */
static uint64_t passed_ms(uint64_t since_ms)
{
    uint64_t now = clock_mono_ms();
    return now >= since_ms ? now - since_ms : UINT64_MAX;
}

static struct entry *find(struct throttle *t, const uint64_t fingerprint[2])
{
    struct entry *e = table_find(&t->table, fingerprint);
    return e != NULL && passed_ms(e->last_ms) < t->limits.forget_ms ? e : NULL;
}

/* A free one, or the one that failed longest ago. */
static struct entry *find_room(struct throttle *t)
{
    struct entry *bucket = table_bucket(&t->table), *best = bucket;
    for (int i = 0; i < WAYS; i++) {
        if (bucket[i].fingerprint[0] == 0)
            return &bucket[i];
        if (passed_ms(bucket[i].last_ms) > passed_ms(best->last_ms))
            best = &bucket[i];
    }
    return best;
}

static struct entry *find_or_add(struct throttle *t, const uint64_t fingerprint[2])
{
    struct entry *e = find(t, fingerprint);
    if (e != NULL)
        return e;
    e = table_find(&t->table, fingerprint); /* its old failures are forgotten */
    if (e == NULL)
        e = find_room(t);
    *e = (struct entry){.fingerprint = {fingerprint[0], fingerprint[1]}};
    return e;
}

static uint64_t delay_of(const struct throttle *t, unsigned failures)
{
    const struct throttle_limits *l = &t->limits;
    if (failures <= l->free_failures)
        return 0;
    unsigned doublings = failures - l->free_failures - 1;
    uint64_t delay = doublings < 32 ? l->delay_ms << doublings : l->delay_max_ms;
    return delay < l->delay_max_ms ? delay : l->delay_max_ms;
}

static uint64_t count_one(struct throttle *t, const uint64_t fingerprint[2])
{
    struct entry *e = find_or_add(t, fingerprint);
    if (passed_ms(e->minute_ms) >= MINUTE_MS) {
        e->minute_ms = clock_mono_ms();
        e->minute_failures = 0;
    }
    e->last_ms = clock_mono_ms();
    e->failures++;
    e->minute_failures++;
    return delay_of(t, e->failures);
}

/* What can not be counted waits longest: the safe side. */
static uint64_t count_failure(struct throttle *t, int r, const uint64_t fingerprint[2])
{
    uint64_t delay = 0;
    if (r == 0)
        r = table_begin(&t->table, fingerprint);
    if (r == 0) {
        delay = count_one(t, fingerprint);
        r = table_end(&t->table, true);
    }
    if (r == 0)
        return delay;
    log_warning("failed logins can not be counted: %s; answers to them wait %llu s", text_errno(r),
                (unsigned long long)t->limits.delay_max_ms / 1000);
    return t->limits.delay_max_ms;
}

bool throttle_admits(struct throttle *t, const char *address)
{
    uint64_t fingerprint[2];
    if (t->limits.failures_per_minute == 0 || fingerprint_address(t, address, fingerprint) < 0 ||
        table_look(&t->table, fingerprint) < 0)
        return true; /* what can not be counted waits */
    const struct entry *e = find(t, fingerprint);
    return e == NULL || e->minute_failures < t->limits.failures_per_minute || passed_ms(e->minute_ms) >= MINUTE_MS;
}

uint64_t throttle_failed(struct throttle *t, const char *address, const char *account)
{
    uint64_t fingerprint[2];
    int r = fingerprint_address(t, address, fingerprint);
    uint64_t by_address = count_failure(t, r, fingerprint), by_account = 0;
    if (account[0] != '\0') {
        r = fingerprint_account(t, account, fingerprint);
        by_account = count_failure(t, r, fingerprint);
    }
    return by_address > by_account ? by_address : by_account;
}

void throttle_succeeded(struct throttle *t, const char *account)
{
    uint64_t fingerprint[2];
    /* Most have never failed. */
    if (fingerprint_account(t, account, fingerprint) < 0 || table_look(&t->table, fingerprint) < 0 ||
        table_find(&t->table, fingerprint) == NULL || table_begin(&t->table, fingerprint) < 0)
        return;
    struct entry *e = table_find(&t->table, fingerprint);
    if (e != NULL)
        *e = (struct entry){0};
    table_end(&t->table, e != NULL);
}
