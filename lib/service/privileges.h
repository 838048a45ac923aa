/* privileges: who runs as whom, and how a program gives up what it does not need. */
#ifndef POSTHOUSE_SERVICE_PRIVILEGES_H
#define POSTHOUSE_SERVICE_PRIVILEGES_H

#include <stdbool.h>
#include <sys/types.h>

#include "ipc/role.h"
#include "settings/posthouse.h"

/* Whether programs run as users of their own here: started by root, and separate_users is on. */
bool privileges_separated(const struct settings_posthouse *shared);

struct privileges {
    uid_t uid;
    gid_t gid;
    gid_t groups[4]; /* supplementary */
    size_t group_count;
};
/* The user of a role.  0 or -ENOENT; *missing names the user or group that the system does not know. */
int privileges_of(enum ipc_role role, const struct settings_posthouse *shared, struct privileges *out,
                  const char **missing);

/* Confines this process: working directory and (separated) root = run_directory, user, groups, no new privileges, no
 * core dumps.  0 or -errno with the step that failed in *step. */
int privileges_drop(enum ipc_role role, const struct settings_posthouse *shared, const char **step);

#endif
