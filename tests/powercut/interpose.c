#include "interpose.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define GATHER_MAX (256 * 1024 * 1024)

static __thread bool inside; /* call_begin and call_end make calls of their own */

bool call_path(int fd, const char *name, char *path, size_t size)
{
    char link[40];
    size_t len = 0;
    if (name == NULL || name[0] != '/') {
        snprintf(link, sizeof(link), fd == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, path, size - 1);
        if (n <= 0 || path[0] != '/')
            return false;
        len = (size_t)n;
        path[len] = '\0';
    }
    if (name != NULL) {
        int n = snprintf(path + len, size - len, "%s%s", len > 0 ? "/" : "", name);
        if (n < 0 || (size_t)n >= size - len)
            return false;
    }
    return true;
}

static bool begin(struct call *c)
{
    if (inside)
        return false;
    int saved = errno;
    inside = true;
    bool wanted = call_begin(c);
    inside = false;
    errno = saved;
    return wanted;
}

static long end(struct call *c, bool wanted, long result)
{
    int saved = errno;
    c->result = result < 0 ? -saved : result;
    if (wanted) {
        inside = true;
        call_end(c);
        inside = false;
    }
    errno = saved;
    return result;
}

/* The kernel's answer as libc gives it: syscall(2) has set errno already. */
#define AROUND(c, expression)                                                                                          \
    ({                                                                                                                 \
        bool wanted_ = begin(c);                                                                                       \
        end((c), wanted_, (expression));                                                                               \
    })

/* Another boot of the machine, as recovery sees it. */
static const char *instead_of(const char *path)
{
    const char *other = getenv("POSTHOUSE_BOOT_ID_FILE");
    return other != NULL && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0 ? other : path;
}

static int do_open(const char *name, int fd, const char *path, int flags, mode_t mode)
{
    path = instead_of(path);
    if ((flags & O_CREAT) == 0)
        return (int)syscall(SYS_openat, fd, path, flags, mode);
    struct call c = {.name = name, .kind = CALL_CREATE, .fd = fd, .path = path, .flags = flags};
    return (int)AROUND(&c, syscall(SYS_openat, fd, path, flags, mode));
}

static mode_t mode_argument(int flags, va_list more)
{
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(more, mode_t) : 0;
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode_t mode = mode_argument(flags, more);                                                                      \
        va_end(more);                                                                                                  \
        return do_open("open", AT_FDCWD, path, flags, mode);                                                           \
    }
#define OPENAT(name)                                                                                                   \
    int name(int fd, const char *path, int flags, ...)                                                                 \
    {                                                                                                                  \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode_t mode = mode_argument(flags, more);                                                                      \
        va_end(more);                                                                                                  \
        return do_open("open", fd, path, flags, mode);                                                                 \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

static bool is_socket(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static ssize_t do_write(const char *name, int fd, const void *data, size_t len, off_t offset)
{
    struct call c = {.name = name, .kind = CALL_WRITE, .fd = fd, .data = data, .len = len, .offset = offset};
    if (offset < 0 && is_socket(fd))
        c.kind = CALL_SEND;
    bool wanted = begin(&c);
    long n = offset < 0 ? syscall(SYS_write, fd, data, c.len) : syscall(SYS_pwrite64, fd, data, c.len, offset);
    return end(&c, wanted, n);
}

ssize_t write(int fd, const void *data, size_t len)
{
    return do_write("write", fd, data, len, -1);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    return do_write("pwrite", fd, data, len, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
    return do_write("pwrite", fd, data, len, offset);
}

static ssize_t gather(const char *name, int fd, const struct iovec *parts, int count, off_t offset)
{
    size_t len = 0, at = 0;
    for (int i = 0; i < count; i++)
        len += parts[i].iov_len;
    char *data = len <= GATHER_MAX ? malloc(len + 1) : NULL;
    if (data == NULL) {
        errno = ENOMEM;
        return -1;
    }
    for (int i = 0; i < count; i++) {
        if (parts[i].iov_len > 0)
            memcpy(data + at, parts[i].iov_base, parts[i].iov_len);
        at += parts[i].iov_len;
    }
    ssize_t n = do_write(name, fd, data, len, offset);
    free(data);
    return n;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return gather("writev", fd, parts, count, -1);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    return gather("pwritev", fd, parts, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
    return gather("pwritev", fd, parts, count, offset);
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    struct call c = {.name = "send", .kind = CALL_SEND, .fd = fd, .data = data, .len = len, .flags = flags};
    bool wanted = begin(&c);
    return end(&c, wanted, syscall(SYS_sendto, fd, data, c.len, flags, NULL, 0));
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    const struct iovec *first = message->msg_iovlen > 0 ? message->msg_iov : &(struct iovec){0};
    struct call c = {.name = "sendmsg", .kind = CALL_SEND, .fd = fd, .data = first->iov_base, .len = first->iov_len};
    return AROUND(&c, syscall(SYS_sendmsg, fd, message, flags));
}

static int do_truncate(int fd, off_t length)
{
    struct call c = {.name = "ftruncate", .kind = CALL_TRUNCATE, .fd = fd, .offset = length};
    return (int)AROUND(&c, syscall(SYS_ftruncate, fd, length));
}

int ftruncate(int fd, off_t length)
{
    return do_truncate(fd, length);
}

int ftruncate64(int fd, off64_t length)
{
    return do_truncate(fd, length);
}

static int do_allocate(int fd, int mode, off_t offset, off_t length)
{
    struct call c = {
        .name = "fallocate", .kind = CALL_ALLOCATE, .fd = fd, .offset = offset, .len = (size_t)length, .flags = mode};
    return (int)AROUND(&c, syscall(SYS_fallocate, fd, mode, offset, length));
}

int fallocate(int fd, int mode, off_t offset, off_t length)
{
    return do_allocate(fd, mode, offset, length);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length)
{
    return do_allocate(fd, mode, offset, length);
}

int posix_fallocate(int fd, off_t offset, off_t length)
{
    return do_allocate(fd, 0, offset, length) < 0 ? errno : 0;
}

int posix_fallocate64(int fd, off64_t offset, off64_t length)
{
    return do_allocate(fd, 0, offset, length) < 0 ? errno : 0;
}

int renameat2(int from, const char *path, int to, const char *path2, unsigned flags)
{
    struct call c = {.name = "rename", .kind = CALL_RENAME, .fd = from, .path = path, .fd2 = to, .path2 = path2};
    return (int)AROUND(&c, syscall(SYS_renameat2, from, path, to, path2, flags));
}

int renameat(int from, const char *path, int to, const char *path2)
{
    return renameat2(from, path, to, path2, 0);
}

int rename(const char *path, const char *path2)
{
    return renameat2(AT_FDCWD, path, AT_FDCWD, path2, 0);
}

int linkat(int from, const char *path, int to, const char *path2, int flags)
{
    struct call c = {.name = "link", .kind = CALL_LINK, .fd = from, .path = path, .fd2 = to, .path2 = path2};
    if ((flags & AT_EMPTY_PATH) != 0 && path[0] == '\0')
        c.path = NULL;
    return (int)AROUND(&c, syscall(SYS_linkat, from, path, to, path2, flags));
}

int link(const char *path, const char *path2)
{
    return linkat(AT_FDCWD, path, AT_FDCWD, path2, 0);
}

int unlinkat(int fd, const char *path, int flags)
{
    bool folder = (flags & AT_REMOVEDIR) != 0;
    struct call c = {
        .name = folder ? "rmdir" : "unlink", .kind = folder ? CALL_RMDIR : CALL_UNLINK, .fd = fd, .path = path};
    return (int)AROUND(&c, syscall(SYS_unlinkat, fd, path, flags));
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdirat(int fd, const char *path, mode_t mode)
{
    struct call c = {.name = "mkdir", .kind = CALL_MKDIR, .fd = fd, .path = path};
    return (int)AROUND(&c, syscall(SYS_mkdirat, fd, path, mode));
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

int fsync(int fd)
{
    struct call c = {.name = "fsync", .kind = CALL_FSYNC, .fd = fd};
    return (int)AROUND(&c, syscall(SYS_fsync, fd));
}

int fdatasync(int fd)
{
    struct call c = {.name = "fdatasync", .kind = CALL_FDATASYNC, .fd = fd};
    return (int)AROUND(&c, syscall(SYS_fdatasync, fd));
}

int syncfs(int fd)
{
    struct call c = {.name = "syncfs", .kind = CALL_SYNCFS, .fd = fd};
    return (int)AROUND(&c, syscall(SYS_syncfs, fd));
}
