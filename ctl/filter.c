#include "ctl/filter.h"

#include <string.h>

#include "base/text.h"
#include "conf/value.h"

#define YEAR_MS INT64_C(31536000000)

int filter_parse_duration(const char *option, const char *text, uint64_t *seconds)
{
    static const struct conf_param duration = {.type = CONF_DURATION, .min = 1000, .max = YEAR_MS};
    int64_t ms = 0;
    struct buf expected;
    *seconds = 0;
    if (conf_value_set(&duration, &ms, text) == 0) {
        *seconds = (uint64_t)(ms + 999) / 1000;
        return CTL_OK;
    }
    buf_init(&expected, 256);
    conf_expected(&duration, &expected);
    ctl_say(CTL_USAGE, "--%s %s: expected %s", option, text, buf_str(&expected));
    buf_deinit(&expected);
    return CTL_USAGE;
}

static bool is_state(const char *state)
{
    static const char *const states[] = {"", "incoming", "active", "deferred", "hold"};
    for (size_t i = 0; i < ARRAY_LENGTH(states); i++)
        if (strcmp(states[i], state) == 0)
            return true;
    return false;
}

static const char *text_of(const struct args *a, const char *option)
{
    const char *value = args_option(a, option);
    return value != NULL ? value : "";
}

int filter_parse(const struct args *a, struct filter *out)
{
    static const char *const texts[] = {"domain", "site", "tenant", "sender"};
    const char *older = args_option(a, "older-than");
    *out = (struct filter){.state = text_of(a, "state"),
                           .domain = text_of(a, "domain"),
                           .site = text_of(a, "site"),
                           .tenant = text_of(a, "tenant"),
                           .sender = text_of(a, "sender")};
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
        if (args_option(a, texts[i]) != NULL && text_of(a, texts[i])[0] == '\0')
            return ctl_say(CTL_USAGE, "--%s: expected a text that is not empty", texts[i]);
    if (!is_state(out->state))
        return ctl_say(CTL_USAGE, "%s: expected incoming, active, deferred or hold", out->state);
    return older != NULL ? filter_parse_duration("older-than", older, &out->older_than_s) : CTL_OK;
}

bool filter_is_empty(const struct filter *f)
{
    const char *const texts[] = {f->state, f->domain, f->site, f->tenant, f->sender};
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
        if (texts[i][0] != '\0')
            return false;
    return f->older_than_s == 0;
}
