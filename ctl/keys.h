/* keys: the key table that the configuration names. */
#ifndef POSTHOUSE_CTL_KEYS_H
#define POSTHOUSE_CTL_KEYS_H

#include "ctl/ctl.h"
#include "dkim/key_table.h"

/* The path of the key table, which the caller frees.  CTL_OK, or what to exit with after saying why. */
int keys_path(const struct ctl *c, char **out);
/* The table and its keys; a table that does not exist is empty.  The caller frees *path and the table in any case. */
int keys_load(const struct ctl *c, char **path, struct key_table *table);

#endif
