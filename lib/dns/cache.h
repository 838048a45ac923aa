/* dns/cache: answers kept for their TTL, bounded, and one question on the wire however many ask it at once.
 *
 * DNS_TEMPFAIL is never kept. */
#ifndef POSTHOUSE_DNS_CACHE_H
#define POSTHOUSE_DNS_CACHE_H

#include "dns/resolver.h"

struct dns_cache;
struct dns_lookup;

/* Keeps at most entries_max answers, each at most ttl_max_s.  The resolver must live longer.  NULL: no memory. */
struct dns_cache *dns_cache_new(struct loop *l, struct dns_resolver *r, size_t entries_max, uint32_t ttl_max_s);
void dns_cache_free(struct dns_cache *c); /* forgets who waits without calling anybody */

/* As dns_query: fn is called once, later, and owns a reference to the answer.  NULL: no memory. */
struct dns_lookup *dns_lookup(struct dns_cache *c, const char *name, enum dns_type type, dns_answer_fn *fn, void *arg);
void dns_lookup_cancel(struct dns_lookup *k);

size_t dns_cache_count(const struct dns_cache *c);

#endif
