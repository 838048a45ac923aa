/* quota: what the quota blocks of smtpd.conf leave a session to send.
 *
 * A message counts for its credential, its tenant, its client and its client's network, each by the block that names
 * it, or else by one with "*".  Room is looked at when MAIL comes, and taken when the message is complete; so sessions
 * of one credential that send at the same time can not exceed it together. */
#ifndef POSTHOUSE_SMTPD_QUOTA_H
#define POSTHOUSE_SMTPD_QUOTA_H

#include "smtpd/session.h"
#include "store/usage.h"

enum { QUOTA_TEXT_MAX = 512 };

/* What was counted for a message, to be given back if it is not accepted; it outlives the session. */
struct quota_claim {
    char *names[USAGE_KINDS]; /* NULL = nothing counted */
    uint32_t recipients;
};

/* Recipients the next message may have.  Fewer than wanted: why says so for a reply. */
int64_t quota_room(const struct session *s, size_t wanted, char why[QUOTA_TEXT_MAX]);
/* Counts a message.  0; 1: it is too much, nothing was counted, and why says so.  What can not be counted is accepted.
 */
int quota_take(const struct session *s, size_t recipients, struct quota_claim *claim, char why[QUOTA_TEXT_MAX]);
/* accepted: what was counted stands. */
void quota_settle(struct server *server, struct quota_claim *claim, bool accepted);

/* Counts a session for the credential that logged in, and its tenant.  false: they have too many, nothing was counted.
 */
bool quota_enter(const struct session *s);
void quota_leave(const struct session *s);

#endif
