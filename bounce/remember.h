/* remember: hard failures go on the suppression list.  Used from one helper thread only, as SQLite writes block. */
#ifndef POSTHOUSE_BOUNCE_REMEMBER_H
#define POSTHOUSE_BOUNCE_REMEMBER_H

#include <stdbool.h>

#include "bounce/classify.h"
#include "ipc/catalogue.h"
#include "settings/bounce.h"
#include "store/suppression.h"
#include "store/usage.h"

/* How long an address stays on the list after a failure of this class; 0 = it does not go there. */
int64_t remember_for_ms(const struct settings_bounce *settings, enum failure_class class);

struct remembered {
    bool suppressed[IPC_RECIPIENTS_MAX]; /* by position in the BOUNCE */
    enum failure_class class[IPC_RECIPIENTS_MAX];
    uint32_t count; /* that went on the list */
    int error;      /* the first one, 0 = all are written */
    /* What was counted for the credential that submitted the message. */
    int frozen; /* 1: it was frozen just now; -errno: it could not be counted */
    uint32_t day_bounced, day_recipients;
};

/* Writes what has to be written; goes on after an error, as the rest may be well. */
void remember_failures(struct suppression *list, const struct settings_bounce *settings, const struct ipc_bounce *b,
                       struct remembered *out);
/* Counts the hard ones, behind remember_failures, for the credential whose mail it was; that may freeze it. */
void remember_bounces(struct usage *usage, const struct settings_bounce *settings, const struct ipc_bounce *b,
                      struct remembered *out);

#endif
