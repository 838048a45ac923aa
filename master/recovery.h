/* recovery: the queue is made whole before anything is started. */
#ifndef POSTHOUSE_MASTER_RECOVERY_H
#define POSTHOUSE_MASTER_RECOVERY_H

#include "master/master.h"

/* Warns of a file system that promises less than the queue needs, refuses one of another machine.  0 or -errno, logged.
 */
int recovery_check_filesystem(const struct settings_posthouse *shared);
/* Runs posthouse-recover and waits for its end.  0 or -errno, logged. */
int recovery_run(const struct master *m);

#endif
