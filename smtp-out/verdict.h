/* verdict: whose trouble a reply is (site, message or recipient) and whether for now or forever.
 *
 * The one place of smtp-out that decides it; everything else reports what it saw. */
#ifndef POSTHOUSE_SMTP_OUT_VERDICT_H
#define POSTHOUSE_SMTP_OUT_VERDICT_H

#include "ipc/catalogue.h"
#include "mail/status.h"

/* What we were doing, in the order of a session. */
enum stage {
    STAGE_CONNECT,  /* TCP */
    STAGE_GREETING, /* the server's first reply */
    STAGE_EHLO,     /* EHLO or HELO */
    STAGE_STARTTLS, /* the command and the handshake */
    STAGE_AUTH,     /* SASL */
    STAGE_MAIL,     /* MAIL, and RSET before it */
    STAGE_RCPT,
    STAGE_DATA,    /* the command */
    STAGE_CONTENT, /* sending the message */
    STAGE_END,     /* the reply to the final dot */
    STAGE_COUNT,
};

struct verdict {
    enum ipc_outcome outcome;
    enum ipc_blame blame;
    unsigned code;             /* as replied; 0 = no reply */
    struct mail_status status; /* as replied where it fits the outcome, else the nearest */
};

/* code 0: the connection failed, broke or timed out.  status: as replied, class 0 = none. */
struct verdict verdict_decide(enum stage stage, unsigned code, struct mail_status status);

/* For reasons: "while waiting for the reply to RCPT TO". */
const char *stage_text(enum stage stage);

/* The blame of a whole delivery from two of its parts. */
enum ipc_blame blame_worse(enum ipc_blame a, enum ipc_blame b);

#endif
