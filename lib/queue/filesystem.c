#include "queue/filesystem.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"

#define EXT4 0xEF53 /* ext2 and ext3 too */

/* f_type of statfs(2). */
static const struct {
    unsigned long type;
    const char *name;
    enum queue_filesystem kind;
} known[] = {
    {0x6969, "NFS", FILESYSTEM_NETWORK},        {0x517B, "SMB", FILESYSTEM_NETWORK},
    {0xFF534D42, "CIFS", FILESYSTEM_NETWORK},   {0xFE534D42, "SMB2", FILESYSTEM_NETWORK},
    {0x01021997, "9P", FILESYSTEM_NETWORK},     {0x65735546, "FUSE", FILESYSTEM_NETWORK},
    {0x5346414F, "AFS", FILESYSTEM_NETWORK},    {0x6B414653, "AFS", FILESYSTEM_NETWORK},
    {0x73757245, "Coda", FILESYSTEM_NETWORK},   {0x00C36400, "Ceph", FILESYSTEM_NETWORK},
    {0x0BD00BD0, "Lustre", FILESYSTEM_NETWORK}, {0x786F4256, "vboxsf", FILESYSTEM_NETWORK},
    {0x01021994, "tmpfs", FILESYSTEM_MEMORY},   {0x858458F6, "ramfs", FILESYSTEM_MEMORY},
    {0x4D44, "FAT", FILESYSTEM_NO_JOURNAL},     {0x2011BAB0, "exFAT", FILESYSTEM_NO_JOURNAL},
};

/* A journalled ext4 has an entry "DEVICE-INODE" here. */
static bool has_jbd2(dev_t device)
{
    _cleanup_(freep) char *link = text_format("/sys/dev/block/%u:%u", major(device), minor(device));
    char target[256];
    ssize_t n = link != NULL ? readlink(link, target, sizeof(target) - 1) : -1;
    DIR *dir = n > 0 ? opendir("/proc/fs/jbd2") : NULL;
    if (n <= 0)
        return true; /* nothing to tell by */
    if (dir == NULL)
        return access("/proc/self", F_OK) != 0;
    target[n] = '\0';
    const char *slash = strrchr(target, '/');
    const char *name = slash != NULL ? slash + 1 : target;
    size_t len = strlen(name);
    bool found = false;
    for (struct dirent *e; !found && (e = readdir(dir)) != NULL;)
        found = strncmp(e->d_name, name, len) == 0 && e->d_name[len] == '-';
    closedir(dir);
    return found;
}

int queue_filesystem_check(const char *path, const char **name)
{
    struct statfs fs;
    struct stat st;
    if (statfs(path, &fs) < 0 || stat(path, &st) < 0)
        return -errno;
    *name = "local";
    for (size_t i = 0; i < ARRAY_LENGTH(known); i++)
        if ((unsigned long)fs.f_type == known[i].type) {
            *name = known[i].name;
            return (int)known[i].kind;
        }
    if (fs.f_type != EXT4 || has_jbd2(st.st_dev))
        return FILESYSTEM_FINE;
    *name = "ext4 without journal";
    return FILESYSTEM_NO_JOURNAL;
}
