/* identity: what TLS proves about the peer of a stream, for those who log it in. */
#ifndef POSTHOUSE_TLS_IDENTITY_H
#define POSTHOUSE_TLS_IDENTITY_H

#include <stdbool.h>

#include "base/buf.h"

struct stream;

enum { TLS_FINGERPRINT_MAX = 65 /* SHA-256 in lower-case hexadecimal digits, and the NUL */ };

struct tls_identity {
    char certificate[TLS_FINGERPRINT_MAX]; /* of the certificate (DER) */
    char key[TLS_FINGERPRINT_MAX];         /* of its public key (SubjectPublicKeyInfo, DER): outlives a renewal */
    bool verified;                         /* signed by one of the server's client authorities, and valid now */
};

/* Whether the client showed a certificate. */
bool tls_has_identity(const struct stream *s);
/* 0, -ENOENT (none was shown) or -EIO. */
int tls_identity(const struct stream *s, struct tls_identity *out);
/* Who the certificate says its owner is: its e-mail addresses (rfc822Name), then its common name, one a line; names
 * with control characters are left out.  0, -ENOENT, -ENOBUFS or -ENOMEM. */
int tls_identity_names(const struct stream *s, struct buf *out);

enum { TLS_EXPORTER_BYTES = 32 };

/* Whether there is something to bind to: not without TLS, nor with TLS 1.2 without the extended master secret (RFC 9266
 * section 4.2). */
bool tls_has_exporter(const struct stream *s);
/* The channel binding "tls-exporter" (RFC 9266).  0 or -ENOTSUP. */
int tls_exporter(const struct stream *s, unsigned char out[TLS_EXPORTER_BYTES]);

#endif
