#include "smtpd/domains.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"

/* Good answers are kept for a moment, so that a list of one big domain asks once; bad ones are not: whoever mends his
 * DNS shall see it at once. */
enum { KNOWN_MAX = 4096, KNOWN_MS = 60000 };

struct known {
    char *domain;
    uint64_t until_ms;
    UT_hash_handle hh;
};

struct domain_question {
    uint64_t job;
    char *domain;
    struct domains *domains;
    void (*on_answer)(void *arg, const struct ipc_domain_checked *answer);
    void *arg;
    UT_hash_handle hh;
};

struct domains {
    struct ipc_channel *(*channel)(void *arg);
    void *arg;
    struct domain_question *questions; /* by job */
    struct known *known;               /* by domain */
    uint64_t last_job;
};

struct domains *domains_new(struct ipc_channel *(*channel)(void *arg), void *arg)
{
    struct domains *d = calloc(1, sizeof(*d));
    if (d != NULL)
        *d = (struct domains){.channel = channel, .arg = arg};
    return d;
}

static void forget(struct domains *d, struct known *k)
{
    HASH_DEL(d->known, k);
    free(k->domain);
    free(k);
}

static void forget_all(struct domains *d)
{
    struct known *k, *next;
    HASH_ITER (hh, d->known, k, next)
        forget(d, k);
}

void domains_cancel(struct domain_question *q)
{
    if (q == NULL)
        return;
    HASH_DEL(q->domains->questions, q);
    free(q->domain);
    free(q);
}

void domains_free(struct domains *d)
{
    if (d == NULL)
        return;
    while (d->questions != NULL)
        domains_cancel(d->questions);
    forget_all(d);
    free(d);
}

static bool is_known(struct domains *d, const char *domain)
{
    struct known *k;
    HASH_FIND_STR(d->known, domain, k);
    if (k != NULL && k->until_ms <= clock_mono_ms()) {
        forget(d, k);
        k = NULL;
    }
    return k != NULL;
}

/* Takes the name. */
static void remember(struct domains *d, char *domain)
{
    struct known *k = is_known(d, domain) ? NULL : calloc(1, sizeof(*k));
    if (k == NULL) {
        free(domain);
        return;
    }
    if (HASH_COUNT(d->known) >= KNOWN_MAX)
        forget_all(d);
    *k = (struct known){.domain = domain, .until_ms = clock_mono_ms() + KNOWN_MS};
    HASH_ADD_KEYPTR(hh, d->known, k->domain, strlen(k->domain), k);
}

static int send_question(struct domains *d, const struct domain_question *q, const struct domain_subject *subject)
{
    struct ipc_channel *channel = d->channel(d->arg);
    const struct ipc_check_domain question = {
        .job = q->job, .domain = subject->domain, .tenant = subject->tenant, .sender = subject->sender};
    return channel != NULL && ipc_send(channel, IPC_CHECK_DOMAIN, &question, -1) == 0 ? 0 : -EAGAIN;
}

int domains_ask(struct domains *d, const struct domain_subject *subject,
                void (*on_answer)(void *arg, const struct ipc_domain_checked *answer), void *arg,
                struct domain_question **out)
{
    if (is_known(d, subject->domain))
        return -EALREADY;
    struct domain_question *q = calloc(1, sizeof(*q));
    if (q == NULL)
        return -ENOMEM;
    *q = (struct domain_question){
        .job = ++d->last_job, .domain = strdup(subject->domain), .domains = d, .on_answer = on_answer, .arg = arg};
    int r = q->domain != NULL ? send_question(d, q, subject) : -ENOMEM;
    if (r < 0) {
        free(q->domain);
        free(q);
        return r;
    }
    HASH_ADD(hh, d->questions, job, sizeof(q->job), q);
    *out = q;
    return 0;
}

static void answer_one(struct domain_question *q, const struct ipc_domain_checked *answer)
{
    void (*on_answer)(void *arg, const struct ipc_domain_checked *answer) = q->on_answer;
    void *arg = q->arg;
    if (answer != NULL && answer->status == ROUTE_FOUND) {
        remember(q->domains, q->domain);
        q->domain = NULL;
    }
    domains_cancel(q);
    on_answer(arg, answer);
}

void domains_answered(struct domains *d, const struct ipc_domain_checked *answer)
{
    struct domain_question *q;
    HASH_FIND(hh, d->questions, &answer->job, sizeof(answer->job), q);
    if (q != NULL)
        answer_one(q, answer);
}

void domains_down(struct domains *d)
{
    while (d->questions != NULL)
        answer_one(d->questions, NULL);
}
