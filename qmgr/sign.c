/* Signatures: one question per round to whichever signer has the least to do.  A signer that is down delays mail and
 * loses none. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "log/log.h"
#include "qmgr/qmgr.h"

#define SIGN_TRIES_MAX  3  /* a message that takes signers down with it is put off */
#define SIGN_PER_WORKER 64 /* questions a signer has before it at most */

struct signer {
    struct ipc_channel *channel;
    unsigned asked;
    bool ready; /* KEYS came */
    bool has_keys;
    TAILQ_ENTRY(signer) link;
};

static struct signer *least_busy(struct qmgr *q)
{
    struct signer *s, *best = NULL;
    TAILQ_FOREACH (s, &q->signers, link)
        if (s->ready && s->asked < SIGN_PER_WORKER && (best == NULL || s->asked < best->asked))
            best = s;
    return best;
}

static int ask(struct signer *s, struct round *r)
{
    struct ipc_address recipients[IPC_RECIPIENTS_MAX];
    uint32_t count = 0;
    for (size_t i = 0; i < r->envelope.recipient_count && count < IPC_RECIPIENTS_MAX; i++)
        recipients[count++].address = r->envelope.recipients[i].address;
    r->sign_job = qmgr_job_number(r->qmgr);
    r->sign_since_ms = clock_mono_ms();
    const struct ipc_sign sign = {.job = r->sign_job,
                                  .queue_id = r->message->id,
                                  .content_offset = r->envelope.content_offset,
                                  .content_length = r->envelope.content_length,
                                  .sender = r->envelope.sender,
                                  .recipients = recipients,
                                  .recipients_count = count};
    int err = ipc_send(s->channel, IPC_SIGN, &sign, r->fd);
    if (err < 0)
        return err;
    s->asked++;
    r->signer = s;
    r->sign_tries++;
    return 0;
}

static void give_up(struct round *r, const char *why)
{
    sign_cancel(r);
    log_message(LOG_LEVEL_WARNING, r->message->id, "not signed: %s, will retry", why);
    round_fail_all(r, OUTCOME_TRY_LATER, 0, "4.3.0", why);
}

static int wait_for_signer(struct round *r)
{
    r->signer = NULL;
    return fair_push(&r->qmgr->unsigned_rounds, &r->sign_turn, r->tenant, (enum lane)r->message->lane);
}

/* Nobody has a key, for any domain: a question would be asked in vain. */
static bool nothing_to_sign(const struct qmgr *q)
{
    const struct signer *s;
    bool ready = false;
    TAILQ_FOREACH (s, &q->signers, link) {
        if (s->has_keys)
            return false;
        ready |= s->ready;
    }
    return ready;
}

void sign_request(struct round *r)
{
    struct signer *s = least_busy(r->qmgr);
    /* A body that is no text in lines has no canonical form that others would agree on. */
    if (nothing_to_sign(r->qmgr) || r->envelope.flags & ENVELOPE_BINARY) {
        round_signed(r, "", "none");
        return;
    }
    r->signing = true;
    if (s != NULL && ask(s, r) == 0)
        TAILQ_INSERT_TAIL(&r->qmgr->signing_rounds, r, signing_line);
    else if (wait_for_signer(r) < 0)
        give_up(r, "out of memory");
}

void sign_cancel(struct round *r)
{
    if (!r->signing)
        return;
    r->signing = false;
    if (r->signer != NULL)
        TAILQ_REMOVE(&r->qmgr->signing_rounds, r, signing_line);
    fair_remove(&r->sign_turn);
    r->signer = NULL;
}

static struct round *next_waiting(struct qmgr *q)
{
    struct fair_item *item = fair_next(&q->unsigned_rounds, NULL, NULL);
    return item != NULL ? (struct round *)((char *)item - offsetof(struct round, sign_turn)) : NULL;
}

/* Those in line, as far as the signers have room. */
static void ask_waiting(struct qmgr *q)
{
    struct round *r;
    struct signer *s;
    while ((s = least_busy(q)) != NULL && (r = next_waiting(q)) != NULL) {
        if (nothing_to_sign(q)) {
            sign_cancel(r);
            round_signed(r, "", "none");
            continue;
        }
        if (ask(s, r) < 0)
            return;
        fair_charge(&r->sign_turn, 1);
        fair_remove(&r->sign_turn);
        TAILQ_INSERT_TAIL(&q->signing_rounds, r, signing_line);
    }
}

static struct round *find_round(struct qmgr *q, const struct signer *s, uint64_t job)
{
    struct round *r;
    TAILQ_FOREACH (r, &q->signing_rounds, signing_line)
        if (r->signer == s && r->sign_job == job)
            return r;
    return NULL;
}

void sign_answered(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct qmgr *q = arg;
    const struct ipc_signature *answer = message;
    struct signer *s = ipc_channel_user(from);
    struct round *r = find_round(q, s, answer->job);
    if (s->asked > 0)
        s->asked--;
    if (r != NULL) {
        sign_cancel(r);
        if (answer->status == SIGN_FAILED) {
            log_message(LOG_LEVEL_WARNING, r->message->id, "DKIM signing failed: %s, will retry", answer->reason);
            round_fail_all(r, OUTCOME_TRY_LATER, 0, "4.7.5", "the DKIM signature could not be made");
        } else {
            round_signed(r, answer->headers, answer->keys[0] != '\0' ? answer->keys : "none");
        }
    }
    ask_waiting(q);
}

void signer_up(struct qmgr *q, struct ipc_channel *c)
{
    struct signer *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        ipc_channel_break(c, "out of memory");
        return;
    }
    s->channel = c;
    ipc_channel_set_user(c, s);
    TAILQ_INSERT_TAIL(&q->signers, s, link);
}

void signer_keys(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct qmgr *q = arg;
    const struct ipc_keys *keys = message;
    struct signer *s = ipc_channel_user(from);
    s->ready = true;
    s->has_keys = keys->keys > 0;
    q->no_signer_since_ms = 0;
    ask_waiting(q);
}

void signer_down(struct qmgr *q, struct ipc_channel *c)
{
    struct signer *s = ipc_channel_user(c);
    struct round *r, *next;
    if (s == NULL)
        return;
    TAILQ_REMOVE(&q->signers, s, link);
    TAILQ_FOREACH_SAFE (r, &q->signing_rounds, signing_line, next) {
        if (r->signer != s)
            continue;
        if (r->sign_tries >= SIGN_TRIES_MAX) {
            give_up(r, "the DKIM signer died over it");
            next = TAILQ_FIRST(&q->signing_rounds);
            continue;
        }
        TAILQ_REMOVE(&q->signing_rounds, r, signing_line);
        if (wait_for_signer(r) < 0)
            give_up(r, "out of memory");
    }
    free(s);
    if (TAILQ_EMPTY(&q->signers))
        q->no_signer_since_ms = clock_mono_ms();
    ask_waiting(q);
}

void sign_check_waiting(struct qmgr *q)
{
    uint64_t now = clock_mono_ms(), patience = (uint64_t)q->settings.sign_wait_max_ms;
    struct round *r;
    bool nobody = q->no_signer_since_ms > 0 && now - q->no_signer_since_ms > patience;
    while (nobody && (r = next_waiting(q)) != NULL)
        give_up(r, "the DKIM signer is not running");
    while ((r = TAILQ_FIRST(&q->signing_rounds)) != NULL && now - r->sign_since_ms > patience)
        give_up(r, "the DKIM signer does not answer");
}

void sign_free_all(struct qmgr *q)
{
    struct signer *s;
    while ((s = TAILQ_FIRST(&q->signers)) != NULL) {
        TAILQ_REMOVE(&q->signers, s, link);
        free(s);
    }
}
