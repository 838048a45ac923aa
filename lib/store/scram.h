/* scram: the SCRAM-SHA-256 verifier of a password (RFC 5802 section 3, RFC 7677): the only form in which one is stored.
 *
 * Passwords are prepared by SASLprep (RFC 4013) where they are set and where they are compared, so it does not matter
 * how a keyboard composes its letters, nor whether a client prepares them too.  One that SASLprep has no form for (not
 * UTF-8, control characters, mixed directions) is taken as its bytes. */
#ifndef POSTHOUSE_STORE_SCRAM_H
#define POSTHOUSE_STORE_SCRAM_H

#include <stddef.h>

#include "base/buf.h"

#define SCRAM_KEY_BYTES          32
#define SCRAM_SALT_BYTES         16 /* of the salts made here */
#define SCRAM_SALT_MAX           64
#define SCRAM_ITERATIONS_MIN     4096 /* RFC 7677 section 4 */
#define SCRAM_ITERATIONS_DEFAULT 10000
#define SCRAM_ITERATIONS_MAX     10000000

struct scram_verifier {
    unsigned iterations;
    size_t salt_len;
    unsigned char salt[SCRAM_SALT_MAX];
    unsigned char stored_key[SCRAM_KEY_BYTES];
    unsigned char server_key[SCRAM_KEY_BYTES];
};

/* Derives with a random salt.  0, -EINVAL (iterations out of range) or -EIO (the library failed). */
int scram_derive(const char *password, size_t len, unsigned iterations, struct scram_verifier *out);
/* Derives with the iterations and salt that out already holds. */
int scram_derive_salted(const char *password, size_t len, struct scram_verifier *out);
/* 1 it is the password, 0 it is not (both at the same cost), -EIO. */
int scram_verify(const struct scram_verifier *v, const char *password, size_t len);
/* A verifier that no password fits, the same each time for one key and name: what an unknown user is shown.  0 or -EIO.
 */
int scram_decoy(const unsigned char key[SCRAM_KEY_BYTES], const char *name, unsigned iterations,
                struct scram_verifier *out);

/* A keyed digest of a password that was found to fit a verifier: what may be kept of it in memory.  0 or -EIO. */
int scram_fingerprint(const unsigned char key[SCRAM_KEY_BYTES], const char *name, const char *password, size_t len,
                      const struct scram_verifier *v, unsigned char out[SCRAM_KEY_BYTES]);
/* Bytes nobody can guess, for keys and generated passwords.  0 or -EIO. */
int scram_random(unsigned char *out, size_t len);

/* "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>" (RFC 5803 section 2), base64.  Appends; 0 or -ENOBUFS. */
int scram_format(const struct scram_verifier *v, struct buf *out);
/* 0 or -EINVAL. */
int scram_parse(const char *text, struct scram_verifier *out);

#endif
