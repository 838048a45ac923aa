/* site: which servers take a domain's mail: a route block's hosts, an address literal, or the domain's MX records.
 *
 * The key names the set of servers; domains with the same servers share it, whichever worker computes it. */
#ifndef POSTHOUSE_SMTP_OUT_SITE_H
#define POSTHOUSE_SMTP_OUT_SITE_H

#include "dns/mx.h"
#include "smtp-out/out.h"
#include "smtp-out/verdict.h"

enum { SITE_KEY_MAX = 640, SITE_REPLY_MAX = 512 };

struct site_host {
    char name[DNS_NAME_MAX];    /* or the address literal */
    struct net_address address; /* of a literal; len 0 = look the name up */
};

struct site {
    bool found;
    struct verdict verdict;     /* when not found */
    char reply[SITE_REPLY_MAX]; /* when not found */
    uint32_t ttl_s;
    char key[SITE_KEY_MAX];
    const struct route *route;
    uint16_t port;
    bool relay; /* its hosts were named by an admin, not by the domain */
    size_t count;
    struct site_host host[]; /* in the order to try them */
};

struct site_lookup;
/* Called once, later; the callee frees site with free().  NULL: memory was short. */
typedef void site_fn(void *arg, struct site *site);
/* domain: of a recipient; or what an admin's order to reroute says instead: "route:NAME" (a route block with hosts) or
 * "host:NAME", "host:NAME:PORT".  NULL: no memory. */
struct site_lookup *site_lookup(struct out *out, const char *domain, site_fn *fn, void *arg);
void site_lookup_cancel(struct site_lookup *k);

/* From the hosts of mx to those we may send to: RFC 5321 section 5.1 wants hosts as good as ourselves, and worse ones,
 * left out.  True when none remains because we are the best. */
bool site_drop_ourselves(struct dns_mx *mx, const char *const *our_names, size_t count);
/* "mx1.example.com/0badcafe": the best host and a hash of all, whatever order equals stand in. */
void site_key_from_mx(const struct dns_mx *mx, char key[SITE_KEY_MAX]);

#endif
