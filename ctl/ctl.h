/* ctl: what every phrase of the admin command gets, and how it ends. */
#ifndef POSTHOUSE_CTL_CTL_H
#define POSTHOUSE_CTL_CTL_H

#include <stdbool.h>

#include "ipc/channel.h"
#include "settings/posthouse.h"

/* Exit statuses; posthouse(1) lists them. */
enum ctl_status {
    CTL_OK = 0,
    CTL_FAILED = 1,    /* refused, not found, or something is broken */
    CTL_USAGE = 2,     /* no such phrase, or not its arguments */
    CTL_TRY_LATER = 75 /* the suite is not running, or busy (EX_TEMPFAIL) */
};

struct ctl {
    const char *config_dir;
    bool json;
    struct settings_posthouse shared; /* phrases that need it */
    struct ipc_sync *peer;            /* connection to master or qmgr, where the phrase needs one */
};

/* "posthouse: …" on standard error; returns the status. */
int ctl_say(enum ctl_status status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same for a person who wants to know, on standard error; not with --json. */
void ctl_note(const struct ctl *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Connects to a socket of the run directory ("qmgr.sock").  CTL_OK, or what to exit with; says why unless quiet. */
int ctl_connect(struct ctl *c, const char *socket, bool quiet, struct ipc_sync **out);
/* The next message of an answer.  CTL_OK or what to exit with, after saying why. */
int ctl_receive(struct ipc_sync *peer, enum ipc_type *type, union ipc_any *message, int *fd);
/* Says what ORDER_DONE says and turns it into an exit status. */
int ctl_order_done(const struct ctl *c, const struct ipc_order_done *done);

/* Makes the folder of a file that the suite did not make yet, owned as the suite would: by a user of posthouse.conf
 * (NULL = the caller), open for reading to a group of it (NULL = nobody).  CTL_OK or CTL_FAILED, after saying why. */
int ctl_make_folder(const struct ctl *c, const char *file, const char *user, const char *group);

#endif
