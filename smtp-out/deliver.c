#include "smtp-out/deliver.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "smtp-out/job.h"
#include "log/log.h"
#include "mail/dsn.h"
#include "queue/envelope.h"
#include "smtp-out/session.h"

_Static_assert(IPC_RECIPIENTS_MAX <= UINT8_MAX, "pending and accepted hold indexes in a byte");

enum { STEP_RSET, STEP_MAIL, STEP_RCPT, CHUNK_MAX = 32 * 1024, ROOM_MIN = 1024, COMMAND_MAX = 2048 };

static const struct settings_smtp_out *settings_of(const struct job *j)
{
    return j->out->settings;
}

static bool offers(const struct job *j, unsigned extension)
{
    return (j->session->offers.extensions & extension) != 0;
}

static unsigned step_data(const struct deliver *d)
{
    return STEP_RCPT + d->pending_count;
}

static enum stage stage_of_step(const struct deliver *d, unsigned step)
{
    if (step <= STEP_MAIL)
        return STAGE_MAIL;
    return step < step_data(d) ? STAGE_RCPT : STAGE_DATA;
}

static enum stage current_stage(const struct deliver *d)
{
    if (d->ended)
        return STAGE_END;
    return d->sending ? STAGE_CONTENT : stage_of_step(d, d->replied);
}

static void decide_pending(struct job *j, const struct failure *f)
{
    for (unsigned i = 0; i < j->deliver.pending_count; i++)
        job_decide(j, &j->recipients[j->deliver.pending[i]], f);
}

/* -- what the server must be able to do
 * -------------------------------------------------------------------------------- */

static bool address_is_utf8(const char *address)
{
    return !text_is_ascii(address, strlen(address));
}

/* r NULL: all recipients. */
static void fail_for(struct job *j, struct job_recipient *r, enum trouble trouble, const char *why)
{
    struct failure f;
    char text[SESSION_RELAY_MAX + 100];
    snprintf(text, sizeof(text), "%s %.90s", j->session->relay, why);
    failure_from_trouble(&f, j->session, trouble, text);
    if (r != NULL)
        job_decide(j, r, &f);
    else
        job_decide_rest(j, &f);
}

/* RFC 2852 section 4.1.4: a server that can not promise to be in time is not asked for it. */
static void decide_late(struct job *j)
{
    int64_t left = (int64_t)j->return_by_s - clock_wall_s();
    if (j->return_by_s == 0)
        return;
    if (!offers(j, SMTP_EXT_DELIVERBY) && settings_of(j)->strict_deliver_by)
        fail_for(j, NULL, TROUBLE_LATE, "does not offer DELIVERBY, which this message needs");
    else if (offers(j, SMTP_EXT_DELIVERBY) && left < (int64_t)j->session->offers.by_min_s)
        fail_for(j, NULL, TROUBLE_LATE, "delivers nothing in so short a time as this message has left");
}

/* RFC 6152 section 3, RFC 6531 section 3.6, RFC 1870 section 6: the message cannot pass this server. */
static void decide_unfit(struct job *j)
{
    uint64_t limit = j->session->offers.size_bytes;
    bool header_may_be_utf8 = j->flags & ENVELOPE_SMTPUTF8 && j->flags & ENVELOPE_8BIT;
    if (limit > 0 && j->content_length + strlen(j->headers) > limit)
        fail_for(j, NULL, TROUBLE_TOO_LARGE, "takes no message of this size");
    bool binary = j->flags & ENVELOPE_BINARY;
    if (binary && (!offers(j, SMTP_EXT_BINARYMIME) || !offers(j, SMTP_EXT_CHUNKING)))
        fail_for(j, NULL, TROUBLE_NEEDS_BINARYMIME, "does not offer BINARYMIME, which this message needs");
    if (j->flags & ENVELOPE_REQUIRETLS && !offers(j, SMTP_EXT_REQUIRETLS))
        fail_for(j, NULL, TROUBLE_NEEDS_REQUIRETLS, "does not offer REQUIRETLS, which this message needs");
    else if (j->flags & ENVELOPE_REQUIRETLS && !j->session->verified)
        fail_for(j, NULL, TROUBLE_NEEDS_REQUIRETLS, "could not prove who it is, which this message needs (REQUIRETLS)");
    if (j->flags & ENVELOPE_8BIT && !binary && !offers(j, SMTP_EXT_8BITMIME))
        fail_for(j, NULL, TROUBLE_NEEDS_8BITMIME, "does not offer 8BITMIME, which this message needs");
    decide_late(j);
    if (offers(j, SMTP_EXT_SMTPUTF8))
        return;
    if (header_may_be_utf8 || address_is_utf8(j->sender))
        fail_for(j, NULL, TROUBLE_NEEDS_SMTPUTF8, "does not offer SMTPUTF8, which this message needs");
    for (size_t i = 0; i < j->count; i++)
        if (address_is_utf8(j->recipients[i].address))
            fail_for(j, &j->recipients[i], TROUBLE_NEEDS_SMTPUTF8, "does not offer SMTPUTF8, which this address needs");
}

/* -- commands
 * ---------------------------------------------------------------------------------------------------------- */

/* RFC 2852 section 4.1.4.1: what is left of the time. */
static void format_by(const struct job *j, struct buf *line)
{
    uint64_t by = j->return_by_s > 0 ? j->return_by_s : j->notify_by_s;
    int64_t left = (int64_t)by - clock_wall_s();
    if (by == 0 || !offers(j, SMTP_EXT_DELIVERBY) || (j->return_by_s > 0 && left <= 0))
        return;
    buf_printf(line, " BY=%lld;%c", (long long)left, j->return_by_s > 0 ? 'R' : 'N');
}

static int format_mail(const struct job *j, struct buf *line)
{
    buf_printf(line, "MAIL FROM:<%s>", j->sender);
    if (offers(j, SMTP_EXT_SIZE))
        buf_printf(line, " SIZE=%llu", (unsigned long long)(j->content_length + strlen(j->headers)));
    if (j->flags & ENVELOPE_BINARY)
        buf_append_str(line, " BODY=BINARYMIME");
    else if (offers(j, SMTP_EXT_8BITMIME) && j->flags & (ENVELOPE_8BIT | ENVELOPE_BODY_8BITMIME))
        buf_append_str(line, " BODY=8BITMIME");
    if (j->flags & ENVELOPE_REQUIRETLS)
        buf_append_str(line, " REQUIRETLS");
    if (offers(j, SMTP_EXT_MT_PRIORITY) && j->mt_priority[0] != '\0')
        buf_printf(line, " MT-PRIORITY=%s", j->mt_priority);
    format_by(j, line);
    if (offers(j, SMTP_EXT_SMTPUTF8) && j->flags & ENVELOPE_SMTPUTF8)
        buf_append_str(line, " SMTPUTF8");
    if (offers(j, SMTP_EXT_DSN) && j->ret != MAIL_DSN_RET_UNSET)
        buf_printf(line, " RET=%s", mail_dsn_ret_format((enum mail_dsn_ret)j->ret));
    if (offers(j, SMTP_EXT_DSN) && j->envid[0] != '\0')
        buf_printf(line, " ENVID=%s", j->envid);
    return buf_append_str(line, "\r\n");
}

static int format_rcpt(const struct job *j, const struct job_recipient *r, struct buf *line)
{
    buf_printf(line, "RCPT TO:<%s>", r->address);
    if (offers(j, SMTP_EXT_DSN) && r->notify != 0) {
        buf_append_str(line, " NOTIFY=");
        mail_dsn_notify_format(r->notify, line);
    }
    if (offers(j, SMTP_EXT_DSN) && r->orcpt[0] != '\0')
        buf_printf(line, " ORCPT=%s", r->orcpt);
    return buf_append_str(line, "\r\n");
}

static int send_step(struct job *j, unsigned step)
{
    struct buf line;
    buf_init(&line, COMMAND_MAX);
    int r;
    if (step == STEP_RSET)
        r = buf_append_str(&line, "RSET\r\n");
    else if (step == STEP_MAIL)
        r = format_mail(j, &line);
    else if (step < step_data(&j->deliver))
        r = format_rcpt(j, &j->recipients[j->deliver.pending[step - STEP_RCPT]], &line);
    else if (j->deliver.chunks)
        r = buf_printf(&line, "BDAT %llu LAST\r\n", (unsigned long long)(j->content_length + strlen(j->headers)));
    else
        r = buf_append_str(&line, "DATA\r\n");
    if (r == 0)
        r = stream_write(j->session->stream, line.data, line.len);
    buf_deinit(&line);
    return r;
}

static void expect_next(struct job *j)
{
    const struct settings_smtp_out *s = settings_of(j);
    const int64_t wait_ms[STAGE_COUNT] = {
        [STAGE_MAIL] = s->mail_timeout_ms,
        [STAGE_RCPT] = s->rcpt_timeout_ms,
        [STAGE_DATA] = s->data_timeout_ms,
        [STAGE_END] = s->end_timeout_ms,
    };
    session_expect_ms(j->session, wait_ms[current_stage(&j->deliver)]);
}

/* The session is over before the transaction is. */
static void give_up(struct job *j, const struct failure *f)
{
    enum stage stage = current_stage(&j->deliver);
    session_free(j->session);
    j->session = NULL;
    if (stage < STAGE_CONTENT) {
        job_session_lost(j, f);
        return;
    }
    decide_pending(j, f);
    job_transaction_over(j);
}

static void break_off(struct job *j, const char *why)
{
    struct failure f;
    failure_from_loss(&f, j->session, current_stage(&j->deliver), why);
    give_up(j, &f);
}

static void break_off_for(struct job *j, enum trouble trouble, const char *why)
{
    struct failure f;
    failure_from_trouble(&f, j->session, trouble, why);
    give_up(j, &f);
}

/* Nothing is under way on the session, but the server may still have an envelope of ours. */
static void end_without_data(struct job *j)
{
    j->session->reset_first = true;
    job_transaction_over(j);
}

static void begin_content(struct job *j);

/* Sends what may be sent now: all of it to a server that pipelines, else one command at a time. */
static void send_commands(struct job *j)
{
    struct deliver *d = &j->deliver;
    while (d->sent <= step_data(d) && (d->pipelining || d->sent == d->replied)) {
        if (!d->pipelining && (d->mail_refused || (d->sent == step_data(d) && d->accepted_count == 0))) {
            end_without_data(j);
            return;
        }
        if (send_step(j, d->sent) < 0) {
            break_off_for(j, TROUBLE_OURS, "out of memory");
            return;
        }
        d->sent++;
        if (d->chunks && d->sent > step_data(d)) {
            begin_content(j);
            return;
        }
    }
    expect_next(j);
}

/* -- content
 * ----------------------------------------------------------------------------------------------------------- */

static void end_content(struct job *j)
{
    struct deliver *d = &j->deliver;
    bool line_is_open = d->content_sent > 0 && memcmp(d->tail, "\r\n", 2) != 0;
    int r = d->chunks ? 0 : stream_write_str(j->session->stream, line_is_open ? "\r\n.\r\n" : ".\r\n");
    if (r < 0) {
        break_off_for(j, TROUBLE_OURS, text_errno(r));
        return;
    }
    d->ended = true;
    session_expect_ms(j->session, settings_of(j)->end_timeout_ms);
}

static void remember_tail(struct deliver *d, const char *data, size_t n)
{
    d->tail[0] = n > 1 ? data[n - 2] : d->tail[1];
    d->tail[1] = data[n - 1];
}

/* Reads at most n more bytes of content into the output, doubling leading dots where the content has any.  Bytes of
 * content used, or -errno; 0 = the file is shorter than it should be. */
static ssize_t copy_content(struct job *j, size_t n)
{
    struct deliver *d = &j->deliver;
    struct buf *out = stream_output(j->session->stream);
    char chunk[CHUNK_MAX];
    bool in_place = d->chunks || !(j->flags & ENVELOPE_LEADING_DOTS);
    int r = in_place ? buf_reserve(out, n) : 0;
    if (r < 0)
        return r;
    char *place = in_place ? buf_tail(out) : chunk;
    ssize_t got = pread(j->fd, place, n, (off_t)(j->content_offset + d->content_sent));
    if (got <= 0)
        return got < 0 ? -errno : 0;
    remember_tail(d, place, (size_t)got);
    if (in_place)
        buf_added(out, (size_t)got);
    else
        r = smtp_data_encode(&d->encoder, chunk, (size_t)got, out);
    return r < 0 ? r : got;
}

/* The signature fields are short: they fit in one piece. */
static int send_headers(struct job *j)
{
    size_t len = strlen(j->headers);
    int r = len > j->deliver.headers_sent ? stream_write(j->session->stream, j->headers, len) : 0;
    if (r == 0)
        j->deliver.headers_sent = len;
    return r;
}

static void send_content(struct job *j)
{
    struct deliver *d = &j->deliver;
    int r = send_headers(j);
    if (r < 0) {
        break_off_for(j, TROUBLE_OURS, text_errno(r));
        return;
    }
    while (d->content_sent < j->content_length) {
        uint64_t left = j->content_length - d->content_sent;
        size_t room = stream_writable_bytes(j->session->stream) / 2; /* dots may double */
        size_t n = room < CHUNK_MAX ? room : CHUNK_MAX;
        if (room < ROOM_MIN)
            break;
        ssize_t got = copy_content(j, left < n ? (size_t)left : n);
        if (got <= 0) {
            log_message(LOG_LEVEL_ERROR, j->queue_id, "the queue file can not be read: %s, will retry",
                        got < 0 ? text_errno((int)got) : "it is shorter than its envelope says");
            break_off_for(j, TROUBLE_OURS, "the message can not be read");
            return;
        }
        d->content_sent += (uint64_t)got;
    }
    stream_send(j->session->stream);
    if (d->content_sent == j->content_length)
        end_content(j);
}

static void begin_content(struct job *j)
{
    j->deliver.sending = true;
    smtp_data_encoder_init(&j->deliver.encoder);
    stream_set_deadline_ms(j->session->stream, 0);
    stream_set_timeout_ms(j->session->stream, (uint64_t)settings_of(j)->content_timeout_ms);
    send_content(j);
}

/* -- replies
 * ----------------------------------------------------------------------------------------------------------- */

/* 421: the server closes the connection (RFC 5321 section 3.8). */
static void server_closes(struct job *j, const struct smtp_reply *reply)
{
    struct failure f;
    failure_from_reply(&f, j->session, current_stage(&j->deliver), reply);
    give_up(j, &f);
}

static void mail_replied(struct job *j, const struct smtp_reply *reply)
{
    struct failure f;
    if (reply->code / 100 == 2)
        return;
    failure_from_reply(&f, j->session, STAGE_MAIL, reply);
    j->deliver.mail_refused = true;
    decide_pending(j, &f);
}

static void rcpt_replied(struct job *j, unsigned step, const struct smtp_reply *reply)
{
    struct deliver *d = &j->deliver;
    uint8_t which = d->pending[step - STEP_RCPT];
    struct failure f;
    if (d->mail_refused)
        return;
    if (reply->code / 100 == 2) {
        d->accepted[d->accepted_count++] = which;
        return;
    }
    failure_from_reply(&f, j->session, STAGE_RCPT, reply);
    job_decide(j, &j->recipients[which], &f);
}

static void data_replied(struct job *j, const struct smtp_reply *reply)
{
    struct failure f;
    bool go = reply->code == 354;
    if (go && j->deliver.accepted_count > 0) {
        begin_content(j);
    } else if (go) {
        /* Pipelined, and nobody was accepted: no content, so the only safe way out is to close. */
        session_free(j->session);
        j->session = NULL;
        job_transaction_over(j);
    } else {
        failure_from_reply(&f, j->session, STAGE_DATA, reply);
        decide_pending(j, &f);
        end_without_data(j);
    }
}

static void content_replied(struct job *j, const struct smtp_reply *reply)
{
    struct deliver *d = &j->deliver;
    struct failure f;
    failure_from_reply(&f, j->session, STAGE_END, reply);
    if (!d->ended && f.verdict.outcome == OUTCOME_DELIVERED)
        f.verdict = verdict_decide(STAGE_CONTENT, 0, (struct mail_status){0});
    decide_pending(j, &f);
    j->session->messages++;
    j->session->reset_first = d->chunks && d->accepted_count == 0;
    if (!d->ended) {
        session_free(j->session);
        j->session = NULL;
    }
    job_transaction_over(j);
}

static void deliver_replied(void *arg, const struct smtp_reply *reply)
{
    struct job *j = arg;
    struct deliver *d = &j->deliver;
    if (reply->code == 421) {
        server_closes(j, reply);
        return;
    }
    if (d->sending && !(d->chunks && d->replied < step_data(d))) {
        content_replied(j, reply);
        return;
    }
    if (d->replied == d->sent) {
        break_off(j, "the server sent a reply to nothing");
        return;
    }
    unsigned step = d->replied;
    if (step == step_data(d)) {
        data_replied(j, reply);
        return;
    }
    d->replied++;
    if (step == STEP_MAIL)
        mail_replied(j, reply);
    else if (step >= STEP_RCPT)
        rcpt_replied(j, step, reply);
    if (!d->sending) /* a chunk goes out with the commands before it */
        send_commands(j);
}

static void deliver_drained(void *arg)
{
    struct job *j = arg;
    if (j->deliver.sending && !j->deliver.ended)
        send_content(j);
}

static void deliver_ended(void *arg, const char *why, bool tls_failed)
{
    break_off(arg, why);
}

static void deliver_event(void *arg)
{
}

static const struct session_ops deliver_ops = {
    .on_connected = deliver_event,
    .on_reply = deliver_replied,
    .on_drained = deliver_drained,
    .on_secure = deliver_event,
    .on_end = deliver_ended,
};

void deliver_start(struct job *j)
{
    struct deliver *d = &j->deliver;
    *d = (struct deliver){.pipelining = offers(j, SMTP_EXT_PIPELINING), .chunks = j->flags & ENVELOPE_BINARY};
    session_set_owner(j->session, &deliver_ops, j);
    decide_unfit(j);
    for (size_t i = 0; i < j->count; i++)
        if (!j->recipients[i].decided)
            d->pending[d->pending_count++] = (uint8_t)i;
    if (d->pending_count == 0) {
        job_transaction_over(j);
        return;
    }
    d->sent = d->replied = j->session->reset_first ? STEP_RSET : STEP_MAIL;
    send_commands(j);
}
