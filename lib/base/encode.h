/* encode: base64 (RFC 4648 section 4, strict), xtext (RFC 3461 section 4) and lower-case hex. */
#ifndef POSTHOUSE_BASE_ENCODE_H
#define POSTHOUSE_BASE_ENCODE_H

#include "base/buf.h"

/* Append the encoded or decoded form to out.  0, -EINVAL (not of the form), -ENOBUFS or -ENOMEM. */
int base64_encode(const void *data, size_t len, struct buf *out);
int base64_decode(const char *text, size_t len, struct buf *out);
int xtext_encode(const char *text, struct buf *out);
int xtext_decode(const char *text, size_t len, struct buf *out);
int hex_encode(const void *data, size_t len, struct buf *out);

#endif
