/* filter: options that say which messages, or whose mail, is meant. */
#ifndef POSTHOUSE_CTL_FILTER_H
#define POSTHOUSE_CTL_FILTER_H

#include <stdint.h>

#include "ctl/phrase.h"

/* Texts are "" where nothing was said. */
struct filter {
    const char *state, *domain, *site, *tenant, *sender;
    uint64_t older_than_s;
};

/* For the phrase table. */
#define FILTER_WHOSE     "[--domain DOMAIN] [--site PATTERN] [--tenant TENANT] [--sender ADDRESS]"
#define FILTER_ARGUMENTS FILTER_WHOSE " [--state STATE] [--older-than DURATION]"

/* CTL_OK, or what to exit with after saying why. */
int filter_parse(const struct args *a, struct filter *out);
bool filter_is_empty(const struct filter *f);
/* "30m", "5d", "90": whole seconds.  CTL_OK or CTL_USAGE after saying why. */
int filter_parse_duration(const char *option, const char *text, uint64_t *seconds);

#endif
