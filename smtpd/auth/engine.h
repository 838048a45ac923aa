/* engine: libcyrus-sasl, its callbacks and its view of the credentials database; the only folder that includes sasl.h.
 *
 * Every call of the library is made by one thread at a time: by main before the loop runs, then by the one helper
 * thread (session.h), then by main again.  The library asks for accounts through the plugin and for plain passwords
 * through the checkpass callback; both look at the exchange that is running and keep there what they found. */
#ifndef POSTHOUSE_AUTH_ENGINE_H
#define POSTHOUSE_AUTH_ENGINE_H

#include <sasl/sasl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/credentials.h"
#include "smtpd/auth/verdict.h"

struct engine_options {
    const char *mechanisms; /* names, blanks between */
    const char *realm;      /* added to names without '@'; "" = none */
    const char *hostname;   /* of this machine, for the mechanisms */
    unsigned iterations;    /* of decoys: what new credentials have */
    uint64_t verdict_ttl_ms;
    size_t verdicts_max;
};

/* Loads the mechanisms: before chroot.  Takes the database (also when it fails).  One engine per process, as the
 * library has one state per process.  options is kept by pointer.  0, -ENOENT (a mechanism is not installed; missing
 * names it), -errno. */
int engine_init(const struct engine_options *options, struct credentials *db, const char **missing);
void engine_deinit(void);

/* What the library asked about while an exchange went on. */
struct account {
    enum {
        ACCOUNT_NONE,
        ACCOUNT_FOUND,
        ACCOUNT_UNKNOWN,
        ACCOUNT_IMPOSSIBLE, /* no account can have the name; otherwise like an unknown one */
        ACCOUNT_DISABLED,
        ACCOUNT_UNREADABLE
    } state;
    char asked[CREDENTIAL_NAME_MAX + 1]; /* the name as the client gave it, with the realm; impossible: "" */
    struct credential row; /* unknown: a decoy in which no password fits; disabled: likewise, its own salt */
};

/* Around each call of the library: whose account the callbacks fill. */
void engine_enter(struct account *a);
void engine_leave(void);
/* A connection of the library for one exchange, or NULL; secure: passwords may come in the clear. */
sasl_conn_t *engine_connection(bool secure);
bool engine_offers(const char *mechanism);
/* Fills the current account by its name. */
void engine_find(const char *name);
/* Whose certificate this is: by its fingerprint, by that of its key, then by its names (one a line).  1 found, 0
 * nobody's, -errno (logged). */
int engine_name_of_certificate(const char *certificate, const char *key, const char *names,
                               char name[CREDENTIAL_NAME_MAX + 1]);

#endif
