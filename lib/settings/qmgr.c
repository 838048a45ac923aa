#include "settings/qmgr.h"

#include <errno.h>
#include <stddef.h>

#define AT(field) offsetof(struct settings_qmgr, field)
#define DAY_MS    INT64_C(86400000)

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
    {"site_concurrency_max", CONF_INT, AT(site_concurrency_max), "20", 1, 10000, NULL,
     "Deliveries to one site at a time"},
    {"deliveries_max", CONF_INT, AT(deliveries_max), "1000", 1, 100000, NULL, "Deliveries at a time in all"},
    {"scan_interval", CONF_DURATION, AT(scan_interval_ms), "60s", 1000, DAY_MS, NULL,
     "How often the queue is looked through for messages nobody announced"},
    {"sign_wait_max", CONF_DURATION, AT(sign_wait_max_ms), "30s", 100, DAY_MS, NULL,
     "How long a message waits for a DKIM signer that does not answer before the attempt is put off"},
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
    .file = "qmgr.conf", .params = params, .size = sizeof(struct settings_qmgr), .check = check};
