#include "smtpd/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "smtpd/command.h"
#include "smtpd/domains.h"
#include "smtpd/limits.h"
#include "smtpd/listen.h"
#include "smtpd/quota.h"
#include "log/log.h"
#include "smtp/proxy.h"
#include "smtp/reply.h"
#include "smtpd/transaction.h"
#include "tls/identity.h"

enum {
    INPUT_LIMIT = 64 * 1024,
    OUTPUT_LIMIT = 64 * 1024,
    REPLY_ROOM = 8 * 1024, /* no command is begun unless its reply fits the output */
    REPLY_TEXT_MAX = 2048,
    STREAM_GRACE_MS = 10000, /* what a client gets to read our last reply */
    /* More commands of a stranger are no progress: who wants to log in needs fewer. */
    STRANGER_COMMANDS = 20,
    KNOWN_PATIENCE_MS = 10000, /* so long a client we know may be silent whoever else wants its place */
};

static const struct net_address *counted_as(const struct session *s)
{
    return s->proxied ? NULL : &s->peer;
}

int session_set_client(struct session *s, const struct net_address *client)
{
    int reason = limits_move(s->server->limits, counted_as(s), client);
    net_format_host(client, s->client);
    if (reason != 0)
        return reason;
    s->peer = *client;
    s->proxied = false;
    return 0;
}

static void stop_counting(struct session *s)
{
    if (!s->counted)
        return;
    s->counted = false;
    limits_disconnect(s->server->limits, counted_as(s));
    listener_leave(s->server, s->listener);
}

/* Where it stands in line when room is needed. */
static enum session_standing standing_of(const struct session *s)
{
    bool content = s->transaction != NULL && s->transaction->content != NULL;
    if (content || s->phase == SESSION_CLOSING)
        return SESSION_BUSY;
    return session_may_relay(s) ? SESSION_KNOWN : SESSION_STRANGER;
}

static void line_up(struct session *s, bool progress)
{
    struct server *server = s->server;
    enum session_standing standing = standing_of(s);
    progress &= standing == SESSION_KNOWN || s->commands <= STRANGER_COMMANDS;
    if (standing == s->standing && !progress)
        return;
    if (s->standing != SESSION_BUSY)
        TAILQ_REMOVE(&server->waiting[s->standing], s, turn);
    if (standing != SESSION_BUSY)
        TAILQ_INSERT_TAIL(&server->waiting[standing], s, turn);
    s->standing = standing;
}

static void forget_question(struct session *s)
{
    domains_cancel(s->domain_question);
    free(s->asked_rcpt);
    s->domain_question = NULL;
    s->asked_rcpt = NULL;
}

void session_free(struct session *s)
{
    stop_counting(s);
    if (s->standing != SESSION_BUSY)
        TAILQ_REMOVE(&s->server->waiting[s->standing], s, turn);
    TAILQ_REMOVE(&s->server->sessions, s, link);
    session_forget(s);
    smtp_line_reader_deinit(&s->reader);
    timer_deinit(&s->clock);
    stream_free(s->stream);
    free(s);
}

static void forget_owner(struct session *s)
{
    free(s->credential);
    free(s->tenant);
    free(s->senders);
    s->credential = s->tenant = s->senders = NULL;
    s->bulk = false;
}

static void log_out(struct session *s)
{
    if (s->credential != NULL)
        quota_leave(s);
    forget_owner(s);
}

int session_log_in(struct session *s, const struct session_owner *owner)
{
    s->credential = strdup(owner->credential);
    s->tenant = strdup(owner->tenant);
    s->senders = strdup(owner->senders);
    s->bulk = owner->bulk;
    int r = s->credential == NULL || s->tenant == NULL || s->senders == NULL ? -ENOMEM : quota_enter(s) ? 0 : -EUSERS;
    if (r < 0)
        forget_owner(s);
    return r;
}

void session_forget(struct session *s)
{
    forget_question(s);
    transaction_end(s);
    auth_cancel(s->server->auth, s->exchange);
    s->exchange = NULL;
    log_out(s);
    s->helo[0] = '\0';
    s->esmtp = false;
}

bool session_may_relay(const struct session *s)
{
    return s->credential != NULL || s->trusted;
}

const char *session_senders(const struct session *s)
{
    return s->credential != NULL ? s->senders : s->listener->senders;
}

const char *session_tenant(const struct session *s)
{
    return s->credential != NULL ? s->tenant : s->listener->tenant;
}

int64_t session_max_message_size(const struct session *s)
{
    return listener_limit(s->listener->max_message_size_bytes, s->server->settings.max_message_size_bytes);
}

int64_t session_max_recipients(const struct session *s)
{
    return listener_limit(s->listener->max_recipients, s->server->settings.max_recipients);
}

static uint64_t idle_timeout_ms(const struct session *s)
{
    return (uint64_t)listener_limit(s->listener->idle_timeout_ms, s->server->settings.idle_timeout_ms);
}

bool session_offers_auth(const struct session *s)
{
    return s->listener->auth != LISTENER_AUTH_NO && s->server->auth != NULL &&
           (stream_is_secure(s->stream) || s->listener->auth_without_tls);
}

bool session_binds_channel(const struct session *s)
{
    unsigned char binding[TLS_EXPORTER_BYTES];
    return tls_exporter(s->stream, binding) == 0;
}

/* EXTERNAL and channel binding are offered only where the client can use them: some try the first that they know. */
bool session_offers_mechanism(const struct session *s, const char *mechanism)
{
    const struct conf_list *mechanisms = &s->server->settings.auth_mechanisms;
    size_t i = 0;
    while (i < mechanisms->count && !text_equal_nocase(mechanisms->items[i], mechanism))
        i++;
    if (i == mechanisms->count)
        return false;
    if (text_equal_nocase(mechanism, "EXTERNAL"))
        return s->listener->client_certificates && tls_has_identity(s->stream);
    return !text_equal_nocase(mechanism, "SCRAM-SHA-256-PLUS") || session_binds_channel(s);
}

static bool offers_some_mechanism(const struct session *s)
{
    const struct conf_list *mechanisms = &s->server->settings.auth_mechanisms;
    for (size_t i = 0; i < mechanisms->count; i++)
        if (session_offers_mechanism(s, mechanisms->items[i]))
            return true;
    return false;
}

unsigned session_offers(const struct session *s)
{
    unsigned offers = SMTP_EXT_ALL & ~s->hidden_extensions;
    if (s->listener->tls != LISTENER_TLS_STARTTLS || stream_is_secure(s->stream))
        offers &= ~SMTP_EXT_STARTTLS;
    if (!session_offers_auth(s) || s->credential != NULL || !offers_some_mechanism(s))
        offers &= ~SMTP_EXT_AUTH;
    if (!stream_is_secure(s->stream)) /* RFC 8689 section 2 */
        offers &= ~SMTP_EXT_REQUIRETLS;
    /* RFC 4865 section 3: for submission. */
    if (s->listener->role != LISTENER_SUBMISSION || s->server->settings.future_release_max_ms == 0)
        offers &= ~SMTP_EXT_FUTURERELEASE;
    if (!s->may_xclient)
        offers &= ~SMTP_EXT_XCLIENT;
    if ((offers & SMTP_EXT_CHUNKING) == 0) /* RFC 3030 section 3 */
        offers &= ~SMTP_EXT_BINARYMIME;
    return offers;
}

const char *session_protocol(const struct session *s, bool smtputf8)
{
    static const char *const names[2][4] = {
        {"ESMTP", "ESMTPA", "ESMTPS", "ESMTPSA"},
        {"UTF8SMTP", "UTF8SMTPA", "UTF8SMTPS", "UTF8SMTPSA"},
    };
    unsigned secure = stream_is_secure(s->stream) ? 2 : 0;
    if (!s->esmtp && secure == 0)
        return "SMTP";
    return names[smtputf8 ? 1 : 0][secure + (s->credential != NULL ? 1 : 0)];
}

/* The bytes cannot but fit: commands begin with REPLY_ROOM bytes of room. */
static void reply_text(struct session *s, unsigned code, const char *enhanced, const char *text)
{
    if (s->phase == SESSION_CLOSING)
        return;
    if (smtp_reply_format(stream_output(s->stream), code, enhanced, text) < 0)
        log_warning("client=%s: reply %u could not be sent", s->client, code);
    stream_send(s->stream);
}

void session_reply(struct session *s, unsigned code, const char *enhanced, const char *fmt, ...)
{
    char text[REPLY_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    reply_text(s, code, enhanced, text);
}

static void close_with(struct session *s, unsigned code, const char *enhanced, const char *text)
{
    if (s->phase == SESSION_CLOSING)
        return;
    reply_text(s, code, enhanced, text);
    s->phase = SESSION_CLOSING;
    forget_question(s);
    transaction_end(s);
    line_up(s, false);
    stream_set_deadline_ms(s->stream, STREAM_GRACE_MS);
    stream_close_after_flush(s->stream);
}

void session_close(struct session *s, unsigned code, const char *enhanced, const char *fmt, ...)
{
    char text[REPLY_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    close_with(s, code, enhanced, text);
}

static void decline_with(struct session *s, unsigned code, const char *enhanced, const char *text)
{
    const struct transaction *t = s->transaction;
    log_info("refused: client=%s, listener=%s, credential=%s, command=%s, from=<%s>, nrcpt=%zu, reply=%u %s %s",
             s->client, s->listener->name, s->credential != NULL ? s->credential : "", smtp_verb_name(s->verb),
             t != NULL ? t->mail.from.text : "", t != NULL ? t->recipients.count : 0, code, enhanced, text);
    reply_text(s, code, enhanced, text);
}

void session_decline(struct session *s, unsigned code, const char *enhanced, const char *fmt, ...)
{
    char text[REPLY_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    decline_with(s, code, enhanced, text);
}

void session_refuse(struct session *s, unsigned code, const char *enhanced, const char *fmt, ...)
{
    char text[REPLY_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    decline_with(s, code, enhanced, text);
    if (++s->errors < (unsigned)listener_limit(s->listener->max_errors, s->server->settings.max_errors))
        return;
    log_info("ended: client=%s, listener=%s, errors=%u, reason=too many errors", s->client, s->listener->name,
             s->errors);
    session_close(s, 421, "4.7.0", "%s too many errors", s->server->hostname);
}

static void log_ended(const struct session *s, const char *reason)
{
    log_info("ended: client=%s, listener=%s, reason=%s", s->client, s->listener->name, reason);
}

/* Without a word more, and without waiting for the client. */
static void close_at_once(struct session *s)
{
    s->phase = SESSION_CLOSING;
    forget_question(s);
    transaction_end(s);
    line_up(s, false);
    stream_close_at_once(s->stream);
}

void session_check_by(struct session *s, uint64_t at_ms)
{
    uint64_t now = clock_mono_ms();
    if (s->check_at_ms != 0 && s->check_at_ms <= at_ms)
        return;
    s->check_at_ms = at_ms;
    timer_set_ms(&s->clock, at_ms > now ? at_ms - now : 0);
}

static void greet(struct session *s)
{
    const char *banner = s->listener->banner[0] != '\0' ? s->listener->banner : s->server->settings.banner;
    s->phase = SESSION_COMMAND;
    s->last_activity_ms = clock_mono_ms();
    session_reply(s, 220, "", "%s ESMTP%s%s", s->server->hostname, banner[0] != '\0' ? " " : "", banner);
}

static void say_draining(struct session *s)
{
    session_close(s, 421, "4.3.2", "%s is shutting down, try again", s->server->hostname);
}

static void give_up_login(struct session *s)
{
    if (s->phase != SESSION_AUTH_WAIT)
        return;
    auth_cancel(s->server->auth, s->exchange);
    s->exchange = NULL;
}

void session_drain(struct session *s)
{
    give_up_login(s);
    if (s->phase == SESSION_COMMAND || s->phase == SESSION_AUTH_RESPONSE || s->phase == SESSION_AUTH_WAIT ||
        s->phase == SESSION_DOMAIN_WAIT || s->phase == SESSION_HUSH)
        say_draining(s);
    else if (s->phase == SESSION_GREETING || s->phase == SESSION_PROXY)
        stream_close_after_flush(s->stream);
}

/* It no longer counts and takes what is left of it along at once: the new client needs its place now. */
static void make_way(struct session *s)
{
    s->end_reason = "room was needed for a new client"; /* one line is enough where there may be thousands a second */
    give_up_login(s);
    stop_counting(s);
    if (s->phase != SESSION_GREETING && s->phase != SESSION_PROXY)
        reply_text(s, 421, "4.3.2", "too many connections, and this one was idle");
    close_at_once(s);
}

bool session_make_room(struct server *server, enum session_standing standing)
{
    struct session *s = TAILQ_FIRST(&server->waiting[standing]);
    if (s == NULL)
        return false;
    if (standing == SESSION_KNOWN && clock_mono_ms() - s->last_activity_ms < KNOWN_PATIENCE_MS)
        return false;
    make_way(s);
    return true;
}

static const char *const line_problems[] = {
    [SMTP_LINE_BARE_CR] = "a line must end in CRLF, found a CR alone",
    [SMTP_LINE_BARE_LF] = "a line must end in CRLF, found an LF alone",
    [SMTP_LINE_NUL] = "a line must not hold a NUL byte",
};

/* A stray line end means that we and whoever is in between may see different commands: the session cannot go on. */
static void line_offence(struct session *s, int result)
{
    if (result == SMTP_LINE_TOO_LONG && s->phase == SESSION_AUTH_RESPONSE) {
        command_auth_too_long(s);
        return;
    }
    s->verb = SMTP_VERB_UNKNOWN;
    if (result == SMTP_LINE_TOO_LONG) {
        session_refuse(s, 500, "5.5.2", "line too long");
        return;
    }
    session_refuse(s, 500, "5.5.2", "%s", line_problems[result]);
    session_close(s, 421, "4.7.0", "%s closing the connection", s->server->hostname);
}

/* A ClientHello begins so, and no command does. */
static bool is_tls(const struct session *s)
{
    const struct buf *in = stream_input(s->stream);
    return in->len >= 2 && in->data[0] == 0x16 && in->data[1] == 0x03 && !stream_is_secure(s->stream);
}

static void turn_tls_away(struct session *s)
{
    log_ended(s, s->listener->tls == LISTENER_TLS_STARTTLS
                     ? "the client speaks TLS; this listener expects STARTTLS: use one with tls = implicit (port 465)"
                     : "the client speaks TLS; this listener has none");
    close_at_once(s);
}

/* It speaks and was not greeted yet (RFC 5321 section 4.3.1). */
static bool take_early_talk(struct session *s)
{
    if (stream_input(s->stream)->len == 0)
        return false;
    if (is_tls(s)) {
        turn_tls_away(s);
        return false;
    }
    log_ended(s, "the client spoke before the greeting");
    reply_text(s, 554, "5.5.1", "you spoke before the greeting");
    close_at_once(s);
    return false;
}

/* One line of the client; false when there is none yet. */
static bool take_line(struct session *s)
{
    if (is_tls(s) && !s->reader.skipping) {
        turn_tls_away(s);
        return false;
    }
    char *line;
    size_t len, max = session_offers_auth(s) ? SMTP_AUTH_LINE_MAX : SMTP_COMMAND_LINE_MAX;
    int r = smtp_line_take(&s->reader, stream_input(s->stream), max, s->normalises, &line, &len);
    if (r == SMTP_LINE_MORE)
        return false;
    s->last_activity_ms = clock_mono_ms();
    if (r < 0)
        session_close(s, 421, "4.3.0", "%s no memory, try again later", s->server->hostname);
    else if (r != 0)
        line_offence(s, r);
    else if (s->phase == SESSION_AUTH_RESPONSE)
        command_auth_response(s, line, len);
    else
        command_run(s, line, len);
    return true;
}

static bool take_content(struct session *s)
{
    struct buf *in = stream_input(s->stream);
    size_t before = in->len;
    if (before == 0)
        return false;
    s->last_activity_ms = clock_mono_ms();
    if (s->phase == SESSION_CHUNK)
        command_bdat_chunk(s, in);
    else
        command_data_content(s, in);
    s->content_bytes += before - in->len;
    return true;
}

static int begin(struct session *s)
{
    if (s->listener->tls == LISTENER_TLS_IMPLICIT)
        return stream_start_tls_server(s->stream, s->server->tls, s->listener->client_certificates);
    if (s->listener->greet_wait_ms > 0 && !s->trusted) {
        s->phase = SESSION_HUSH;
        s->greet_at_ms = clock_mono_ms() + (uint64_t)s->listener->greet_wait_ms;
        session_check_by(s, s->greet_at_ms);
        return 0;
    }
    greet(s);
    return 0;
}

/* The header of a load balancer: who the client is, before anything else (lib/smtp/proxy.h). */
static bool take_proxy_header(struct session *s)
{
    struct buf *in = stream_input(s->stream);
    struct smtp_proxy proxy;
    size_t used;
    int r = smtp_proxy_parse(in->data != NULL ? in->data : "", in->len, &proxy, &used);
    if (r == SMTP_PROXY_MORE && in->len <= SMTP_PROXY_MAX)
        return false;
    if (r != 0) {
        log_ended(s, "expected a PROXY header");
        session_close(s, 421, "4.7.0", "%s expected a PROXY header", s->server->hostname);
        return false;
    }
    buf_consume(in, used);
    if (!proxy.local && proxy.client.len > 0) {
        if (session_set_client(s, &proxy.client) != 0) {
            session_close(s, 421, "4.7.0", "%s too many connections from your address", s->server->hostname);
            return false;
        }
    }
    session_judge_client(s);
    s->phase = SESSION_GREETING;
    if (begin(s) < 0)
        session_close(s, 421, "4.3.0", "%s no memory, try again later", s->server->hostname);
    return true;
}

static bool has_reply_room(const struct session *s)
{
    return stream_writable_bytes(s->stream) >= REPLY_ROOM;
}

/* Waits for the rest of something. */
static bool is_unfinished(const struct session *s)
{
    if (s->phase == SESSION_GREETING || s->phase == SESSION_PROXY)
        return true;
    return (s->phase == SESSION_COMMAND || s->phase == SESSION_AUTH_RESPONSE) && has_reply_room(s) &&
           (stream_input(s->stream)->len > 0 || s->reader.skipping);
}

static bool has_content_under_way(const struct session *s)
{
    return s->phase == SESSION_DATA || s->phase == SESSION_CHUNK ||
           (s->phase == SESSION_COMMAND && s->transaction != NULL && s->transaction->content != NULL);
}

/* The client had its turn: what its clocks count now, and its place in line.  progress: something was complete. */
static void settle(struct session *s, bool progress)
{
    smtp_line_reader_rest(&s->reader);
    line_up(s, progress && s->phase != SESSION_CHUNK); /* the bytes of a chunk that is refused lead nowhere */
    if (!is_unfinished(s)) {
        s->unfinished_at_ms = 0;
    } else if (progress || s->unfinished_at_ms == 0) {
        s->unfinished_at_ms = clock_mono_ms();
        session_check_by(s, s->unfinished_at_ms + (uint64_t)s->server->settings.command_time_limit_ms);
    }
    if (!has_content_under_way(s))
        s->content_at_ms = s->content_bytes = 0;
    else if (s->content_at_ms == 0)
        s->content_at_ms = clock_mono_ms();
}

/* Carries out what the client has sent, until it is someone else's turn.  Replies gather meanwhile and leave together.
 */
static void session_work(struct session *s)
{
    bool progress = false;
    for (bool more = true; more && has_reply_room(s); progress |= more) {
        if (s->phase == SESSION_COMMAND && s->server->draining) {
            say_draining(s);
            break;
        }
        if (s->phase == SESSION_PROXY)
            more = take_proxy_header(s);
        else if (s->phase == SESSION_HUSH)
            more = take_early_talk(s);
        else if (s->phase == SESSION_COMMAND || s->phase == SESSION_AUTH_RESPONSE)
            more = take_line(s);
        else if (s->phase == SESSION_DATA || s->phase == SESSION_CHUNK)
            more = take_content(s);
        else
            break;
    }
    settle(s, progress);
}

static void on_input(void *arg)
{
    session_work(arg);
}

static void on_drained(void *arg)
{
    struct session *s = arg;
    /* Also looks at what stayed in the input while the output was full. */
    if (s->phase == SESSION_COMMAND || s->phase == SESSION_AUTH_RESPONSE || s->phase == SESSION_DATA ||
        s->phase == SESSION_CHUNK)
        stream_resume_input(s->stream);
}

static void on_secure(void *arg)
{
    struct session *s = arg;
    if (s->phase != SESSION_GREETING)
        return;
    if (s->server->draining)
        say_draining(s);
    else
        greet(s);
    settle(s, true);
}

static void on_end(void *arg, const struct stream_end *end)
{
    struct session *s = arg;
    struct server *server = s->server;
    log_info("disconnect: client=%s, listener=%s, helo=%s, credential=%s, tls=%s, commands=%u, accepted=%u, errors=%u, "
             "seconds=%llu, reason=%s",
             s->client, s->listener->name, s->helo, s->credential != NULL ? s->credential : "",
             stream_tls_text(s->stream), s->commands, s->accepted, s->errors,
             (unsigned long long)((clock_mono_ms() - s->started_ms) / 1000),
             s->end_reason != NULL ? s->end_reason : end->text);
    session_free(s);
    server_check_idle(server);
}

/* When its patience with the client ends, and what the client is told then. */
static uint64_t patience_ends_ms(const struct session *s, const char **why)
{
    const struct settings_smtpd *set = &s->server->settings;
    uint64_t idle_ms = idle_timeout_ms(s), rate = (uint64_t)set->min_data_rate_bytes;
    uint64_t end = s->last_activity_ms + idle_ms;
    uint64_t unfinished = s->unfinished_at_ms + (uint64_t)set->command_time_limit_ms;
    uint64_t content = rate > 0 ? s->content_at_ms + idle_ms + s->content_bytes * 1000 / rate : UINT64_MAX;
    *why = "idle for too long";
    if (s->unfinished_at_ms > 0 && unfinished < end) {
        *why = "the command took too long";
        end = unfinished;
    }
    if (s->content_at_ms > 0 && content < end) {
        *why = "the message comes too slowly";
        end = content;
    }
    return end;
}

static void lose_patience(struct session *s, const char *why)
{
    if (s->phase == SESSION_GREETING) {
        log_ended(s, "no TLS handshake in time; a client that waits for a greeting first does not speak TLS");
        close_at_once(s);
    } else if (s->phase == SESSION_PROXY) {
        log_ended(s, "no PROXY header in time");
        close_at_once(s);
    } else {
        session_close(s, 421, "4.4.2", "%s %s", s->server->hostname, why);
    }
}

/* Set once a period, not at each line: it looks at what happened meanwhile. */
static void on_clock(void *arg)
{
    struct session *s = arg;
    const char *why;
    uint64_t now = clock_mono_ms();
    s->check_at_ms = 0;
    if (s->phase == SESSION_CLOSING)
        return;
    if (s->phase == SESSION_HUSH && now >= s->greet_at_ms)
        greet(s);
    else if (s->phase == SESSION_DOMAIN_WAIT && now >= s->domain_until_ms)
        command_rcpt_unasked(s);
    if (s->phase == SESSION_CLOSING)
        return;
    if (s->phase == SESSION_HUSH) {
        session_check_by(s, s->greet_at_ms);
    } else if (s->phase == SESSION_DOMAIN_WAIT) {
        session_check_by(s, s->domain_until_ms);
    } else if (s->phase == SESSION_AUTH_WAIT || s->phase == SESSION_COMMIT) {
        session_check_by(s, now + idle_timeout_ms(s));
    } else {
        uint64_t end = patience_ends_ms(s, &why);
        if (now < end)
            session_check_by(s, end);
        else
            lose_patience(s, why);
    }
}

void session_wait(struct session *s, enum session_phase phase)
{
    s->phase = phase;
    /* A client that leaves while its login is looked at is let go at once; one that leaves while its message is made
     * durable still gets its reply, in case it only closed its own direction. */
    if (phase == SESSION_COMMIT)
        stream_pause_input(s->stream);
}

void session_resume(struct session *s, enum session_phase phase)
{
    s->phase = phase;
    s->last_activity_ms = clock_mono_ms();
    if (s->server->draining && phase != SESSION_DATA)
        say_draining(s);
    else
        stream_resume_input(s->stream);
    settle(s, true);
}

void session_judge_client(struct session *s)
{
    const struct settings_listener *l = s->listener;
    s->trusted = listener_networks_hold(&l->trusted_networks, &s->peer);
    s->may_xclient = listener_networks_hold(&l->xclient_networks, &s->peer);
    s->normalises = l->bare_line_ends == LISTENER_NORMALISE || listener_networks_hold(&l->normalise_networks, &s->peer);
    s->hidden_extensions = 0;
    for (size_t i = 0; i < l->discard_ehlo_keywords.count; i++)
        s->hidden_extensions |= smtp_extension_named(l->discard_ehlo_keywords.items[i]);
}

static const struct stream_ops session_stream = {
    .on_input = on_input,
    .on_drained = on_drained,
    .on_secure = on_secure,
    .on_end = on_end,
};

static int session_open(struct session *s)
{
    uint64_t idle_ms = idle_timeout_ms(s);
    int r = timer_init(&s->clock, s->server->loop, on_clock, s);
    if (r < 0)
        return r;
    session_check_by(s, s->started_ms + idle_ms);
    /* Behind our own time-out, for a client that does not even read the 421. */
    stream_set_timeout_ms(s->stream, idle_ms + STREAM_GRACE_MS);
    stream_set_output_limit_ms(s->stream, idle_ms);
    if (listener_networks_hold(&s->listener->proxy_networks, &s->peer)) {
        s->phase = SESSION_PROXY;
        return 0;
    }
    return begin(s);
}

int session_new(struct server *server, const struct settings_listener *listener, int fd, const struct net_address *peer)
{
    struct session *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        close(fd);
        return -ENOMEM;
    }
    *s = (struct session){.server = server, .listener = listener, .peer = *peer, .phase = SESSION_GREETING};
    s->proxied = listener_counts_as(listener, peer) == NULL;
    s->standing = SESSION_BUSY; /* in no line yet */
    s->started_ms = s->last_activity_ms = clock_mono_ms();
    session_judge_client(s);
    smtp_line_reader_init(&s->reader);
    net_format_host(peer, s->client);
    s->stream = stream_new(server->loop, fd, &session_stream, s, INPUT_LIMIT, OUTPUT_LIMIT);
    if (s->stream == NULL || session_open(s) < 0) {
        timer_deinit(&s->clock);
        stream_free(s->stream);
        free(s);
        return -ENOMEM;
    }
    s->counted = true;
    TAILQ_INSERT_TAIL(&server->sessions, s, link);
    settle(s, true);
    log_debug("connect: client=%s, listener=%s", s->client, listener->name);
    return 0;
}
