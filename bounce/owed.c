#include "bounce/owed.h"

#include <string.h>

#include "base/text.h"
#include "mail/dsn.h"
#include "queue/envelope.h"

/* A client that gave no NOTIFY is told of failures, and at our choice of delays. */
static bool asked_for(uint32_t kind, uint32_t notify)
{
    switch (kind) {
    case BOUNCE_FAILED:
        return notify == 0 || (notify & MAIL_DSN_NOTIFY_FAILURE) != 0;
    case BOUNCE_DELAYED:
        return notify == 0 || (notify & MAIL_DSN_NOTIFY_DELAY) != 0;
    case BOUNCE_DELIVERED:
        return (notify & MAIL_DSN_NOTIFY_SUCCESS) != 0;
    default:
        return false;
    }
}

void owed_find(const struct ipc_bounce *b, const char *double_bounce_recipient, struct owed *out)
{
    bool double_bounce = b->sender[0] == '\0' || (b->flags & ENVELOPE_NOTICE) != 0;
    *out = (struct owed){.to = b->sender};
    if (double_bounce) {
        out->to = double_bounce_recipient;
        out->to_postmaster = true;
        if (double_bounce_recipient[0] == '\0' || b->kind != BOUNCE_FAILED) {
            out->to = NULL;
            return;
        }
    }
    for (uint32_t i = 0; i < b->recipients_count && out->count < IPC_RECIPIENTS_MAX; i++) {
        const struct ipc_bounce_recipient *r = &b->recipients[i];
        /* A notice to the postmaster that fails itself would go round for ever. */
        bool loop = double_bounce && text_equal_nocase(r->address, double_bounce_recipient);
        if (!loop && (double_bounce || asked_for(b->kind, r->notify)))
            out->recipients[out->count++] = r;
    }
    if (out->count == 0)
        out->to = NULL;
}
