/* memory_auth: takes the place of smtpd/auth_client.c in a target: logins are judged here, at the end of the turn, by
 * the first letter of what the client answered:
 *
 *     o = ok   b = ok, its mail is bulk   m = ok, for mail from MEMORY_AUTH_SENDERS only
 *     f = failed   t = try later   n = no such mechanism
 *     c = asked once more   l = asked by the longest challenge   s = never answered
 *     a = the auth program is away when asked   w = it goes away before it answers
 *
 * and anything else is malformed.  Without an answer the client is asked for one.  Of what a proxy vouches for, o, b and
 * m are ours, f is disabled, t and w come to nothing, and anything else is nobody's. */
#ifndef POSTHOUSE_FUZZ_MEMORY_AUTH_H
#define POSTHOUSE_FUZZ_MEMORY_AUTH_H

#include "io/loop.h"
#include "smtpd/auth_client.h"

#define MEMORY_AUTH_CREDENTIAL "joe@app.test"
#define MEMORY_AUTH_TENANT     "app"
#define MEMORY_AUTH_SENDERS    "app.test .sub.test boss@b.test"

struct auth_client {
    struct loop *loop;
    size_t alive; /* exchanges begun and neither ended nor cancelled */
    unsigned ok;  /* logins that were told so */
    bool bound;   /* the last of them has senders */
};

#endif
