/* rule: what an admin ordered for the mail of a domain, site, tenant or sender: suspend, bounce, reroute.  Matching,
 * and the text form in which rules outlive the process; pure.
 *
 *     posthouse-rules 1 4 2                    version, number of the next rule, rules that follow
 *     2 suspend domain 1763928000 0 example.com - server moves
 *     3 reroute site 1763928000 1763931600 mx.example.net route:backup -
 *
 * Fields are separated by tabs; an empty one is a hyphen. */
#ifndef POSTHOUSE_QMGR_RULE_H
#define POSTHOUSE_QMGR_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define RULE_TEXT_MAX   512  /* bytes of each text of a rule */
#define RULES_MAX       1000 /* rules in force at a time: each recipient is compared with all of them */
#define RULES_FILE_MAX  (2 * 1024 * 1024)
#define RULE_NUMBER_MAX 0xfffffff0u

enum rule_action { RULE_SUSPEND, RULE_BOUNCE, RULE_REROUTE, RULE_ACTION_COUNT };
enum rule_kind { RULE_DOMAIN, RULE_SITE, RULE_TENANT, RULE_SENDER, RULE_KIND_COUNT };

struct rule {
    uint32_t number;
    enum rule_action action;
    enum rule_kind kind;
    int64_t since_s, expires_s; /* wall clock; expires_s 0 = until resumed */
    char *what;                 /* the domain, pattern, tenant or sender */
    char *to;                   /* reroute: "route:NAME" or "host:NAME[:PORT]", else "" */
    char *reason;               /* "" = none */
    uint64_t recipients;        /* it was applied to; not in the text */
};

/* What a rule is compared with.  site NULL: not known yet, no site rule matches. */
struct rule_subject {
    const char *domain, *site, *tenant, *sender;
};

/* "suspend", "domain"; NULL beyond the last. */
const char *rule_action_name(enum rule_action action);
const char *rule_kind_name(enum rule_kind kind);

/* Whether the texts make sense for action and kind.  0 or -EINVAL with a sentence in why. */
int rule_check(const struct rule *r, struct buf *why);
/* Copies the texts.  0 or -ENOMEM. */
int rule_copy(const struct rule *from, struct rule *to);
void rule_free(struct rule *r);

bool rule_expired(const struct rule *r, int64_t now_s);
bool rule_matches(const struct rule *r, const struct rule_subject *s);
/* One condition alone, as filters of the queue have it.
 *   domain: the same, or ".example.com" = everything below it, or "*"
 *   site: shell pattern for the host or route in front of the key's hash
 *   tenant: the same
 *   sender: the address, or "@domain", or "<>" for notices */
bool rule_kind_matches(enum rule_kind kind, const char *what, const struct rule_subject *s);

struct rule_list {
    struct rule *items; /* by number */
    size_t count;
    uint32_t next_number;
};

void rule_list_free(struct rule_list *l);
/* The whole file.  0, -ENOBUFS, -ENOMEM. */
int rule_list_format(const struct rule_list *l, struct buf *out);
/* 0; -EPROTO (anything that rule_list_format would not write) with *line the number of the line; -ENOMEM. */
int rule_list_parse(const char *text, size_t len, struct rule_list *out, unsigned *line);

#endif
