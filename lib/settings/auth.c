#include "settings/auth.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define AT(field) offsetof(struct settings_auth, field)
#define HOUR_MS   INT64_C(3600000)

static const struct conf_param params[] = {
    {"mechanisms", CONF_LIST, AT(mechanisms), "SCRAM-SHA-256 PLAIN LOGIN EXTERNAL", 0, 0, NULL,
     "SASL mechanisms clients may use, of SCRAM-SHA-256 (with it SCRAM-SHA-256-PLUS), PLAIN, LOGIN and EXTERNAL; PLAIN "
     "and LOGIN only where passwords may be sent"},
    {"realm", CONF_STRING, AT(realm), "", 0, 0, NULL,
     "Added with an @ to user names that have none; empty = names are taken as they come"},
    {"iterations", CONF_INT, AT(iterations), "10000", 4096, 10000000, NULL,
     "PBKDF2 rounds for passwords that are set from now on; 10000 cost about 3 ms of one core for each PLAIN or LOGIN "
     "that is not remembered"},
    {"verdict_ttl", CONF_DURATION, AT(verdict_ttl_ms), "10m", 0, 24 * HOUR_MS, NULL,
     "How long a right password is remembered, as a keyed digest, so that the next login costs nothing; 0 = not at "
     "all"},
    {"verdicts_max", CONF_INT, AT(verdicts_max), "10000", 0, 10000000, NULL, "Right passwords remembered at most"},
    {"failures_free", CONF_INT, AT(failures_free), "3", 0, 1000, NULL,
     "Failed logins of one address or account that are answered at once"},
    {"failure_delay", CONF_DURATION, AT(failure_delay_ms), "1s", 0, HOUR_MS, NULL,
     "How long the answer to the next failure waits; doubles with every further one"},
    {"failure_delay_max", CONF_DURATION, AT(failure_delay_max_ms), "30s", 0, HOUR_MS, NULL,
     "The longest such wait; clients seldom wait for more than a minute"},
    {"failure_forget", CONF_DURATION, AT(failure_forget_ms), "15m", 1000, 24 * HOUR_MS, NULL,
     "Without a failure for so long, an address or account starts anew"},
    {"failures_per_minute", CONF_INT, AT(failures_per_minute), "30", 0, 1000000, NULL,
     "Failed logins of one address (of one /64 network for IPv6) per minute; above it every login from there is told "
     "to "
     "try later; 0 = no limit"},
    {"step_timeout", CONF_DURATION, AT(step_timeout_ms), "1m", 1000, HOUR_MS, NULL,
     "How long a client may take for each response of a login"},
    {"sessions_max", CONF_INT, AT(sessions_max), "10000", 1, 1000000, NULL,
     "Logins under way at a time in one worker, delayed answers included; more are told to try later"},
    {0},
};

static int check_mechanism(const char *name, struct buf *why)
{
    static const char *const known[] = {"SCRAM-SHA-256", "PLAIN", "LOGIN", "EXTERNAL", NULL};
    for (const char *const *k = known; *k != NULL; k++)
        if (strcmp(*k, name) == 0)
            return 0;
    buf_printf(why, "mechanisms has %s: expected SCRAM-SHA-256, PLAIN, LOGIN and EXTERNAL, or some of them", name);
    return -EINVAL;
}

static int check(const void *settings, struct buf *why)
{
    const struct settings_auth *s = settings;
    for (size_t i = 0; i < s->mechanisms.count; i++)
        if (check_mechanism(s->mechanisms.items[i], why) < 0)
            return -EINVAL;
    if (s->mechanisms.count == 0) {
        buf_append_str(why, "mechanisms is empty: expected at least one");
        return -EINVAL;
    }
    if (s->failure_delay_ms > s->failure_delay_max_ms) {
        buf_append_str(why,
                       "failure_delay is longer than failure_delay_max: expected failure_delay <= failure_delay_max");
        return -EINVAL;
    }
    return 0;
}

const struct conf_schema settings_auth_schema = {
    .file = "auth.conf", .params = params, .size = sizeof(struct settings_auth), .check = check};
