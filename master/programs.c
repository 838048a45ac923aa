#include "master/programs.h"

#include <stddef.h>

#include "service/service.h"

#define WORKERS(field) offsetof(struct settings_master, field)

const struct program programs[] = {
    {.role = ROLE_QMGR,
     .file = "posthouse-qmgr",
     .one_worker = true,
     .socket = SERVICE_QMGR_SOCKET,
     .lock = true,
     .replaced_in_turn = true,
     .stop_stage = 1},
    {.role = ROLE_AUTH,
     .file = "posthouse-auth",
     .workers_offset = WORKERS(auth_workers),
     .socket = SERVICE_AUTH_SOCKET,
     .stop_stage = 1},
    {.role = ROLE_DKIM_SIGNER,
     .file = "posthouse-dkim-signer",
     .workers_offset = WORKERS(dkim_signer_workers),
     .stop_stage = 2},
    {.role = ROLE_SMTP_OUT, .file = "posthouse-smtp-out", .workers_offset = WORKERS(smtp_out_workers), .stop_stage = 2},
    {.role = ROLE_BOUNCE, .file = "posthouse-bounce", .one_worker = true, .stop_stage = 2},
    {.role = ROLE_SMTPD,
     .file = "posthouse-smtpd",
     .workers_offset = WORKERS(smtpd_workers),
     .listeners = true,
     .retires = true,
     .stop_stage = 0},
    {0},
};

unsigned program_workers(const struct program *p, const struct settings_master *settings)
{
    if (p->one_worker)
        return 1;
    return settings_workers(*(const int64_t *)((const char *)settings + p->workers_offset));
}
