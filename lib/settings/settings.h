/* settings: one struct and one table per configuration file.  A parameter is a row; nothing else knows its default. */
#ifndef POSTHOUSE_SETTINGS_SETTINGS_H
#define POSTHOUSE_SETTINGS_SETTINGS_H

#include "conf/conf.h"

/* Every schema of the suite, NULL-terminated: what `posthouse config` and master check. */
extern const struct conf_schema *const settings_all[];

/* NULL for a file name that is none of ours. */
const struct conf_schema *settings_find(const char *file);

#endif
