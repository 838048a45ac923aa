#include "smtp-out/connect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtp-out/auth.h"
#include "base/hash.h"
#include "base/text.h"
#include "log/log.h"

enum { AUTH_LINE_MAX = 20000 };

struct connect {
    struct out *out;
    unsigned opened; /* connections */
    const struct site *site;
    connect_fn *fn;
    void *arg;
    size_t host;           /* the next one to look up */
    struct dns_host found; /* addresses of the host before */
    size_t address;        /* the next one of them to try */
    int64_t tried;         /* addresses in all */
    struct dns_host_lookup *lookup;
    struct timer now; /* so that fn is never called from inside connect_next */
    struct session *session;
    struct auth *auth;
    enum stage stage;
    bool without_tls; /* this address could not do TLS, and need not */
    bool said_helo;
    bool failed; /* failure is set */
    struct failure failure;
};

static void try_next(struct connect *c);
static void after_ehlo(struct connect *c);

static const struct site_host *current_host(const struct connect *c)
{
    return &c->site->host[c->host - 1];
}

static const struct settings_smtp_out *settings_of(const struct connect *c)
{
    return c->out->settings;
}

/* Not knowing outweighs a refusal for good: the mail must wait for the host that may come back. */
static void remember_failure(struct connect *c, const struct failure *f)
{
    bool keep = c->failed && c->failure.verdict.outcome == OUTCOME_TRY_LATER && f->verdict.outcome == OUTCOME_FAILED;
    if (!keep)
        c->failure = *f;
    c->failed = true;
}

static void drop_session(struct connect *c)
{
    session_free(c->session);
    c->session = NULL;
    auth_free(c->auth);
    c->auth = NULL;
}

/* This address is of no use; the next. */
static void address_failed(struct connect *c, const struct failure *f)
{
    remember_failure(c, f);
    drop_session(c);
    try_next(c);
}

static void address_lost(struct connect *c, const char *why)
{
    struct failure f;
    failure_from_loss(&f, c->session, c->stage, why);
    address_failed(c, &f);
}

static void address_trouble(struct connect *c, enum trouble trouble, const char *why)
{
    struct failure f;
    failure_from_trouble(&f, c->session, trouble, why);
    address_failed(c, &f);
}

static void address_refused(struct connect *c, const struct smtp_reply *reply)
{
    struct failure f;
    failure_from_reply(&f, c->session, c->stage, reply);
    log_debug("connection to %s refused %s: %s", c->session->relay, stage_text(c->stage), f.reason);
    session_quit(c->session);
    c->session = NULL;
    address_failed(c, &f);
}

/* The server is all right, but not for us. */
static void address_unfit(struct connect *c, enum trouble trouble, const char *why)
{
    struct failure f;
    failure_from_trouble(&f, c->session, trouble, why);
    session_quit(c->session);
    c->session = NULL;
    address_failed(c, &f);
}

/* One line per server and kind of trouble, until another server takes its place. */
static void warn_once(const struct session *s, const char *what, const char *why, const char *then)
{
    static uint32_t warned[256];
    uint32_t hash = hash_bytes(s->relay, strlen(s->relay)) | 1;
    if (warned[hash >> 1 & 255] == hash)
        return;
    warned[hash >> 1 & 255] = hash;
    log_warning("%s: %s: %s, %s (not repeated for this server)", s->relay, what, why, then);
}

static void finish(struct connect *c)
{
    struct session *s = c->session;
    c->session = NULL;
    auth_free(c->auth);
    c->auth = NULL;
    session_expect_nothing(s);
    s->site = strdup(c->site->key);
    if (s->site == NULL) {
        session_free(s);
        s = NULL;
        failure_from_trouble(&c->failure, NULL, TROUBLE_OURS, "out of memory");
    }
    c->fn(c->arg, s, s == NULL ? &c->failure : NULL);
}

static void say(struct connect *c, enum stage stage, int64_t wait_ms, const char *line)
{
    c->stage = stage;
    session_expect_ms(c->session, wait_ms);
    if (stream_write_str(c->session->stream, line) < 0)
        address_trouble(c, TROUBLE_OURS, "out of memory");
}

static void say_hello(struct connect *c, const char *verb)
{
    char line[600];
    snprintf(line, sizeof(line), "%s %.500s\r\n", verb, c->out->helo_name);
    c->said_helo = strcmp(verb, "HELO") == 0;
    say(c, STAGE_EHLO, settings_of(c)->helo_timeout_ms, line);
}

static enum auth_tls tls_state(const struct connect *c)
{
    struct stream_tls_info info;
    if (!stream_is_secure(c->session->stream))
        return AUTH_TLS_NONE;
    stream_tls_info(c->session->stream, &info);
    return info.verified ? AUTH_TLS_VERIFIED : AUTH_TLS_UNVERIFIED;
}

static void secret_line_deinit(struct buf *line)
{
    if (line->base != NULL)
        explicit_bzero(line->base, line->capacity);
    buf_deinit(line);
}

static void authenticate(struct connect *c)
{
    struct buf line;
    buf_init(&line, AUTH_LINE_MAX);
    c->stage = STAGE_AUTH;
    int r = auth_begin(c->site->route, current_host(c)->name, &c->session->offers, tls_state(c), &c->auth, &line);
    if (r < 0)
        address_unfit(c, r == -ENOMEM ? TROUBLE_OURS : TROUBLE_NO_AUTHENTICATION,
                      r == -ENOMEM ? "out of memory" : "the relay offers no authentication mechanism that may be used");
    else
        say(c, STAGE_AUTH, settings_of(c)->auth_timeout_ms, buf_str(&line));
    secret_line_deinit(&line);
}

static bool wants_starttls(const struct connect *c)
{
    return c->site->route->tls != TLS_POLICY_NONE && !c->without_tls && !stream_is_secure(c->session->stream);
}

static void after_ehlo(struct connect *c)
{
    bool offered = c->session->offers.extensions & SMTP_EXT_STARTTLS;
    if (wants_starttls(c) && offered)
        say(c, STAGE_STARTTLS, settings_of(c)->starttls_timeout_ms, "STARTTLS\r\n");
    else if (wants_starttls(c) && c->site->route->tls >= TLS_POLICY_REQUIRED)
        address_unfit(c, TROUBLE_TLS_NOT_OFFERED, "TLS is required, but the server does not offer STARTTLS");
    else if (c->site->route->user != NULL)
        authenticate(c);
    else
        finish(c);
}

static void greeting_reply(struct connect *c, const struct smtp_reply *reply)
{
    if (reply->code == 220)
        say_hello(c, "EHLO");
    else
        address_refused(c, reply);
}

static void hello_reply(struct connect *c, const struct smtp_reply *reply)
{
    if (reply->code == 250) {
        c->session->offers = (struct smtp_ehlo){0};
        if (!c->said_helo)
            smtp_ehlo_parse(reply, &c->session->offers);
        after_ehlo(c);
    } else if (reply->code >= 500 && !c->said_helo) {
        say_hello(c, "HELO"); /* RFC 5321 section 3.2 */
    } else {
        address_refused(c, reply);
    }
}

static void begin_tls(struct connect *c)
{
    const char *name = current_host(c)->name;
    bool is_literal = current_host(c)->address.len > 0;
    struct tls_client_params params = {
        .server_name = is_literal ? NULL : name,
        .verify = c->site->route->tls == TLS_POLICY_VERIFY ? TLS_VERIFY_REQUIRED : TLS_VERIFY_NONE,
        .names = &name,
        .name_count = 1,
        .session_key = c->session->relay,
    };
    session_expect_ms(c->session, settings_of(c)->starttls_timeout_ms);
    if (stream_start_tls_client(c->session->stream, c->site->route->client, &params) < 0)
        address_trouble(c, TROUBLE_OURS, "TLS can not be started");
}

static void starttls_reply(struct connect *c, const struct smtp_reply *reply)
{
    if (reply->code == 220) {
        begin_tls(c);
    } else if (c->site->route->tls == TLS_POLICY_OPPORTUNISTIC && reply->code != 421) {
        warn_once(c->session, "STARTTLS refused", buf_str(&reply->text), "sending in plain text");
        c->without_tls = true;
        after_ehlo(c);
    } else {
        address_refused(c, reply);
    }
}

static void auth_challenge(struct connect *c, const struct smtp_reply *reply)
{
    struct buf line;
    buf_init(&line, AUTH_LINE_MAX);
    /* RFC 4954 section 4: a lone asterisk cancels the exchange. */
    if (auth_step(c->auth, buf_str(&reply->text), &line) < 0)
        say(c, STAGE_AUTH, settings_of(c)->auth_timeout_ms, "*\r\n");
    else
        say(c, STAGE_AUTH, settings_of(c)->auth_timeout_ms, buf_str(&line));
    secret_line_deinit(&line);
}

static void auth_reply(struct connect *c, const struct smtp_reply *reply)
{
    if (reply->code == 334) {
        auth_challenge(c, reply);
    } else if (reply->code == 235 && auth_is_complete(c->auth)) {
        finish(c);
    } else if (reply->code == 235) {
        address_unfit(c, TROUBLE_NO_AUTHENTICATION, "the relay did not prove that it knows the password");
    } else {
        log_warning("route \"%s\": %s does not accept the credentials: %u %s", c->site->route->name, c->session->relay,
                    reply->code, buf_str(&reply->text));
        address_refused(c, reply);
    }
}

static void connect_replied(void *arg, const struct smtp_reply *reply)
{
    static void (*const handlers[STAGE_COUNT])(struct connect *, const struct smtp_reply *) = {
        [STAGE_GREETING] = greeting_reply,
        [STAGE_EHLO] = hello_reply,
        [STAGE_STARTTLS] = starttls_reply,
        [STAGE_AUTH] = auth_reply,
    };
    struct connect *c = arg;
    if (handlers[c->stage] != NULL)
        handlers[c->stage](c, reply);
}

static void connect_connected(void *arg)
{
    struct connect *c = arg;
    c->stage = STAGE_GREETING;
    session_expect_ms(c->session, settings_of(c)->greeting_timeout_ms);
}

/* RFC 3207 section 4.2: what was said before TLS is forgotten. */
static void connect_secure(void *arg)
{
    say_hello(arg, "EHLO");
}

static void connect_drained(void *arg)
{
}

static void open_address(struct connect *c);

static void connect_ended(void *arg, const char *why, bool tls_failed)
{
    struct connect *c = arg;
    bool in_tls = tls_failed || c->stage == STAGE_STARTTLS;
    if (!in_tls || c->site->route->tls == TLS_POLICY_NONE) {
        address_lost(c, why);
    } else if (c->site->route->tls == TLS_POLICY_OPPORTUNISTIC) {
        warn_once(c->session, "TLS failed", why, "trying again in plain text");
        drop_session(c);
        c->without_tls = true;
        c->address--;
        open_address(c);
    } else {
        warn_once(c->session, "TLS failed", why, "and TLS is required: not used");
        address_trouble(c, TROUBLE_TLS_FAILED, why);
    }
}

static const struct session_ops connect_ops = {
    .on_connected = connect_connected,
    .on_reply = connect_replied,
    .on_drained = connect_drained,
    .on_secure = connect_secure,
    .on_end = connect_ended,
};

/* Before anything was sent: no route to the address, or we are short of something.  Such an address does not count as
 * tried, so that hosts with addresses of a family we do not have still get their turn. */
static void open_failed(struct connect *c, const struct net_address *address, int error)
{
    struct failure f;
    char text[NET_TEXT_MAX];
    bool ours = error == -ENOMEM || error == -EMFILE || error == -ENFILE || error == -ENOBUFS;
    c->tried--;
    if (ours)
        failure_from_trouble(&f, NULL, TROUBLE_OURS, text_errno(error));
    else
        failure_from_loss(&f, NULL, STAGE_CONNECT, text_errno(error));
    snprintf(f.relay, sizeof(f.relay), "%.255s[%s]:%u", current_host(c)->name, net_format_host(address, text),
             net_port(address));
    address_failed(c, &f);
}

static void open_address(struct connect *c)
{
    struct net_address address = c->found.address[c->address++];
    net_set_port(&address, c->site->port);
    c->stage = STAGE_CONNECT;
    c->opened++;
    int r = session_open(c->out, current_host(c)->name, &address, &connect_ops, c, &c->session);
    if (r < 0) {
        c->session = NULL;
        open_failed(c, &address, r);
        return;
    }
    session_expect_ms(c->session, settings_of(c)->connect_timeout_ms);
}

static void remember_unknown_host(struct connect *c, const struct dns_host *found)
{
    struct failure f;
    char why[600];
    bool unknown = found->outcome == DNS_TEMPFAIL;
    enum trouble gone = c->site->relay ? TROUBLE_RELAY_UNKNOWN : TROUBLE_SERVER_UNKNOWN;
    snprintf(why, sizeof(why), "%s: %s", current_host(c)->name,
             unknown ? found->reason : "the mail server has no address in DNS");
    failure_from_trouble(&f, NULL, unknown ? TROUBLE_DNS : gone, why);
    snprintf(f.relay, sizeof(f.relay), "%s", current_host(c)->name);
    remember_failure(c, &f);
}

static void host_found(void *arg, const struct dns_host *found)
{
    struct connect *c = arg;
    c->lookup = NULL;
    c->found = *found;
    c->address = 0;
    if (found->outcome != DNS_FOUND) {
        remember_unknown_host(c, found);
    }
    try_next(c);
}

static void look_up_host(struct connect *c)
{
    const struct site_host *host = &c->site->host[c->host++];
    if (host->address.len > 0) {
        c->found = (struct dns_host){.outcome = DNS_FOUND, .count = 1, .address = {host->address}};
        c->address = 0;
        try_next(c);
        return;
    }
    c->lookup =
        dns_host_lookup(c->out->dns, host->name, (enum dns_family)settings_of(c)->address_preference, host_found, c);
    if (c->lookup == NULL)
        address_trouble(c, TROUBLE_OURS, "out of memory");
}

static void report_failure(void *arg)
{
    struct connect *c = arg;
    c->fn(c->arg, NULL, &c->failure);
}

static void try_next(struct connect *c)
{
    c->without_tls = false;
    bool may_try = c->tried < settings_of(c)->addresses_max;
    if (may_try && c->address < c->found.count) {
        c->tried++;
        open_address(c);
    } else if (may_try && c->host < c->site->count) {
        look_up_host(c);
    } else {
        if (!c->failed)
            failure_from_loss(&c->failure, NULL, STAGE_CONNECT, "no mail server is left to try");
        timer_set_ms(&c->now, 0);
    }
}

unsigned connect_opened(const struct connect *c)
{
    return c->opened;
}

struct connect *connect_new(struct out *out, const struct site *site, connect_fn *fn, void *arg)
{
    struct connect *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    *c = (struct connect){.out = out, .site = site, .fn = fn, .arg = arg};
    if (timer_init(&c->now, out->loop, report_failure, c) < 0) {
        free(c);
        return NULL;
    }
    return c;
}

void connect_free(struct connect *c)
{
    if (c == NULL)
        return;
    drop_session(c);
    dns_host_lookup_cancel(c->lookup);
    timer_deinit(&c->now);
    free(c);
}

void connect_next(struct connect *c, const struct failure *because)
{
    if (because != NULL)
        remember_failure(c, because);
    try_next(c);
}
