/* exchange: one SASL authentication (RFC 4422) of one client, line by line as RFC 4954 carries it.
 *
 * The functions call libcyrus-sasl: only from where engine.h allows. */
#ifndef POSTHOUSE_AUTH_EXCHANGE_H
#define POSTHOUSE_AUTH_EXCHANGE_H

#include "smtpd/auth/engine.h"
#include "ipc/catalogue.h"

#define EXCHANGE_MORE (-1) /* not over: `challenge` is for the client; else enum ipc_auth_result */

struct exchange {
    sasl_conn_t *conn;
    struct account account;
    sasl_channel_binding_t binding;
    char *binding_name;
    struct buf binding_data;
    struct buf challenge;   /* base64, after EXCHANGE_MORE */
    const char *credential; /* after AUTH_OK: the name as stored; after AUTH_NOBODY: as it was given */
    const char *tenant, *senders;
    bool bulk;
    const char *reason; /* when it failed: for the log, never for the client */
};

struct exchange_opening {
    const char *mechanism;
    bool has_initial;
    const char *initial;      /* base64; "" or "=" is the response of length 0 */
    bool secure;              /* a password may come in the clear */
    const char *binding_name; /* "" = none */
    const char *binding;      /* base64 */
    /* What the client's certificate is, for EXTERNAL: fingerprints, "" = it showed none; the names only of one that an
     * authority of ours signed, one a line. */
    const char *certificate, *certificate_key, *certificate_names;
    bool vouched; /* somebody we trust says that the name in initial logged in: nothing is exchanged */
};

void exchange_init(struct exchange *x);
void exchange_deinit(struct exchange *x);

/* EXCHANGE_MORE or how it ended. */
int exchange_start(struct exchange *x, const struct exchange_opening *o);
int exchange_step(struct exchange *x, const char *response);

#endif
