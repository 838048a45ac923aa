/* qmgr: the queue manager.  After the commit it is the only program that changes a queue file.
 *
 * intake finds messages, round takes one through signer, routes and deliveries, route and site decide who is served
 * when, worker talks to smtp-out, notice to bounce, orders to the admin. */
#ifndef POSTHOUSE_QMGR_QMGR_H
#define POSTHOUSE_QMGR_QMGR_H

#include "base/hash.h"
#include "base/list.h"
#include "ipc/channel.h"
#include "qmgr/message.h"
#include "qmgr/rules.h"
#include "qmgr/site.h"
#include "qmgr/tenant.h"
#include "qmgr/timetable.h"
#include "queue/file.h"
#include "service/service.h"
#include "settings/qmgr.h"

struct route;
struct worker;
struct signer;
struct job;
struct notice;
struct done;
struct walk;
struct removal;

struct qmgr {
    struct service *service;
    struct settings_qmgr settings;
    int queue_fd, lock_fd;
    struct done *done; /* notes for a recovery */
    struct ipc_server *server;

    struct message *messages; /* all, by id */
    struct tenants tenants;
    struct fair_queue ready; /* messages in line for a round */
    size_t active_count, active_max, active_recipients;
    struct timetable timetable;
    size_t held_timed; /* of those in it, on hold */
    struct rules rules;
    TAILQ_HEAD(, walk) walks; /* in turn */
    struct timer walk_timer;
    TAILQ_HEAD(, round) unwritten; /* what became of recipients in this turn, before the log tells */
    struct removal *removals;      /* files of finished messages, after it told; by id, in their order */
    struct turn_end record_end, remove_end;
    struct fair_queue unsigned_rounds; /* in line for a signer */
    TAILQ_HEAD(, round) signing_rounds;
    uint64_t no_signer_since_ms; /* 0 = there is one */

    struct route *routes;       /* by domain */
    struct route *asked_routes; /* those a question is out for, by its number */
    size_t domain_checks;       /* of smtpd, not answered yet */
    struct sites sites;
    TAILQ_HEAD(, worker) workers; /* smtp-out */
    TAILQ_HEAD(, signer) signers;
    struct ipc_channel *bouncer;
    struct job *jobs;       /* DELIVERs out, by number */
    struct notice *notices; /* BOUNCEs out, by number */
    size_t orphans;         /* jobs taken over from before our start whose message is not opened yet */
    uint64_t next_job;

    struct task wake;        /* something can be done now */
    struct timer wake_timer; /* the next due message */
    struct timer scan_timer;
    struct timer second_timer; /* what waits for somebody else: signers, routes */
    bool settled;              /* smtp-out workers said what they have in flight: scheduling may begin */
    struct timer settle_timer;

    struct {
        uint64_t corrupt, delivered, deferrals, failed;
    } count;
};

/* The daemon, for main. */
struct service *qmgr_service(void);
/* Looks soon at what can be done now. */
void qmgr_wake(struct qmgr *q);
/* A number for a question that no other process of any time uses. */
uint64_t qmgr_job_number(struct qmgr *q);

/* intake.c: names of waiting messages.  At start the whole queue is read before anybody is served. */
int intake_start(struct qmgr *q);
void intake_scan_new(void *arg);
void intake_submitted(void *arg, struct ipc_channel *from, const void *message, int *fd);
/* Begins rounds for what is due, as far as the limits go. */
void intake_activate(struct qmgr *q);
/* Whether it left something for the next turn of the loop. */
bool intake_can_activate(struct qmgr *q);

/* round.c */
void round_begin(struct qmgr *q, struct message *m);
/* A round only to take the message out of the way, or out of the queue; nothing is attempted. */
void round_begin_with(struct qmgr *q, struct message *m, enum round_wish wish, const char *reason);
/* The same for a round under way: what flies lands first. */
void round_wish(struct round *r, enum round_wish wish, const char *reason);
/* The signature came, or nobody could make it. */
void round_signed(struct round *r, const char *headers, const char *keys);
/* Every recipient not settled gets this answer: nothing was reached. */
void round_fail_all(struct round *r, uint32_t outcome, uint32_t code, const char *enhanced, const char *reply);
/* Something of the round ended: goes on to settle it when nothing flies and nothing waits. */
void round_check(struct round *r);
/* Ends the round without an attempt; the message is ready again or put off. */
void round_abandon(struct round *r, int64_t wait_ms);
/* Leaves the round; its message then stands in no list. */
void round_end(struct round *r);
/* When its lifetime begins: at its arrival, or when it may leave.  Microseconds since 1970. */
int64_t round_begins_us(const struct round *r);
/* How long it may last; 0 = one attempt. */
int64_t round_lifetime_ms(const struct round *r);
/* When its lifetime ends, wall-clock seconds. */
int64_t round_expires_s(const struct round *r);
/* Gives a recipient to the part with this route ("route:NAME").  1 = it has to be routed yet, 0 = it is under way,
 * -ENOMEM. */
int part_reroute(struct round *r, const char *to, uint32_t number);
/* One more recipient for a part.  0 or -ENOMEM. */
int part_add(struct part *p, uint32_t number);
/* Number of the recipient with this index, or -1. */
long round_find_recipient(const struct round *r, uint32_t index);

/* record.c: what a turn of the loop learned goes into the queue files at its end, before the log tells of it; the files
 * of messages that were finished are removed behind that.  So a message that is delivered at the first attempt is never
 * written to at all. */
void record_init(struct qmgr *q);
void record_status(struct round *r, size_t number, enum recipient_status status);
/* Attempts and the note that the sender was told of a delay. */
void record_state(struct round *r);
void record_attempt(struct round *r, const struct queue_attempt *a);
/* Now: the file moves, or the round ends. */
void record_write(struct round *r);
/* What is not written does not matter any more. */
void record_forget(struct round *r);
/* Removes the message's file at the end of this turn. */
void record_remove(struct qmgr *q, const struct message *m);
/* Now, with the log: before the queue's folders are read. */
void record_remove_all(struct qmgr *q);
/* Whether its file waits to be removed. */
bool record_is_removing(const struct qmgr *q, const char *id);
void record_deinit(struct qmgr *q);

/* outcome.c: records what became of one recipient: in the file, in the log, in the counters. */
struct outcome {
    uint32_t outcome; /* enum ipc_outcome */
    uint32_t code;
    const char *enhanced, *reply, *relay, *tls;
    bool tells; /* who has it now tells of its success */
};
void outcome_record(struct round *r, size_t number, const struct site *site, const struct outcome *o);
/* A rule put it off: no attempt, nothing tried. */
void outcome_suspend(struct round *r, size_t number, const struct site *site, const struct rule *rule,
                     const char *reply);
void verdict_free(struct verdict *v);

/* settle.c: the end of a round: notices, next attempt or removal. */
void settle_round(struct round *r);
void settle_notice_done(struct round *r);

/* sign.c */
void sign_request(struct round *r);
void sign_cancel(struct round *r);
void sign_answered(void *arg, struct ipc_channel *from, const void *message, int *fd);
void signer_up(struct qmgr *q, struct ipc_channel *c);
void signer_keys(void *arg, struct ipc_channel *from, const void *message, int *fd);
void signer_down(struct qmgr *q, struct ipc_channel *c);
void sign_check_waiting(struct qmgr *q);
void sign_free_all(struct qmgr *q);

/* route.c */
void route_part(struct part *p);
void route_cancel(struct part *p);
/* CHECK_DOMAIN of smtpd. */
void route_check(void *arg, struct ipc_channel *from, const void *message, int *fd);
void route_asker_down(struct qmgr *q, struct ipc_channel *channel);
void route_answered(void *arg, struct ipc_channel *from, const void *message, int *fd);
void route_worker_down(struct qmgr *q, struct ipc_channel *c);
void route_ask_waiting(struct qmgr *q);
void route_expire(struct qmgr *q);
/* The site that mail for the domain goes to, as far as we know just now; NULL = not known. */
const char *route_known_site(struct qmgr *q, const char *domain);
void route_free_all(struct qmgr *q);

/* worker.c: smtp-out processes and the jobs they have. */
void worker_up(struct qmgr *q, struct ipc_channel *c);
void worker_down(struct qmgr *q, struct ipc_channel *c);
void worker_capacity(void *arg, struct ipc_channel *from, const void *message, int *fd);
void worker_inflight(void *arg, struct ipc_channel *from, const void *message, int *fd);
void worker_inflight_end(void *arg, struct ipc_channel *from, const void *message, int *fd);
void worker_result(void *arg, struct ipc_channel *from, const void *message, int *fd);
void worker_done(void *arg, struct ipc_channel *from, const void *message, int *fd);
/* A worker to ask a route, NULL = none. */
struct ipc_channel *worker_any(struct qmgr *q);
/* How many of `count` connections to one site this worker may have, when they are dealt out. */
unsigned worker_share(const struct qmgr *q, const struct worker *w, unsigned count);
/* Sends as much of the part as one DELIVER takes.  0 = sent; -EAGAIN = no worker has room; -EBUSY: none that may
 * connect to the site. */
int worker_deliver(struct part *p);
size_t worker_jobs(const struct qmgr *q);
/* Jobs from before a restart of qmgr that are still in flight become part of the round. */
void worker_adopt(struct round *r);
/* Every smtp-out that was there at our start has said what it has in flight: scheduling begins. */
void worker_settled(void *arg);
void worker_free_all(struct qmgr *q);

/* notice.c: bounce. */
/* Asks for notices about these recipients.  0 or -errno (nobody to ask, no memory). */
int notice_send(struct round *r, enum ipc_bounce_kind kind, const size_t *numbers, size_t count);
void notice_answered(void *arg, struct ipc_channel *from, const void *message, int *fd);
void notice_bouncer_down(struct qmgr *q);
void notice_free_all(struct qmgr *q);

/* orders.c */
void orders_list(void *arg, struct ipc_channel *from, const void *message, int *fd);
void orders_show(void *arg, struct ipc_channel *from, const void *message, int *fd);
void orders_change(void *arg, struct ipc_channel *from, const void *message, int *fd);
void orders_status(void *arg, struct ipc_channel *from, const void *message, int *fd);

#endif
