/* What a client is told, and what the log says of it. */
#include <stdio.h>

#include "log/log.h"
#include "smtp/reply.h"
#include "smtpd/listen.h"
#include "smtpd/transaction.h"

enum { REPLY_ROOM = 8 * 1024, REPLY_TEXT_MAX = 2048 };

bool session_has_reply_room(const struct session *s)
{
    return stream_writable_bytes(s->stream) >= REPLY_ROOM;
}

/* The bytes cannot but fit: commands begin with REPLY_ROOM bytes of room. */
void session_reply_text(struct session *s, unsigned code, const char *enhanced, const char *text)
{
    if (s->phase == SESSION_CLOSING)
        return;
    if (smtp_reply_format(stream_output(s->stream), code, enhanced, text) < 0)
        log_warning("client=%s: reply %u could not be sent", s->client, code);
    stream_send(s->stream);
}

static void close_with(struct session *s, unsigned code, const char *enhanced, const char *text)
{
    if (s->phase == SESSION_CLOSING)
        return;
    session_reply_text(s, code, enhanced, text);
    s->phase = SESSION_CLOSING;
    session_forget_question(s);
    transaction_end(s);
    session_line_up(s, false);
    stream_set_deadline_ms(s->stream, SESSION_GRACE_MS);
    stream_close_after_flush(s->stream);
}

static void decline_with(struct session *s, unsigned code, const char *enhanced, const char *text)
{
    const struct transaction *t = s->transaction;
    log_info("refused: client=%s, listener=%s, credential=%s, command=%s, from=<%s>, nrcpt=%zu, reply=%u %s %s",
             s->client, s->listener->name, s->credential != NULL ? s->credential : "", smtp_verb_name(s->verb),
             t != NULL ? t->mail.from.text : "", t != NULL ? t->recipients.count : 0, code, enhanced, text);
    session_reply_text(s, code, enhanced, text);
}

static void refuse_with(struct session *s, unsigned code, const char *enhanced, const char *text)
{
    decline_with(s, code, enhanced, text);
    if (++s->errors < (unsigned)listener_limit(s->listener->max_errors, s->server->settings.max_errors))
        return;
    session_end_soon(s, "too many errors");
}

typedef void answer_fn(struct session *s, unsigned code, const char *enhanced, const char *text);

static void __attribute__((format(printf, 5, 0)))
answer(answer_fn *fn, struct session *s, unsigned code, const char *enhanced, const char *fmt, va_list ap)
{
    char text[REPLY_TEXT_MAX];
    vsnprintf(text, sizeof(text), fmt, ap);
    fn(s, code, enhanced, text);
}

void session_reply(struct session *s, unsigned code, const char *enhanced, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    answer(session_reply_text, s, code, enhanced, fmt, ap);
    va_end(ap);
}

void session_decline(struct session *s, unsigned code, const char *enhanced, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    answer(decline_with, s, code, enhanced, fmt, ap);
    va_end(ap);
}

void session_refuse(struct session *s, unsigned code, const char *enhanced, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    answer(refuse_with, s, code, enhanced, fmt, ap);
    va_end(ap);
}

void session_close(struct session *s, unsigned code, const char *enhanced, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    answer(close_with, s, code, enhanced, fmt, ap);
    va_end(ap);
}

void session_end_soon(struct session *s, const char *why)
{
    if (s->ending != NULL)
        return;
    session_log_ended(s, why);
    s->ending = why;
}

void session_log_ended(const struct session *s, const char *reason)
{
    log_info("ended: client=%s, listener=%s, reason=%s", s->client, s->listener->name, reason);
}

/* Without a word more, and without waiting for the client. */
void session_cut(struct session *s)
{
    s->phase = SESSION_CLOSING;
    session_forget_question(s);
    transaction_end(s);
    session_line_up(s, false);
    stream_close_at_once(s->stream);
}
