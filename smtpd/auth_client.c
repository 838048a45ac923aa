#include "smtpd/auth_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "log/log.h"

enum { PATIENCE_MS = 2000 };

struct auth_exchange {
    uint64_t session;
    const struct auth_ops *ops;
    void *arg;
    /* AUTH_START, until auth said something: it is sent when auth is there, and once more when that went away. */
    struct buf record;
    union ipc_any start;
    bool sent_again;
    uint64_t give_up_ms; /* while it waits for auth, else 0 */
    UT_hash_handle hh;
};

struct auth_client {
    struct ipc_client *ipc;
    struct ipc_face face;
    struct auth_exchange *exchanges; /* by session */
    uint64_t last_session;
    struct timer patience;
};

static const struct ipc_auth_done away = {.result = AUTH_TEMPFAIL, .credential = "", .tenant = "", .senders = ""};

/* It may hold a password. */
static void forget_start(struct auth_exchange *x)
{
    if (x->record.base != NULL)
        explicit_bzero(x->record.base, x->record.capacity);
    buf_deinit(&x->record);
}

static void exchange_free(struct auth_client *client, struct auth_exchange *x)
{
    HASH_DEL(client->exchanges, x);
    forget_start(x);
    free(x);
}

static void exchange_end(struct auth_client *client, struct auth_exchange *x, const struct ipc_auth_done *done)
{
    const struct auth_ops *ops = x->ops;
    void *arg = x->arg;
    exchange_free(client, x);
    ops->on_done(arg, done);
}

/* NULL when the session went away meanwhile. */
static struct auth_exchange *exchange_find(struct auth_client *client, uint64_t session)
{
    struct auth_exchange *x;
    HASH_FIND(hh, client->exchanges, &session, sizeof(session), x);
    return x;
}

static void on_continue(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    const struct ipc_auth_continue *m = message;
    struct auth_exchange *x = exchange_find(arg, m->session);
    if (x == NULL)
        return;
    forget_start(x);
    x->ops->on_challenge(x->arg, m->challenge);
}

static void on_done(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    const struct ipc_auth_done *m = message;
    struct auth_exchange *x = exchange_find(arg, m->session);
    if (x != NULL)
        exchange_end(arg, x, m);
}

static void wait_for_auth(struct auth_client *client, struct auth_exchange *x)
{
    x->give_up_ms = clock_mono_ms() + PATIENCE_MS;
    if (!timer_is_set(&client->patience))
        timer_set_ms(&client->patience, PATIENCE_MS);
}

static int send_start(struct ipc_channel *channel, struct auth_exchange *x)
{
    x->give_up_ms = 0;
    return ipc_send(channel, IPC_AUTH_START, &x->start.auth_start, -1) == 0 ? 0 : -EAGAIN;
}

static void on_up(void *arg, struct ipc_channel *c)
{
    struct auth_client *client = arg;
    struct auth_exchange *x, *next;
    log_debug("auth is there");
    HASH_ITER (hh, client->exchanges, x, next)
        if (x->give_up_ms != 0 && send_start(c, x) < 0)
            exchange_end(client, x, &away);
}

/* What auth has not answered at all it may never have seen: the next one is asked, once, as the question itself may be
 * what ended this one.  The middle of an exchange is lost. */
static void on_down(void *arg, struct ipc_channel *c, const char *why)
{
    struct auth_client *client = arg;
    struct auth_exchange *x, *next;
    unsigned lost = 0;
    HASH_ITER (hh, client->exchanges, x, next) {
        if (x->give_up_ms != 0)
            continue;
        if (x->record.base != NULL && !x->sent_again) {
            x->sent_again = true;
            wait_for_auth(client, x);
        } else {
            lost++;
            exchange_end(client, x, &away);
        }
    }
    if (lost > 0)
        log_warning("auth is away (%s), %u logins under way get a temporary failure", why, lost);
}

static void on_patience_over(void *arg)
{
    struct auth_client *client = arg;
    struct auth_exchange *x, *next;
    uint64_t now = clock_mono_ms(), first = 0;
    unsigned lost = 0;
    HASH_ITER (hh, client->exchanges, x, next) {
        if (x->give_up_ms == 0)
            continue;
        if (x->give_up_ms > now) {
            first = first == 0 || x->give_up_ms < first ? x->give_up_ms : first;
            continue;
        }
        lost++;
        exchange_end(client, x, &away);
    }
    if (first > 0)
        timer_set_ms(&client->patience, first - now);
    if (lost > 0)
        log_warning("auth is away, %u logins get a temporary failure", lost);
}

static const struct ipc_handler handlers[] = {
    {IPC_AUTH_CONTINUE, on_continue},
    {IPC_AUTH_DONE, on_done},
    {IPC_NONE, NULL},
};

struct auth_client *auth_client_new(struct loop *l, const char *path, const struct ipc_identity *self)
{
    struct auth_client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return NULL;
    client->face =
        (struct ipc_face){.self = *self, .handlers = handlers, .on_up = on_up, .on_down = on_down, .arg = client};
    int r = timer_init(&client->patience, l, on_patience_over, client);
    client->ipc = r == 0 ? ipc_client_new(l, path, ROLE_AUTH, &client->face) : NULL;
    if (client->ipc == NULL) {
        timer_deinit(&client->patience);
        free(client);
        return NULL;
    }
    return client;
}

void auth_client_free(struct auth_client *client)
{
    if (client == NULL)
        return;
    ipc_client_free(client->ipc);
    timer_deinit(&client->patience);
    while (client->exchanges != NULL)
        exchange_free(client, client->exchanges);
    free(client);
}

static int auth_send(struct auth_client *client, enum ipc_type type, const void *message)
{
    struct ipc_channel *channel = ipc_client_channel(client->ipc);
    return channel != NULL && ipc_send(channel, type, message, -1) == 0 ? 0 : -EAGAIN;
}

/* A copy of the message that lives as long as the exchange may need it. */
static int keep_start(struct auth_exchange *x, const struct ipc_auth_start *start)
{
    enum ipc_type type;
    buf_init(&x->record, IPC_RECORD_MAX);
    int r = ipc_encode(IPC_AUTH_START, start, &x->record);
    return r < 0 ? r : ipc_decode(x->record.data, x->record.len, &type, &x->start);
}

int auth_start(struct auth_client *client, struct ipc_auth_start *start, const struct auth_ops *ops, void *arg,
               struct auth_exchange **out)
{
    struct ipc_channel *channel = ipc_client_channel(client->ipc);
    struct auth_exchange *x = calloc(1, sizeof(*x));
    if (x == NULL)
        return -ENOMEM;
    *x = (struct auth_exchange){.session = ++client->last_session, .ops = ops, .arg = arg};
    start->session = x->session;
    int r = keep_start(x, start);
    if (r == 0 && channel != NULL)
        r = send_start(channel, x);
    if (r < 0) {
        forget_start(x);
        free(x);
        return r;
    }
    if (channel == NULL)
        wait_for_auth(client, x);
    HASH_ADD(hh, client->exchanges, session, sizeof(x->session), x);
    *out = x;
    return 0;
}

int auth_step(struct auth_client *client, struct auth_exchange *x, const char *response)
{
    const struct ipc_auth_step step = {.session = x->session, .response = response};
    return auth_send(client, IPC_AUTH_STEP, &step);
}

void auth_cancel(struct auth_client *client, struct auth_exchange *x)
{
    if (x == NULL)
        return;
    const struct ipc_auth_cancel cancel = {.session = x->session};
    auth_send(client, IPC_AUTH_CANCEL, &cancel);
    exchange_free(client, x);
}
