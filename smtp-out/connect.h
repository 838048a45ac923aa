/* connect: from a site to a session that is ready for MAIL: hosts in their order, each one's addresses, greeting, EHLO,
 * STARTTLS, AUTH.  A host that does not work leads to the next. */
#ifndef POSTHOUSE_SMTP_OUT_CONNECT_H
#define POSTHOUSE_SMTP_OUT_CONNECT_H

#include "smtp-out/failure.h"
#include "smtp-out/session.h"
#include "smtp-out/site.h"

struct connect;

/* Called once for each connect_next, later: a session, which the callee owns from here on, or NULL and why.  The callee
 * may free the connect. */
typedef void connect_fn(void *arg, struct session *s, const struct failure *failure);

/* site must outlive it.  NULL: no memory. */
struct connect *connect_new(struct out *out, const struct site *site, connect_fn *fn, void *arg);
void connect_free(struct connect *c);
/* Connections it opened, those that failed included. */
unsigned connect_opened(const struct connect *c);
/* Goes on to the next address that was not tried.  because: what became of the last session, NULL at first; it is what
 * is reported when nothing is left to try. */
void connect_next(struct connect *c, const struct failure *because);

#endif
