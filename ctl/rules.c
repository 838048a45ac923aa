/* posthouse queue suspend, bounce, reroute, resume, rules: what is done with mail of a domain, site, tenant or sender.
 */
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "ctl/commands.h"
#include "ctl/filter.h"
#include "ctl/listing.h"
#include "settings/smtp_out.h"

static const struct listing_column columns[] = {
    {"number", "RULE", 4},   {"action", "ACTION", 7}, {"kind", "MAIL OF", 7},   {"what", "", 20},
    {"to", "TO", 16},        {"since", "SINCE", 19},  {"expires", "UNTIL", 19}, {"recipients", "TIMES", 5},
    {"reason", "REASON", 0}, {NULL, NULL, 0},
};

/* Exactly one of the options says whose mail it is; none is allowed where a number does. */
static int take_whose(const struct args *a, bool may_be_none, struct ipc_rule_order *order)
{
    static const struct {
        const char *option;
        enum ipc_rule_kind kind;
    } kinds[] = {{"domain", RULE_KIND_DOMAIN},
                 {"site", RULE_KIND_SITE},
                 {"tenant", RULE_KIND_TENANT},
                 {"sender", RULE_KIND_SENDER}};
    size_t given = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++) {
        const char *what = args_option(a, kinds[i].option);
        if (what == NULL)
            continue;
        order->what = what;
        order->kind = kinds[i].kind;
        given++;
    }
    if (given == 1 || (given == 0 && may_be_none))
        return CTL_OK;
    return ctl_say(CTL_USAGE, "expected exactly one of --domain, --site, --tenant and --sender");
}

static int give(struct ctl *c, const struct ipc_rule_order *order)
{
    enum ipc_type type = IPC_NONE;
    union ipc_any m;
    _cleanup_(fd_closep) int fd = -1;
    if (ipc_sync_send(c->peer, IPC_RULE_ORDER, order) < 0)
        return ctl_say(CTL_TRY_LATER, "qmgr is gone; try again later");
    int status = ctl_receive(c->peer, &type, &m, &fd);
    if (status != CTL_OK)
        return status;
    if (type != IPC_ORDER_DONE)
        return ctl_say(CTL_FAILED, "qmgr sent %s where ORDER_DONE was expected", ipc_type_name(type));
    return ctl_order_done(c, &m.order_done);
}

static int set(struct ctl *c, const struct args *a, enum ipc_rule_verb verb, const char *to)
{
    struct ipc_rule_order order = {.verb = verb, .to = to, .reason = args_option(a, "reason")};
    const char *duration = args_option(a, "for");
    int status = take_whose(a, false, &order);
    if (status == CTL_OK && duration != NULL)
        status = filter_parse_duration("for", duration, &order.for_s);
    return status == CTL_OK ? give(c, &order) : status;
}

int queue_suspend(struct ctl *c, const struct args *a)
{
    return set(c, a, RULE_VERB_SUSPEND, "");
}

int queue_bounce(struct ctl *c, const struct args *a)
{
    return set(c, a, RULE_VERB_BOUNCE, "");
}

static bool has_route(const struct settings_smtp_out *s, const char *name)
{
    for (size_t i = 0; i < s->routes.count; i++) {
        const struct settings_route *r = s->routes.items[i];
        if (text_equal_nocase(r->name, name) && r->hosts.count > 0)
            return true;
    }
    return false;
}

/* smtp-out would put the mail off for a name it does not know. */
static int check_route(const struct ctl *c, const char *name)
{
    struct settings_smtp_out s = {0};
    struct buf errors;
    buf_init(&errors, 65536);
    int r = conf_load(&settings_smtp_out_schema, c->config_dir, &s, &errors);
    if (r < 0)
        ctl_say(CTL_FAILED, "%s", buf_str(&errors));
    buf_deinit(&errors);
    if (r < 0)
        return CTL_FAILED;
    bool found = has_route(&s, name);
    conf_free(&settings_smtp_out_schema, &s);
    return found ? CTL_OK : ctl_say(CTL_FAILED, "smtp-out.conf has no route \"%s\" with hosts", name);
}

int queue_reroute(struct ctl *c, const struct args *a)
{
    const char *to = args_option(a, "to");
    if (to == NULL || to[0] == '\0')
        return ctl_say(CTL_USAGE, "--to is missing: expected route:NAME, HOST or HOST:PORT");
    if (text_has_prefix(to, "route:")) {
        int status = check_route(c, to + strlen("route:"));
        return status == CTL_OK ? set(c, a, RULE_VERB_REROUTE, to) : status;
    }
    if (strpbrk(to, " \t@/\"") != NULL)
        return ctl_say(CTL_USAGE, "--to %s: expected route:NAME, HOST or HOST:PORT", to);
    _cleanup_(freep) char *host = text_format("host:%s", to);
    return host != NULL ? set(c, a, RULE_VERB_REROUTE, host) : ctl_say(CTL_FAILED, "out of memory");
}

int queue_resume(struct ctl *c, const struct args *a)
{
    struct ipc_rule_order order = {.verb = RULE_VERB_RESUME, .reason = args_option(a, "reason")};
    const char *number_text = args_at(a, 0);
    uint64_t number = 0;
    int status = take_whose(a, number_text != NULL, &order);
    if (status != CTL_OK)
        return status;
    if (number_text != NULL &&
        (order.what != NULL || text_parse_u64(number_text, UINT32_MAX, &number) < 0 || number == 0))
        return ctl_say(CTL_USAGE, "%s: expected the number of a rule alone, or whose mail it is for", number_text);
    order.number = (uint32_t)number;
    return give(c, &order);
}

static void show_rule(const struct ipc_rule_item *r, struct listing *l)
{
    listing_number(l, r->number);
    listing_text(l, r->action);
    listing_text(l, r->kind);
    listing_text(l, r->what);
    listing_text(l, r->to);
    listing_time(l, (int64_t)r->since_s);
    listing_time(l, (int64_t)r->expires_s);
    listing_number(l, (int64_t)r->recipients);
    listing_text(l, r->reason);
}

static int receive_rules(struct ctl *c, struct listing *l)
{
    for (;;) {
        enum ipc_type type;
        union ipc_any m;
        _cleanup_(fd_closep) int fd = -1;
        int status = ctl_receive(c->peer, &type, &m, &fd);
        if (status != CTL_OK)
            return status;
        if (type == IPC_ORDER_DONE)
            return ctl_order_done(c, &m.order_done);
        if (type != IPC_RULE_ITEM)
            return ctl_say(CTL_FAILED, "qmgr sent %s where a rule was expected", ipc_type_name(type));
        show_rule(&m.rule_item, l);
    }
}

int queue_rules(struct ctl *c, const struct args *a)
{
    const struct ipc_rule_list ask = {0};
    struct listing l;
    if (ipc_sync_send(c->peer, IPC_RULE_LIST, &ask) < 0)
        return ctl_say(CTL_TRY_LATER, "qmgr is gone; try again later");
    listing_begin(&l, stdout, c->json, columns);
    int status = receive_rules(c, &l);
    listing_end(&l);
    return status;
}
