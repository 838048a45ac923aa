#include "dns/mx.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/text.h"

struct dns_mx_lookup {
    struct dns_cache *cache;
    dns_mx_fn *fn;
    void *arg;
    struct dns_lookup *asked;
    struct dns_host_lookup *host; /* does the domain without MX have an address? */
    bool ad;
    uint32_t ttl_s;
    char domain[DNS_NAME_MAX];
};

void dns_mx_lookup_cancel(struct dns_mx_lookup *m)
{
    if (m == NULL)
        return;
    dns_lookup_cancel(m->asked);
    dns_host_lookup_cancel(m->host);
    free(m);
}

static void mx_finish(struct dns_mx_lookup *m, struct dns_mx *mx)
{
    dns_mx_fn *fn = m->fn;
    void *arg = m->arg;
    dns_mx_lookup_cancel(m);
    fn(arg, mx);
}

static void mx_finish_without_hosts(struct dns_mx_lookup *m, enum dns_mx_outcome outcome, const char *reason)
{
    struct dns_mx *mx = calloc(1, sizeof(*mx));
    if (mx != NULL)
        *mx = (struct dns_mx){.outcome = outcome, .reason = reason, .ad = m->ad, .ttl_s = m->ttl_s};
    mx_finish(m, mx);
}

static int compare_hosts(const void *a, const void *b)
{
    const struct dns_mx_host *left = a, *right = b;
    return (left->preference > right->preference) - (left->preference < right->preference);
}

static void swap_hosts(struct dns_mx_host *a, struct dns_mx_host *b)
{
    struct dns_mx_host keep = *a;
    *a = *b;
    *b = keep;
}

/* RFC 5321 section 5.1: hosts of the same preference are tried in random order. */
static void order_hosts(struct dns_mx *mx)
{
    qsort(mx->host, mx->count, sizeof(mx->host[0]), compare_hosts);
    for (size_t i = 0; i < mx->count; i++) {
        size_t same = 1;
        while (i + same < mx->count && mx->host[i + same].preference == mx->host[i].preference)
            same++;
        unsigned draw = 0;
        if (getrandom(&draw, sizeof(draw), GRND_NONBLOCK) < 0)
            draw = 0;
        swap_hosts(&mx->host[i], &mx->host[i + draw % same]);
    }
}

static bool is_null_mx(const struct dns_answer *a)
{
    return a->count == 1 && a->record[0].data != NULL && a->record[0].data[0] == '\0';
}

/* Names that are no host names (an address, say) take no mail; they are passed over. */
static struct dns_mx *hosts_of_answer(const struct dns_answer *a)
{
    struct dns_mx *mx = calloc(1, sizeof(*mx) + a->count * sizeof(mx->host[0]));
    if (mx == NULL)
        return NULL;
    for (size_t i = 0; i < a->count; i++) {
        const struct dns_record *r = &a->record[i];
        if (r->data == NULL || r->data_len == 0 || r->data_len >= DNS_NAME_MAX)
            continue;
        mx->host[mx->count].preference = r->preference;
        memcpy(mx->host[mx->count++].name, r->data, r->data_len + 1);
    }
    order_hosts(mx);
    if (mx->count > DNS_MX_HOSTS_MAX)
        mx->count = DNS_MX_HOSTS_MAX;
    mx->ad = a->ad;
    mx->ttl_s = a->ttl_s;
    mx->outcome = mx->count > 0 ? DNS_MX_FOUND : DNS_MX_NO_HOST;
    return mx;
}

static void implicit_host_answered(void *arg, const struct dns_host *host)
{
    struct dns_mx_lookup *m = arg;
    m->host = NULL;
    if (host->outcome != DNS_FOUND) {
        mx_finish_without_hosts(m, host->outcome == DNS_TEMPFAIL ? DNS_MX_TEMPFAIL : DNS_MX_NO_HOST, host->reason);
        return;
    }
    struct dns_mx *mx = calloc(1, sizeof(*mx) + sizeof(mx->host[0]));
    if (mx != NULL) {
        *mx = (struct dns_mx){
            .outcome = DNS_MX_FOUND, .implicit = true, .ad = m->ad && host->ad, .ttl_s = m->ttl_s, .count = 1};
        memcpy(mx->host[0].name, m->domain, sizeof(m->domain));
    }
    mx_finish(m, mx);
}

static void mx_answered(void *arg, struct dns_answer *answer)
{
    struct dns_mx_lookup *m = arg;
    enum dns_outcome outcome = answer->outcome;
    const char *reason = answer->reason;
    m->asked = NULL;
    m->ad = answer->ad;
    m->ttl_s = answer->ttl_s;
    bool null_mx = outcome == DNS_FOUND && is_null_mx(answer);
    struct dns_mx *mx = outcome == DNS_FOUND && !null_mx ? hosts_of_answer(answer) : NULL;
    dns_answer_unref(answer);
    if (null_mx)
        mx_finish_without_hosts(m, DNS_MX_NULL, NULL);
    else if (outcome == DNS_FOUND)
        mx_finish(m, mx);
    else if (outcome == DNS_NXDOMAIN)
        mx_finish_without_hosts(m, DNS_MX_NXDOMAIN, NULL);
    else if (outcome == DNS_TEMPFAIL)
        mx_finish_without_hosts(m, DNS_MX_TEMPFAIL, reason);
    else if ((m->host = dns_host_lookup(m->cache, m->domain, DNS_PREFER_IPV6, implicit_host_answered, m)) == NULL)
        mx_finish(m, NULL);
}

struct dns_mx_lookup *dns_mx_lookup(struct dns_cache *c, const char *domain, dns_mx_fn *fn, void *arg)
{
    struct dns_mx_lookup *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return NULL;
    *m = (struct dns_mx_lookup){.cache = c, .fn = fn, .arg = arg};
    size_t len = strnlen(domain, sizeof(m->domain) - 1);
    for (size_t i = 0; i < len; i++)
        m->domain[i] = text_lower_char(domain[i]);
    m->asked = dns_lookup(c, domain, DNS_TYPE_MX, mx_answered, m);
    if (m->asked == NULL) {
        free(m);
        return NULL;
    }
    return m;
}
