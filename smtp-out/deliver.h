/* deliver: one transaction over a session: MAIL, RCPT, DATA and the content (RFC 5321 section 3.3), pipelined where the
 * server can (RFC 2920). */
#ifndef POSTHOUSE_SMTP_OUT_DELIVER_H
#define POSTHOUSE_SMTP_OUT_DELIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/catalogue.h"
#include "smtp/data.h"

struct job;

/* The steps are RSET (where needed), MAIL, one RCPT for each pending recipient, DATA. */
struct deliver {
    unsigned sent, replied; /* steps */
    uint8_t pending[IPC_RECIPIENTS_MAX], accepted[IPC_RECIPIENTS_MAX];
    unsigned pending_count, accepted_count;
    bool pipelining, mail_refused;
    bool chunks;         /* BDAT instead of DATA (RFC 3030) */
    bool sending, ended; /* the content; its final dot, or byte, went out */
    size_t headers_sent;
    uint64_t content_sent;
    char tail[2]; /* the last two bytes of content */
    struct smtp_data_encoder encoder;
};

/* Sends the job's message to its undecided recipients over job->session.  Ends in job_transaction_over or
 * job_session_lost, later or at once. */
void deliver_start(struct job *j);

#endif
