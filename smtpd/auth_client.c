#include "smtpd/auth_client.h"

#include <errno.h>
#include <stdlib.h>

#include "base/hash.h"
#include "log/log.h"

struct auth_exchange {
    uint64_t session;
    const struct auth_ops *ops;
    void *arg;
    UT_hash_handle hh;
};

struct auth_client {
    struct ipc_client *ipc;
    struct ipc_face face;
    struct auth_exchange *exchanges; /* by session */
    uint64_t last_session;
    void (*on_connected)(void);
};

static void exchange_free(struct auth_client *client, struct auth_exchange *x)
{
    HASH_DEL(client->exchanges, x);
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
    if (x != NULL)
        x->ops->on_challenge(x->arg, m->challenge);
}

static void on_done(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    const struct ipc_auth_done *m = message;
    struct auth_exchange *x = exchange_find(arg, m->session);
    if (x != NULL)
        exchange_end(arg, x, m);
}

static void on_up(void *arg, struct ipc_channel *c)
{
    struct auth_client *client = arg;
    log_debug("auth is there");
    client->on_connected();
}

static void on_down(void *arg, struct ipc_channel *c, const char *why)
{
    struct auth_client *client = arg;
    if (client->exchanges != NULL)
        log_warning("auth is away (%s), %u logins under way get a temporary failure", why,
                    HASH_COUNT(client->exchanges));
    const struct ipc_auth_done away = {.result = AUTH_TEMPFAIL, .credential = "", .tenant = "", .senders = ""};
    while (client->exchanges != NULL)
        exchange_end(client, client->exchanges, &away);
}

static const struct ipc_handler handlers[] = {
    {IPC_AUTH_CONTINUE, on_continue},
    {IPC_AUTH_DONE, on_done},
    {IPC_NONE, NULL},
};

struct auth_client *auth_client_new(struct loop *l, const char *path, const struct ipc_identity *self,
                                    void (*on_connected)(void))
{
    struct auth_client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return NULL;
    client->on_connected = on_connected;
    client->face =
        (struct ipc_face){.self = *self, .handlers = handlers, .on_up = on_up, .on_down = on_down, .arg = client};
    client->ipc = ipc_client_new(l, path, ROLE_AUTH, &client->face);
    if (client->ipc == NULL) {
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
    while (client->exchanges != NULL)
        exchange_free(client, client->exchanges);
    free(client);
}

static int auth_send(struct auth_client *client, enum ipc_type type, const void *message)
{
    struct ipc_channel *channel = ipc_client_channel(client->ipc);
    return channel != NULL && ipc_send(channel, type, message, -1) == 0 ? 0 : -EAGAIN;
}

int auth_start(struct auth_client *client, struct ipc_auth_start *start, const struct auth_ops *ops, void *arg,
               struct auth_exchange **out)
{
    struct auth_exchange *x = calloc(1, sizeof(*x));
    if (x == NULL)
        return -ENOMEM;
    *x = (struct auth_exchange){.session = ++client->last_session, .ops = ops, .arg = arg};
    start->session = x->session;
    if (auth_send(client, IPC_AUTH_START, start) < 0) {
        free(x);
        return -EAGAIN;
    }
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
