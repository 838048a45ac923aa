/* ledger: the books of the queue, per recipient: accepted = sent + bounced + expired + suppressed + removed + queued.
 *
 * One side is the log, line by line: smtpd's "accepted: … nrcpt=N", bounce's "notice=ID" (a message for one recipient),
 * the delivery lines, and qmgr's "taken over: …", which says what the queue file knows of a message whose lines a
 * killed program may have left out.  The other side is the queue: which messages are there, and which of their
 * recipients wait.
 *
 * The log is read to its end, then the queue, then the log's new part: what waits in the queue must lie between the two
 * readings of the log.  A message of which all is known is added to the sums and forgotten. */
#ifndef POSTHOUSE_CTL_LEDGER_H
#define POSTHOUSE_CTL_LEDGER_H

#include "base/hash.h"
#include "queue/envelope.h"

enum ledger_class {
    LEDGER_SENT,
    LEDGER_BOUNCED,
    LEDGER_EXPIRED,
    LEDGER_SUPPRESSED,
    LEDGER_REMOVED,
    LEDGER_CLASS_COUNT,
};

struct ledger_sums {
    uint64_t messages;                  /* all below count recipients */
    uint64_t accepted;                  /* since the log begins */
    uint64_t before;                    /* accepted before that, as far as something was heard of them since */
    uint64_t class[LEDGER_CLASS_COUNT]; /* by the log, or by the queue file alone */
    uint64_t queued;
    uint64_t taken_over; /* messages: qmgr says that they were accepted, and the writer's line is missing */
    uint64_t unlogged;   /* those in class that only the queue file tells of so far */
    uint64_t repeated;   /* delivery lines beyond the first of a recipient */
    uint64_t doubtful;   /* deliveries repeated since the first one's reply was never known */
    int64_t missing;     /* accepted, and nowhere */
};

struct ledger_recipient {
    enum ledger_class class;
    bool recorded; /* counted in the message's recorded */
    UT_hash_handle hh;
    char address[];
};

struct ledger_message {
    char id[QUEUE_ID_SIZE];
    bool accepted, taken_over, late, removed, corrupt;
    bool queued, fresh, has_file;          /* in the queue; not opened by qmgr yet; file counts below are known */
    uint32_t accepted_count;               /* recipients, by the log */
    uint32_t queue_count, waiting;         /* recipients, by the queue */
    uint32_t recorded[LEDGER_CLASS_COUNT]; /* by "taken over" */
    uint32_t lines[LEDGER_CLASS_COUNT];    /* delivery lines since */
    uint32_t before;                       /* recipients finished when the log was first read to its end */
    uint32_t repeated, doubtful;
    uint32_t in_file[LEDGER_CLASS_COUNT]; /* by the queue file */
    struct ledger_recipient *recipients;  /* since */
    UT_hash_handle hh;
};

struct ledger {
    struct ledger_message *messages;
    struct ledger_sums sums;
    int64_t begin_us; /* time of the first line */
    int64_t since_us; /* older messages are left out; 0 = none */
    bool second;      /* the second reading: nothing is forgotten, and what only begins now is not ours */
};

void ledger_deinit(struct ledger *l);
/* One line of the log; cut up in place. */
void ledger_line(void *ledger, char *line);
/* The log was read to its end. */
void ledger_first_read(struct ledger *l);

/* What the queue says of a message: so many recipients, so many of them waiting.  NULL: not ours, or no memory. */
struct ledger_message *ledger_queued(struct ledger *l, const char *id, uint32_t recipients, uint32_t waiting);
/* What its file says. */
struct ledger_message *ledger_file(struct ledger *l, const struct envelope *e);
/* Before the queue is asked again about this one. */
void ledger_again(struct ledger_message *m);

/* NULL when it adds up, or a sentence. */
const char *ledger_judge(const struct ledger *l, const struct ledger_message *m);
/* Adds it to the sums; recipients that are nowhere, negative: too many. */
int64_t ledger_add(struct ledger *l, const struct ledger_message *m);

/* "sent", … */
const char *ledger_class_name(enum ledger_class class);

#endif
