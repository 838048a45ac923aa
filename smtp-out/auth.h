/* auth: the client side of SMTP AUTH (RFC 4954) towards a smarthost, by libcyrus-sasl. */
#ifndef POSTHOUSE_SMTP_OUT_AUTH_H
#define POSTHOUSE_SMTP_OUT_AUTH_H

#include "base/buf.h"
#include "smtp-out/route.h"
#include "smtp/ehlo.h"

struct auth;

/* Loads the mechanisms: before chroot.  0 or -EIO. */
int auth_library_init(void);
void auth_library_deinit(void);

enum auth_tls { AUTH_TLS_NONE, AUTH_TLS_UNVERIFIED, AUTH_TLS_VERIFIED };

/* Picks a mechanism and appends the AUTH command line.  The password itself is only sent through TLS (or where the
 * route allows it), and through TLS to nobody in particular only when nothing better is offered.  0, -EOPNOTSUPP (no
 * mechanism in common) or -ENOMEM. */
int auth_begin(const struct route *route, const char *host, const struct smtp_ehlo *offers, enum auth_tls tls,
               struct auth **out, struct buf *line);
/* Appends the answer to a 334 challenge (base64).  0, or -EPROTO (the server's words make no sense; *line is empty
 * then). */
int auth_step(struct auth *a, const char *challenge, struct buf *line);
/* The server said 235: has it, with mechanisms where it must, proved that it knows the password too? */
bool auth_is_complete(const struct auth *a);
void auth_free(struct auth *a);

#endif
