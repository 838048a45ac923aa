/* message: a message as qmgr keeps it.
 *
 * One that waits is an id, a due time and its place in two indexes.  While it is worked on it has a struct round: the
 * open file, the envelope, and what became of each recipient so far.  A round goes
 *
 *     open and read ─ sign ─ route each domain ─ deliver the parts, site by site ─ settle: bounce, put off or finish
 */
#ifndef POSTHOUSE_QMGR_MESSAGE_H
#define POSTHOUSE_QMGR_MESSAGE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/list.h"
#include "qmgr/fair.h"
#include "queue/envelope.h"
#include "queue/folder.h"

struct qmgr;
struct site;
struct route;
struct signer;
struct round;

enum message_phase {
    MESSAGE_READY,    /* in line for a round */
    MESSAGE_ACTIVE,   /* has a round */
    MESSAGE_DEFERRED, /* in the timetable */
    MESSAGE_HELD,     /* in the timetable as well, if its lifetime ends some day */
};

struct message {
    char id[QUEUE_ID_SIZE];
    uint8_t phase;      /* enum message_phase */
    uint8_t state;      /* enum queue_state: where its file is */
    uint16_t tenant;    /* number; TENANT_UNKNOWN until it was announced or opened */
    uint8_t lane;       /* enum lane */
    bool forced;        /* an admin wants an attempt now, whatever its due time */
    bool timed;         /* in the timetable */
    bool heard;         /* the log has told of it: its writer announced it, or we opened it before */
    int64_t due_s;      /* when its next round begins */
    int64_t path_due_s; /* deferred: the due time in its path */
    uint32_t place;     /* in the timetable */
    union {
        uint32_t rule;               /* deferred: the rule that put it off, 0 = none, or RULE_NOT_KNOWN */
        uint32_t unfinished_since_s; /* new: when its file was first seen to be short, by the monotonic clock */
    };
    struct round *round;
    struct fair_item turn; /* in qmgr->ready */
    UT_hash_handle hh;
};

/* What was last said about a recipient that was not delivered. */
struct verdict {
    uint32_t code;
    int64_t time_s;
    char *enhanced, *reply, *relay;
};

enum recipient_phase {
    RCPT_SETTLED, /* nothing to do in this round any more */
    RCPT_WAITING, /* for its route, or in the queue of its site */
    RCPT_FLYING,  /* in a DELIVER */
};

struct recipient_round {
    uint8_t phase; /* enum recipient_phase */
    struct verdict *verdict;
};

/* The recipients of one message that go to one site together: what sites queue. */
struct part {
    struct round *round;
    struct site *site;   /* NULL while the route is looked up */
    struct route *route; /* the look-up it waits for, or NULL */
    char *domain;        /* one of the site's, or what a rule reroutes to */
    bool rerouted;       /* by a rule */
    bool fresh;          /* made by a rule, to be routed */
    uint32_t rules_seen; /* generation of the rules it was compared with */
    uint32_t *members;   /* numbers of recipients in the envelope, waiting to fly */
    size_t count, capacity;
    struct fair_item turn;      /* in site->queue */
    TAILQ_ENTRY(part) link;     /* in round->parts */
    UT_hash_handle by_domain;   /* in round->part_of_domain */
    UT_hash_handle by_site;     /* in round->part_of_site, if it was the first of its site */
    TAILQ_ENTRY(part) in_queue; /* in the waiting list of its route */
};

enum round_wish { WISH_NONE, WISH_HOLD, WISH_DELETE };

struct round {
    struct qmgr *qmgr;
    struct message *message;
    int fd;       /* read-only: what the other programs are handed */
    int write_fd; /* the same file, once there is something to write into it, or -1 */
    struct envelope envelope;
    struct tenant *tenant;
    struct recipient_round *recipients; /* parallel to envelope.recipients */
    TAILQ_HEAD(, part) parts;
    struct part *part_of_domain, *part_of_site;
    size_t open;         /* recipients not settled */
    unsigned jobs;       /* DELIVERs out */
    unsigned bounces;    /* BOUNCEs out */
    bool attempted;      /* something was really tried */
    size_t suspended;    /* recipients that a rule put off */
    int64_t until_s;     /* until then, wall-clock seconds; INT64_MAX = until an admin says so */
    uint32_t rule;       /* that did, RULE_NOT_KNOWN = several */
    uint32_t rules_seen; /* generation of the rules when the round began, or put the first one off */
    bool looked;         /* it is on hold, and only looked at */
    bool unreleased;     /* its sender does not want it to leave before envelope.release_s */
    bool early;          /* only the sender is told of the delay: the next attempt is not due */
    bool too_old;        /* its lifetime ended before it was tried again */
    bool routing;        /* parts are being routed just now */
    bool signing;        /* the signature is on its way */
    bool settling;       /* deliveries are over, notices are being made */
    uint8_t wish;        /* enum round_wish: what an admin wants when nothing flies any more */
    char *wish_reason;
    uint64_t sign_job;
    uint64_t sign_since_ms;
    unsigned sign_tries;
    char *headers, *keys;          /* what the signer made */
    bool unwritten, state_changed; /* by this turn of the loop; the file does not know yet */
    uint32_t *changed;             /* recipients whose status it does not know */
    size_t changed_count, changed_capacity;
    struct buf history;                /* attempt lines it does not have */
    TAILQ_ENTRY(round) unwritten_link; /* in qmgr->unwritten */
    struct signer *signer;             /* who was asked */
    struct fair_item sign_turn;        /* in qmgr->unsigned_rounds: nobody was asked yet */
    TAILQ_ENTRY(round) signing_line;   /* in qmgr->signing_rounds */
};

/* Adds a message that was not known.  NULL: known already, or no memory. */
struct message *message_add(struct qmgr *q, const char *id, enum queue_state state, int64_t due_s);
struct message *message_find(struct qmgr *q, const char *id);
/* Puts it in line for a round, from whichever phase but active. */
void message_ready(struct qmgr *q, struct message *m);
/* Takes it out of whatever it stands in and forgets it; the file is not touched. */
void message_forget(struct qmgr *q, struct message *m);
/* For people: incoming, active, deferred, hold. */
const char *message_state_name(const struct message *m);
void message_file(const struct message *m, char path[QUEUE_PATH_MAX]);
/* Moves the file to another state (and due time).  0 or -errno; the message then is where it was. */
/* Into the timetable, its file into the folder of its due time.  look_s: when to look at it before that (its sender is
 * to be told of the delay), 0 = not. */
void message_defer(struct qmgr *q, struct message *m, int64_t due_s, int64_t look_s);
/* On hold: it waits for the admin, but is looked at when its sender is to be told of the delay, or its lifetime ends
 * (look_s, 0 = never).  The file is in hold/ already. */
void message_hold(struct qmgr *q, struct message *m, int64_t look_s);
/* Whether an admin put it there and nobody released it. */
bool message_is_held(const struct message *m);
/* Into the timetable for a little while, its file where it is: something of ours is short just now. */
void message_retry(struct qmgr *q, struct message *m, int64_t wait_ms);
int message_move(struct qmgr *q, struct message *m, enum queue_state state, int64_t due_s);

#endif
