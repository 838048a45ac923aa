/* owed: who is to be told, and of which recipients.  Pure. */
#ifndef POSTHOUSE_BOUNCE_OWED_H
#define POSTHOUSE_BOUNCE_OWED_H

#include <stdbool.h>

#include "ipc/catalogue.h"

struct owed {
    const char *to; /* NULL = nobody is told of anything */
    /* The notice goes to double_bounce_recipient, as the message had no sender to tell. */
    bool to_postmaster;
    const struct ipc_bounce_recipient *recipients[IPC_RECIPIENTS_MAX];
    size_t count;
};

/* RFC 3461 section 4.1 (NOTIFY), RFC 5321 section 6.1 (nothing answers a null reverse-path).  double_bounce_recipient:
 * "" = nobody. */
void owed_find(const struct ipc_bounce *b, const char *double_bounce_recipient, struct owed *out);

#endif
