#include "queue/inject.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "io/offload.h"
#include "queue/folder.h"

#define INJECTION_BUFFER (64 * 1024)

struct injector {
    struct offload *offload;
    unsigned writer;
    int tmp_fd; /* our own folder below tmp/ */
    int new_fd;
};

struct injection {
    struct offload_job job;
    struct injector *injector;
    struct envelope head; /* first line's numbers and the id only; no texts */
    int fd;
    int result;
    struct buf pending; /* not written yet */
    void (*done)(void *arg, const char *id, int result);
    void *arg;
};

int injector_new(struct loop *l, const char *queue_directory, unsigned writer, unsigned threads, struct injector **out)
{
    struct injector *q = calloc(1, sizeof(*q));
    if (q == NULL)
        return -ENOMEM;
    *q = (struct injector){.writer = writer, .tmp_fd = -1, .new_fd = -1};
    _cleanup_(freep) char *tmp = text_format("%s/tmp/%u", queue_directory, writer);
    _cleanup_(freep) char *fresh = text_format("%s/new", queue_directory);
    int r = tmp == NULL || fresh == NULL ? -ENOMEM : 0;
    if (r == 0) {
        /* O_PATH: the writer has no right to list these folders and needs none. */
        q->tmp_fd = open(tmp, O_PATH | O_DIRECTORY | O_CLOEXEC);
        q->new_fd = open(fresh, O_PATH | O_DIRECTORY | O_CLOEXEC);
        r = q->tmp_fd < 0 || q->new_fd < 0 ? -errno : 0;
    }
    if (r == 0) {
        q->offload = offload_new(l, threads);
        r = q->offload == NULL ? -EAGAIN : 0;
    }
    if (r < 0) {
        injector_free(q);
        return r;
    }
    *out = q;
    return 0;
}

void injector_free(struct injector *q)
{
    if (q == NULL)
        return;
    offload_free(q->offload);
    if (q->tmp_fd >= 0)
        close(q->tmp_fd);
    if (q->new_fd >= 0)
        close(q->new_fd);
    free(q);
}

size_t injector_pending(const struct injector *q)
{
    return offload_pending(q->offload);
}

int injector_free_space(const struct injector *q, uint64_t *bytes, uint64_t *inodes)
{
    return queue_free_space(q->new_fd, bytes, inodes);
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static void injection_free(struct injection *i)
{
    if (i->fd >= 0)
        close(i->fd);
    buf_deinit(&i->pending);
    free(i);
}

static int create_file(struct injection *i, struct envelope *e)
{
    struct injector *q = i->injector;
    queue_id_new(q->writer, e->id);
    buf_clear(&i->pending);
    int r = envelope_format(e, &i->pending);
    if (r < 0)
        return r;
    /* Readable and writable for qmgr's group, which the folder's set-group-id bit gives the file. */
    i->fd = openat(q->tmp_fd, e->id, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0660);
    if (i->fd >= 0 && fchmod(i->fd, 0660) < 0) {
        r = -errno;
        unlinkat(q->tmp_fd, e->id, 0);
        return r;
    }
    return i->fd < 0 ? -errno : 0;
}

int injection_begin(struct injector *q, struct envelope *e, struct injection **out)
{
    struct injection *i = calloc(1, sizeof(*i));
    if (i == NULL)
        return -ENOMEM;
    *i = (struct injection){.injector = q, .fd = -1};
    buf_init(&i->pending, ENVELOPE_MAX + INJECTION_BUFFER);
    e->content_length = 0;
    /* After a reload the old process of our slot may draw in the very same microsecond. */
    int r = -EEXIST;
    for (int tries = 0; tries < 3 && r == -EEXIST; tries++)
        r = create_file(i, e);
    if (r < 0) {
        injection_free(i);
        return r;
    }
    i->head.flags = e->flags;
    i->head.content_offset = e->content_offset;
    memcpy(i->head.id, e->id, sizeof(e->id));
    *out = i;
    return 0;
}

const char *injection_id(const struct injection *i)
{
    return i->head.id;
}

uint64_t injection_length(const struct injection *i)
{
    return i->head.content_length;
}

static int injection_flush(struct injection *i)
{
    int r = write_all(i->fd, i->pending.data, i->pending.len);
    if (r == 0)
        buf_clear(&i->pending);
    return r;
}

int injection_write(struct injection *i, const void *data, size_t len)
{
    i->head.content_length += len;
    if (i->pending.len > 0 && i->pending.len + len > INJECTION_BUFFER) {
        int r = injection_flush(i);
        if (r < 0)
            return r;
    }
    return len >= INJECTION_BUFFER ? write_all(i->fd, data, len) : buf_append(&i->pending, data, len);
}

static int sync_folder(int at, const char *name)
{
    /* Opened for this one flush: O_RDONLY needs read permission on the folder, which a writer with a user of its own
     * does not have; then the file's own fsync below has to carry the name, as it does on ext4, XFS and btrfs. */
    _cleanup_(fd_closep) int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES ? 1 : -errno;
    return fsync(fd) < 0 ? -errno : 0;
}

/* In a helper thread: content, first line, flush, name, flush of the name. */
static int make_durable(struct injection *i)
{
    char first[ENVELOPE_FIRST_LINE + 1], path[QUEUE_PATH_MAX];
    char folder[2] = {queue_id_folder(i->head.id), '\0'};
    envelope_format_first_line(&i->head, first);
    if (lseek(i->fd, 0, SEEK_CUR) == 0)
        memcpy(i->pending.data, first, ENVELOPE_FIRST_LINE);
    else if (pwrite(i->fd, first, ENVELOPE_FIRST_LINE, 0) != ENVELOPE_FIRST_LINE)
        return -EIO;
    int r = injection_flush(i);
    if (r < 0)
        return r;
    if (fsync(i->fd) < 0)
        return -errno;
    snprintf(path, sizeof(path), "%s/%s", folder, i->head.id);
    if (renameat2(i->injector->tmp_fd, i->head.id, i->injector->new_fd, path, RENAME_NOREPLACE) < 0)
        return -errno;
    r = sync_folder(i->injector->new_fd, folder);
    if (r == 1)
        r = fsync(i->fd) < 0 ? -errno : 0;
    if (r < 0) {
        /* Not promised, so it must not be there. */
        unlinkat(i->injector->new_fd, path, 0);
        return r;
    }
    return 0;
}

static void commit_work(struct offload_job *job)
{
    struct injection *i = (struct injection *)job;
    i->result = make_durable(i);
    if (i->result < 0)
        unlinkat(i->injector->tmp_fd, i->head.id, 0);
}

static void commit_done(struct offload_job *job)
{
    struct injection *i = (struct injection *)job;
    i->done(i->arg, i->head.id, i->result);
    injection_free(i);
}

void injection_commit(struct injection *i, uint32_t flags, void (*done)(void *arg, const char *id, int result),
                      void *arg)
{
    i->head.flags |= flags;
    i->done = done;
    i->arg = arg;
    i->job.work = commit_work;
    i->job.done = commit_done;
    offload_submit(i->injector->offload, &i->job);
}

void injection_abort(struct injection *i)
{
    if (i == NULL)
        return;
    unlinkat(i->injector->tmp_fd, i->head.id, 0);
    injection_free(i);
}
