#include "dns/cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/text.h"

struct cache_entry;

struct dns_lookup {
    struct dns_cache *cache;
    struct cache_entry *entry; /* whose waiting list holds it; NULL once it has its answer */
    struct dns_answer *answer;
    dns_answer_fn *fn;
    void *arg;
    TAILQ_ENTRY(dns_lookup) link;
};

TAILQ_HEAD(lookup_list, dns_lookup);

struct cache_entry {
    struct dns_cache *cache;
    struct dns_query *query;   /* on the wire */
    struct dns_answer *answer; /* NULL while on the wire */
    uint64_t expires_ms;
    struct lookup_list waiting;
    TAILQ_ENTRY(cache_entry) age; /* oldest first */
    UT_hash_handle hh;
    size_t key_len;
    char key[]; /* the type in two bytes, then the name in lower case */
};

struct dns_cache {
    struct loop *loop;
    struct dns_resolver *resolver;
    size_t entries_max;
    uint32_t ttl_max_s;
    struct cache_entry *table;
    TAILQ_HEAD(, cache_entry) by_age;
    struct lookup_list ready; /* answered from an entry, to be told by the timer */
    struct timer tell;
};

static void tell_ready(void *arg);

struct dns_cache *dns_cache_new(struct loop *l, struct dns_resolver *r, size_t entries_max, uint32_t ttl_max_s)
{
    struct dns_cache *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    *c = (struct dns_cache){.loop = l, .resolver = r, .entries_max = entries_max, .ttl_max_s = ttl_max_s};
    TAILQ_INIT(&c->by_age);
    TAILQ_INIT(&c->ready);
    if (timer_init(&c->tell, l, tell_ready, c) < 0) {
        free(c);
        return NULL;
    }
    return c;
}

static void entry_free(struct cache_entry *e)
{
    HASH_DEL(e->cache->table, e);
    TAILQ_REMOVE(&e->cache->by_age, e, age);
    dns_query_cancel(e->query);
    dns_answer_unref(e->answer);
    free(e);
}

static void forget_lookups(struct lookup_list *list)
{
    while (!TAILQ_EMPTY(list)) {
        struct dns_lookup *k = TAILQ_FIRST(list);
        TAILQ_REMOVE(list, k, link);
        dns_answer_unref(k->answer);
        free(k);
    }
}

void dns_cache_free(struct dns_cache *c)
{
    if (c == NULL)
        return;
    while (!TAILQ_EMPTY(&c->by_age)) {
        struct cache_entry *e = TAILQ_FIRST(&c->by_age);
        forget_lookups(&e->waiting);
        entry_free(e);
    }
    forget_lookups(&c->ready);
    timer_deinit(&c->tell);
    free(c);
}

size_t dns_cache_count(const struct dns_cache *c)
{
    return HASH_COUNT(c->table);
}

static bool entry_is_idle(const struct cache_entry *e)
{
    return e->query == NULL && TAILQ_EMPTY(&e->waiting);
}

/* Room for one more: what nobody waits for goes, oldest first. */
static void make_room(struct dns_cache *c)
{
    struct cache_entry *e, *next;
    TAILQ_FOREACH_SAFE (e, &c->by_age, age, next) {
        if (HASH_COUNT(c->table) < c->entries_max)
            return;
        if (entry_is_idle(e))
            entry_free(e);
    }
}

static void lookup_has_answer(struct dns_lookup *k, struct dns_answer *answer)
{
    k->entry = NULL;
    k->answer = dns_answer_ref(answer);
    TAILQ_INSERT_TAIL(&k->cache->ready, k, link);
    timer_set_ms(&k->cache->tell, 0);
}

/* Callees may look up again or cancel others; so the list is read anew each time. */
static void tell_ready(void *arg)
{
    struct dns_cache *c = arg;
    while (!TAILQ_EMPTY(&c->ready)) {
        struct dns_lookup *k = TAILQ_FIRST(&c->ready);
        TAILQ_REMOVE(&c->ready, k, link);
        k->fn(k->arg, k->answer);
        free(k);
    }
}

static void entry_answered(void *arg, struct dns_answer *answer)
{
    struct cache_entry *e = arg;
    struct dns_lookup *k, *next;
    uint32_t ttl_s = answer->ttl_s < e->cache->ttl_max_s ? answer->ttl_s : e->cache->ttl_max_s;
    e->query = NULL;
    e->answer = answer;
    e->expires_ms = clock_mono_ms() + ttl_s * 1000ull;
    TAILQ_FOREACH_SAFE (k, &e->waiting, link, next) {
        TAILQ_REMOVE(&e->waiting, k, link);
        lookup_has_answer(k, answer);
    }
    if (answer->outcome == DNS_TEMPFAIL || ttl_s == 0)
        entry_free(e);
}

static struct cache_entry *entry_new(struct dns_cache *c, const char *key, size_t key_len)
{
    make_room(c);
    struct cache_entry *e = calloc(1, sizeof(*e) + key_len + 1);
    if (e == NULL)
        return NULL;
    e->cache = c;
    e->key_len = key_len;
    memcpy(e->key, key, key_len);
    TAILQ_INIT(&e->waiting);
    HASH_ADD_KEYPTR(hh, c->table, e->key, e->key_len, e);
    TAILQ_INSERT_TAIL(&c->by_age, e, age);
    return e;
}

static struct cache_entry *entry_find(struct dns_cache *c, const char *key, size_t key_len)
{
    struct cache_entry *e = NULL;
    HASH_FIND(hh, c->table, key, key_len, e);
    if (e != NULL && e->answer != NULL && e->expires_ms <= clock_mono_ms()) {
        entry_free(e);
        return NULL;
    }
    return e;
}

/* The entry of a question, asked if nobody did yet; NULL: no memory. */
static struct cache_entry *entry_get(struct dns_cache *c, const char *name, enum dns_type type)
{
    char key[2 + DNS_NAME_MAX];
    size_t len = strlen(name);
    key[0] = (char)(type >> 8);
    key[1] = (char)type;
    for (size_t i = 0; i < len; i++)
        key[2 + i] = text_lower_char(name[i]);
    struct cache_entry *e = entry_find(c, key, 2 + len);
    if (e != NULL)
        return e;
    e = entry_new(c, key, 2 + len);
    if (e == NULL)
        return NULL;
    e->query = dns_query(c->resolver, name, type, entry_answered, e);
    if (e->query == NULL) {
        entry_free(e);
        return NULL;
    }
    return e;
}

struct dns_lookup *dns_lookup(struct dns_cache *c, const char *name, enum dns_type type, dns_answer_fn *fn, void *arg)
{
    struct dns_lookup *k = calloc(1, sizeof(*k));
    if (k == NULL)
        return NULL;
    *k = (struct dns_lookup){.cache = c, .fn = fn, .arg = arg};
    if (!dns_name_is_valid(name)) {
        lookup_has_answer(k, dns_answer_new(DNS_NXDOMAIN, NULL));
        dns_answer_unref(k->answer);
        return k;
    }
    struct cache_entry *e = entry_get(c, name, type);
    if (e == NULL) {
        free(k);
        return NULL;
    }
    if (e->answer != NULL) {
        lookup_has_answer(k, e->answer);
    } else {
        k->entry = e;
        TAILQ_INSERT_TAIL(&e->waiting, k, link);
    }
    return k;
}

void dns_lookup_cancel(struct dns_lookup *k)
{
    if (k == NULL)
        return;
    TAILQ_REMOVE(k->entry != NULL ? &k->entry->waiting : &k->cache->ready, k, link);
    dns_answer_unref(k->answer);
    free(k);
}
