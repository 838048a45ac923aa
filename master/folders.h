/* folders: makes the state and run directories, with the owners that the programs need. */
#ifndef POSTHOUSE_MASTER_FOLDERS_H
#define POSTHOUSE_MASTER_FOLDERS_H

#include "settings/posthouse.h"

/* 0, or -errno after the log line that says which and why. */
int folders_make(const struct settings_posthouse *shared, unsigned smtpd_slots);

#endif
