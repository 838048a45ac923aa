/* master.conf: how many of each program, and what happens when one dies. */
#ifndef POSTHOUSE_SETTINGS_MASTER_H
#define POSTHOUSE_SETTINGS_MASTER_H

#include <stdint.h>

#include "conf/conf.h"

struct settings_master {
    int64_t smtpd_workers, auth_workers, dkim_signer_workers, smtp_out_workers; /* 0 = one per processor */
    int64_t restart_delay_min_ms, restart_delay_max_ms;
    int64_t listen_backlog;
    int64_t retire_timeout_ms, certificate_check_ms;
};

extern const struct conf_schema settings_master_schema;

/* The number of workers a parameter means: 0 becomes the number of processors. */
unsigned settings_workers(int64_t configured);

#endif
