/* auth.conf: how clients prove who they are. */
#ifndef POSTHOUSE_SETTINGS_AUTH_H
#define POSTHOUSE_SETTINGS_AUTH_H

#include <stdint.h>

#include "conf/conf.h"

struct settings_auth {
    struct conf_list mechanisms;
    char *realm;
    int64_t iterations;
    int64_t verdict_ttl_ms, verdicts_max;
    int64_t failures_free, failure_delay_ms, failure_delay_max_ms, failure_forget_ms, failures_per_minute;
    int64_t step_timeout_ms, sessions_max;
};

extern const struct conf_schema settings_auth_schema;

#endif
