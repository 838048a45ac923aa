/* role: the programs of the suite, as they name themselves to each other. */
#ifndef POSTHOUSE_IPC_ROLE_H
#define POSTHOUSE_IPC_ROLE_H

#include <stdint.h>

enum ipc_role {
    ROLE_NONE,
    ROLE_MASTER,
    ROLE_SMTPD,
    ROLE_AUTH,
    ROLE_QMGR,
    ROLE_DKIM_SIGNER,
    ROLE_SMTP_OUT,
    ROLE_BOUNCE,
    ROLE_CTL,
    ROLE_COUNT,
};

#define ROLE_BIT(role) (1u << (role))

/* "smtpd", "dkim-signer", …; "?" for anything else. */
const char *role_name(unsigned role);

#endif
