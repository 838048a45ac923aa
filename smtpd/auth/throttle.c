#include "smtpd/auth/throttle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/net.h"
#include "base/text.h"

#define KEY_MAX   260 /* one letter and the longest account name */
#define MINUTE_MS 60000

struct entry {
    char key[KEY_MAX];
    unsigned failures;
    uint64_t last_ms;
    uint64_t minute_ms; /* when the minute began that minute_failures counts */
    unsigned minute_failures;
    UT_hash_handle hh;
    TAILQ_ENTRY(entry) link; /* longest without failure first */
};

struct throttle {
    struct throttle_limits limits;
    struct entry *table;
    TAILQ_HEAD(entry_list, entry) by_age;
};

struct throttle *throttle_new(const struct throttle_limits *limits)
{
    struct throttle *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return NULL;
    t->limits = *limits;
    TAILQ_INIT(&t->by_age);
    return t;
}

static void forget(struct throttle *t, struct entry *e)
{
    HASH_DEL(t->table, e);
    TAILQ_REMOVE(&t->by_age, e, link);
    free(e);
}

void throttle_free(struct throttle *t)
{
    if (t == NULL)
        return;
    while (!TAILQ_EMPTY(&t->by_age))
        forget(t, TAILQ_FIRST(&t->by_age));
    free(t);
}

static void address_key(const char *address, char key[KEY_MAX])
{
    struct net_address a;
    char text[NET_TEXT_MAX];
    snprintf(key, KEY_MAX, "a%.200s", net_parse(address, 0, &a) == 0 ? net_format_client(&a, text) : address);
}

static void account_key(const char *account, char key[KEY_MAX])
{
    snprintf(key, KEY_MAX, "u%.255s", account);
    text_lower(key);
}

static struct entry *find(struct throttle *t, const char *key)
{
    struct entry *e = NULL;
    uint64_t now = clock_mono_ms();
    while ((e = TAILQ_FIRST(&t->by_age)) != NULL && now - e->last_ms >= t->limits.forget_ms)
        forget(t, e);
    HASH_FIND_STR(t->table, key, e);
    return e;
}

static struct entry *find_or_add(struct throttle *t, const char *key)
{
    struct entry *e = find(t, key);
    if (e != NULL) {
        TAILQ_REMOVE(&t->by_age, e, link);
        TAILQ_INSERT_TAIL(&t->by_age, e, link);
        return e;
    }
    if (HASH_COUNT(t->table) >= t->limits.entries && !TAILQ_EMPTY(&t->by_age))
        forget(t, TAILQ_FIRST(&t->by_age));
    e = calloc(1, sizeof(*e));
    if (e == NULL)
        return NULL;
    snprintf(e->key, sizeof(e->key), "%s", key);
    HASH_ADD_STR(t->table, key, e);
    TAILQ_INSERT_TAIL(&t->by_age, e, link);
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

/* Without memory for a new entry the longest delay is the safe one. */
static uint64_t count_failure(struct throttle *t, const char *key)
{
    uint64_t now = clock_mono_ms();
    struct entry *e = find_or_add(t, key);
    if (e == NULL)
        return t->limits.delay_max_ms;
    if (now - e->minute_ms >= MINUTE_MS) {
        e->minute_ms = now;
        e->minute_failures = 0;
    }
    e->last_ms = now;
    e->failures++;
    e->minute_failures++;
    return delay_of(t, e->failures);
}

bool throttle_admits(struct throttle *t, const char *address)
{
    char key[KEY_MAX];
    if (t->limits.failures_per_minute == 0)
        return true;
    address_key(address, key);
    const struct entry *e = find(t, key);
    return e == NULL || e->minute_failures < t->limits.failures_per_minute ||
           clock_mono_ms() - e->minute_ms >= MINUTE_MS;
}

uint64_t throttle_failed(struct throttle *t, const char *address, const char *account)
{
    char key[KEY_MAX];
    address_key(address, key);
    uint64_t by_address = count_failure(t, key), by_account = 0;
    if (account[0] != '\0') {
        account_key(account, key);
        by_account = count_failure(t, key);
    }
    return by_address > by_account ? by_address : by_account;
}

void throttle_succeeded(struct throttle *t, const char *account)
{
    char key[KEY_MAX];
    account_key(account, key);
    struct entry *e = find(t, key);
    if (e != NULL)
        forget(t, e);
}
