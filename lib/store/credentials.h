/* credentials: who may submit mail.  One SQLite file; one row per name with the verifier of its password.
 *
 * A name is any text and may look like an address; it keeps the case it was made with and is unique whatever the case
 * of its ASCII letters.  A tenant groups credentials for fairness and for lists; "" means that the name is a tenant by
 * itself. */
#ifndef POSTHOUSE_STORE_CREDENTIALS_H
#define POSTHOUSE_STORE_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/scram.h"

#define CREDENTIAL_NAME_MAX     255 /* bytes */
#define CREDENTIAL_TENANT_MAX   255
#define CREDENTIAL_NOTE_MAX     255
#define CREDENTIAL_PASSWORD_MAX 1024
#define CREDENTIAL_SENDERS_MAX  2000

#define CREDENTIAL_FINGERPRINT_LEN 64 /* SHA-256 in lower-case hexadecimal digits */

struct credential {
    char name[CREDENTIAL_NAME_MAX + 1];
    char tenant[CREDENTIAL_TENANT_MAX + 1];
    char note[CREDENTIAL_NOTE_MAX + 1];
    bool enabled;
    bool bulk;                                /* its mail waits behind everybody's transactional mail */
    char senders[CREDENTIAL_SENDERS_MAX + 1]; /* what it may send as (mail/senders.h); "" = any address */
    int64_t created_s, changed_s;             /* since 1970 */
    struct scram_verifier verifier;
};

/* UTF-8 without control characters; a name neither begins nor ends with a blank.  What the functions below accept. */
bool credential_name_valid(const char *name);
bool credential_tenant_valid(const char *tenant);
bool credential_password_valid(const char *password, size_t len);
bool credential_fingerprint_valid(const char *fingerprint);

struct credentials;

/* Opens the file, for the administrator and for the daemon that owns it; makes and migrates it (mode 0600).  0 or
 * -errno as database.h tells: -ENOENT, -EACCES, -EUCLEAN, -EPROTONOSUPPORT, -EBUSY ... */
int credentials_open(const char *path, struct credentials **out);
/* Reads only; goes on reading after a chroot. */
int credentials_open_reader(const char *path, struct credentials **out);
void credentials_free(struct credentials *c);

/* Adds a row, enabled.  0, -EEXIST, -EINVAL (a text that is not allowed), -errno. */
int credentials_add(struct credentials *c, const char *name, const char *tenant, const char *note,
                    const struct scram_verifier *verifier);
/* 0, -ENOENT (no such name), -errno. */
int credentials_set_verifier(struct credentials *c, const char *name, const struct scram_verifier *verifier);
int credentials_set_enabled(struct credentials *c, const char *name, bool enabled);
int credentials_set_bulk(struct credentials *c, const char *name, bool bulk);
/* Also -EINVAL. */
int credentials_set_senders(struct credentials *c, const char *name, const char *senders);
int credentials_remove(struct credentials *c, const char *name);

/* Certificates that log in as a credential (SASL EXTERNAL), each by the fingerprint of itself or of its key.  A
 * fingerprint is one credential's alone.  Removing a credential removes them.  0, -ENOENT (no such credential, or it
 * has no such certificate), -EEXIST (another's, or there already), -EINVAL, -errno. */
int credentials_add_certificate(struct credentials *c, const char *name, const char *fingerprint);
int credentials_remove_certificate(struct credentials *c, const char *name, const char *fingerprint);
/* Calls fn for each of a credential's. */
int credentials_list_certificates(struct credentials *c, const char *name,
                                  int (*fn)(const char *fingerprint, void *arg), void *arg);

/* 1 found (out filled), 0 not found, -errno. */
int credentials_lookup(struct credentials *c, const char *name, struct credential *out);
/* The one that a fingerprint belongs to. */
int credentials_lookup_certificate(struct credentials *c, const char *fingerprint, struct credential *out);
/* Calls fn for each row by name until it returns other than 0, and returns that, or 0, or -errno. */
int credentials_list(struct credentials *c, int (*fn)(const struct credential *row, void *arg), void *arg);

#endif
