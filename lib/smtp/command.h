/* command: SMTP command lines as structures (RFC 5321 section 4.1.1 and the extensions in the parameter table). */
#ifndef POSTHOUSE_SMTP_COMMAND_H
#define POSTHOUSE_SMTP_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "mail/address.h"
#include "mail/dsn.h"

enum smtp_verb {
    SMTP_VERB_UNKNOWN,
    SMTP_VERB_HELO,
    SMTP_VERB_EHLO,
    SMTP_VERB_STARTTLS,
    SMTP_VERB_AUTH,
    SMTP_VERB_MAIL,
    SMTP_VERB_RCPT,
    SMTP_VERB_DATA,
    SMTP_VERB_RSET,
    SMTP_VERB_NOOP,
    SMTP_VERB_VRFY,
    SMTP_VERB_EXPN,
    SMTP_VERB_HELP,
    SMTP_VERB_QUIT,
    SMTP_VERB_BDAT,
    SMTP_VERB_XCLIENT,
    SMTP_VERBS,
};

/* Splits a line (without CRLF) at its first blank; *argument points into line, blanks at its end are cut off there. */
enum smtp_verb smtp_command_parse(char *line, size_t len, char **argument);
/* "MAIL"; "unknown". */
const char *smtp_verb_name(enum smtp_verb verb);

enum smtp_body {
    SMTP_BODY_UNSET,
    SMTP_BODY_7BIT,
    SMTP_BODY_8BITMIME,
    SMTP_BODY_BINARYMIME, /* RFC 3030 */
};

/* What is to happen when a message is late (RFC 2852). */
enum smtp_by_mode { SMTP_BY_NONE, SMTP_BY_RETURN, SMTP_BY_NOTIFY };

enum smtp_argument_result {
    SMTP_ARGUMENT_SYNTAX = 1,        /* 501 5.5.4: not "FROM:<...>" or "TO:<...>" */
    SMTP_ARGUMENT_ADDRESS,           /* 501 5.1.7 or 5.1.3: problem says what */
    SMTP_ARGUMENT_NEEDS_UTF8,        /* 553 5.6.7: address beyond ASCII without SMTPUTF8 */
    SMTP_ARGUMENT_UNKNOWN_PARAMETER, /* 555 5.5.4: RFC 5321 section 4.1.1.11 */
    SMTP_ARGUMENT_BAD_PARAMETER,     /* 501 5.5.4: known, but with this value or twice */
};

/* Why an argument was refused; texts are constant, parameter is the keyword as sent, cut. */
struct smtp_argument_fault {
    const char *problem;
    char parameter[32];
};

struct smtp_mail {
    struct mail_address from;
    uint64_t size_bytes; /* SIZE, RFC 1870 */
    bool has_size;
    bool smtputf8;       /* RFC 6531 */
    enum smtp_body body; /* RFC 6152 */
    enum mail_dsn_ret ret;
    char envid[MAIL_DSN_ENVID_MAX + 1]; /* xtext; "" = none */
    bool requiretls;                    /* RFC 8689 */
    uint32_t hold_for_s;                /* RFC 4865 HOLDFOR; 0 = not given */
    int64_t hold_until_s;               /* RFC 4865 HOLDUNTIL, seconds since 1970; 0 = not given */
    enum smtp_by_mode by_mode;          /* RFC 2852 */
    int32_t by_s;                       /* seconds from now; negative: late already */
    bool has_mt_priority;               /* RFC 6710 */
    int mt_priority;                    /* -9 to 9 */
    char auth[501];                     /* RFC 4954 section 5: xtext mailbox or "<>"; "" = none */
    unsigned given;                     /* bit per parameter; private */
};

struct smtp_rcpt {
    struct mail_address to;
    unsigned notify;                    /* enum mail_dsn_notify; 0 = not given */
    char orcpt[MAIL_DSN_ORCPT_MAX + 1]; /* "rfc822;xtext"; "" = none */
    unsigned given;
};

/* The argument of MAIL: "FROM:<path> [parameters]".  offered: enum smtp_extension bits; parameters of others are
 * unknown. 0 or an enum smtp_argument_result with fault filled. */
int smtp_mail_parse(const char *argument, unsigned offered, struct smtp_mail *out, struct smtp_argument_fault *fault);
/* The argument of RCPT: "TO:<path> [parameters]"; smtputf8 as the transaction's MAIL said. */
int smtp_rcpt_parse(const char *argument, unsigned offered, bool smtputf8, struct smtp_rcpt *out,
                    struct smtp_argument_fault *fault);

/* The argument of BDAT: "size [LAST]" (RFC 3030 section 2).  0 or -1: no size can be told from it. */
int smtp_bdat_parse(const char *argument, uint64_t *size, bool *last);

#endif
