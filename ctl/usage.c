/* posthouse usage ..., user usage, user thaw: what smtpd and bounce count of those who send (store/usage.h). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/net.h"
#include "base/text.h"
#include "ctl/commands.h"
#include "ctl/credentials.h"
#include "ctl/listing.h"

struct usage *ctl_usage_open(const struct ctl *c, int *r)
{
    struct usage *usage = NULL;
    char *path = text_format("%s/usage", c->shared.state_directory);
    *r = path == NULL ? -ENOMEM : access(path, F_OK) < 0 ? 0 : usage_open(path, &usage);
    free(path);
    return usage;
}

int64_t ctl_frozen_since_s(struct usage *usage, const char *name)
{
    struct usage_standing standing = {0};
    if (usage != NULL)
        usage_standing(usage, name, &standing);
    return standing.frozen_s;
}

void ctl_void_sessions(const struct ctl *c, const char *name)
{
    int r;
    struct usage *usage = ctl_usage_open(c, &r);
    if (usage != NULL)
        r = usage_void_sessions(usage, name);
    if (r < 0)
        ctl_note(c, "%s/usage: %s: sessions that are open go on as they are", c->shared.state_directory, text_errno(r));
    usage_close(usage);
}

static int say_unreadable(const struct ctl *c, int r)
{
    return ctl_say(CTL_FAILED, "%s/usage: %s", c->shared.state_directory, text_errno(r));
}

static const struct listing_column columns[] = {
    {"name", "NAME", 24},
    {"messages_minute", "MESSAGES/MIN", 12},
    {"messages_hour", "HOUR", 8},
    {"messages_day", "DAY", 8},
    {"recipients_minute", "RECIPIENTS/MIN", 14},
    {"recipients_hour", "HOUR", 8},
    {"recipients_day", "DAY", 8},
    /* of credentials only */
    {"bounces_day", "BOUNCES/DAY", 11},
    {"frozen", "FROZEN", 19},
    {NULL, NULL, 0},
};
enum { COLUMNS_OF_ALL = 7 };

/* What the columns show; all are zero where nothing of it was heard.  0 or -errno. */
static int show_counts(struct listing *l, struct usage *usage, enum usage_kind kind, const char *name)
{
    struct usage_counts counts = {0};
    int r = usage != NULL ? usage_read(usage, kind, name, &counts) : 0;
    listing_text(l, name);
    for (int p = 0; p < USAGE_PERIODS; p++)
        listing_number(l, counts.messages[p]);
    for (int p = 0; p < USAGE_PERIODS; p++)
        listing_number(l, counts.recipients[p]);
    if (kind == USAGE_CREDENTIAL) {
        listing_number(l, counts.bounces[USAGE_DAY]);
        listing_time(l, ctl_frozen_since_s(usage, name));
    }
    return r == -ENOENT ? 0 : r;
}

/* -- credentials */

struct usage_listing {
    struct listing listing;
    struct usage *usage;
};

static int show_credential(const struct credential *row, void *arg)
{
    struct usage_listing *l = arg;
    return show_counts(&l->listing, l->usage, USAGE_CREDENTIAL, row->name);
}

static int show_named(struct credentials *db, const char *name, struct usage_listing *l)
{
    struct credential row;
    int r = credentials_lookup(db, name, &row);
    if (r == 0)
        return ctl_say(CTL_FAILED, "%s: no such credential", name);
    if (r > 0)
        r = show_credential(&row, l);
    return r < 0 ? ctl_say(CTL_FAILED, "%s: %s", name, text_errno(r)) : CTL_OK;
}

int user_usage(struct ctl *c, const struct args *a)
{
    struct credentials *db = NULL;
    struct usage_listing l = {0};
    int r, status = ctl_credentials_open(c, &db);
    if (status != CTL_OK)
        return status;
    l.usage = ctl_usage_open(c, &r);
    if (r < 0) {
        credentials_free(db);
        return say_unreadable(c, r);
    }
    listing_begin(&l.listing, stdout, c->json, columns);
    for (size_t i = 0; i < a->count; i++) {
        int one = show_named(db, a->positional[i], &l);
        status = one != CTL_OK ? one : status;
    }
    if (a->count == 0)
        r = credentials_list(db, show_credential, &l);
    listing_end(&l.listing);
    credentials_free(db);
    usage_close(l.usage);
    return r < 0 ? ctl_say(CTL_FAILED, "%s: %s", c->shared.credentials_database, text_errno(r)) : status;
}

int user_thaw(struct ctl *c, const struct args *a)
{
    int r, status = CTL_OK;
    struct usage *usage = ctl_usage_open(c, &r);
    if (r < 0)
        return say_unreadable(c, r);
    for (size_t i = 0; i < a->count; i++) {
        r = usage != NULL ? usage_thaw(usage, a->positional[i]) : -ENOENT;
        if (r == 0)
            ctl_note(c, "credential %s may send again", a->positional[i]);
        else
            status = ctl_say(CTL_FAILED, "%s: %s", a->positional[i], r == -ENOENT ? "is not frozen" : text_errno(r));
    }
    usage_close(usage);
    return status;
}

/* -- everybody else */

static int find_kind(const char *word, enum usage_kind *kind)
{
    for (*kind = USAGE_TENANT; *kind < USAGE_KINDS; (*kind)++)
        if (strcmp(word, usage_kind_name(*kind)) == 0)
            return CTL_OK;
    return ctl_say(CTL_USAGE, "%s: expected tenant, client or network", word);
}

/* As smtpd calls it: an IPv6 client by its /64, a network with its size. */
static int find_name(enum usage_kind kind, const char *given, char text[NET_TEXT_MAX], const char **name)
{
    struct net_address address;
    struct net_cidr network;
    *name = given;
    if (kind == USAGE_CLIENT && strcmp(given, "local") != 0) {
        text[0] = '\0';
        snprintf(text, NET_TEXT_MAX, "%.*s", (int)strcspn(given, "/"), given);
        if (net_parse(text, 0, &address) < 0)
            return ctl_say(CTL_USAGE, "%s: expected an address, as 192.0.2.1 or 2001:db8::1", given);
        *name = net_format_client(&address, text);
    }
    if (kind == USAGE_NETWORK && strcmp(given, "local") != 0 && net_cidr_parse(given, &network) < 0)
        return ctl_say(CTL_USAGE, "%s: expected a network of the size that its quota has, as 192.0.2.0/24", given);
    return CTL_OK;
}

int usage_show(struct ctl *c, const struct args *a)
{
    char text[NET_TEXT_MAX];
    const char *name;
    enum usage_kind kind;
    struct listing l;
    struct listing_column shown[COLUMNS_OF_ALL + 1] = {0};
    memcpy(shown, columns, COLUMNS_OF_ALL * sizeof(*columns));
    int r, status = find_kind(a->positional[0], &kind);
    for (size_t i = 1; i < a->count && status == CTL_OK; i++)
        status = find_name(kind, a->positional[i], text, &name);
    if (status != CTL_OK)
        return status;
    struct usage *usage = ctl_usage_open(c, &r);
    if (r < 0)
        return say_unreadable(c, r);
    listing_begin(&l, stdout, c->json, shown);
    for (size_t i = 1; i < a->count && r == 0; i++) {
        find_name(kind, a->positional[i], text, &name);
        r = show_counts(&l, usage, kind, name);
    }
    listing_end(&l);
    usage_close(usage);
    return r < 0 ? say_unreadable(c, r) : CTL_OK;
}
