#include "smtpd/session.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "smtpd/command.h"
#include "smtpd/domains.h"
#include "smtpd/limits.h"
#include "smtpd/listen.h"
#include "log/log.h"
#include "smtp/proxy.h"
#include "smtpd/transaction.h"

enum { INPUT_LIMIT = 64 * 1024, OUTPUT_LIMIT = 64 * 1024 };

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

void session_stop_counting(struct session *s)
{
    if (!s->counted)
        return;
    s->counted = false;
    limits_disconnect(s->server->limits, counted_as(s));
    listener_leave(s->server, s->listener);
}

void session_forget_question(struct session *s)
{
    domains_cancel(s->domain_question);
    free(s->asked_rcpt);
    s->domain_question = NULL;
    s->asked_rcpt = NULL;
}

void session_free(struct session *s)
{
    session_stop_counting(s);
    if (s->standing != SESSION_BUSY)
        TAILQ_REMOVE(&s->server->waiting[s->standing], s, turn);
    TAILQ_REMOVE(&s->server->sessions, s, link);
    session_forget(s);
    smtp_line_reader_deinit(&s->reader);
    timer_deinit(&s->clock);
    stream_free(s->stream);
    free(s);
}

void session_forget(struct session *s)
{
    session_forget_question(s);
    transaction_end(s);
    session_give_up_login(s);
    session_log_out(s);
    s->helo[0] = '\0';
    s->esmtp = false;
}

void session_greet(struct session *s)
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

void session_give_up_login(struct session *s)
{
    auth_cancel(s->server->auth, s->exchange);
    s->exchange = NULL;
}

void session_drain(struct session *s)
{
    session_give_up_login(s);
    if (s->phase == SESSION_COMMAND || s->phase == SESSION_HANDSHAKE || s->phase == SESSION_AUTH_RESPONSE ||
        s->phase == SESSION_AUTH_WAIT || s->phase == SESSION_DOMAIN_WAIT || s->phase == SESSION_HUSH)
        say_draining(s);
    else if (s->phase == SESSION_GREETING || s->phase == SESSION_PROXY)
        stream_close_after_flush(s->stream);
}

static const char *const line_problems[] = {
    [SMTP_LINE_BARE_CR] = "a line must end in CRLF, found a CR alone",
    [SMTP_LINE_BARE_LF] = "a line must end in CRLF, found an LF alone",
    [SMTP_LINE_NUL] = "a line must not hold a NUL byte",
};

/* A stray line end means that we and whoever is in between may see different commands: the session cannot go on. */
static void line_offence(struct session *s, int result)
{
    bool response = s->phase == SESSION_AUTH_RESPONSE;
    if (response)
        command_auth_give_up(s);
    s->verb = response ? SMTP_VERB_AUTH : SMTP_VERB_UNKNOWN;
    if (result == SMTP_LINE_TOO_LONG) { /* RFC 4954 section 4 */
        session_refuse(s, 500, response ? "5.5.6" : "5.5.2", response ? "response too long" : "line too long");
        return;
    }
    session_refuse(s, 500, "5.5.2", "%s", line_problems[result]);
    session_end_soon(s, "a command held a stray line end");
}

/* A ClientHello begins so, and no command does. */
static bool is_tls(const struct session *s)
{
    const struct buf *in = stream_input(s->stream);
    return in->len >= 2 && in->data[0] == 0x16 && in->data[1] == 0x03 && !stream_is_secure(s->stream);
}

static void turn_tls_away(struct session *s)
{
    session_log_ended(
        s, s->listener->tls == LISTENER_TLS_STARTTLS
               ? "the client speaks TLS; this listener expects STARTTLS: use one with tls = implicit (port 465)"
               : "the client speaks TLS; this listener has none");
    session_cut(s);
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
    session_log_ended(s, "the client spoke before the greeting");
    session_reply_text(s, 554, "5.5.1", "you spoke before the greeting");
    session_cut(s);
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
    session_greet(s);
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
        session_log_ended(s, "expected a PROXY header");
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

/* Carries out what the client has sent, until it is someone else's turn.  Replies gather meanwhile and leave together.
 */
static void session_work(struct session *s)
{
    bool progress = false;
    for (bool more = true; more && session_has_reply_room(s); progress |= more) {
        if (s->phase == SESSION_COMMAND && s->server->draining) {
            say_draining(s);
            break;
        }
        if (s->phase == SESSION_COMMAND && s->ending != NULL && stream_input(s->stream)->len > 0) {
            session_close(s, 421, "4.7.0", "%s closing the connection: %s", s->server->hostname, s->ending);
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
    session_settle(s, progress);
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
    if (s->phase != SESSION_GREETING && s->phase != SESSION_HANDSHAKE)
        return;
    if (s->server->draining)
        say_draining(s);
    else if (s->phase == SESSION_GREETING)
        session_greet(s);
    else
        s->phase = SESSION_COMMAND;
    s->last_activity_ms = clock_mono_ms();
    session_settle(s, true);
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
    session_settle(s, true);
}

static const struct stream_ops session_stream = {
    .on_input = on_input,
    .on_drained = on_drained,
    .on_secure = on_secure,
    .on_end = on_end,
};

static int session_open(struct session *s)
{
    uint64_t idle_ms = session_idle_timeout_ms(s);
    int r = timer_init(&s->clock, s->server->loop, session_on_clock, s);
    if (r < 0)
        return r;
    session_check_by(s, s->started_ms + idle_ms);
    /* Behind our own time-out, for a client that does not even read the 421. */
    stream_set_timeout_ms(s->stream, idle_ms + SESSION_GRACE_MS);
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
    session_settle(s, true);
    log_debug("connect: client=%s, listener=%s", s->client, listener->name);
    return 0;
}
