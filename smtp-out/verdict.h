/* verdict: whose trouble something is (site, message, recipient, or nobody but us) and whether for now or forever.
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

/* What we find out without a reply. */
enum trouble {
    TROUBLE_OURS,              /* memory, descriptors, the queue file */
    TROUBLE_NO_DOMAIN,         /* the domain does not exist */
    TROUBLE_NULL_MX,           /* it takes no mail (RFC 7505) */
    TROUBLE_NO_SERVER,         /* it has no mail server */
    TROUBLE_LOOP,              /* we are its best mail server */
    TROUBLE_DNS,               /* nobody can tell now */
    TROUBLE_SERVER_UNKNOWN,    /* its mail server has no address */
    TROUBLE_RELAY_UNKNOWN,     /* the relay of a route has no address: a fault of the configuration */
    TROUBLE_TLS_NOT_OFFERED,   /* and required */
    TROUBLE_TLS_FAILED,        /* and required */
    TROUBLE_NO_AUTHENTICATION, /* no mechanism in common, or the server is not who it should be */
    TROUBLE_TOO_LARGE,         /* RFC 1870 */
    TROUBLE_NEEDS_8BITMIME,    /* RFC 6152 */
    TROUBLE_NEEDS_SMTPUTF8,    /* RFC 6531 */
    TROUBLE_NEEDS_BINARYMIME,  /* RFC 3030 */
    TROUBLE_NEEDS_REQUIRETLS,  /* RFC 8689 */
    TROUBLE_LATE,              /* RFC 2852 */
    TROUBLE_COUNT,
};
struct verdict verdict_of_trouble(enum trouble trouble);

/* For reasons: "while waiting for the reply to RCPT TO". */
const char *stage_text(enum stage stage);

/* The blame of a whole delivery from two of its parts. */
enum ipc_blame blame_worse(enum ipc_blame a, enum ipc_blame b);

#endif
