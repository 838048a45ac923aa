/* posthouse suppress ...: the suppression database. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "ctl/commands.h"
#include "ctl/listing.h"
#include "store/suppression.h"

#define PAGE     500
#define DAY_S    86400
#define DAYS_MAX 36500

static const struct listing_column columns[] = {
    {"address", "ADDRESS", 32}, {"tenant", "TENANT", 8},   {"reason", "REASON", 11},
    {"code", "CODE", 4},        {"enhanced", "STATUS", 6}, {"since", "SINCE", 19},
    {"expires", "EXPIRES", 19}, {"added_by", "BY", 6},     {"queue_id", "MESSAGE", 13},
    {"reply", "REPLY", 0},      {NULL, NULL, 0},
};

static int show_row(const struct suppression_row *row, void *arg)
{
    struct listing *l = arg;
    listing_text(l, row->address);
    listing_text(l, row->scope);
    listing_text(l, row->reason);
    listing_number(l, row->code);
    listing_text(l, row->enhanced);
    listing_time(l, row->since_s);
    listing_time(l, row->expires_s);
    listing_text(l, row->added_by);
    listing_text(l, row->queue_id);
    listing_text(l, row->reply);
    return 0;
}

static int parse_number(const struct args *a, const char *option, uint64_t max, uint64_t *out)
{
    const char *text = args_option(a, option);
    if (text == NULL || text_parse_u64(text, max, out) == 0)
        return CTL_OK;
    return ctl_say(CTL_USAGE, "--%s %s: expected a number from 0 to %llu", option, text, (unsigned long long)max);
}

static int show_pages(struct suppression *s, const char *after, uint64_t limit, struct listing *l)
{
    struct suppression_cursor cursor = {0};
    snprintf(cursor.address, sizeof(cursor.address), "%s", after != NULL ? after : "");
    for (uint64_t left = limit > 0 ? limit : UINT64_MAX; left > 0;) {
        unsigned page = left < PAGE ? (unsigned)left : PAGE;
        int n = suppression_list(s, &cursor, page, show_row, l);
        if (n < 0)
            return n;
        if ((unsigned)n < page)
            return 0;
        left -= (unsigned)n;
    }
    return 0;
}

int suppress_list(struct ctl *c, const struct args *a)
{
    struct suppression *s = NULL;
    struct listing l;
    uint64_t limit = 0;
    int status = parse_number(a, "limit", UINT32_MAX, &limit);
    if (status != CTL_OK)
        return status;
    int r = suppression_open_reader(c->shared.suppression_database, &s);
    listing_begin(&l, stdout, c->json, columns);
    if (r == 0)
        r = show_pages(s, args_option(a, "after"), limit, &l);
    listing_end(&l);
    suppression_free(s);
    return r < 0 ? ctl_say(CTL_FAILED, "%s: %s", c->shared.suppression_database, text_errno(r)) : CTL_OK;
}

static int outcome(const char *address, int r)
{
    switch (r) {
    case 0:
        return CTL_OK;
    case -ENOENT:
        return ctl_say(CTL_FAILED, "%s: not on the list", address);
    case -EINVAL:
        return ctl_say(CTL_USAGE, "%s: expected an address, local-part@domain", address);
    case -EBUSY:
        return ctl_say(CTL_TRY_LATER, "%s: the suppression database is busy; try again later", address);
    default:
        return ctl_say(CTL_FAILED, "%s: %s; nothing was changed", address, text_errno(r));
    }
}

static int open_database(struct ctl *c, struct suppression **out)
{
    const char *path = c->shared.suppression_database;
    int status = ctl_make_folder(c, path, c->shared.bounce_user, c->shared.suppression_group);
    if (status != CTL_OK)
        return status;
    int r = suppression_open_writer(path, out);
    return r < 0 ? ctl_say(r == -EBUSY ? CTL_TRY_LATER : CTL_FAILED, "%s: %s", path, text_errno(r)) : CTL_OK;
}

static const char *or_else(const char *text, const char *otherwise)
{
    return text != NULL ? text : otherwise;
}

static int fill_row(const struct args *a, struct suppression_row *row)
{
    uint64_t days = 0;
    int status = parse_number(a, "days", DAYS_MAX, &days);
    const char *address = args_at(a, 0), *tenant = or_else(args_option(a, "tenant"), "");
    if (status != CTL_OK)
        return status;
    if (strlen(address) > SUPPRESSION_ADDRESS_MAX || strlen(tenant) > SUPPRESSION_SCOPE_MAX)
        return outcome(address, -EINVAL);
    *row = (struct suppression_row){.reason = "manual", .added_by = "admin"};
    snprintf(row->address, sizeof(row->address), "%s", address);
    snprintf(row->scope, sizeof(row->scope), "%s", tenant);
    snprintf(row->reply, sizeof(row->reply), "%s", or_else(args_option(a, "reason"), "added by the administrator"));
    row->expires_s = days > 0 ? clock_wall_s() + (int64_t)days * DAY_S : 0;
    return CTL_OK;
}

int suppress_add(struct ctl *c, const struct args *a)
{
    struct suppression *s = NULL;
    struct suppression_row row;
    int status = fill_row(a, &row);
    if (status == CTL_OK)
        status = open_database(c, &s);
    if (status == CTL_OK)
        status = outcome(row.address, suppression_add(s, &row));
    if (status == CTL_OK)
        ctl_note(c, "mail to %s is refused from now on", row.address);
    suppression_free(s);
    return status;
}

int suppress_remove(struct ctl *c, const struct args *a)
{
    struct suppression *s = NULL;
    const char *address = args_at(a, 0);
    int status = open_database(c, &s);
    if (status == CTL_OK)
        status = outcome(address, suppression_remove(s, address, or_else(args_option(a, "tenant"), "")));
    if (status == CTL_OK)
        ctl_note(c, "mail to %s is accepted again", address);
    suppression_free(s);
    return status;
}
