#include "smtpd/transaction.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "log/log.h"
#include "smtpd/trace.h"

struct transaction *transaction_new(struct session *s, const struct smtp_mail *mail)
{
    struct transaction *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return NULL;
    t->session = s;
    t->mail = *mail;
    snprintf(t->protocol, sizeof(t->protocol), "%s", session_protocol(s, mail->smtputf8));
    snprintf(t->tls, sizeof(t->tls), "%s", stream_tls_text(s->stream));
    return t;
}

void transaction_free(struct transaction *t)
{
    if (t == NULL)
        return;
    if (t->committing) {
        t->session = NULL;
        return;
    }
    recipients_deinit(&t->recipients);
    content_free(t->content);
    free(t->accepted);
    free(t);
}

int transaction_add_recipient(struct transaction *t, const struct smtp_rcpt *rcpt)
{
    int r = recipients_add(&t->recipients, rcpt->to.text, rcpt->orcpt, rcpt->notify);
    return r < 0 ? r : 0;
}

/* RFC 4865: when it may leave, seconds since 1970; 0 = at once. */
static int64_t release_time_s(const struct smtp_mail *mail, int64_t now_s)
{
    if (mail->hold_for_s > 0)
        return now_s + mail->hold_for_s;
    return mail->hold_until_s > now_s ? mail->hold_until_s : 0;
}

static bool is_bulk(const struct session *s)
{
    return s->bulk || s->listener->lane == LISTENER_LANE_BULK;
}

/* Named in the trace field, which is content too (trace.h). */
static const char *only_recipient(const struct transaction *t)
{
    return t->recipients.count == 1 ? recipients_address(&t->recipients, 0) : NULL;
}

static uint32_t envelope_flags(const struct transaction *t)
{
    const char *named = only_recipient(t);
    uint32_t flags = t->mail.smtputf8 ? ENVELOPE_SMTPUTF8 : 0;
    flags |= named != NULL && !text_is_ascii(named, strlen(named)) ? ENVELOPE_8BIT : 0;
    flags |= t->mail.requiretls ? ENVELOPE_REQUIRETLS : 0;
    /* RFC 6710 leaves to us what a priority means: which lane. */
    flags |= t->mail.mt_priority < 0 ? ENVELOPE_BULK : t->mail.mt_priority > 0 ? ENVELOPE_TRANSACTIONAL : 0;
    return t->mail.body == SMTP_BODY_8BITMIME ? flags | ENVELOPE_BODY_8BITMIME : flags;
}

static int begin_injection(struct transaction *t, int64_t now_us, struct injection **out)
{
    const struct session *s = t->session;
    const size_t n = t->recipients.count;
    char priority[8] = "";
    _cleanup_(freep) struct envelope_recipient *recipients = calloc(n, sizeof(*recipients));
    if (recipients == NULL)
        return -ENOMEM;
    if (t->mail.has_mt_priority)
        snprintf(priority, sizeof(priority), "%d", t->mail.mt_priority);
    for (size_t i = 0; i < n; i++)
        recipients[i] = (struct envelope_recipient){.address = recipients_address(&t->recipients, i),
                                                    .orcpt = recipients_orcpt(&t->recipients, i),
                                                    .notify = recipients_notify(&t->recipients, i)};
    struct envelope e = {
        .arrived_us = now_us,
        .sender = t->mail.from.text,
        .credential = s->credential,
        .tenant = session_tenant(s),
        .priority = is_bulk(s),
        .client_address = s->client,
        .client_name = s->helo,
        .listener = s->listener->name,
        .protocol = t->protocol,
        .tls = t->tls,
        .envid = t->mail.envid,
        .ret = t->mail.ret,
        .flags = envelope_flags(t),
        .release_s = release_time_s(&t->mail, (now_us + 999999) / 1000000),
        .return_by_s = t->mail.by_mode == SMTP_BY_RETURN ? now_us / 1000000 + t->mail.by_s : 0,
        .notify_by_s = t->mail.by_mode == SMTP_BY_NOTIFY ? now_us / 1000000 + t->mail.by_s : 0,
        .mt_priority = priority,
        .recipients = recipients,
        .recipient_count = n,
    };
    return injection_begin(s->server->injector, &e, out);
}

static int begin_content(struct transaction *t)
{
    struct session *s = t->session;
    struct injection *injection = NULL;
    _cleanup_(buf_deinit) struct buf trace;
    buf_init(&trace, TRACE_MAX);
    int64_t now_us = clock_wall_us();
    int r = begin_injection(t, now_us, &injection);
    if (r < 0)
        return r;
    const struct trace_facts facts = {
        .helo = s->helo,
        .peer = &s->peer,
        .tls = t->tls,
        .hostname = s->server->hostname,
        .protocol = t->protocol,
        .queue_id = injection_id(injection),
        .only_recipient = only_recipient(t),
        .time_s = now_us / 1000000,
    };
    r = trace_format(&facts, &trace);
    if (r == 0)
        r = injection_write(injection, trace.data, trace.len);
    if (r == 0) {
        const struct content_rules rules = {.submission = s->listener->role == LISTENER_SUBMISSION,
                                            .normalises = s->normalises,
                                            .max_bytes = (uint64_t)session_max_message_size(s),
                                            .binary = t->mail.body == SMTP_BODY_BINARYMIME,
                                            .adds_from = s->listener->add_missing_from,
                                            .sender = t->mail.from.text,
                                            .senders = session_senders(s)};
        t->content = content_new(&s->server->settings, s->server->hostname, &rules, injection);
        r = t->content == NULL ? -ENOMEM : 0;
    }
    if (r < 0)
        injection_abort(injection);
    return r;
}

int transaction_begin_content(struct transaction *t, uint64_t bytes)
{
    const struct session *s = t->session;
    if (!server_has_space(s->server, bytes))
        return -ENOSPC;
    int r = begin_content(t);
    if (r < 0)
        log_error("client=%s: no queue file could be made: %s; the client keeps the message", s->client, text_errno(r));
    return r;
}

void transaction_end(struct session *s)
{
    transaction_free(s->transaction);
    s->transaction = NULL;
}

void transaction_refuse(struct session *s, const struct content_fault *fault)
{
    const struct transaction *t = s->transaction;
    int error = t != NULL && t->content != NULL ? content_error(t->content) : 0;
    if (error != 0)
        log_error("client=%s: queue file could not be written: %s; the client keeps the message", s->client,
                  text_errno(error));
    s->phase = SESSION_COMMAND;
    if (fault->code < 500)
        session_decline(s, fault->code, fault->enhanced, "%s", fault->text);
    else
        session_refuse(s, fault->code, fault->enhanced, "%s", fault->text);
    if (fault->ends_session)
        session_end_soon(s, "a message held a stray line end");
    transaction_end(s);
}

static char *accepted_line(const struct transaction *t)
{
    const struct session *s = t->session;
    bool login = s->credential != NULL;
    return text_format(
        "accepted: from=<%s>, size=%llu, nrcpt=%zu, client=%s[%s], listener=%s, credential=%s, tenant=%s, "
        "proto=%s, tls=%s, message-id=%s",
        t->mail.from.text, (unsigned long long)content_bytes(t->content), t->recipients.count, s->helo, s->client,
        s->listener->name, login ? s->credential : "", session_tenant(s), t->protocol,
        t->tls[0] != '\0' ? t->tls : "none", content_message_id(t->content));
}

/* The client may be gone: then it never got the 250 and will send the message again. */
static void tell_client(struct transaction *t, const char *id, int result)
{
    struct session *s = t->session;
    if (s == NULL && result == 0) {
        log_message(LOG_LEVEL_WARNING, id, "the client went away before it was told that the message is queued");
    } else if (s != NULL && result == 0) {
        s->accepted++;
        session_reply(s, 250, "2.0.0", "queued as %s", id);
    } else if (s != NULL) {
        session_decline(s, 452, "4.3.1", "the message could not be stored, try again later");
    }
}

static void settle_claim(struct transaction *t, const char *id, int result)
{
    int r = 0;
    if (t->once != NULL && result == 0)
        r = once_finish(t->once, &t->claim, id);
    else if (t->once != NULL)
        r = once_give_back(t->once, &t->claim);
    if (r < 0)
        log_message(LOG_LEVEL_WARNING, id,
                    "the key it was submitted with can not be kept: %s, it means nothing in %d s", text_errno(r),
                    ONCE_PENDING_S);
    t->once = NULL;
}

static void on_committed(struct transaction *t, const char *id, int result)
{
    struct session *s = t->session;
    if (result == 0)
        log_message(LOG_LEVEL_INFO, id, "%s", t->accepted);
    else
        log_message(LOG_LEVEL_ERROR, id, "not committed: %s; the client keeps the message", text_errno(result));
    settle_claim(t, id, result);
    tell_client(t, id, result);
    t->committing = false;
    transaction_free(t);
    if (s == NULL)
        return;
    s->transaction = NULL;
    if (s->phase == SESSION_COMMIT)
        session_resume(s, SESSION_COMMAND);
}

/* Outlives transaction and session: the server is told when the last commit is through. */
struct commit {
    struct server *server;
    struct transaction *transaction;
    char *tenant; /* for qmgr, which queues the message among its tenant's */
    uint32_t lane;
};

static void commit_free(struct commit *commit)
{
    if (commit == NULL)
        return;
    free(commit->tenant);
    free(commit);
}

static void commit_done(void *arg, const char *id, int result)
{
    struct commit *commit = arg;
    struct server *server = commit->server;
    quota_settle(server, &commit->transaction->quota, result == 0);
    on_committed(commit->transaction, id, result);
    if (result == 0)
        server_announce(server, id, commit->tenant, commit->lane);
    commit_free(commit);
    server_check_idle(server);
}

static struct commit *commit_new(struct transaction *t)
{
    const struct session *s = t->session;
    struct commit *commit = calloc(1, sizeof(*commit));
    if (commit == NULL)
        return NULL;
    uint32_t flags = content_flags(t->content), asked = envelope_flags(t);
    if ((flags & (ENVELOPE_BULK | ENVELOPE_TRANSACTIONAL)) == 0)
        flags |= asked;
    uint32_t lane = flags & ENVELOPE_TRANSACTIONAL ? 2 : flags & ENVELOPE_BULK || is_bulk(s) ? 1 : 0;
    *commit = (struct commit){s->server, t, strdup(session_tenant(s)), lane};
    if (commit->tenant == NULL) {
        commit_free(commit);
        return NULL;
    }
    return commit;
}

static int compare_addresses(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The key with the envelope, whatever the order of its recipients: a client that sends a message once more to the rest
 * of them, as some were put off, sends something else. */
static int format_key(const struct transaction *t, const char *key, struct buf *out)
{
    size_t n = t->recipients.count;
    _cleanup_(freep) const char **addresses = calloc(n, sizeof(*addresses));
    int r = addresses != NULL ? buf_printf(out, "%s\n%s", key, t->mail.from.text) : -ENOMEM;
    for (size_t i = 0; i < n && r == 0; i++)
        addresses[i] = recipients_address(&t->recipients, i);
    if (r == 0)
        qsort(addresses, n, sizeof(*addresses), compare_addresses);
    for (size_t i = 0; i < n && r == 0; i++)
        r = buf_printf(out, "\n%s", addresses[i]);
    return r;
}

/* Whether a message with this key may be queued; if not, the client has its answer. */
static bool claim_key(struct transaction *t)
{
    struct session *s = t->session;
    static const struct content_fault pending = {451, "4.3.0",
                                                 "a message with this key is being accepted just now, try again later"};
    const char *key = content_key(t->content);
    char id[ONCE_ID_SIZE] = "";
    if (s->server->once == NULL || key[0] == '\0')
        return true;
    _cleanup_(buf_deinit) struct buf whole;
    buf_init(&whole, SIZE_MAX / 4);
    int r = format_key(t, key, &whole);
    if (r == 0)
        r = once_claim(s->server->once, s->credential != NULL ? s->credential : s->client, buf_str(&whole), &t->claim,
                       id);
    if (r == ONCE_CLAIMED) {
        t->once = s->server->once;
    } else if (r == ONCE_TAKEN) {
        log_message(LOG_LEVEL_INFO, id, "submitted again: client=%s, credential=%s, key=%s, not queued again",
                    s->client, s->credential != NULL ? s->credential : "", key);
        session_reply(s, 250, "2.0.0", "queued as %s, before", id);
        s->phase = SESSION_COMMAND;
        transaction_end(s);
    } else if (r == ONCE_PENDING) {
        transaction_refuse(s, &pending);
    } else if (r < 0) {
        log_warning("client=%s: keys of submissions can not be looked up: %s, the message is taken", s->client,
                    text_errno(r));
    }
    return r < 0 || r == ONCE_CLAIMED;
}

/* Whether the quotas have room for it; if not, the client has its answer. */
static bool claim_quota(struct transaction *t)
{
    char why[QUOTA_TEXT_MAX];
    const struct content_fault excess = {450, "4.7.1", why};
    if (quota_take(t->session, t->recipients.count, &t->quota, why) == 0)
        return true;
    settle_claim(t, "", -EDQUOT);
    transaction_refuse(t->session, &excess);
    return false;
}

void transaction_commit(struct transaction *t)
{
    static const struct content_fault no_memory = {451, "4.3.0", "no memory, try again later"};
    struct session *s = t->session;
    if (!claim_key(t) || !claim_quota(t))
        return;
    struct commit *commit = commit_new(t);
    struct injection *injection = content_take_injection(t->content);
    t->accepted = accepted_line(t);
    if (commit == NULL || t->accepted == NULL) {
        commit_free(commit);
        injection_abort(injection);
        settle_claim(t, "", -ENOMEM);
        quota_settle(s->server, &t->quota, false);
        transaction_refuse(s, &no_memory);
        return;
    }
    t->committing = true;
    session_wait(s, SESSION_COMMIT);
    injection_commit(injection, content_flags(t->content), commit_done, commit);
}
