/* from: the domain a message claims to come from, in its From field (RFC 5322 section 3.6.2); DKIM signs for it. */
#ifndef POSTHOUSE_MAIL_FROM_H
#define POSTHOUSE_MAIL_FROM_H

#include <stddef.h>

#include "base/buf.h"

enum { MAIL_FROM_NONE = 1 /* no mailbox with a valid domain */ };

/* Domain of the first mailbox of an address list (display names, comments, quoted strings, groups and folding
 * understood), in lower case.  0, MAIL_FROM_NONE, -ENOBUFS or -ENOMEM. */
int mail_from_domain(const char *field_value, size_t len, struct buf *domain);

#endif
