#include "master/folders.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "log/log.h"
#include "queue/folder.h"
#include "service/privileges.h"

static int make_one(const char *path, mode_t mode, uid_t uid, gid_t gid, bool own)
{
    if (mkdir(path, mode & 0777) < 0 && errno != EEXIST)
        return -errno;
    _cleanup_(fd_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (own && fchown(fd, uid, gid) < 0)
        return -errno;
    return own && fchmod(fd, mode) < 0 ? -errno : 0;
}

static int make_logged(const char *path, mode_t mode, uid_t uid, gid_t gid, bool own)
{
    int r = make_one(path, mode, uid, gid, own);
    if (r < 0)
        log_error("%s: can not be made: %s; make it or correct its parameter in posthouse.conf", path, text_errno(r));
    return r;
}

/* The folder a database lives in.  One outside the state directory is the admin's own and keeps its owner. */
static int make_parent(const char *file, const char *state, mode_t mode, uid_t uid, gid_t gid, bool own)
{
    _cleanup_(freep) char *copy = strdup(file);
    size_t n = strlen(state);
    bool ours = strncmp(file, state, n) == 0 && file[n] == '/' && strchr(file + n + 1, '/') != NULL;
    return copy == NULL ? -ENOMEM : make_logged(dirname(copy), mode, uid, gid, own && ours);
}

static int find(enum ipc_role role, const struct settings_posthouse *shared, struct privileges *out)
{
    const char *missing;
    int r = privileges_of(role, shared, out, &missing);
    if (r < 0)
        log_error("posthouse.conf: %s: no such user or group on this machine; make it, or set separate_users = no",
                  missing);
    return r;
}

static int make_queue(const struct settings_posthouse *shared, unsigned smtpd_slots, const struct queue_owners *owners)
{
    const char *where;
    int r = queue_make_folders(shared->queue_directory, smtpd_slots, owners, &where);
    if (r < 0)
        log_error("%s: folder of the queue (%s) can not be made: %s", shared->queue_directory, where, text_errno(r));
    return r;
}

static int make_state(const struct settings_posthouse *shared, const char *name, uid_t uid, bool own)
{
    _cleanup_(freep) char *path = text_format("%s/%s", shared->state_directory, name);
    return path == NULL ? -ENOMEM : make_logged(path, 0700, uid, 0, own);
}

int folders_make(const struct settings_posthouse *shared, unsigned smtpd_slots)
{
    bool own = privileges_separated(shared);
    struct privileges smtpd = {0}, auth = {0}, qmgr = {0}, bounce = {0};
    int r = 0;
    if (own && ((r = find(ROLE_SMTPD, shared, &smtpd)) < 0 || (r = find(ROLE_AUTH, shared, &auth)) < 0 ||
                (r = find(ROLE_QMGR, shared, &qmgr)) < 0 || (r = find(ROLE_BOUNCE, shared, &bounce)) < 0))
        return r;
    const struct queue_owners owners = {.qmgr = qmgr.uid,
                                        .qmgr_group = qmgr.gid,
                                        .smtpd = smtpd.uid,
                                        .bounce = bounce.uid,
                                        .inject_group = bounce.groups[0]};
    if ((r = make_logged(shared->state_directory, 0755, 0, 0, own)) < 0 ||
        (r = make_logged(shared->run_directory, 0755, 0, 0, own)) < 0 ||
        (r = make_parent(shared->credentials_database, shared->state_directory, 0700, auth.uid, auth.gid, own)) < 0 ||
        (r = make_parent(shared->suppression_database, shared->state_directory, 02750, bounce.uid, bounce.groups[1],
                         own)) < 0 ||
        (r = make_state(shared, "dkim", 0, own)) < 0 || (r = make_state(shared, "tls", 0, own)) < 0)
        return r;
    return make_queue(shared, smtpd_slots, own ? &owners : NULL);
}
