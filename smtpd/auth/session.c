#include "smtpd/auth/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/text.h"
#include "smtpd/auth/exchange.h"
#include "io/offload.h"
#include "log/log.h"

struct session_key {
    struct ipc_channel *channel;
    uint64_t id; /* smtpd's */
};

enum session_state {
    SESSION_WORKING, /* the helper thread has it */
    SESSION_WAITING, /* for the client's response */
    SESSION_DELAYED, /* it failed; the answer comes when the timer says so */
    SESSION_ENDING,  /* answered or given up; the helper thread clears it away */
};

struct session {
    struct session_key key;
    struct auth *auth;
    enum session_state state;
    bool given_up; /* nobody waits for an answer any more */
    struct exchange exchange;
    int answer; /* of the last job */
    struct timer timer;
    struct offload_job job;
    /* Copies for the helper thread. */
    char *mechanism, *response, *binding_name, *binding;
    char *certificate, *certificate_key, *certificate_names;
    bool has_initial, secure, vouched;
    char *client;
    UT_hash_handle hh; /* while it can be found by key */
    TAILQ_ENTRY(session) link;
};

struct auth {
    struct loop *loop;
    struct offload *offload;
    struct throttle *throttle;
    struct auth_limits limits;
    struct session *by_key;
    TAILQ_HEAD(session_list, session) sessions; /* all of them */
    size_t count;
};

static void session_free(struct session *s)
{
    TAILQ_REMOVE(&s->auth->sessions, s, link);
    s->auth->count--;
    timer_deinit(&s->timer);
    free(s->mechanism);
    if (s->response != NULL)
        explicit_bzero(s->response, strlen(s->response));
    free(s->response);
    free(s->binding_name);
    free(s->binding);
    free(s->certificate);
    free(s->certificate_key);
    free(s->certificate_names);
    free(s->client);
    free(s);
}

static struct session *session_of(struct offload_job *job)
{
    return (struct session *)((char *)job - offsetof(struct session, job));
}

static void clear_work(struct offload_job *job)
{
    exchange_deinit(&session_of(job)->exchange);
}

static void clear_done(struct offload_job *job)
{
    session_free(session_of(job));
}

static void session_forget_key(struct session *s)
{
    if (s->key.channel != NULL)
        HASH_DEL(s->auth->by_key, s);
    s->key.channel = NULL;
}

static void session_end(struct session *s)
{
    session_forget_key(s);
    timer_stop(&s->timer);
    s->state = SESSION_ENDING;
    s->job = (struct offload_job){.work = clear_work, .done = clear_done};
    offload_submit(s->auth->offload, &s->job);
}

static void send_or_break(struct ipc_channel *c, enum ipc_type type, const void *message)
{
    if (ipc_send(c, type, message, -1) < 0)
        ipc_channel_break(c, "does not take its answers");
}

static void send_done(struct ipc_channel *c, uint64_t id, enum ipc_auth_result result, const struct exchange *x)
{
    bool ok = result == AUTH_OK;
    const struct ipc_auth_done done = {.session = id,
                                       .result = result,
                                       .credential = ok || result == AUTH_NOBODY ? x->credential : "",
                                       .tenant = ok ? x->tenant : "",
                                       .bulk = ok && x->bulk,
                                       .senders = ok ? x->senders : ""};
    send_or_break(c, IPC_AUTH_DONE, &done);
}

static void session_answer(struct session *s, enum ipc_auth_result result)
{
    send_done(s->key.channel, s->key.id, result, &s->exchange);
    session_end(s);
}

static void log_outcome(const struct session *s, enum ipc_auth_result result, uint64_t delay_ms)
{
    static const char *const words[] = {[AUTH_OK] = "ok",
                                        [AUTH_FAILED] = "failed",
                                        [AUTH_TEMPFAIL] = "try-later",
                                        [AUTH_MALFORMED] = "malformed",
                                        [AUTH_NO_MECHANISM] = "no-mechanism"};
    const struct exchange *x = &s->exchange;
    if (result == AUTH_OK)
        log_info("login: client=%s, mechanism=%.40s, account=%s, tenant=%s, result=ok", s->client, s->mechanism,
                 x->credential, x->tenant);
    else if (result == AUTH_NOBODY)
        log_info("login: client=%s, mechanism=%.40s, account=%s, result=nobody, reason=%s", s->client, s->mechanism,
                 x->account.asked, x->reason);
    else
        log_warning("login: client=%s, mechanism=%.40s, account=%s, result=%s, reason=%s, answer after %llu.%03llu s",
                    s->client, s->mechanism, x->account.asked, words[result], x->reason,
                    (unsigned long long)delay_ms / 1000, (unsigned long long)delay_ms % 1000);
}

static void session_conclude(struct session *s, enum ipc_auth_result result)
{
    uint64_t delay_ms = 0;
    if (result == AUTH_FAILED && !s->vouched)
        delay_ms = throttle_failed(s->auth->throttle, s->client, s->exchange.account.asked);
    else if (result == AUTH_OK && !s->vouched)
        throttle_succeeded(s->auth->throttle, s->exchange.account.asked);
    log_outcome(s, result, delay_ms);
    if (delay_ms > 0 && timer_set_ms(&s->timer, delay_ms) == 0)
        s->state = SESSION_DELAYED;
    else
        session_answer(s, result);
}

static void session_continue(struct session *s)
{
    const struct ipc_auth_continue more = {.session = s->key.id, .challenge = buf_str(&s->exchange.challenge)};
    s->state = SESSION_WAITING;
    timer_set_ms(&s->timer, s->auth->limits.step_timeout_ms);
    send_or_break(s->key.channel, IPC_AUTH_CONTINUE, &more);
}

static void job_done(struct offload_job *job)
{
    struct session *s = session_of(job);
    if (s->given_up)
        session_end(s);
    else if (s->answer == EXCHANGE_MORE)
        session_continue(s);
    else
        session_conclude(s, (enum ipc_auth_result)s->answer);
}

static void start_work(struct offload_job *job)
{
    struct session *s = session_of(job);
    const struct exchange_opening opening = {.mechanism = s->mechanism,
                                             .has_initial = s->has_initial,
                                             .initial = s->response,
                                             .secure = s->secure,
                                             .vouched = s->vouched,
                                             .binding_name = s->binding_name,
                                             .binding = s->binding,
                                             .certificate = s->certificate,
                                             .certificate_key = s->certificate_key,
                                             .certificate_names = s->certificate_names};
    s->answer = exchange_start(&s->exchange, &opening);
    if (!s->vouched)
        explicit_bzero(s->response, strlen(s->response));
}

static void step_work(struct offload_job *job)
{
    struct session *s = session_of(job);
    s->answer = exchange_step(&s->exchange, s->response);
    explicit_bzero(s->response, strlen(s->response));
}

static void session_submit(struct session *s, void (*work)(struct offload_job *job))
{
    timer_stop(&s->timer);
    s->state = SESSION_WORKING;
    s->job = (struct offload_job){.work = work, .done = job_done};
    offload_submit(s->auth->offload, &s->job);
}

static void on_timer(void *arg)
{
    struct session *s = arg;
    if (s->state == SESSION_DELAYED) {
        session_answer(s, AUTH_FAILED);
        return;
    }
    s->exchange.reason = "client did not go on";
    session_conclude(s, AUTH_TEMPFAIL);
}

static struct session *session_new(struct auth *a, struct ipc_channel *c, const struct ipc_auth_start *m)
{
    struct session *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    *s = (struct session){.auth = a,
                          .key = {.channel = c, .id = m->session},
                          .has_initial = m->has_initial != 0,
                          .secure = m->secure != 0,
                          .vouched = m->vouched != 0,
                          .mechanism = strdup(m->mechanism),
                          .response = strdup(m->initial),
                          .binding_name = strdup(m->binding_name),
                          .binding = strdup(m->binding),
                          .certificate = strdup(m->certificate),
                          .certificate_key = strdup(m->certificate_key),
                          .certificate_names = strdup(m->certificate_names),
                          .client = strdup(m->client_address)};
    TAILQ_INSERT_TAIL(&a->sessions, s, link);
    a->count++;
    if (s->mechanism == NULL || s->response == NULL || s->binding_name == NULL || s->binding == NULL ||
        s->certificate == NULL || s->certificate_key == NULL || s->certificate_names == NULL || s->client == NULL ||
        timer_init(&s->timer, a->loop, on_timer, s) < 0) {
        session_free(s);
        return NULL;
    }
    exchange_init(&s->exchange);
    HASH_ADD(hh, a->by_key, key, sizeof(s->key), s);
    return s;
}

static struct session *session_find(struct auth *a, struct ipc_channel *c, uint64_t id)
{
    const struct session_key key = {.channel = c, .id = id};
    struct session *s = NULL;
    HASH_FIND(hh, a->by_key, &key, sizeof(key), s);
    return s;
}

static void on_auth_start(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct auth *a = arg;
    const struct ipc_auth_start *m = message;
    if (session_find(a, from, m->session) != NULL) {
        ipc_channel_break(from, "AUTH_START for a session that is under way");
        return;
    }
    if (!m->vouched && !throttle_admits(a->throttle, m->client_address)) {
        log_warning("login: client=%s refused unheard: too many failures within a minute", m->client_address);
        send_done(from, m->session, AUTH_TEMPFAIL, NULL);
        return;
    }
    struct session *s = a->count < a->limits.sessions_max ? session_new(a, from, m) : NULL;
    if (s == NULL) {
        log_warning("login: client=%s told to try later: %zu logins are under way", m->client_address, a->count);
        send_done(from, m->session, AUTH_TEMPFAIL, NULL);
        return;
    }
    session_submit(s, start_work);
}

static void on_auth_step(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    const struct ipc_auth_step *m = message;
    struct session *s = session_find(arg, from, m->session);
    if (s == NULL)
        return; /* timed out while the response was on its way; smtpd has the answer */
    if (s->state != SESSION_WAITING) {
        ipc_channel_break(from, "AUTH_STEP for a session that was not asked");
        return;
    }
    free(s->response);
    s->response = strdup(m->response);
    if (s->response == NULL)
        session_conclude(s, AUTH_TEMPFAIL);
    else
        session_submit(s, step_work);
}

static void session_give_up(struct session *s)
{
    if (s->state == SESSION_WORKING) {
        s->given_up = true;
        session_forget_key(s);
    } else if (s->state != SESSION_ENDING) {
        session_end(s);
    }
}

static void on_auth_cancel(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    const struct ipc_auth_cancel *m = message;
    struct session *s = session_find(arg, from, m->session);
    if (s != NULL)
        session_give_up(s);
}

const struct ipc_handler auth_handlers[] = {
    {IPC_AUTH_START, on_auth_start},
    {IPC_AUTH_STEP, on_auth_step},
    {IPC_AUTH_CANCEL, on_auth_cancel},
    {IPC_NONE, NULL},
};

void auth_on_up(void *arg, struct ipc_channel *c)
{
    log_debug("%s %u (pid %u) is connected", role_name(ipc_channel_peer(c)->role), ipc_channel_peer(c)->slot,
              ipc_channel_peer(c)->pid);
}

void auth_on_down(void *arg, struct ipc_channel *c, const char *why)
{
    struct auth *a = arg;
    struct session *s, *next;
    TAILQ_FOREACH_SAFE (s, &a->sessions, link, next)
        if (s->key.channel == c)
            session_give_up(s);
    log_info("%s %u (pid %u) is gone: %s", role_name(ipc_channel_peer(c)->role), ipc_channel_peer(c)->slot,
             ipc_channel_peer(c)->pid, why);
}

bool auth_is_idle(const struct auth *a)
{
    return a->count == 0;
}

struct auth *auth_new(struct loop *l, const struct auth_limits *limits, struct throttle *throttle)
{
    struct auth *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return NULL;
    a->loop = l;
    a->limits = *limits;
    TAILQ_INIT(&a->sessions);
    a->throttle = throttle;
    a->offload = offload_new(l, 1);
    if (a->offload == NULL) {
        auth_free(a);
        return NULL;
    }
    return a;
}

void auth_free(struct auth *a)
{
    if (a == NULL)
        return;
    offload_free(a->offload); /* from here on the library is ours alone */
    while (!TAILQ_EMPTY(&a->sessions)) {
        struct session *s = TAILQ_FIRST(&a->sessions);
        session_forget_key(s);
        exchange_deinit(&s->exchange);
        session_free(s);
    }
    free(a);
}
