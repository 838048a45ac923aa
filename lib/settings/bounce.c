#include "settings/bounce.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define AT(field)       offsetof(struct settings_bounce, field)
#define SUPPRESS_MAX_MS (INT64_C(36500) * 86400000)

static const char *const scopes[] = {"everybody", "tenant", NULL};

static const struct conf_param params[] = {
    {"notice_from", CONF_STRING, AT(notice_from), "", 0, 0, NULL,
     "Address in the From field of notices; empty = MAILER-DAEMON at hostname of posthouse.conf"},
    {"double_bounce_recipient", CONF_STRING, AT(double_bounce_recipient), "", 0, 0, NULL,
     "Who is told of failed messages that have no sender to tell, such as notices; empty = they are only logged"},
    {"bounce_size_limit", CONF_SIZE, AT(bounce_size_limit_bytes), "50k", 1024, 10 * 1024 * 1024, NULL,
     "How much of the failed message a notice returns; of a larger one only the header, cut at this size"},
    {"notices_max", CONF_INT, AT(notices_max), "1000", 1, 10000, NULL,
     "Failure reports of qmgr worked on at a time; qmgr repeats later what is beyond"},
    {"suppression_scope", CONF_ENUM, AT(suppression_scope), "everybody", 0, 0, scopes,
     "For whom an address is suppressed after a hard failure: everybody, or the tenant whose mail failed"},
    {"suppress_bad_mailbox", CONF_DURATION, AT(suppress_bad_mailbox_ms), "365d", 0, SUPPRESS_MAX_MS, NULL,
     "How long an address stays suppressed whose mailbox does not exist; 0 = it is not suppressed"},
    {"suppress_disabled", CONF_DURATION, AT(suppress_disabled_ms), "90d", 0, SUPPRESS_MAX_MS, NULL,
     "The same for a mailbox that is disabled or closed"},
    {"suppress_bad_domain", CONF_DURATION, AT(suppress_bad_domain_ms), "30d", 0, SUPPRESS_MAX_MS, NULL,
     "The same for a domain that does not exist or takes no mail"},
    {"suppress_bad_address", CONF_DURATION, AT(suppress_bad_address_ms), "365d", 0, SUPPRESS_MAX_MS, NULL,
     "The same for an address whose form its server refuses"},
    {"freeze_percent", CONF_INT, AT(freeze_percent), "20", 0, 100, NULL,
     "A credential is frozen when so much of its recipients of a day failed for good, until an admin thaws it; 0 = "
     "never"},
    {"freeze_bounces", CONF_INT, AT(freeze_bounces), "100", 1, 1000000000, NULL,
     "How many recipients of a day must have failed for that at least"},
    {0},
};

/* Roughly an address: what is wrong with the rest shows as a reply of the next server. */
static bool looks_like_address(const char *s)
{
    const char *at = strrchr(s, '@');
    if (at == NULL || at == s || at[1] == '\0')
        return false;
    for (; *s != '\0'; s++)
        if ((unsigned char)*s <= ' ' || (unsigned char)*s >= 0x7f || *s == '<' || *s == '>')
            return false;
    return true;
}

static int check(const void *settings, struct buf *why)
{
    const struct settings_bounce *s = settings;
    const char *wrong = NULL, *value = NULL;
    if (s->notice_from[0] != '\0' && !looks_like_address(value = s->notice_from))
        wrong = "notice_from";
    else if (s->double_bounce_recipient[0] != '\0' && !looks_like_address(value = s->double_bounce_recipient))
        wrong = "double_bounce_recipient";
    if (wrong == NULL)
        return 0;
    buf_printf(why, "%s = %s: expected an ASCII address such as postmaster@example.com, without brackets", wrong,
               value);
    return -EINVAL;
}

const struct conf_schema settings_bounce_schema = {
    .file = "bounce.conf", .params = params, .size = sizeof(struct settings_bounce), .check = check};
