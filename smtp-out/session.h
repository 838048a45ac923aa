/* session: one connection to a mail server: its stream, the replies in order, what the server offers.
 *
 * A session has one owner at a time (connect while it is set up, deliver while it carries a message, pool while it
 * waits for the next one) and hands it events; which reply answers what is the owner's business. */
#ifndef POSTHOUSE_SMTP_OUT_SESSION_H
#define POSTHOUSE_SMTP_OUT_SESSION_H

#include "base/hash.h"
#include "base/list.h"
#include "smtp-out/out.h"
#include "smtp/ehlo.h"
#include "smtp/reply.h"
#include "tls/stream.h"
#include "smtp-out/verdict.h"

enum {
    SESSION_INPUT_MAX = 32 * 1024,
    SESSION_OUTPUT_MAX = 160 * 1024, /* a pipelined envelope of IPC_RECIPIENTS_MAX recipients fits */
    SESSION_RELAY_MAX = 400,         /* "host[address]:port" */
    SESSION_TLS_MAX = 128,
};

/* The owner may free the session or hand it on in any of them. */
struct session_ops {
    void (*on_connected)(void *arg);
    void (*on_reply)(void *arg, const struct smtp_reply *reply);
    void (*on_drained)(void *arg);
    void (*on_secure)(void *arg);
    /* The connection is over (closed, broken, timed out, or no reply could be made of what came); why for a reason. */
    void (*on_end)(void *arg, const char *why, bool tls_failed);
};

struct session {
    struct out *out;
    struct stream *stream;
    const struct session_ops *ops;
    void *arg;
    bool in_input, freed; /* events are being handed out; the owner freed it meanwhile */
    struct smtp_reply reply;
    struct smtp_ehlo offers;
    char *site;                    /* which deliveries may use it */
    char relay[SESSION_RELAY_MAX]; /* for results and the log */
    char tls[SESSION_TLS_MAX];     /* "TLSv1.3/TLS_AES_256_GCM_SHA384/verified" or "none" */
    bool verified;                 /* TLS, and it is who it should be */
    unsigned messages;             /* carried so far */
    unsigned messages_max;         /* then it is not used again, as the site has it; 0 = no limit of the site's */
    bool reset_first;              /* the last transaction was not finished: RSET goes before MAIL */
    struct timer idle;             /* pool */
    bool quitting;                 /* nobody owns it but out->quitting */
    TAILQ_ENTRY(session) link;     /* pool: all by age; out->quitting */
    TAILQ_ENTRY(session) peer;     /* pool: of one site */
};

/* Begins to connect to address, a host called name.  0 or -errno; then on_connected or on_end comes. */
int session_open(struct out *out, const char *name, const struct net_address *address, const struct session_ops *ops,
                 void *arg, struct session **result);
/* Closes at once. */
void session_free(struct session *s);
/* Says QUIT and closes; the session is gone for the caller.  RFC 5321 section 4.1.1.10 wants the reply read; nobody
 * waits for it. */
void session_quit(struct session *s);
void session_set_owner(struct session *s, const struct session_ops *ops, void *arg);

/* Bounds the wait for the next reply. */
void session_expect_ms(struct session *s, int64_t ms);
/* Nothing is awaited: no time-out. */
void session_expect_nothing(struct session *s);

#endif
