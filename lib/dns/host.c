#include "dns/mx.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/text.h"

struct dns_host_lookup {
    dns_host_fn *fn;
    void *arg;
    enum dns_family family;
    struct dns_lookup *asked[2]; /* A, AAAA */
    struct dns_answer *answer[2];
    unsigned missing;
};

static const enum dns_type host_types[2] = {DNS_TYPE_A, DNS_TYPE_AAAA};

/* Which of host_types to ask for, in the order their addresses are tried. */
static const struct {
    unsigned count, order[2];
} families[] = {
    [DNS_PREFER_IPV6] = {2, {1, 0}},
    [DNS_PREFER_IPV4] = {2, {0, 1}},
    [DNS_ONLY_IPV6] = {1, {1}},
    [DNS_ONLY_IPV4] = {1, {0}},
};

void dns_host_lookup_cancel(struct dns_host_lookup *h)
{
    if (h == NULL)
        return;
    for (size_t i = 0; i < ARRAY_LENGTH(h->asked); i++) {
        dns_lookup_cancel(h->asked[i]);
        dns_answer_unref(h->answer[i]);
    }
    free(h);
}

static void add_addresses(struct dns_host *host, const struct dns_answer *a)
{
    size_t first = host->count;
    for (size_t i = 0; i < a->count && host->count < DNS_ADDRESSES_MAX; i++) {
        unsigned draw = 0;
        if (getrandom(&draw, sizeof(draw), GRND_NONBLOCK) < 0)
            draw = 0;
        size_t place = first + draw % (host->count - first + 1);
        host->address[host->count++] = host->address[place];
        host->address[place] = a->record[i].address;
    }
}

/* What the family asked for says when there is no address: not knowing outweighs knowing there is none. */
static void host_conclude(struct dns_host *host, const struct dns_answer *a)
{
    host->ad = host->ad && a->ad;
    if (a->outcome == DNS_TEMPFAIL && host->outcome != DNS_FOUND) {
        host->outcome = DNS_TEMPFAIL;
        host->reason = a->reason;
    } else if (a->outcome == DNS_FOUND) {
        host->outcome = DNS_FOUND;
    } else if (a->outcome == DNS_NXDOMAIN && host->outcome == DNS_NODATA) {
        host->outcome = DNS_NXDOMAIN;
    }
}

static void host_answered(struct dns_host_lookup *h)
{
    struct dns_host host = {.outcome = DNS_NODATA, .ad = true};
    for (unsigned i = 0; i < families[h->family].count; i++) {
        const struct dns_answer *a = h->answer[families[h->family].order[i]];
        add_addresses(&host, a);
        host_conclude(&host, a);
    }
    dns_host_fn *fn = h->fn;
    void *arg = h->arg;
    dns_host_lookup_cancel(h);
    fn(arg, &host);
}

static void host_take(struct dns_host_lookup *h, unsigned index, struct dns_answer *answer)
{
    h->asked[index] = NULL;
    h->answer[index] = answer;
    if (--h->missing == 0)
        host_answered(h);
}

static void host_a_answered(void *arg, struct dns_answer *answer)
{
    host_take(arg, 0, answer);
}

static void host_aaaa_answered(void *arg, struct dns_answer *answer)
{
    host_take(arg, 1, answer);
}

struct dns_host_lookup *dns_host_lookup(struct dns_cache *c, const char *name, enum dns_family family, dns_host_fn *fn,
                                        void *arg)
{
    static dns_answer_fn *const answered[2] = {host_a_answered, host_aaaa_answered};
    struct dns_host_lookup *h = calloc(1, sizeof(*h));
    if (h == NULL)
        return NULL;
    *h = (struct dns_host_lookup){.fn = fn, .arg = arg, .family = family, .missing = families[family].count};
    for (unsigned i = 0; i < families[family].count; i++) {
        unsigned index = families[family].order[i];
        h->asked[index] = dns_lookup(c, name, host_types[index], answered[index], h);
        if (h->asked[index] == NULL) {
            dns_host_lookup_cancel(h);
            return NULL;
        }
    }
    return h;
}
