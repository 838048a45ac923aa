/* dns/mx: which hosts take a domain's mail (RFC 5321 section 5.1, RFC 7505), and which addresses a host has.
 *
 * Both stand on dns/cache, so that asking again for a known domain costs no packet. */
#ifndef POSTHOUSE_DNS_MX_H
#define POSTHOUSE_DNS_MX_H

#include "dns/cache.h"

enum { DNS_MX_HOSTS_MAX = 32, DNS_ADDRESSES_MAX = 32 };

enum dns_mx_outcome {
    DNS_MX_FOUND = 1, /* hosts to try, best first */
    DNS_MX_NULL,      /* the domain takes no mail (RFC 7505) */
    DNS_MX_NXDOMAIN,  /* no such domain */
    DNS_MX_NO_HOST,   /* the domain exists and has neither a usable MX host nor an address */
    DNS_MX_TEMPFAIL,
};

struct dns_mx_host {
    uint16_t preference;
    char name[DNS_NAME_MAX];
};

struct dns_mx {
    enum dns_mx_outcome outcome;
    bool implicit;      /* no MX record: the domain is its own host */
    bool ad;            /* validated, when the resolver is trusted to say so */
    uint32_t ttl_s;     /* how long this may be kept */
    const char *reason; /* DNS_MX_TEMPFAIL: static text */
    size_t count;
    struct dns_mx_host host[]; /* by preference; at random among equals */
};

struct dns_mx_lookup;
/* Called once, later; the callee frees mx with free().  mx is NULL when memory was short: ask again later. */
typedef void dns_mx_fn(void *arg, struct dns_mx *mx);
/* domain is in A-label form.  NULL: no memory. */
struct dns_mx_lookup *dns_mx_lookup(struct dns_cache *c, const char *domain, dns_mx_fn *fn, void *arg);
void dns_mx_lookup_cancel(struct dns_mx_lookup *m);

enum dns_family { DNS_PREFER_IPV6, DNS_PREFER_IPV4, DNS_ONLY_IPV6, DNS_ONLY_IPV4 };

struct dns_host {
    enum dns_outcome outcome; /* DNS_TEMPFAIL only when no address at all was found */
    bool ad;
    const char *reason;
    size_t count;
    struct net_address address[DNS_ADDRESSES_MAX]; /* preferred family first, at random within a family */
};

struct dns_host_lookup;
/* Called once, later; host is only valid during the call. */
typedef void dns_host_fn(void *arg, const struct dns_host *host);
struct dns_host_lookup *dns_host_lookup(struct dns_cache *c, const char *name, enum dns_family family, dns_host_fn *fn,
                                        void *arg);
void dns_host_lookup_cancel(struct dns_host_lookup *h);

#endif
