#include "smtp-out/site.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "mail/domain.h"

enum {
    CONFIGURED_TTL_S = 3600, /* routes and literals change only with the configuration */
    TTL_MIN_S = 5,           /* what qmgr may keep at least, so that a TTL of 0 is no storm of ROUTEs */
};

struct site_lookup {
    struct out *out;
    site_fn *fn;
    void *arg;
    struct dns_mx_lookup *mx;
    struct timer now; /* answers that need no DNS */
    struct site *site;
    const struct route *route;
    char domain[DNS_NAME_MAX + 64];
};

void site_lookup_cancel(struct site_lookup *k)
{
    if (k == NULL)
        return;
    dns_mx_lookup_cancel(k->mx);
    timer_deinit(&k->now);
    free(k->site);
    free(k);
}

static void lookup_finish(struct site_lookup *k, struct site *site)
{
    site_fn *fn = k->fn;
    void *arg = k->arg;
    site_lookup_cancel(k);
    fn(arg, site);
}

static void answer_now(void *arg)
{
    struct site_lookup *k = arg;
    lookup_finish(k, TAKE_PTR(k->site));
}

static struct site *site_new(const struct route *route, size_t hosts)
{
    struct site *site = calloc(1, sizeof(*site) + hosts * sizeof(site->host[0]));
    if (site != NULL)
        *site = (struct site){.found = true,
                              .route = route,
                              .port = route != NULL ? route->port : 0,
                              .relay = route != NULL && route->hosts != NULL,
                              .ttl_s = CONFIGURED_TTL_S};
    return site;
}

static struct site *site_failed(enum trouble trouble, const char *why, const char *detail)
{
    struct site *site = site_new(NULL, 0);
    if (site == NULL)
        return NULL;
    site->found = false;
    site->verdict = verdict_of_trouble(trouble);
    snprintf(site->reply, sizeof(site->reply), "%.100s%.400s", why, detail);
    return site;
}

static int compare_by_preference_and_name(const void *a, const void *b)
{
    const struct dns_mx_host *left = a, *right = b;
    if (left->preference != right->preference)
        return left->preference < right->preference ? -1 : 1;
    return strcmp(left->name, right->name);
}

/* FNV-1a: the same in every worker, which the keyed hash of lib/base is not. */
static uint32_t add_to_hash(uint32_t hash, const void *data, size_t len)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ p[i]) * 16777619u;
    return hash;
}

void site_key_from_mx(const struct dns_mx *mx, char key[SITE_KEY_MAX])
{
    struct dns_mx_host sorted[DNS_MX_HOSTS_MAX];
    uint32_t hash = 2166136261u;
    memcpy(sorted, mx->host, mx->count * sizeof(sorted[0]));
    qsort(sorted, mx->count, sizeof(sorted[0]), compare_by_preference_and_name);
    for (size_t i = 0; i < mx->count; i++) {
        unsigned char preference[2] = {(unsigned char)(sorted[i].preference >> 8), (unsigned char)sorted[i].preference};
        hash = add_to_hash(hash, preference, sizeof(preference));
        hash = add_to_hash(hash, sorted[i].name, strlen(sorted[i].name) + 1);
    }
    if (mx->implicit)
        snprintf(key, SITE_KEY_MAX, "%s", sorted[0].name);
    else
        snprintf(key, SITE_KEY_MAX, "%s/%08x", sorted[0].name, hash);
}

bool site_drop_ourselves(struct dns_mx *mx, const char *const *our_names, size_t count)
{
    unsigned ours = UINT16_MAX + 1u;
    for (size_t i = 0; i < mx->count; i++)
        for (size_t k = 0; k < count; k++)
            if (text_equal_nocase(mx->host[i].name, our_names[k]) && mx->host[i].preference < ours)
                ours = mx->host[i].preference;
    size_t kept = 0;
    while (kept < mx->count && mx->host[kept].preference < ours)
        kept++;
    mx->count = kept;
    return kept == 0;
}

static struct site *site_from_mx(const struct site_lookup *k, struct dns_mx *mx)
{
    const char *our_names[] = {k->out->hostname, k->out->helo_name};
    char key[SITE_KEY_MAX];
    site_key_from_mx(mx, key);
    if (site_drop_ourselves(mx, our_names, ARRAY_LENGTH(our_names)))
        return site_failed(TROUBLE_LOOP, "mail loops back to this host: the best mail server of the domain is ",
                           k->out->hostname);
    struct site *site = site_new(k->route, mx->count);
    if (site == NULL)
        return NULL;
    for (size_t i = 0; i < mx->count; i++)
        memcpy(site->host[site->count++].name, mx->host[i].name, sizeof(mx->host[i].name));
    /* A route block with a TLS policy of its own must not share connections with those who have none. */
    snprintf(site->key, sizeof(site->key), "%.300s%s%.255s", key, k->route->name[0] != '\0' ? "+" : "", k->route->name);
    return site;
}

static struct site *site_without_hosts(const struct dns_mx *mx, const char *domain)
{
    switch (mx->outcome) {
    case DNS_MX_NULL: /* RFC 7505 section 4.1 */
        return site_failed(TROUBLE_NULL_MX, "the domain takes no mail (null MX): ", domain);
    case DNS_MX_NXDOMAIN:
        return site_failed(TROUBLE_NO_DOMAIN, "no such domain in DNS: ", domain);
    case DNS_MX_NO_HOST:
        return site_failed(TROUBLE_NO_SERVER, "the domain has no mail server and no address in DNS: ", domain);
    default:
        return site_failed(TROUBLE_DNS, "DNS lookup failed: ", mx->reason != NULL ? mx->reason : domain);
    }
}

static void mx_answered(void *arg, struct dns_mx *mx)
{
    struct site_lookup *k = arg;
    struct site *site = NULL;
    k->mx = NULL;
    if (mx != NULL)
        site = mx->outcome == DNS_MX_FOUND ? site_from_mx(k, mx) : site_without_hosts(mx, k->domain);
    if (site != NULL)
        site->ttl_s = mx->ttl_s > TTL_MIN_S ? mx->ttl_s : TTL_MIN_S;
    free(mx);
    lookup_finish(k, site);
}

static void set_host(struct site_host *host, const char *name)
{
    snprintf(host->name, sizeof(host->name), "%.253s", name);
    if (name[0] != '[' || mail_literal_parse(name, strlen(name), &host->address) < 0)
        if (net_parse(name, 0, &host->address) < 0)
            host->address.len = 0;
}

static struct site *site_from_route(const struct route *route)
{
    struct site *site = site_new(route, route->hosts->count);
    if (site == NULL)
        return NULL;
    for (size_t i = 0; i < route->hosts->count; i++)
        set_host(&site->host[site->count++], route->hosts->items[i]);
    snprintf(site->key, sizeof(site->key), "route:%.255s", route->name);
    return site;
}

static struct site *site_from_literal(const struct route *route, const char *literal)
{
    struct site *site = site_new(route, 1);
    if (site == NULL)
        return NULL;
    set_host(&site->host[site->count++], literal);
    snprintf(site->key, sizeof(site->key), "%.300s", literal);
    return site;
}

static struct site *site_from_route_name(const struct out *out, const char *name)
{
    const struct route *route = route_find_name(&out->routes, name);
    if (route == NULL || route->hosts == NULL)
        return site_failed(TROUBLE_RELAY_UNKNOWN, "smtp-out.conf has no route with hosts of the name ", name);
    return site_from_route(route);
}

/* "NAME", "NAME:PORT", "192.0.2.1", "[192.0.2.1]:PORT": as for the domain's own servers otherwise. */
static struct site *site_from_host_name(const struct out *out, const char *text)
{
    char name[DNS_NAME_MAX];
    const struct route *route = route_default(&out->routes);
    const char *colon = strrchr(text, ':');
    /* Colons of a bare IPv6 address are no port. */
    bool has_port = colon != NULL && strchr(colon, ']') == NULL && (text[0] == '[' || strchr(text, ':') == colon);
    uint64_t port = route->port;
    size_t len = has_port ? (size_t)(colon - text) : strlen(text);
    if (len == 0 || len >= sizeof(name) ||
        (has_port && (text_parse_u64(colon + 1, UINT16_MAX, &port) < 0 || port == 0)))
        return site_failed(TROUBLE_RELAY_UNKNOWN, "not a host to send to: ", text);
    struct site *site = site_new(route, 1);
    if (site == NULL)
        return NULL;
    memcpy(name, text, len);
    name[len] = '\0';
    set_host(&site->host[site->count++], name);
    site->port = (uint16_t)port;
    site->relay = true;
    snprintf(site->key, sizeof(site->key), "host:%.300s", text);
    return site;
}

/* What can be said without DNS: 1 = k->site holds it (or memory was short), 0 = ask DNS. */
static bool lookup_is_local(struct site_lookup *k, const char *domain)
{
    size_t len = strlen(domain);
    if (text_has_prefix(domain, "route:"))
        k->site = site_from_route_name(k->out, domain + strlen("route:"));
    else if (text_has_prefix(domain, "host:"))
        k->site = site_from_host_name(k->out, domain + strlen("host:"));
    else if (k->route->hosts != NULL)
        k->site = site_from_route(k->route);
    else if (mail_domain_is_literal(domain, len))
        k->site = site_from_literal(k->route, domain);
    else if (mail_domain_to_ascii(domain, k->domain) < 0)
        k->site = site_failed(TROUBLE_NO_DOMAIN, "not a valid domain name: ", domain);
    else
        return false;
    return true;
}

struct site_lookup *site_lookup(struct out *out, const char *domain, site_fn *fn, void *arg)
{
    struct site_lookup *k = calloc(1, sizeof(*k));
    if (k == NULL)
        return NULL;
    *k = (struct site_lookup){.out = out, .fn = fn, .arg = arg, .route = route_find(&out->routes, domain)};
    if (timer_init(&k->now, out->loop, answer_now, k) < 0) {
        site_lookup_cancel(k);
        return NULL;
    }
    if (lookup_is_local(k, domain)) {
        timer_set_ms(&k->now, 0);
        return k;
    }
    k->mx = dns_mx_lookup(out->dns, k->domain, mx_answered, k);
    if (k->mx == NULL) {
        site_lookup_cancel(k);
        return NULL;
    }
    return k;
}
