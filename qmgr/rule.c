#include "qmgr/rule.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define HEADING "posthouse-rules 1 "

static const char *const actions[] = {"suspend", "bounce", "reroute"};
static const char *const kinds[] = {"domain", "site", "tenant", "sender"};

const char *rule_action_name(enum rule_action action)
{
    return action < RULE_ACTION_COUNT ? actions[action] : NULL;
}

const char *rule_kind_name(enum rule_kind kind)
{
    return kind < RULE_KIND_COUNT ? kinds[kind] : NULL;
}

/* -- what may stand in a rule ---------------------------------------------------------------------------------------
 */

static bool is_text(const char *s)
{
    size_t len = strlen(s);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
            return false;
    return len <= RULE_TEXT_MAX;
}

static bool is_target(const char *to)
{
    static const char *const kinds_of_target[] = {"route:", "host:"};
    for (size_t i = 0; i < ARRAY_LENGTH(kinds_of_target); i++)
        if (text_has_prefix(to, kinds_of_target[i]) && to[strlen(kinds_of_target[i])] != '\0')
            return true;
    return false;
}

static int complain(struct buf *why, const char *sentence)
{
    buf_append_str(why, sentence);
    return -EINVAL;
}

int rule_check(const struct rule *r, struct buf *why)
{
    if (r->action >= RULE_ACTION_COUNT || r->kind >= RULE_KIND_COUNT)
        return complain(why, "no such rule");
    if (!is_text(r->what) || !is_text(r->to) || !is_text(r->reason))
        return complain(why, "a text is too long or has control characters");
    if (r->what[0] == '\0' || strcmp(r->what, "-") == 0)
        return complain(why, "nothing is said about whose mail is meant");
    if (strcmp(r->reason, "-") == 0)
        return complain(why, "a hyphen is no reason");
    if (r->action == RULE_REROUTE && !is_target(r->to))
        return complain(why, "expected route:NAME or host:NAME to reroute to");
    if (r->action != RULE_REROUTE && r->to[0] != '\0')
        return complain(why, "only reroute has a place to go to");
    if (r->kind == RULE_SENDER && strcmp(r->what, "<>") != 0 && strchr(r->what, '@') == NULL)
        return complain(why, "expected an address, @domain or <> as sender");
    if (r->kind == RULE_DOMAIN && strchr(r->what, '@') != NULL)
        return complain(why, "expected a domain without a local part");
    return 0;
}

int rule_copy(const struct rule *from, struct rule *to)
{
    *to = *from;
    to->what = strdup(from->what);
    to->to = strdup(from->to);
    to->reason = strdup(from->reason);
    if (to->what != NULL && to->to != NULL && to->reason != NULL)
        return 0;
    rule_free(to);
    return -ENOMEM;
}

void rule_free(struct rule *r)
{
    free(r->what);
    free(r->to);
    free(r->reason);
    *r = (struct rule){0};
}

/* -- matching -------------------------------------------------------------------------------------------------------
 */

bool rule_expired(const struct rule *r, int64_t now_s)
{
    return r->expires_s != 0 && r->expires_s <= now_s;
}

static bool domain_fits(const char *what, const char *domain)
{
    if (what[0] == '.')
        return text_has_suffix_nocase(domain, what) && strlen(domain) > strlen(what);
    return strcmp(what, "*") == 0 || text_equal_nocase(what, domain);
}

static bool site_fits(const char *pattern, const char *key)
{
    char host[RULE_TEXT_MAX + 1];
    if (key == NULL)
        return false;
    size_t len = strcspn(key, "/");
    if (len >= sizeof(host))
        return false;
    memcpy(host, key, len);
    host[len] = '\0';
    return fnmatch(pattern, host, FNM_CASEFOLD) == 0;
}

static bool sender_fits(const char *what, const char *sender)
{
    if (strcmp(what, "<>") == 0)
        return sender[0] == '\0';
    if (what[0] == '@') {
        const char *at = strrchr(sender, '@');
        return at != NULL && text_equal_nocase(at, what);
    }
    return text_equal_nocase(what, sender);
}

bool rule_kind_matches(enum rule_kind kind, const char *what, const struct rule_subject *s)
{
    switch (kind) {
    case RULE_DOMAIN:
        return domain_fits(what, s->domain);
    case RULE_SITE:
        return site_fits(what, s->site);
    case RULE_TENANT:
        return strcmp(what, s->tenant) == 0;
    case RULE_SENDER:
        return sender_fits(what, s->sender);
    default:
        return false;
    }
}

bool rule_matches(const struct rule *r, const struct rule_subject *s)
{
    return rule_kind_matches(r->kind, r->what, s);
}

/* -- text -----------------------------------------------------------------------------------------------------------
 */

static const char *or_hyphen(const char *s)
{
    return s[0] != '\0' ? s : "-";
}

int rule_list_format(const struct rule_list *l, struct buf *out)
{
    int err = buf_printf(out, HEADING "%u %zu\n", l->next_number, l->count);
    for (size_t i = 0; i < l->count && err == 0; i++) {
        const struct rule *r = &l->items[i];
        err =
            buf_printf(out, "%u\t%s\t%s\t%lld\t%lld\t%s\t%s\t%s\n", r->number, actions[r->action], kinds[r->kind],
                       (long long)r->since_s, (long long)r->expires_s, r->what, or_hyphen(r->to), or_hyphen(r->reason));
    }
    return err;
}

void rule_list_free(struct rule_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        rule_free(&l->items[i]);
    free(l->items);
    *l = (struct rule_list){0};
}

/* A number as we write it: no sign, no zeros in front. */
static int parse_number(const char *s, uint64_t max, uint64_t *out)
{
    if (s[0] < '0' || s[0] > '9' || (s[0] == '0' && s[1] != '\0'))
        return -EPROTO;
    return text_parse_u64(s, max, out) < 0 ? -EPROTO : 0;
}

static int parse_name(const char *s, const char *const *names, size_t count, unsigned *out)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], s) == 0) {
            *out = (unsigned)i;
            return 0;
        }
    }
    return -EPROTO;
}

enum { FIELD_NUMBER, FIELD_ACTION, FIELD_KIND, FIELD_SINCE, FIELD_EXPIRES, FIELD_WHAT, FIELD_TO, FIELD_REASON, FIELDS };

static int split(char *line, char *fields[FIELDS])
{
    for (size_t i = 0; i < FIELDS; i++) {
        char *tab = strchr(line, '\t');
        if ((tab == NULL) != (i == FIELDS - 1))
            return -EPROTO;
        fields[i] = line;
        if (tab != NULL)
            *tab = '\0';
        if (line[0] == '\0')
            return -EPROTO;
        line = tab + 1;
    }
    return 0;
}

static char *from_hyphen(char *s)
{
    if (strcmp(s, "-") == 0)
        s[0] = '\0';
    return s;
}

/* The texts stay in the line. */
static int parse_rule(char *line, struct rule *r)
{
    char *f[FIELDS];
    uint64_t number, since, expires;
    unsigned action, kind;
    struct buf why;
    if (split(line, f) < 0 || parse_number(f[FIELD_NUMBER], RULE_NUMBER_MAX, &number) < 0 ||
        parse_name(f[FIELD_ACTION], actions, ARRAY_LENGTH(actions), &action) < 0 ||
        parse_name(f[FIELD_KIND], kinds, ARRAY_LENGTH(kinds), &kind) < 0 ||
        parse_number(f[FIELD_SINCE], INT64_MAX, &since) < 0 ||
        parse_number(f[FIELD_EXPIRES], INT64_MAX, &expires) < 0 || number == 0)
        return -EPROTO;
    *r = (struct rule){.number = (uint32_t)number,
                       .action = (enum rule_action)action,
                       .kind = (enum rule_kind)kind,
                       .since_s = (int64_t)since,
                       .expires_s = (int64_t)expires,
                       .what = f[FIELD_WHAT],
                       .to = from_hyphen(f[FIELD_TO]),
                       .reason = from_hyphen(f[FIELD_REASON])};
    buf_init(&why, 256);
    int err = rule_check(r, &why);
    buf_deinit(&why);
    return err < 0 ? -EPROTO : 0;
}

static int parse_heading(char *line, struct rule_list *l, size_t *count)
{
    uint64_t next, rules;
    if (!text_has_prefix(line, HEADING))
        return -EPROTO;
    char *numbers = line + strlen(HEADING), *blank = strchr(numbers, ' ');
    if (blank == NULL)
        return -EPROTO;
    *blank = '\0';
    if (parse_number(numbers, RULE_NUMBER_MAX + 1u, &next) < 0 || parse_number(blank + 1, RULES_MAX, &rules) < 0 ||
        next == 0)
        return -EPROTO;
    l->next_number = (uint32_t)next;
    *count = (size_t)rules;
    l->items = calloc(*count + 1, sizeof(*l->items));
    return l->items != NULL ? 0 : -ENOMEM;
}

static int add(struct rule_list *l, const struct rule *r, size_t count)
{
    uint32_t last = l->count > 0 ? l->items[l->count - 1].number : 0;
    if (l->count == count || r->number <= last || r->number >= l->next_number)
        return -EPROTO;
    int err = rule_copy(r, &l->items[l->count]);
    l->count += err == 0;
    return err;
}

static int parse_lines(char *text, struct rule_list *out, unsigned *line)
{
    size_t count = 0;
    int err = 0;
    for (char *end; err == 0 && *text != '\0'; text = end + 1) {
        struct rule r;
        ++*line;
        if ((end = strchr(text, '\n')) == NULL)
            return -EPROTO;
        *end = '\0';
        if (*line == 1)
            err = parse_heading(text, out, &count);
        else if ((err = parse_rule(text, &r)) == 0)
            err = add(out, &r, count);
    }
    return err < 0 ? err : *line == 0 || out->count != count ? -EPROTO : 0;
}

int rule_list_parse(const char *text, size_t len, struct rule_list *out, unsigned *line)
{
    char *copy = text_dup_n(text, len);
    *out = (struct rule_list){0};
    *line = 0;
    if (copy == NULL)
        return -ENOMEM;
    int err = strlen(copy) == len ? parse_lines(copy, out, line) : -EPROTO;
    free(copy);
    if (err < 0)
        rule_list_free(out);
    return err;
}
