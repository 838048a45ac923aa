/* credentials: what the phrases about users share: their database, and what smtpd and bounce count of them. */
#ifndef POSTHOUSE_CTL_CREDENTIALS_H
#define POSTHOUSE_CTL_CREDENTIALS_H

#include "ctl/ctl.h"
#include "store/credentials.h"
#include "store/usage.h"

/* The database, made when it is missing.  CTL_OK or what to exit with, after saying why. */
int ctl_credentials_open(struct ctl *c, struct credentials **out);

/* What was counted.  NULL: nothing yet, so nobody is frozen, or *r tells. */
struct usage *ctl_usage_open(const struct ctl *c, int *r);
/* Seconds since 1970, 0 = it is not frozen; usage may be NULL. */
int64_t ctl_frozen_since_s(struct usage *usage, const char *name);
/* What was changed counts at once: open sessions have to log in again before their next message. */
void ctl_void_sessions(const struct ctl *c, const char *name);

#endif
