/* job: one DELIVER from its arrival to SETTLED: finds a session, has it carry the message, and keeps what became of
 * each recipient until qmgr has written it down. */
#ifndef POSTHOUSE_SMTP_OUT_JOB_H
#define POSTHOUSE_SMTP_OUT_JOB_H

#include "smtp-out/connect.h"
#include "smtp-out/deliver.h"
#include "smtp-out/out.h"
#include "smtp-out/site.h"

struct job_recipient {
    uint32_t index, notify;
    char *address, *orcpt;
    bool decided, sent; /* sent: qmgr was told on the channel that is up */
    struct verdict verdict;
    char *reply, *relay, *tls; /* NULL when memory was short */
    bool tells;                /* delivered, and the host takes NOTIFY over (RFC 3461 section 5.2) */
};

struct job {
    struct out *out;
    char *key; /* "number/queue id" */
    uint64_t number;
    char *queue_id, *site_key, *domain, *sender, *headers, *envid, *mt_priority;
    uint32_t flags, ret;
    uint64_t return_by_s, notify_by_s; /* RFC 2852; 0 = none */
    uint64_t content_offset, content_length;
    int fd;
    struct job_recipient *recipients;
    size_t count;

    struct site_lookup *lookup;
    struct site *site;
    struct connect *connect; /* NULL while the session is one from the pool */
    struct session *session;
    struct deliver deliver;
    struct timer deadline;
    unsigned connections; /* opened for it */
    unsigned messages_per_connection;
    bool kept; /* the last one waits in the pool */

    bool finished, done_sent;
    enum ipc_blame blame;
    const struct job_recipient *blamed; /* whose reply is the reason */
    bool is_unsent;
    TAILQ_ENTRY(job) unsent;
    UT_hash_handle hh;
};

/* Takes the descriptor in any case.  0 or -ENOMEM, -EEXIST. */
int job_start(struct out *out, const struct ipc_deliver *order, int fd);
/* NULL = none. */
struct job *job_find(struct out *out, uint64_t number, const char *queue_id);
void job_free(struct job *j);

/* Called by deliver, which is done with the job's session then. */
/* The session can be used again (or was closed by deliver and is NULL). */
void job_transaction_over(struct job *j);
/* The session broke, or the server wants to close it, before any of the message was sent: another may do better. */
void job_session_lost(struct job *j, const struct failure *why);

/* The first decision counts. */
void job_decide(struct job *j, struct job_recipient *r, const struct failure *f);
/* All recipients that are not decided. */
void job_decide_rest(struct job *j, const struct failure *f);

#endif
