/* bounce.conf: the notices that senders get, and which failures put an address on the suppression list. */
#ifndef POSTHOUSE_SETTINGS_BOUNCE_H
#define POSTHOUSE_SETTINGS_BOUNCE_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"

enum settings_suppression_scope { SUPPRESS_FOR_EVERYBODY, SUPPRESS_FOR_TENANT };

struct settings_bounce {
    char *notice_from;             /* "" = MAILER-DAEMON at our host name */
    char *double_bounce_recipient; /* "" = nobody */
    int64_t bounce_size_limit_bytes;
    int64_t notices_max;
    int suppression_scope; /* enum settings_suppression_scope */
    /* How long an address stays on the list, by class of failure; 0 = it is not put there. */
    int64_t suppress_bad_mailbox_ms, suppress_disabled_ms, suppress_bad_domain_ms, suppress_bad_address_ms;
    int64_t freeze_percent, freeze_bounces;
};

extern const struct conf_schema settings_bounce_schema;

#endif
