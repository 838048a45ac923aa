/* qmgr.conf: when and how often delivery is attempted. */
#ifndef POSTHOUSE_SETTINGS_QMGR_H
#define POSTHOUSE_SETTINGS_QMGR_H

#include <stdint.h>

#include "conf/conf.h"

struct settings_qmgr {
    int64_t retry_min_ms, retry_max_ms;
    int64_t lifetime_ms, bounce_lifetime_ms;
    int64_t delay_warning_ms; /* 0 = none */
    int64_t active_messages_max, active_recipients_max;
    int64_t greylist_retry_ms;
    int64_t site_concurrency_start, site_concurrency_max;
    int64_t deliveries_max;
    int64_t scan_interval_ms;
    int64_t sign_wait_max_ms;
    struct conf_blocks sites;   /* struct settings_site */
    struct conf_blocks tenants; /* struct settings_tenant */
};

/* Limits of the sites whose best host, or route, matches the name of the block. */
struct settings_site {
    char *name;              /* shell pattern */
    int64_t concurrency_max; /* 0 = site_concurrency_max */
    /* 0 = no limit */
    int64_t connections_max, connections_per_minute, messages_per_connection;
    int64_t messages_per_minute, recipients_per_minute, recipients_per_message;
};

struct settings_tenant {
    char *name;
    int64_t weight;
    int lane; /* 0 = transactional, 1 = bulk */
};

extern const struct conf_schema settings_qmgr_schema;

#endif
