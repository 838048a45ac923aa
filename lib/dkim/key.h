/* key: the private keys messages are signed with (RFC 6376, RFC 8463), and the TXT records that publish them. */
#ifndef POSTHOUSE_DKIM_KEY_H
#define POSTHOUSE_DKIM_KEY_H

#include <stdbool.h>

#include "base/buf.h"

enum signing_key_type { SIGNING_KEY_RSA, SIGNING_KEY_ED25519 };

#define SIGNING_KEY_RSA_BITS_MIN     1024 /* RFC 8301 section 3.2: verifiers refuse less */
#define SIGNING_KEY_RSA_BITS_ADVISED 2048 /* … and signers should use this */
#define SIGNING_KEY_TEXT_MAX         16384

struct signing_key {
    enum signing_key_type type;
    int bits;
    bool exposed;             /* the file may be read by its group or by everybody */
    struct evp_pkey_st *pkey; /* OpenSSL's EVP_PKEY */
};

/* "rsa" or "ed25519", as in the k= tag. */
const char *signing_key_type_name(enum signing_key_type type);

/* A new key in memory; bits is for RSA only.  0, -EINVAL (bits) or -EIO (OpenSSL refused). */
int signing_key_generate(enum signing_key_type type, int bits, struct signing_key *out);
/* From a PEM file (PKCS#8 or PKCS#1, not encrypted).  0, or -errno with one sentence that names the file in why: no
 * such file, no key, neither RSA nor Ed25519, RSA below SIGNING_KEY_RSA_BITS_MIN. */
int signing_key_load(const char *path, struct signing_key *out, struct buf *why);
void signing_key_deinit(struct signing_key *key); /* harmless on a zeroed key */

/* PKCS#8 PEM into a new file of mode 0600, made durable.  0, or -errno (-EEXIST) with a sentence in why. */
int signing_key_write(const struct signing_key *key, const char *path, struct buf *why);
/* The same text, NUL-terminated; wipe it after use. */
int signing_key_pem(const struct signing_key *key, struct buf *out);

/* The text of the TXT record: "v=DKIM1; k=rsa; p=MIIB…". */
int signing_key_record(const struct signing_key *key, struct buf *out);
/* The record as a line of a zone file, in strings of at most 255 bytes (RFC 1035 section 3.3.14):
 *     s1._domainkey.example.com. IN TXT ( "v=DKIM1; k=rsa; p=MIIB…" "…" ) */
int signing_key_zone_line(const char *selector, const char *domain, const char *record, struct buf *out);

#endif
