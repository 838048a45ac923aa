#include "bounce/remember.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

int64_t remember_for_ms(const struct settings_bounce *settings, enum failure_class class)
{
    switch (class) {
    case FAILURE_BAD_MAILBOX:
        return settings->suppress_bad_mailbox_ms;
    case FAILURE_DISABLED:
        return settings->suppress_disabled_ms;
    case FAILURE_BAD_DOMAIN:
        return settings->suppress_bad_domain_ms;
    case FAILURE_BAD_ADDRESS:
        return settings->suppress_bad_address_ms;
    default:
        return 0;
    }
}

/* The words of the reply behind its codes, which have columns of their own. */
static const char *reply_words(const struct ipc_bounce_recipient *r)
{
    char code[16];
    const char *words = r->reply;
    snprintf(code, sizeof(code), "%u ", (unsigned)r->code);
    if (r->code > 0 && text_has_prefix(words, code))
        words += strlen(code);
    size_t len = strlen(r->enhanced);
    return len > 0 && text_has_prefix(words, r->enhanced) && words[len] == ' ' ? words + len + 1 : words;
}

static int remember_one(struct suppression *list, const struct settings_bounce *settings, const struct ipc_bounce *b,
                        const struct ipc_bounce_recipient *r, enum failure_class class, int64_t keep_ms)
{
    struct suppression_row row = {.code = r->code, .since_s = clock_wall_s(), .added_by = "bounce"};
    row.expires_s = row.since_s + keep_ms / 1000;
    const char *scope = settings->suppression_scope == SUPPRESS_FOR_TENANT ? b->tenant : "";
    snprintf(row.address, sizeof(row.address), "%s", r->address);
    snprintf(row.scope, sizeof(row.scope), "%s", scope);
    snprintf(row.reason, sizeof(row.reason), "%s", failure_name(class));
    snprintf(row.enhanced, sizeof(row.enhanced), "%s", r->enhanced);
    snprintf(row.reply, sizeof(row.reply), "%s", reply_words(r));
    snprintf(row.queue_id, sizeof(row.queue_id), "%s", b->queue_id);
    return suppression_add(list, &row);
}

void remember_failures(struct suppression *list, const struct settings_bounce *settings, const struct ipc_bounce *b,
                       struct remembered *out)
{
    *out = (struct remembered){0};
    if (b->kind != BOUNCE_FAILED)
        return;
    for (uint32_t i = 0; i < b->recipients_count && i < IPC_RECIPIENTS_MAX; i++) {
        const struct ipc_bounce_recipient *r = &b->recipients[i];
        const struct failure_reply reply = {r->code, r->enhanced, r->reply, r->expired != 0};
        out->class[i] = failure_classify(&reply);
        int64_t keep_ms = remember_for_ms(settings, out->class[i]);
        int e = keep_ms == 0 ? 0 : remember_one(list, settings, b, r, out->class[i], keep_ms);
        out->suppressed[i] = keep_ms > 0 && e == 0;
        out->count += out->suppressed[i];
        /* -EINVAL: an address in a form that the list does not know; there is nothing to repeat. */
        if (e < 0 && e != -EINVAL && out->error == 0)
            out->error = e;
    }
}

void remember_bounces(struct usage *usage, const struct settings_bounce *settings, const struct ipc_bounce *b,
                      struct remembered *out)
{
    const struct usage_freeze rule = {.percent = settings->freeze_percent, .bounces = settings->freeze_bounces};
    uint32_t hard = 0;
    if (usage == NULL || b->credential[0] == '\0' || b->kind != BOUNCE_FAILED)
        return;
    for (uint32_t i = 0; i < b->recipients_count && i < IPC_RECIPIENTS_MAX; i++)
        hard += failure_is_hard(out->class[i]);
    if (hard > 0)
        out->frozen = usage_bounced(usage, b->credential, hard, &rule, &out->day_bounced, &out->day_recipients);
}
