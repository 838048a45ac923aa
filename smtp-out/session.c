#include "smtp-out/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/net.h"
#include "base/text.h"
#include "log/log.h"

static void session_connected(void *arg)
{
    struct session *s = arg;
    s->ops->on_connected(s->arg);
}

static void session_ended(struct session *s, const char *why, bool tls_failed)
{
    log_debug("connection to %s ended: %s", s->relay, why);
    s->ops->on_end(s->arg, why, tls_failed);
}

/* The owner may change or free the session with each reply. */
static void session_input(void *arg)
{
    struct session *s = arg;
    s->in_input = true;
    while (!s->freed) {
        int r = smtp_reply_take(&s->reply, stream_input(s->stream));
        if (r == SMTP_REPLY_MORE)
            break;
        if (r == 0)
            s->ops->on_reply(s->arg, &s->reply);
        else
            session_ended(s, r == -ENOMEM ? "out of memory" : "the server sent what is no SMTP reply", false);
        if (r != 0)
            break;
    }
    s->in_input = false;
    if (s->freed)
        session_free(s);
}

static void session_drained(void *arg)
{
    struct session *s = arg;
    s->ops->on_drained(s->arg);
}

static void session_secure(void *arg)
{
    struct session *s = arg;
    struct stream_tls_info info;
    stream_tls_info(s->stream, &info);
    s->verified = info.verified;
    snprintf(s->tls, sizeof(s->tls), "%.20s/%.80s/%s", info.version, info.cipher,
             info.verified ? "verified" : "unverified");
    log_debug("connection to %s: TLS %s%s%s", s->relay, s->tls, info.verified ? "" : ": ", info.verify_error);
    s->ops->on_secure(s->arg);
}

static void session_stream_end(void *arg, const struct stream_end *end)
{
    struct session *s = arg;
    session_ended(s, end->text, end->reason == STREAM_END_TLS_FAILED);
}

static const struct stream_ops session_stream_ops = {
    .on_connected = session_connected,
    .on_input = session_input,
    .on_drained = session_drained,
    .on_secure = session_secure,
    .on_end = session_stream_end,
};

static const struct net_address *source_for(const struct out *out, const struct net_address *to)
{
    const struct net_address *source = to->any.sa_family == AF_INET6 ? &out->source_ipv6 : &out->source_ipv4;
    return source->len > 0 ? source : NULL;
}

int session_open(struct out *out, const char *name, const struct net_address *address, const struct session_ops *ops,
                 void *arg, struct session **result)
{
    char host[NET_TEXT_MAX];
    struct session *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return -ENOMEM;
    *s = (struct session){.out = out, .ops = ops, .arg = arg, .tls = "none"};
    /* An address literal is its own name. */
    snprintf(s->relay, sizeof(s->relay), "%.255s[%s]:%u", name[0] == '[' ? "" : name, net_format_host(address, host),
             net_port(address));
    smtp_reply_init(&s->reply);
    int r = stream_connect(out->loop, address, source_for(out, address), &session_stream_ops, s, SESSION_INPUT_MAX,
                           SESSION_OUTPUT_MAX, &s->stream);
    if (r < 0) {
        s->stream = NULL;
        session_free(s);
        return r;
    }
    log_debug("connecting to %s", s->relay);
    *result = s;
    return 0;
}

void session_free(struct session *s)
{
    if (s == NULL)
        return;
    if (s->in_input) {
        s->freed = true; /* session_input does it when the owner is done */
        return;
    }
    if (s->quitting)
        TAILQ_REMOVE(&s->out->quitting, s, link);
    timer_deinit(&s->idle);
    stream_free(s->stream);
    smtp_reply_deinit(&s->reply);
    free(s->site);
    free(s);
}

static void quitting_reply(void *arg, const struct smtp_reply *reply)
{
}

static void quitting_event(void *arg)
{
}

static void quitting_end(void *arg, const char *why, bool tls_failed)
{
    struct session *s = arg;
    struct out *out = s->out;
    session_free(s);
    out_check_drained(out);
}

static const struct session_ops quitting_ops = {
    .on_connected = quitting_event,
    .on_reply = quitting_reply,
    .on_drained = quitting_event,
    .on_secure = quitting_event,
    .on_end = quitting_end,
};

void session_quit(struct session *s)
{
    session_set_owner(s, &quitting_ops, s);
    s->quitting = true;
    TAILQ_INSERT_TAIL(&s->out->quitting, s, link);
    if (stream_write_str(s->stream, "QUIT\r\n") < 0) {
        session_free(s);
        return;
    }
    stream_close_after_flush(s->stream);
}

void session_set_owner(struct session *s, const struct session_ops *ops, void *arg)
{
    s->ops = ops;
    s->arg = arg;
}

void session_expect_ms(struct session *s, int64_t ms)
{
    stream_set_timeout_ms(s->stream, 0);
    stream_set_deadline_ms(s->stream, (uint64_t)ms);
}

void session_expect_nothing(struct session *s)
{
    session_expect_ms(s, 0);
}
