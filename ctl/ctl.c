#include "ctl/ctl.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "service/privileges.h"

#define ANSWER_TIMEOUT_MS 30000
#define STAGES            3 /* of an orderly stop, each of which may take shutdown_timeout */

static void __attribute__((format(printf, 1, 0))) say(const char *fmt, va_list ap)
{
    fputs("posthouse: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
}

int ctl_say(enum ctl_status status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
    return status;
}

void ctl_note(const struct ctl *c, const char *fmt, ...)
{
    va_list ap;
    if (c->json)
        return;
    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
}

static int connect_failed(const struct ctl *c, const char *socket, int r)
{
    const char *run = c->shared.run_directory;
    if (r == -ENOENT || r == -ECONNREFUSED || r == -ENOTDIR)
        return ctl_say(CTL_TRY_LATER, "the suite is not running (nobody serves %s/%s); 'posthouse start' starts it",
                       run, socket);
    if (r == -ETIMEDOUT || r == -EAGAIN)
        return ctl_say(CTL_TRY_LATER, "%s/%s does not answer; try again later", run, socket);
    if (r == -EACCES || r == -EPERM || r == -EPIPE || r == -ECONNRESET)
        return ctl_say(CTL_FAILED, "%s/%s: not allowed; run this as root or as the user who started the suite", run,
                       socket);
    if (r == -EPROTO)
        return ctl_say(CTL_FAILED, "%s/%s is served by another version; restart the suite", run, socket);
    return ctl_say(CTL_FAILED, "%s/%s: %s", run, socket, text_errno(r));
}

/* The run directory becomes the working directory: a socket's path may not be longer than 107 bytes. */
int ctl_connect(struct ctl *c, const char *socket, bool quiet, struct ipc_sync **out)
{
    const struct ipc_identity self = {.role = ROLE_CTL};
    int timeout_ms = ANSWER_TIMEOUT_MS + STAGES * (int)c->shared.shutdown_timeout_ms;
    int r = chdir(c->shared.run_directory) < 0 ? -errno : ipc_sync_open(socket, &self, timeout_ms, out);
    if (r == 0)
        return CTL_OK;
    return quiet ? CTL_TRY_LATER : connect_failed(c, socket, r);
}

int ctl_receive(struct ipc_sync *peer, enum ipc_type *type, union ipc_any *message, int *fd)
{
    *fd = -1;
    int r = ipc_sync_receive(peer, type, message, fd);
    if (r == 0)
        return CTL_OK;
    return ctl_say(CTL_TRY_LATER, "the answer did not come to its end (%s); try again later", text_errno(r));
}

int ctl_order_done(const struct ctl *c, const struct ipc_order_done *done)
{
    static const int statuses[] = {[ORDER_OK] = CTL_OK, [ORDER_NOT_FOUND] = CTL_FAILED, [ORDER_REFUSED] = CTL_FAILED};
    int status = done->status < ARRAY_LENGTH(statuses) ? statuses[done->status] : CTL_FAILED;
    size_t len = strlen(done->text);
    while (len > 0 && done->text[len - 1] == '\n')
        len--;
    if (status != CTL_OK)
        return ctl_say((enum ctl_status)status, "%.*s", len > 0 ? (int)len : 9, len > 0 ? done->text : "not found");
    if (len > 0)
        ctl_note(c, "%.*s", (int)len, done->text);
    return CTL_OK;
}

static int give_to(const char *folder, const char *user, const char *group)
{
    struct settings_user owner;
    int r = settings_user_find(user, &owner);
    if (r < 0)
        return r;
    uint32_t gid = owner.gid;
    if (group != NULL)
        r = settings_group_find(group, &gid);
    if (r < 0)
        return r;
    /* Files made in it later belong to the group, too. */
    return chown(folder, owner.uid, gid) < 0 || (group != NULL && chmod(folder, 02750) < 0) ? -errno : 0;
}

static int make_one(const struct ctl *c, const char *folder, mode_t mode, const char *user, const char *group)
{
    if (mkdir(folder, mode) < 0)
        return errno == EEXIST ? 0 : -errno;
    int r = user != NULL && privileges_separated(&c->shared) ? give_to(folder, user, group) : 0;
    if (r < 0)
        rmdir(folder);
    return r;
}

int ctl_make_folder(const struct ctl *c, const char *file, const char *user, const char *group)
{
    char copy[PATH_MAX];
    if (snprintf(copy, sizeof(copy), "%s", file) >= (int)sizeof(copy))
        return ctl_say(CTL_FAILED, "%s: %s", file, text_errno(ENAMETOOLONG));
    const char *folder = dirname(copy);
    int r = make_one(c, c->shared.state_directory, 0755, NULL, NULL);
    if (r == 0)
        r = make_one(c, folder, 0700, user, group);
    if (r == 0)
        return CTL_OK;
    return ctl_say(CTL_FAILED, "%s can not be made%s%s: %s", folder, user != NULL ? " for user " : "",
                   user != NULL ? user : "", text_errno(r));
}
