/* dns/resolver: an asynchronous stub resolver on its own non-blocking sockets.
 *
 * Every try has a fresh UDP socket connected to one server (so a port of the kernel's choice), a fresh random id, and
 * goes on to TCP when the answer was truncated.  Servers are tried in the order given, one that just failed last; the
 * whole list `attempts` times. */
#ifndef POSTHOUSE_DNS_RESOLVER_H
#define POSTHOUSE_DNS_RESOLVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/net.h"
#include "dns/codec.h"
#include "io/loop.h"

enum { DNS_SERVERS_MAX = 8 };

struct dns_config {
    struct net_address server[DNS_SERVERS_MAX];
    size_t server_count;
    unsigned attempts;    /* rounds over the list, at least 1 */
    uint64_t timeout_ms;  /* of one try */
    size_t in_flight_max; /* lookups on the wire at once; more wait */
    size_t waiting_max;   /* waiting lookups; more fail at once with DNS_TEMPFAIL */
    bool trust_ad;        /* the path to the servers is trusted: their AD bit counts */
};

struct dns_resolver;
struct dns_query;

/* Called once from the loop, never from inside dns_query.  The answer is the callee's to unref. */
typedef void dns_answer_fn(void *arg, struct dns_answer *answer);

struct dns_resolver *dns_resolver_new(struct loop *l, const struct dns_config *config); /* NULL: no memory */
/* Forgets every lookup without calling anybody.  Not from inside a callback. */
void dns_resolver_free(struct dns_resolver *r);

/* Starts a lookup.  A name that can not be asked for is answered DNS_NXDOMAIN.  NULL: no memory. */
struct dns_query *dns_query(struct dns_resolver *r, const char *name, enum dns_type type, dns_answer_fn *fn, void *arg);
/* Forgets a lookup not yet answered; its function is not called. */
void dns_query_cancel(struct dns_query *q);

/* The nameserver lines of a resolv.conf(5), at most max, port 53.  Their number, 0 = none, or -errno. */
int dns_servers_read(const char *path, struct net_address *servers, size_t max);

/* Tests: answers come from fn instead of the network.  fn appends the reply to a question, or nothing (a time-out). */
typedef void dns_fake_fn(void *arg, const void *query, size_t query_len, struct buf *reply);
void dns_resolver_set_fake(struct dns_resolver *r, dns_fake_fn *fn, void *arg);

#endif
