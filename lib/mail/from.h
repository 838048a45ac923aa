/* from: whom a message claims to come from, in its From field (RFC 5322 section 3.6.2): DKIM signs for the domain, and
 * a credential may be bound to addresses. */
#ifndef POSTHOUSE_MAIL_FROM_H
#define POSTHOUSE_MAIL_FROM_H

#include <stddef.h>

#include "base/buf.h"
#include "mail/address.h"

enum { MAIL_FROM_NONE = 1 /* no mailbox with a valid domain */ };

/* Domain of the first mailbox of an address list (display names, comments, quoted strings, groups and folding
 * understood), in lower case.  0, MAIL_FROM_NONE, -ENOBUFS or -ENOMEM. */
int mail_from_domain(const char *field_value, size_t len, struct buf *domain);

/* Calls fn for each mailbox of an address list until it returns other than 0.  0 or fn's value; MAIL_FROM_NONE:
 * something in it is no mailbox, or there is none (those before it were handed on); -ENOMEM. */
int mail_from_mailboxes(const char *field_value, size_t len, int (*fn)(void *arg, const struct mail_address *a),
                        void *arg);

#endif
