/* transaction: one message on its way in: the envelope from MAIL and RCPT, then the content. */
#ifndef POSTHOUSE_SMTPD_TRANSACTION_H
#define POSTHOUSE_SMTPD_TRANSACTION_H

#include "smtpd/content.h"
#include "smtpd/quota.h"
#include "smtpd/recipients.h"
#include "smtpd/session.h"
#include "store/once.h"

struct transaction {
    struct session *session; /* NULL: the client went away while the message was committed */
    struct smtp_mail mail;
    struct recipients recipients;
    unsigned overshoot;      /* recipients beyond max_recipients */
    struct content *content; /* from DATA on */
    bool committing;
    int64_t room;             /* recipients that quotas allowed when MAIL came */
    struct quota_claim quota; /* what was counted */
    struct once *once;        /* where the key of its header is ours; NULL = it has none, or it is not ours */
    struct once_claim claim;
    bool lookup_failed; /* the suppression list could not be read; logged once */
    char *accepted;     /* the log line of the commit, which has to outlive the session */
    char protocol[16], tls[128];
};

struct transaction *transaction_new(struct session *s, const struct smtp_mail *mail); /* NULL: no memory */
/* Accepts NULL.  One that is being committed lives on without its session. */
void transaction_free(struct transaction *t);

/* Adds a recipient; one that is there already is not added again.  0 or -ENOMEM. */
int transaction_add_recipient(struct transaction *t, const struct smtp_rcpt *rcpt);

/* Creates the queue file with the envelope and the trace field on top of the content, if there is space for so many
 * bytes. 0 or -errno, which was logged unless it is our own -ENOSPC. */
int transaction_begin_content(struct transaction *t, uint64_t bytes);
/* The session has none any more. */
void transaction_end(struct session *s);
/* Tells the client why its content is not taken, and ends the transaction, if there is one. */
void transaction_refuse(struct session *s, const struct content_fault *fault);
/* The content is complete and good: make it durable, then tell the client and qmgr. */
void transaction_commit(struct transaction *t);

#endif
