/* auth_client: asks the auth program to carry out SASL exchanges for sessions. */
#ifndef POSTHOUSE_SMTPD_AUTH_CLIENT_H
#define POSTHOUSE_SMTPD_AUTH_CLIENT_H

#include "ipc/channel.h"

struct auth_client;
struct auth_exchange;

/* Where the answers go.  on_done ends the exchange; done is valid during the call. */
struct auth_ops {
    void (*on_challenge)(void *arg, const char *challenge);
    void (*on_done)(void *arg, const struct ipc_auth_done *done);
};

/* Connects to the auth program's socket at path and keeps connected.  NULL when memory is short. */
struct auth_client *auth_client_new(struct loop *l, const char *path, const struct ipc_identity *self);
void auth_client_free(struct auth_client *client);

/* Begins an exchange; start's session number is filled in here.  *out lives until on_done or auth_cancel.  When auth is
 * away the exchange waits for it for two seconds, as at a reload; then, or when auth goes away in the middle, the
 * result is AUTH_TEMPFAIL.  0; -EAGAIN (auth does not keep up), -ENOMEM. */
int auth_start(struct auth_client *client, struct ipc_auth_start *start, const struct auth_ops *ops, void *arg,
               struct auth_exchange **out);
/* 0 or -EAGAIN; the caller then cancels. */
int auth_step(struct auth_client *client, struct auth_exchange *x, const char *response);
/* The client gave up; x may be NULL. */
void auth_cancel(struct auth_client *client, struct auth_exchange *x);

#endif
