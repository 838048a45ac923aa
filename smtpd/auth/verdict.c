#include "smtpd/auth/verdict.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/list.h"

struct verdict {
    unsigned char digest[SCRAM_KEY_BYTES];
    uint64_t until_ms;
    UT_hash_handle hh;
    TAILQ_ENTRY(verdict) link; /* oldest first */
};

struct verdict_cache {
    unsigned char key[SCRAM_KEY_BYTES];
    uint64_t ttl_ms;
    size_t max;
    struct verdict *table;
    TAILQ_HEAD(verdict_list, verdict) by_age;
};

struct verdict_cache *verdict_cache_new(uint64_t ttl_ms, size_t max)
{
    struct verdict_cache *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    TAILQ_INIT(&c->by_age);
    c->ttl_ms = ttl_ms;
    c->max = max;
    if (scram_random(c->key, sizeof(c->key)) < 0) {
        free(c);
        return NULL;
    }
    return c;
}

static void forget(struct verdict_cache *c, struct verdict *v)
{
    HASH_DEL(c->table, v);
    TAILQ_REMOVE(&c->by_age, v, link);
    free(v);
}

void verdict_cache_free(struct verdict_cache *c)
{
    if (c == NULL)
        return;
    while (!TAILQ_EMPTY(&c->by_age))
        forget(c, TAILQ_FIRST(&c->by_age));
    explicit_bzero(c->key, sizeof(c->key));
    free(c);
}

static void expire(struct verdict_cache *c, uint64_t now)
{
    struct verdict *v;
    while ((v = TAILQ_FIRST(&c->by_age)) != NULL && v->until_ms <= now)
        forget(c, v);
}

static struct verdict *find(struct verdict_cache *c, const unsigned char *digest)
{
    struct verdict *v = NULL;
    HASH_FIND(hh, c->table, digest, SCRAM_KEY_BYTES, v);
    return v;
}

bool verdict_known(struct verdict_cache *c, const struct credential *row, const char *password, size_t len)
{
    unsigned char digest[SCRAM_KEY_BYTES];
    expire(c, clock_mono_ms());
    if (c->table == NULL || scram_fingerprint(c->key, row->name, password, len, &row->verifier, digest) < 0)
        return false;
    return find(c, digest) != NULL;
}

void verdict_remember(struct verdict_cache *c, const struct credential *row, const char *password, size_t len)
{
    unsigned char digest[SCRAM_KEY_BYTES];
    if (c->ttl_ms == 0 || c->max == 0 ||
        scram_fingerprint(c->key, row->name, password, len, &row->verifier, digest) < 0 || find(c, digest) != NULL)
        return;
    struct verdict *v = calloc(1, sizeof(*v));
    if (v == NULL)
        return;
    if (HASH_COUNT(c->table) >= c->max)
        forget(c, TAILQ_FIRST(&c->by_age));
    memcpy(v->digest, digest, sizeof(v->digest));
    v->until_ms = clock_mono_ms() + c->ttl_ms;
    HASH_ADD(hh, c->table, digest, SCRAM_KEY_BYTES, v);
    TAILQ_INSERT_TAIL(&c->by_age, v, link);
}
