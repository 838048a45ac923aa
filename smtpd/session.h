/* session: one client connection, from greeting to goodbye.  What it says about one message is a transaction
 * (transaction.h), which ends without touching the session. */
#ifndef POSTHOUSE_SMTPD_SESSION_H
#define POSTHOUSE_SMTPD_SESSION_H

#include "smtpd/auth_client.h"
#include "smtpd/server.h"
#include "smtp/command.h"
#include "smtp/ehlo.h"
#include "smtp/line.h"
#include "tls/stream.h"

/* Whose turn it is. */
enum session_phase {
    SESSION_PROXY,         /* a load balancer's: it says who the client is */
    SESSION_GREETING,      /* TLS handshake of an implicit-TLS listener */
    SESSION_HUSH,          /* nobody's: a client that speaks now is turned away */
    SESSION_COMMAND,       /* the client's: a command */
    SESSION_HANDSHAKE,     /* TLS handshake after STARTTLS */
    SESSION_AUTH_RESPONSE, /* the client's: its answer to a challenge */
    SESSION_AUTH_WAIT,     /* ours: auth is asked */
    SESSION_DOMAIN_WAIT,   /* ours: qmgr is asked about a recipient's domain */
    SESSION_DATA,          /* the client's: content */
    SESSION_CHUNK,         /* the client's: the bytes of a BDAT */
    SESSION_COMMIT,        /* ours: the message is being made durable */
    SESSION_CLOSING,       /* the last reply is on its way */
};

/* What becomes of the BDAT under way. */
enum chunk_fate {
    CHUNK_TAKEN,
    CHUNK_NOT_OFFERED,
    CHUNK_NO_EHLO,
    CHUNK_NO_TRANSACTION,
    CHUNK_NO_RECIPIENTS,
    CHUNK_NO_SPACE
};

/* Whose mail a login makes it. */
struct session_owner {
    const char *credential, *tenant;
    const char *senders; /* what it may send as (mail/senders.h) */
    bool bulk;
};

struct session {
    struct server *server;
    const struct settings_listener *listener;
    struct stream *stream;
    struct timer clock; /* fires at check_at_ms or before, and looks at all of these */
    uint64_t started_ms, last_activity_ms, check_at_ms;
    uint64_t greet_at_ms;      /* SESSION_HUSH */
    uint64_t unfinished_at_ms; /* when a command, handshake or PROXY header began that is not complete; 0 = none */
    uint64_t content_at_ms, content_bytes; /* when the content under way began, 0 = none; what came of it */
    bool counted;                          /* in the limits */
    struct net_address peer;
    bool proxied;              /* peer is a proxy that has not told of its client, and counts as nobody */
    char client[NET_TEXT_MAX]; /* address without port, for the log and the trace field */
    enum session_phase phase;
    struct smtp_line_reader reader;
    enum smtp_verb verb; /* command being carried out */
    char helo[256];      /* what the client called itself; "" = nothing yet */
    bool esmtp;
    uint64_t chunk_size, chunk_left; /* bytes of the BDAT under way */
    bool chunk_last;
    enum chunk_fate chunk_fate;
    bool chunk_refused; /* and so is what the client has sent of its message already, up to the last chunk */
    bool may_xclient;
    unsigned hidden_extensions; /* as the listener has it */
    bool normalises;            /* bare line ends are mended, not refused */
    bool trusted;               /* comes from one of the listener's trusted networks */
    char *credential;           /* who logged in; NULL = nobody */
    char *tenant;               /* whose mail this is */
    char *senders;              /* whom it may claim to be; "" = anybody */
    int64_t login_us;           /* when, microseconds since 1970 */
    bool bulk;                  /* mail of this credential waits behind transactional mail */
    char mechanism[32];         /* of the login under way */
    struct auth_exchange *exchange;
    struct transaction *transaction; /* NULL between messages */
    /* SESSION_DOMAIN_WAIT: what is asked, where the answer goes, and when there is none. */
    struct domain_question *domain_question;
    void (*domain_answered)(void *session, const struct ipc_domain_checked *answer);
    uint64_t domain_until_ms;
    struct smtp_rcpt *asked_rcpt; /* whose domain it is; NULL = the sender's */
    unsigned commands, errors, failed_logins, accepted;
    const char *ending;     /* the next command gets 421 with these words and is not carried out; NULL = it is */
    const char *end_reason; /* for the log; NULL = as the stream says */
    enum session_standing standing;
    TAILQ_ENTRY(session) link, turn; /* turn: in server's list of its standing */
};

enum { SESSION_GRACE_MS = 10000 /* what a client gets to read our last reply */ };

/* session.c: from the connection to its end. */

/* Takes the connection and its place in the limits; fd is closed in any case.  0 or -ENOMEM. */
int session_new(struct server *server, const struct settings_listener *listener, int fd,
                const struct net_address *peer);
/* Ends it at once, without a word. */
void session_free(struct session *s);
/* Its proxy told who the client is.  0, or an enum limits_result: there are too many sessions of that one. */
int session_set_client(struct session *s, const struct net_address *client);
/* It takes nobody's place any more. */
void session_stop_counting(struct session *s);
void session_greet(struct session *s);
/* Our turn is over: the client's next line is read. */
void session_resume(struct session *s, enum session_phase phase);
/* Our turn begins: no command is looked at until session_resume. */
void session_wait(struct session *s, enum session_phase phase);
/* Forgets all the client said, as after STARTTLS (RFC 3207 section 4.2). */
void session_forget(struct session *s);
/* Nobody waits for these answers any more. */
void session_forget_question(struct session *s);
void session_give_up_login(struct session *s);
/* The process is about to end. */
void session_drain(struct session *s);

/* reply.c: what the client is told, and what the log says of it. */

/* Whether the reply to a command fits the output; no command is begun otherwise. */
bool session_has_reply_room(const struct session *s);
/* One reply.  text may have several lines. */
void session_reply(struct session *s, unsigned code, const char *enhanced, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void session_reply_text(struct session *s, unsigned code, const char *enhanced, const char *text);
/* A reply that turns the client down through no fault of its own: logged with its reason. */
void session_decline(struct session *s, unsigned code, const char *enhanced, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The same for what the client did wrong: too many such errors end the session. */
void session_refuse(struct session *s, unsigned code, const char *enhanced, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The last reply; the connection is closed behind it. */
void session_close(struct session *s, unsigned code, const char *enhanced, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The end at the next command, which has a reply of its own to come (RFC 5321 section 4.2: one each).  why outlives the
 * session. */
void session_end_soon(struct session *s, const char *why);
/* The end without a word more, and without waiting for the client. */
void session_cut(struct session *s);
void session_log_ended(const struct session *s, const char *reason);

/* rights.c: what it may do, and what it is offered. */

/* What its address is good for here; again when a proxy told of another. */
void session_judge_client(struct session *s);
/* Its mail is this credential's from here on.  0, -EUSERS (it, or its tenant, has too many sessions) or -ENOMEM; then
 * nobody is logged in. */
int session_log_in(struct session *s, const struct session_owner *owner);
void session_log_out(struct session *s);
bool session_may_relay(const struct session *s);
/* What its mail may come from (mail/senders.h). */
const char *session_senders(const struct session *s);
const char *session_tenant(const struct session *s);
int64_t session_max_message_size(const struct session *s); /* bytes; 0 = any */
int64_t session_max_recipients(const struct session *s);
bool session_offers_auth(const struct session *s);
bool session_offers_mechanism(const struct session *s, const char *mechanism);
/* Extensions offered in this state on this listener: enum smtp_extension bits. */
unsigned session_offers(const struct session *s);
/* RFC 3848 and RFC 6531 section 4.3: "ESMTPSA". */
const char *session_protocol(const struct session *s, bool smtputf8);

/* patience.c: how long it may take, and who goes when there is no place for another. */

uint64_t session_idle_timeout_ms(const struct session *s);
/* Looks at its deadlines at that time at the latest. */
void session_check_by(struct session *s, uint64_t at_ms);
/* Set once a period, not at each line: it looks at what happened meanwhile. */
void session_on_clock(void *arg);
/* The client had its turn: what its clocks count now, and its place in line.  progress: something was complete. */
void session_settle(struct session *s, bool progress);
/* Its place in line alone. */
void session_line_up(struct session *s, bool progress);
/* Ends the one of this standing that has shown no progress for longest.  false: there is none, or none for long enough.
 */
bool session_make_room(struct server *server, enum session_standing standing);

#endif
