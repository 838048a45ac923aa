#include "queue/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"

/* Below new/, where only writers come: they add files, see nobody's names and remove only their own (sticky); what they
 * add belongs to qmgr's group (set-group-id). */
#define NEW_FOLDER_MODE 03703

static const char new_folders[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void queue_path(enum queue_state state, const char *id, int64_t due_s, char path[QUEUE_PATH_MAX])
{
    switch (state) {
    case QUEUE_NEW:
        snprintf(path, QUEUE_PATH_MAX, "new/%c/%.13s", queue_id_folder(id), id);
        break;
    case QUEUE_DEFERRED:
        snprintf(path, QUEUE_PATH_MAX, "deferred/%" PRId64 "/%.13s.%" PRId64, due_s / QUEUE_SLICE_S, id, due_s);
        break;
    case QUEUE_HOLD:
        snprintf(path, QUEUE_PATH_MAX, "hold/%.13s", id);
        break;
    default:
        snprintf(path, QUEUE_PATH_MAX, "corrupt/%.13s", id);
        break;
    }
}

int queue_parse_deferred_name(const char *name, char id[QUEUE_ID_SIZE], int64_t *due_s)
{
    uint64_t due;
    if (strlen(name) < QUEUE_ID_LEN + 2 || name[QUEUE_ID_LEN] != '.')
        return -EINVAL;
    memcpy(id, name, QUEUE_ID_LEN);
    id[QUEUE_ID_LEN] = '\0';
    if (!queue_id_valid(id) || text_parse_u64(name + QUEUE_ID_LEN + 1, INT64_MAX, &due) < 0)
        return -EINVAL;
    *due_s = (int64_t)due;
    return 0;
}

/* Whose a folder is.  Owner and group are roles until the numbers are known. */
enum who { WHO_QMGR, WHO_SMTPD, WHO_BOUNCE, WHO_INJECT };
struct folder {
    const char *name;
    enum who owner, group;
    mode_t mode;
};

static const struct folder folders[] = {
    /* Writers pass through new/ by their group, and nobody else does. */
    {"new", WHO_QMGR, WHO_INJECT, 0710},   {"deferred", WHO_QMGR, WHO_QMGR, 0700}, {"hold", WHO_QMGR, WHO_QMGR, 0700},
    {"corrupt", WHO_QMGR, WHO_QMGR, 0700}, {"journal", WHO_QMGR, WHO_QMGR, 0700},  {"rules", WHO_QMGR, WHO_QMGR, 0700},
    {"tmp", WHO_QMGR, WHO_INJECT, 0710},   {"tmp/qmgr", WHO_QMGR, WHO_QMGR, 0700},
};

static uid_t owner_of(const struct queue_owners *o, enum who who)
{
    return who == WHO_SMTPD ? o->smtpd : who == WHO_BOUNCE ? o->bounce : o->qmgr;
}

static gid_t group_of(const struct queue_owners *o, enum who who)
{
    return who == WHO_INJECT ? o->inject_group : o->qmgr_group;
}

/* A folder that a power cut takes away takes the durable files in it along. */
static int sync_parent(int folder)
{
    _cleanup_(fd_closep) int fd = openat(folder, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -1 : 0;
}

static int make_folder(int at, const char *name, enum who owner, enum who group, mode_t mode,
                       const struct queue_owners *o)
{
    bool made = mkdirat(at, name, mode & 0700) == 0;
    if (!made && errno != EEXIST)
        return -errno;
    _cleanup_(fd_closep) int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    if (made && sync_parent(fd) < 0)
        return -errno;
    if (o != NULL && fchown(fd, owner_of(o, owner), group_of(o, group)) < 0)
        return -errno;
    return fchmod(fd, mode) < 0 ? -errno : 0;
}

static int sweep(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return -errno;
    }
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.')
            unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
    return 0;
}

/* A suite that had more writers before left their folders. */
static int sweep_writers(int root)
{
    int fd = openat(root, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return -errno;
    }
    int r = 0;
    for (struct dirent *e; r == 0 && (e = readdir(dir)) != NULL;) {
        r = e->d_name[0] != '.' ? sweep(dirfd(dir), e->d_name) : 0;
        if (r == -ENOTDIR || r == -ELOOP) /* not a folder of ours */
            r = 0;
    }
    closedir(dir);
    return r;
}

/* Group qmgr and set-group-id: what is created in them belongs to qmgr's group. */
static int make_writer(int root, unsigned writer, enum who who, char name[QUEUE_PATH_MAX],
                       const struct queue_owners *owners)
{
    snprintf(name, QUEUE_PATH_MAX, "tmp/%u", writer);
    int r = make_folder(root, name, who, WHO_QMGR, 02700, owners);
    if (r < 0)
        return r;
    snprintf(name, QUEUE_PATH_MAX, "journal/%u", writer);
    return make_folder(root, name, who, WHO_QMGR, 02750, owners);
}

int queue_make_folders(const char *queue_directory, unsigned smtpd_slots, const struct queue_owners *owners,
                       const char **where)
{
    static char name[QUEUE_PATH_MAX];
    *where = queue_directory;
    if (mkdir(queue_directory, 0755) < 0 && errno != EEXIST)
        return -errno;
    _cleanup_(fd_closep) int root = open(queue_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Whatever the umask was: every user of the suite passes through here to the folder that is its own. */
    if (root < 0 || (owners != NULL && fchmod(root, 0755) < 0))
        return -errno;
    *where = name;
    int r = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(folders) && r == 0; i++) {
        snprintf(name, sizeof(name), "%s", folders[i].name);
        r = make_folder(root, name, folders[i].owner, folders[i].group, folders[i].mode, owners);
    }
    for (const char *c = new_folders; *c != '\0' && r == 0; c++) {
        snprintf(name, sizeof(name), "new/%c", *c);
        r = make_folder(root, name, WHO_QMGR, WHO_QMGR, NEW_FOLDER_MODE, owners);
    }
    for (unsigned i = 0; i < smtpd_slots && r == 0; i++)
        r = make_writer(root, i, WHO_SMTPD, name, owners);
    if (r == 0)
        r = make_writer(root, QUEUE_WRITER_BOUNCE, WHO_BOUNCE, name, owners);
    if (r == 0) {
        snprintf(name, sizeof(name), "journal/qmgr");
        r = make_folder(root, name, WHO_QMGR, WHO_QMGR, 0700, owners);
    }
    if (r == 0)
        r = sweep_writers(root);
    return r;
}

int queue_lock(const char *queue_directory, pid_t *pid)
{
    _cleanup_(freep) char *path = text_format("%s/lock", queue_directory);
    if (path == NULL)
        return -ENOMEM;
    _cleanup_(fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    char text[24] = "";
    *pid = 0;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int r = -errno;
        if (pread(fd, text, sizeof(text) - 1, 0) > 0)
            *pid = (pid_t)strtol(text, NULL, 10);
        return r;
    }
    int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)len, 0) != len)
        return -errno;
    return TAKE_FD(fd);
}

int queue_free_space(int fd, uint64_t *bytes, uint64_t *inodes)
{
    struct statvfs st;
    if (fstatvfs(fd, &st) < 0)
        return -errno;
    *bytes = (uint64_t)st.f_bavail * st.f_frsize;
    /* Some file systems make inodes as they go and count none. */
    *inodes = st.f_files == 0 ? UINT64_MAX : st.f_favail;
    return 0;
}
