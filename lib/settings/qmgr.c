#include "settings/qmgr.h"

#include <errno.h>
#include <stddef.h>

#define AT(field)        offsetof(struct settings_qmgr, field)
#define AT_SITE(field)   offsetof(struct settings_site, field)
#define AT_TENANT(field) offsetof(struct settings_tenant, field)
#define DAY_MS           INT64_C(86400000)

static const char *const lanes[] = {"transactional", "bulk", NULL};

static const struct conf_param params[] = {
    {"retry_min", CONF_DURATION, AT(retry_min_ms), "5m", 1000, 30 * DAY_MS, NULL,
     "Wait after the first failed attempt; doubles with every further one"},
    {"retry_max", CONF_DURATION, AT(retry_max_ms), "4h", 1000, 30 * DAY_MS, NULL,
     "The longest wait between two attempts"},
    {"lifetime", CONF_DURATION, AT(lifetime_ms), "5d", 0, 365 * DAY_MS, NULL,
     "How long delivery is tried before the message is returned; 0 = one attempt"},
    {"bounce_lifetime", CONF_DURATION, AT(bounce_lifetime_ms), "2d", 0, 365 * DAY_MS, NULL,
     "The same for notices (null reverse-path), which are then dropped"},
    {"delay_warning", CONF_DURATION, AT(delay_warning_ms), "4h", 0, 365 * DAY_MS, NULL,
     "Tell the sender once that a message waits when it is this old; 0 = never"},
    {"active_messages_max", CONF_INT, AT(active_messages_max), "20000", 100, 1000000, NULL,
     "Messages worked on at a time; others wait in the queue"},
    {"active_recipients_max", CONF_INT, AT(active_recipients_max), "200000", 1000, 10000000, NULL,
     "Recipients of all messages worked on; no further message is begun beyond it"},
    {"greylist_retry", CONF_DURATION, AT(greylist_retry_ms), "1m", 1000, DAY_MS, NULL,
     "Wait after a first attempt that was put off with 450 or 451, if retry_min is longer"},
    {"site_concurrency_start", CONF_INT, AT(site_concurrency_start), "5", 1, 10000, NULL,
     "Deliveries to one site at a time before anything is known of it; grows on success and shrinks on trouble"},
    {"site_concurrency_max", CONF_INT, AT(site_concurrency_max), "20", 1, 10000, NULL,
     "Deliveries to one site at a time at most"},
    {"deliveries_max", CONF_INT, AT(deliveries_max), "1000", 1, 100000, NULL, "Deliveries at a time in all"},
    {"scan_interval", CONF_DURATION, AT(scan_interval_ms), "60s", 1000, DAY_MS, NULL,
     "How often the queue is looked through for messages nobody announced"},
    {"sign_wait_max", CONF_DURATION, AT(sign_wait_max_ms), "30s", 100, DAY_MS, NULL,
     "How long a message waits for a DKIM signer that does not answer before the attempt is put off"},
    {0},
};

static const struct conf_param site_params[] = {
    {"concurrency_max", CONF_INT, AT_SITE(concurrency_max), "0", 0, 10000, NULL,
     "Deliveries to the site at a time at most; 0 = site_concurrency_max"},
    {"connections_max", CONF_INT, AT_SITE(connections_max), "0", 0, 10000, NULL,
     "Connections to the site at a time, with those that wait for the next message; 0 = no limit but the deliveries at "
     "a "
     "time"},
    {"connections_per_minute", CONF_INT, AT_SITE(connections_per_minute), "0", 0, 1000000, NULL,
     "New connections to the site in a minute, evenly spread; 0 = no limit"},
    {"messages_per_connection", CONF_INT, AT_SITE(messages_per_connection), "0", 0, 1000000, NULL,
     "Messages over one connection, if that is less than smtp-out.conf: messages_per_connection_max; 0 = no limit but "
     "that"},
    {"recipients_per_message", CONF_INT, AT_SITE(recipients_per_message), "0", 0, 50, NULL,
     "Recipients one delivery carries at most; 0 = 50"},
    {"recipients_per_minute", CONF_INT, AT_SITE(recipients_per_minute), "0", 0, 100000000, NULL,
     "Recipients at the site in a minute, evenly spread; 0 = no limit"},
    {"messages_per_minute", CONF_INT, AT_SITE(messages_per_minute), "0", 0, 100000000, NULL,
     "Deliveries to the site in a minute, evenly spread; 0 = no limit"},
    {0},
};

static const struct conf_param tenant_params[] = {
    {"weight", CONF_INT, AT_TENANT(weight), "1", 1, 1000, NULL,
     "Share of the tenant where several have mail for a site or wait for the machine"},
    {"lane", CONF_ENUM, AT_TENANT(lane), "transactional", 0, 0, lanes,
     "bulk = all mail of the tenant waits behind everybody's transactional mail"},
    {0},
};

static const struct conf_block blocks[] = {
    {"site", site_params, sizeof(struct settings_site), AT(sites),
     "Limits of sites; the name is a pattern for their best host (*.example.com) or route (route:name); the first that "
     "matches counts"},
    {"tenant", tenant_params, sizeof(struct settings_tenant), AT(tenants), "How much of the machine a tenant gets"},
    {0},
};

static int check(const void *settings, struct buf *why)
{
    const struct settings_qmgr *s = settings;
    if (s->retry_min_ms > s->retry_max_ms) {
        buf_append_str(why, "retry_min is longer than retry_max: expected retry_min <= retry_max");
        return -EINVAL;
    }
    return 0;
}

const struct conf_schema settings_qmgr_schema = {
    .file = "qmgr.conf", .params = params, .blocks = blocks, .size = sizeof(struct settings_qmgr), .check = check};
