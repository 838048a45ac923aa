/* record: writes down what happens to the files below a folder (trace.h).
 *
 * LD_PRELOAD this; POSTHOUSE_TRACE names the file, made and sized by the test, POSTHOUSE_TRACE_FOLDER the folder. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "interpose.h"
#include "trace.h"

#define PATH_SIZE 1024

static struct trace_header *trace;
static const char *folder;

__attribute__((constructor)) static void map_trace(void)
{
    const char *file = getenv("POSTHOUSE_TRACE");
    struct stat st;
    folder = getenv("POSTHOUSE_TRACE_FOLDER");
    int fd = file != NULL && folder != NULL ? open(file, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0 || fstat(fd, &st) < 0)
        return;
    void *mapped = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED)
        trace = mapped;
}

static const char *below(const char *path)
{
    size_t n = strlen(folder);
    return strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == '\0') ? path + n + (path[n] == '/') : NULL;
}

static bool find_path(int fd, const char *name, char *path, const char **relative)
{
    *relative = call_path(fd, name, path, PATH_SIZE) ? below(path) : NULL;
    return *relative != NULL;
}

static bool all_zeros(const char *data, size_t len)
{
    return len > 0 && data[0] == 0 && memcmp(data, data + 1, len - 1) == 0;
}

static struct trace_record *new_record(const struct trace_record *r, const char *path, const char *path2,
                                       const void *data, size_t len)
{
    uint64_t size = (sizeof(*r) + r->path_length + r->path2_length + len + 7) & ~7ULL;
    uint64_t at = atomic_fetch_add(&trace->tail, size);
    if (at + size > trace->size) {
        trace->lost++;
        return NULL;
    }
    char *place = (char *)trace + at;
    struct trace_record *out = (struct trace_record *)place;
    *out = *r;
    out->size = size;
    place += sizeof(*r);
    memcpy(place, path, r->path_length);
    memcpy(place + r->path_length, path2, r->path2_length);
    if (len > 0)
        memcpy(place + r->path_length + r->path2_length, data, len);
    return out;
}

static uint64_t position(int fd, const struct stat *st)
{
    if (fcntl(fd, F_GETFL) & O_APPEND)
        return (uint64_t)st->st_size;
    off_t at = lseek(fd, 0, SEEK_CUR);
    return at < 0 ? 0 : (uint64_t)at;
}

bool call_begin(struct call *c)
{
    char text[PATH_SIZE], text2[PATH_SIZE];
    const char *path, *path2 = "";
    struct stat st = {0};
    if (trace == NULL || c->kind == CALL_SEND || !find_path(c->fd, c->path, text, &path) ||
        (c->path2 != NULL && !find_path(c->fd2, c->path2, text2, &path2)))
        return false;
    bool there = (c->path != NULL ? fstatat(c->fd, c->path, &st, AT_SYMLINK_NOFOLLOW) : fstat(c->fd, &st)) == 0;
    struct trace_record r = {.inode = st.st_ino,
                             .kind = c->kind,
                             .offset =
                                 c->kind == CALL_WRITE && c->offset < 0 ? position(c->fd, &st) : (uint64_t)c->offset,
                             .length = c->len,
                             .path_length = (uint32_t)strlen(path),
                             .path2_length = (uint32_t)strlen(path2)};
    size_t len = c->kind == CALL_WRITE ? c->len : 0;
    if (len > 0 && all_zeros(c->data, len)) {
        r.flags |= TRACE_ZEROS;
        len = 0;
    }
    if (c->kind == CALL_CREATE && (!there || (c->flags & O_TRUNC)))
        r.flags |= TRACE_FRESH;
    if (c->kind == CALL_WRITE && (fcntl(c->fd, F_GETFL) & O_DSYNC))
        r.flags |= TRACE_SYNC;
    if (c->kind == CALL_FSYNC && S_ISDIR(st.st_mode))
        r.flags |= TRACE_FOLDER;
    r.begin = atomic_fetch_add(&trace->clock, 1);
    c->note = new_record(&r, path, path2, c->data, len);
    return c->note != NULL;
}

void call_end(struct call *c)
{
    struct trace_record *r = c->note;
    struct stat st;
    r->result = c->result;
    if (c->kind == CALL_CREATE && c->result >= 0 && fstat((int)c->result, &st) == 0)
        r->inode = st.st_ino;
    atomic_thread_fence(memory_order_release);
    r->end = atomic_fetch_add(&trace->clock, 1);
}
