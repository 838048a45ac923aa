/* qmgr.conf: when and how often delivery is attempted. */
#ifndef POSTHOUSE_SETTINGS_QMGR_H
#define POSTHOUSE_SETTINGS_QMGR_H

#include <stdint.h>

#include "conf/conf.h"

struct settings_qmgr {
    int64_t retry_min_ms, retry_max_ms;
    int64_t lifetime_ms, bounce_lifetime_ms;
    int64_t delay_warning_ms; /* 0 = none */
    int64_t active_messages_max;
    int64_t site_concurrency_max;
    int64_t deliveries_max;
    int64_t scan_interval_ms;
    int64_t sign_wait_max_ms;
};

extern const struct conf_schema settings_qmgr_schema;

#endif
