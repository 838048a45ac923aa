#include "smtpd/quota.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "log/log.h"
#include "smtpd/limits.h"
#include "smtpd/listen.h"
#include "smtpd/transaction.h"

static bool names(const struct conf_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], name) == 0)
            return true;
    return false;
}

static bool names_credential(const struct conf_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (text_equal_nocase(list->items[i], name))
            return true;
    return false;
}

static bool counts_here(const struct settings_quota *q, const struct session *s)
{
    return q->listeners.count == 0 || names(&q->listeners, s->listener->name);
}

static bool counts_for(const struct settings_quota *q, const struct session *s, enum usage_kind kind, const char *name)
{
    switch (kind) {
    case USAGE_CREDENTIAL:
        return names_credential(&q->credentials, name);
    case USAGE_TENANT:
        return names(&q->tenants, name);
    case USAGE_CLIENT:
        return listener_networks_hold(&q->clients, &s->peer);
    default:
        return listener_networks_hold(&q->networks, &s->peer);
    }
}

static bool counts_for_every(const struct settings_quota *q, enum usage_kind kind)
{
    return kind == USAGE_CREDENTIAL ? names(&q->credentials, "*") : kind == USAGE_TENANT && names(&q->tenants, "*");
}

/* The block that names it, else the first with "*", else NULL. */
static const struct settings_quota *quota_of(const struct session *s, enum usage_kind kind, const char *name)
{
    const struct conf_blocks *quotas = &s->server->settings.quotas;
    const struct settings_quota *every = NULL;
    for (size_t i = 0; i < quotas->count; i++) {
        const struct settings_quota *q = quotas->items[i];
        if (!counts_here(q, s))
            continue;
        if (counts_for(q, s, kind, name))
            return q;
        if (every == NULL && counts_for_every(q, kind))
            every = q;
    }
    return every;
}

static struct usage_quota maxima_of(const struct settings_quota *q)
{
    if (q == NULL)
        return (struct usage_quota){0};
    return (struct usage_quota){
        .messages = {q->messages_per_minute, q->messages_per_hour, q->messages_per_day},
        .recipients = {q->recipients_per_minute, q->recipients_per_hour, q->recipients_per_day},
    };
}

struct subject {
    const char *name; /* "" = none of this kind */
    const struct settings_quota *quota;
};

static const char *name_of_client(const struct session *s, enum usage_kind kind, const struct settings_quota *q,
                                  char text[NET_TEXT_MAX])
{
    if (q == NULL)
        return "";
    return kind == USAGE_CLIENT
               ? net_format_client(&s->peer, text)
               : net_format_network(&s->peer, (unsigned)q->network_prefix_ipv4, (unsigned)q->network_prefix_ipv6, text);
}

/* Who a session's mail counts for.  A credential's is counted without a quota too, as bounce wants to know how much of
 * it there was. */
static struct subject subject_of(const struct session *s, enum usage_kind kind, char client[NET_TEXT_MAX])
{
    struct subject subject = {.name = ""};
    if (s->server->usage == NULL || (kind != USAGE_CREDENTIAL && s->server->settings.quotas.count == 0))
        return subject;
    if (kind == USAGE_CREDENTIAL)
        subject.name = s->credential != NULL ? s->credential : "";
    else if (kind == USAGE_TENANT)
        subject.name = session_tenant(s);
    bool named = kind == USAGE_CREDENTIAL || kind == USAGE_TENANT;
    if (!named || subject.name[0] != '\0')
        subject.quota = quota_of(s, kind, subject.name);
    if (!named)
        subject.name = name_of_client(s, kind, subject.quota, client);
    else if (subject.quota == NULL && kind == USAGE_TENANT)
        subject.name = "";
    return subject;
}

static void explain(enum usage_kind kind, const char *name, const struct usage_excess *e, char why[QUOTA_TEXT_MAX])
{
    static const char *const periods[] = {"a minute", "an hour", "a day"};
    int64_t wait = e->wait_s < 120 ? e->wait_s : e->wait_s < 7200 ? (e->wait_s + 59) / 60 : (e->wait_s + 3599) / 3600;
    snprintf(why, QUOTA_TEXT_MAX, "%s %.255s may send %lld %s %s, try again in %lld %s", usage_kind_name(kind), name,
             (long long)e->limit,
             e->recipients   ? e->limit == 1 ? "recipient" : "recipients"
             : e->limit == 1 ? "message"
                             : "messages",
             periods[e->period], (long long)wait,
             e->wait_s < 120    ? "seconds"
             : e->wait_s < 7200 ? "minutes"
                                : "hours");
}

int64_t quota_room(const struct session *s, size_t wanted, char why[QUOTA_TEXT_MAX])
{
    int64_t room = INT64_MAX;
    for (enum usage_kind kind = 0; kind < USAGE_KINDS; kind++) {
        char client[NET_TEXT_MAX];
        struct usage_excess excess = {0};
        const struct subject subject = subject_of(s, kind, client);
        if (subject.quota == NULL)
            continue;
        const struct usage_quota maxima = maxima_of(subject.quota);
        int64_t left = usage_room(s->server->usage, kind, subject.name, &maxima, (int64_t)wanted, &excess);
        if (left < (int64_t)wanted)
            explain(kind, subject.name, &excess, why);
        room = left < room ? left : room;
    }
    return room;
}

static int take_one(const struct session *s, enum usage_kind kind, struct quota_claim *claim, char why[QUOTA_TEXT_MAX])
{
    char client[NET_TEXT_MAX];
    struct usage_excess excess = {0};
    const struct subject subject = subject_of(s, kind, client);
    if (subject.name[0] == '\0')
        return 0;
    const struct usage_quota maxima = maxima_of(subject.quota);
    int r = usage_take(s->server->usage, kind, subject.name, &maxima, claim->recipients, &excess);
    if (r < 0)
        log_warning("client=%s: what %s sends can not be counted: %s, the message is taken", s->client, subject.name,
                    text_errno(r));
    else if (r > 0)
        explain(kind, subject.name, &excess, why);
    else
        claim->names[kind] = strdup(subject.name);
    return r > 0;
}

int quota_take(const struct session *s, size_t recipients, struct quota_claim *claim, char why[QUOTA_TEXT_MAX])
{
    *claim = (struct quota_claim){.recipients = (uint32_t)recipients};
    int r = 0;
    for (enum usage_kind kind = 0; kind < USAGE_KINDS && r == 0; kind++)
        r = take_one(s, kind, claim, why);
    if (r != 0)
        quota_settle(s->server, claim, false);
    return r;
}

void quota_settle(struct server *server, struct quota_claim *claim, bool accepted)
{
    for (enum usage_kind kind = 0; kind < USAGE_KINDS; kind++) {
        int r = claim->names[kind] != NULL && !accepted
                    ? usage_give_back(server->usage, kind, claim->names[kind], claim->recipients)
                    : 0;
        if (r < 0)
            log_warning("a message of %s %s that was not accepted counts for it: %s", usage_kind_name(kind),
                        claim->names[kind], text_errno(r));
        free(claim->names[kind]);
        claim->names[kind] = NULL;
    }
}

static bool enter_one(const struct session *s, enum usage_kind kind, const char *name)
{
    const struct settings_quota *q = quota_of(s, kind, name);
    int64_t before = limits_enter(s->server->limits, kind, name);
    if (q == NULL || q->sessions == 0 || before < q->sessions)
        return true;
    limits_leave(s->server->limits, kind, name);
    return false;
}

bool quota_enter(const struct session *s)
{
    if (!enter_one(s, USAGE_CREDENTIAL, s->credential))
        return false;
    if (enter_one(s, USAGE_TENANT, s->tenant))
        return true;
    limits_leave(s->server->limits, USAGE_CREDENTIAL, s->credential);
    return false;
}

void quota_leave(const struct session *s)
{
    limits_leave(s->server->limits, USAGE_CREDENTIAL, s->credential);
    limits_leave(s->server->limits, USAGE_TENANT, s->tenant);
}
