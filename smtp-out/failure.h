/* failure: why a recipient got nothing, or the reply it got its message with, in the form that results have. */
#ifndef POSTHOUSE_SMTP_OUT_FAILURE_H
#define POSTHOUSE_SMTP_OUT_FAILURE_H

#include "smtp-out/session.h"
#include "smtp-out/verdict.h"

struct failure {
    struct verdict verdict;
    char reason[IPC_REPLY_MAX];
    char relay[SESSION_RELAY_MAX];
    char tls[SESSION_TLS_MAX];
};

/* s may be NULL: nobody was reached. */
void failure_from_loss(struct failure *f, const struct session *s, enum stage stage, const char *why);
void failure_from_trouble(struct failure *f, const struct session *s, enum trouble trouble, const char *why);
void failure_from_reply(struct failure *f, const struct session *s, enum stage stage, const struct smtp_reply *reply);

#endif
