/* configuration: what master reads, and the check that all other files are right before anything is started or
 * replaced. */
#ifndef POSTHOUSE_MASTER_CONFIGURATION_H
#define POSTHOUSE_MASTER_CONFIGURATION_H

#include "settings/master.h"
#include "settings/posthouse.h"
#include "settings/smtpd.h"

struct configuration {
    struct settings_posthouse shared;
    struct settings_master master;
    struct settings_smtpd smtpd; /* for the listeners */
};

/* Reads ours and checks everybody's.  0, or -EINVAL with every error in `errors`, one a line; nothing is kept then. */
int configuration_load(const char *dir, struct configuration *out, struct buf *errors);
void configuration_free(struct configuration *c);

#endif
