/* How long a session may take, and which one goes when there is no place for another. */
#include "base/clock.h"
#include "smtpd/command.h"
#include "smtpd/listen.h"
#include "smtpd/transaction.h"

enum {
    /* More commands of a stranger are no progress: who wants to log in needs fewer. */
    STRANGER_COMMANDS = 20,
    KNOWN_PATIENCE_MS = 10000, /* so long a client we know may be silent whoever else wants its place */
};

/* Where it stands in line when room is needed. */
static enum session_standing standing_of(const struct session *s)
{
    bool content = s->transaction != NULL && s->transaction->content != NULL;
    if (content || s->phase == SESSION_CLOSING)
        return SESSION_BUSY;
    return session_may_relay(s) ? SESSION_KNOWN : SESSION_STRANGER;
}

void session_line_up(struct session *s, bool progress)
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

uint64_t session_idle_timeout_ms(const struct session *s)
{
    return (uint64_t)listener_limit(s->listener->idle_timeout_ms, s->server->settings.idle_timeout_ms);
}

void session_check_by(struct session *s, uint64_t at_ms)
{
    uint64_t now = clock_mono_ms();
    if (s->check_at_ms != 0 && s->check_at_ms <= at_ms)
        return;
    s->check_at_ms = at_ms;
    timer_set_ms(&s->clock, at_ms > now ? at_ms - now : 0);
}

/* Nothing we could say would be understood. */
static bool is_shaking_hands(const struct session *s)
{
    return s->phase == SESSION_GREETING || s->phase == SESSION_HANDSHAKE;
}

/* It no longer counts and takes what is left of it along at once: the new client needs its place now. */
static void make_way(struct session *s)
{
    s->end_reason = "room was needed for a new client"; /* one line is enough where there may be thousands a second */
    session_give_up_login(s);
    session_stop_counting(s);
    if (!is_shaking_hands(s) && s->phase != SESSION_PROXY)
        session_reply_text(s, 421, "4.3.2", "too many connections, and this one was idle");
    session_cut(s);
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

/* Waits for the rest of something. */
static bool is_unfinished(const struct session *s)
{
    if (is_shaking_hands(s) || s->phase == SESSION_PROXY)
        return true;
    return (s->phase == SESSION_COMMAND || s->phase == SESSION_AUTH_RESPONSE) && session_has_reply_room(s) &&
           (stream_input(s->stream)->len > 0 || s->reader.skipping);
}

static bool has_content_under_way(const struct session *s)
{
    return s->phase == SESSION_DATA || s->phase == SESSION_CHUNK ||
           (s->phase == SESSION_COMMAND && s->transaction != NULL && s->transaction->content != NULL);
}

void session_settle(struct session *s, bool progress)
{
    smtp_line_reader_rest(&s->reader);
    session_line_up(s, progress && s->phase != SESSION_CHUNK); /* the bytes of a chunk that is refused lead nowhere */
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

/* When its patience with the client ends, and what the client is told then. */
static uint64_t patience_ends_ms(const struct session *s, const char **why)
{
    const struct settings_smtpd *set = &s->server->settings;
    uint64_t idle_ms = session_idle_timeout_ms(s), rate = (uint64_t)set->min_data_rate_bytes;
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
    if (is_shaking_hands(s)) {
        session_log_ended(
            s, s->phase == SESSION_HANDSHAKE
                   ? "no TLS handshake in time after STARTTLS"
                   : "no TLS handshake in time; a client that waits for a greeting first does not speak TLS");
        session_cut(s);
    } else if (s->phase == SESSION_PROXY) {
        session_log_ended(s, "no PROXY header in time");
        session_cut(s);
    } else {
        session_close(s, 421, "4.4.2", "%s %s", s->server->hostname, why);
    }
}

void session_on_clock(void *arg)
{
    struct session *s = arg;
    const char *why;
    uint64_t now = clock_mono_ms();
    s->check_at_ms = 0;
    if (s->phase == SESSION_CLOSING)
        return;
    if (s->phase == SESSION_HUSH && now >= s->greet_at_ms)
        session_greet(s);
    else if (s->phase == SESSION_DOMAIN_WAIT && now >= s->domain_until_ms)
        command_domain_unasked(s);
    if (s->phase == SESSION_CLOSING)
        return;
    if (s->phase == SESSION_HUSH) {
        session_check_by(s, s->greet_at_ms);
    } else if (s->phase == SESSION_DOMAIN_WAIT) {
        session_check_by(s, s->domain_until_ms);
    } else if (s->phase == SESSION_AUTH_WAIT || s->phase == SESSION_COMMIT) {
        session_check_by(s, now + session_idle_timeout_ms(s));
    } else {
        uint64_t end = patience_ends_ms(s, &why);
        if (now < end)
            session_check_by(s, end);
        else
            lose_patience(s, why);
    }
}
