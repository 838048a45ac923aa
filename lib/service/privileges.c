#include "service/privileges.h"

#include <errno.h>
#include <grp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* One row per program: its user, and the groups it has besides its own. */
static const struct row {
    size_t user;
    bool inject, suppression;
} rows[ROLE_COUNT] = {
    [ROLE_SMTPD] = {offsetof(struct settings_posthouse, smtpd_user), true, true},
    [ROLE_AUTH] = {offsetof(struct settings_posthouse, auth_user), false, false},
    [ROLE_QMGR] = {offsetof(struct settings_posthouse, qmgr_user), false, false},
    [ROLE_DKIM_SIGNER] = {offsetof(struct settings_posthouse, dkim_signer_user), false, false},
    [ROLE_SMTP_OUT] = {offsetof(struct settings_posthouse, smtp_out_user), false, false},
    [ROLE_BOUNCE] = {offsetof(struct settings_posthouse, bounce_user), true, true},
};

bool privileges_separated(const struct settings_posthouse *shared)
{
    return geteuid() == 0 && shared->separate_users;
}

static int add_group(struct privileges *p, const char *name, const char **missing)
{
    uint32_t gid;
    *missing = name;
    if (settings_group_find(name, &gid) < 0)
        return -ENOENT;
    p->groups[p->group_count++] = gid;
    return 0;
}

int privileges_of(enum ipc_role role, const struct settings_posthouse *shared, struct privileges *out,
                  const char **missing)
{
    const struct row *row = &rows[role];
    struct settings_user user;
    *out = (struct privileges){0};
    *missing = *(char *const *)((const char *)shared + row->user);
    if (settings_user_find(*missing, &user) < 0)
        return -ENOENT;
    out->uid = user.uid;
    out->gid = user.gid;
    int r = row->inject ? add_group(out, shared->inject_group, missing) : 0;
    if (r == 0 && row->suppression)
        r = add_group(out, shared->suppression_group, missing);
    return r;
}

static int become(const struct privileges *p, const char **step)
{
    *step = "chroot to run_directory";
    if (chroot(".") < 0)
        return -errno;
    *step = "setgroups";
    if (setgroups(p->group_count, p->groups) < 0)
        return -errno;
    *step = "setresgid";
    if (setresgid(p->gid, p->gid, p->gid) < 0)
        return -errno;
    *step = "setresuid";
    if (setresuid(p->uid, p->uid, p->uid) < 0)
        return -errno;
    *step = "drop root for good";
    return setuid(0) == 0 ? -EPERM : 0;
}

int privileges_drop(enum ipc_role role, const struct settings_posthouse *shared, const char **step)
{
    struct privileges p = {0};
    bool separated = privileges_separated(shared);
    tzset(); /* /etc/localtime is out of reach behind the chroot */
    *step = "look up the user";
    if (separated) {
        const char *missing;
        int r = privileges_of(role, shared, &p, &missing);
        if (r < 0) {
            *step = missing;
            return r;
        }
    }
    *step = "enter run_directory";
    if (chdir(shared->run_directory) < 0)
        return -errno;
    int r = separated ? become(&p, step) : 0;
    if (r < 0)
        return r;
    *step = "forbid core dumps";
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) < 0)
        return -errno;
    *step = "forbid new privileges";
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    /* Last step of the confinement, once each program has its list: the system call filter. */
    return 0;
}
