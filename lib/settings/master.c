#include "settings/master.h"

#include <stddef.h>
#include <unistd.h>

#define AT(field)   offsetof(struct settings_master, field)
#define WORKERS_MAX 64

static const struct conf_param params[] = {
    {"smtpd_workers", CONF_INT, AT(smtpd_workers), "0", 0, WORKERS_MAX, NULL,
     "Number of smtpd processes; 0 = one per processor; a change needs a restart"},
    {"auth_workers", CONF_INT, AT(auth_workers), "1", 0, WORKERS_MAX, NULL,
     "Number of auth processes; 0 = one per processor"},
    {"dkim_signer_workers", CONF_INT, AT(dkim_signer_workers), "0", 0, WORKERS_MAX, NULL,
     "Number of dkim-signer processes; 0 = one per processor"},
    {"smtp_out_workers", CONF_INT, AT(smtp_out_workers), "0", 0, WORKERS_MAX, NULL,
     "Number of smtp-out processes; 0 = one per processor"},
    {"restart_delay_min", CONF_DURATION, AT(restart_delay_min_ms), "100ms", 1, 3600000, NULL,
     "How soon a program that died is started again; doubles while it keeps dying"},
    {"restart_delay_max", CONF_DURATION, AT(restart_delay_max_ms), "10s", 1, 3600000, NULL,
     "The longest wait before a program that keeps dying is started again"},
    {"listen_backlog", CONF_INT, AT(listen_backlog), "4096", 1, 65535, NULL,
     "Connections the kernel keeps waiting per listening socket"},
    {"retire_timeout", CONF_DURATION, AT(retire_timeout_ms), "1h", 0, 86400000, NULL,
     "How long sessions of an smtpd that was replaced may go on; those left then are told to come again"},
    {"certificate_check", CONF_DURATION, AT(certificate_check_ms), "10s", 0, 86400000, NULL,
     "How often master looks whether a certificate or key of smtpd.conf changed; smtpd is replaced when the files have "
     "rested so long; 0 = only at a reload"},
    {0},
};

const struct conf_schema settings_master_schema = {
    .file = "master.conf", .params = params, .size = sizeof(struct settings_master)};

unsigned settings_workers(int64_t configured)
{
    if (configured > 0)
        return (unsigned)configured;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : cores > WORKERS_MAX ? WORKERS_MAX : (unsigned)cores;
}
