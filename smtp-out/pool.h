/* pool: open connections that wait for the next message of their site. */
#ifndef POSTHOUSE_SMTP_OUT_POOL_H
#define POSTHOUSE_SMTP_OUT_POOL_H

#include "smtp-out/session.h"

/* Takes a session whose transaction is over; it is said QUIT to when nobody wants it in time, when there are too many,
 * or when it has carried enough.  Whether it waits now. */
bool pool_put(struct session *s);
/* An idle session of this site, the one used last first; the caller owns it and sets itself as owner.  NULL = none. */
struct session *pool_take(struct out *out, const char *site);
/* Says QUIT to all. */
void pool_clear(struct out *out);

#endif
