#include "queue/done.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/crc.h"
#include "base/whole.h"
#include "io/offload.h"
#include "queue/id.h"
#include "queue/segment.h"

#define DONE_MAGIC  0x656e6f64u       /* "done" */
#define BUFFER      (4 * 1024 * 1024) /* notes that wait for the disk: a hundred thousand */
#define FILE_LENGTH (DONE_RECORDS * DONE_RECORD)

struct disk_note {
    uint64_t boot, time_ns;
    char id[16];
    uint32_t magic;
    uint32_t crc; /* of all before it */
};
_Static_assert(sizeof(struct disk_note) == DONE_RECORD, "no padding on disk");

struct done {
    struct offload_job job;
    struct offload *offload;
    struct timer timer;
    struct buf waiting; /* loop only */
    struct buf writing; /* helper only, while busy */
    bool busy;
    uint64_t boot;
    int fd[2];
    unsigned turn; /* which file */
    uint64_t at;   /* where in it */
    int result;
};

static const char *const names[2] = {"0", "1"};

/* A file that is full is flushed before the next note goes into the other one. */
static int write_notes(struct done *d)
{
    int r = 0;
    while (r == 0 && d->writing.len > 0) {
        uint64_t room = FILE_LENGTH - d->at;
        size_t n = d->writing.len < room ? d->writing.len : (size_t)room;
        r = whole_write_at(d->fd[d->turn], d->writing.data, n, d->at);
        if (r == 0 && fdatasync(d->fd[d->turn]) < 0)
            r = -errno;
        d->at += n;
        buf_consume(&d->writing, n);
        if (d->at == FILE_LENGTH) {
            d->turn = 1 - d->turn;
            d->at = 0;
        }
    }
    buf_clear(&d->writing);
    return r;
}

static void flush_work(struct offload_job *job)
{
    struct done *d = (struct done *)job;
    int r = write_notes(d);
    if (r < 0)
        d->result = r;
}

static void flush_done(struct offload_job *job)
{
    struct done *d = (struct done *)job;
    d->busy = false;
    if (d->waiting.len > 0 && !timer_is_set(&d->timer))
        timer_set_ms(&d->timer, DONE_FLUSH_MS);
}

static void flush(void *arg)
{
    struct done *d = arg;
    if (d->busy)
        return;
    struct buf empty = d->writing;
    d->writing = d->waiting;
    d->waiting = empty;
    d->busy = true;
    offload_submit(d->offload, &d->job);
}

static int open_files(struct done *d, int queue_fd)
{
    struct stat st[2];
    _cleanup_(fd_closep) int folder = openat(queue_fd, "journal/qmgr", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return -errno;
    for (int i = 0; i < 2; i++) {
        d->fd[i] = openat(folder, names[i], O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (d->fd[i] < 0 || fstat(d->fd[i], &st[i]) < 0)
            return -errno;
    }
    /* The one written last keeps its notes for now. */
    d->turn = st[0].st_mtim.tv_sec > st[1].st_mtim.tv_sec || (st[0].st_size > 0 && st[1].st_size == 0) ? 1 : 0;
    return fsync(folder) < 0 ? -errno : 0;
}

int done_new(struct loop *l, int queue_fd, struct done **out)
{
    struct done *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return -ENOMEM;
    *d = (struct done){.job = {.work = flush_work, .done = flush_done}, .boot = segment_boot(), .fd = {-1, -1}};
    buf_init(&d->waiting, BUFFER);
    buf_init(&d->writing, BUFFER);
    int r = open_files(d, queue_fd);
    if (r == 0)
        r = timer_init(&d->timer, l, flush, d);
    if (r == 0 && (d->offload = offload_new(l, 1)) == NULL)
        r = -EAGAIN;
    if (r < 0) {
        done_free(d);
        return r;
    }
    *out = d;
    return 0;
}

int done_free(struct done *d)
{
    if (d == NULL)
        return 0;
    timer_deinit(&d->timer);
    offload_free(d->offload);
    int r = write_notes(d); /* what the helper did not come to */
    struct buf empty = d->writing;
    d->writing = d->waiting;
    d->waiting = empty;
    if (r == 0)
        r = write_notes(d);
    if (r == 0)
        r = d->result;
    for (int i = 0; i < 2; i++)
        if (d->fd[i] >= 0)
            close(d->fd[i]);
    buf_deinit(&d->waiting);
    buf_deinit(&d->writing);
    free(d);
    return r;
}

void done_add(struct done *d, const char *id)
{
    struct disk_note note = {.boot = d->boot, .time_ns = segment_time_ns(), .magic = DONE_MAGIC};
    memcpy(note.id, id, QUEUE_ID_SIZE);
    note.crc = crc32c(0, &note, offsetof(struct disk_note, crc));
    if (buf_append(&d->waiting, &note, sizeof(note)) == 0 && !d->busy && !timer_is_set(&d->timer))
        timer_set_ms(&d->timer, DONE_FLUSH_MS);
}

void done_parse(const char *data, size_t len, uint64_t boot, void (*fn)(void *arg, const char *id, uint64_t time_ns),
                void *arg)
{
    for (; len >= DONE_RECORD; data += DONE_RECORD, len -= DONE_RECORD) {
        struct disk_note note;
        memcpy(&note, data, sizeof(note));
        if (note.magic != DONE_MAGIC || note.boot != boot || note.id[QUEUE_ID_LEN] != '\0' ||
            note.crc != crc32c(0, &note, offsetof(struct disk_note, crc)) || !queue_id_valid(note.id))
            continue;
        fn(arg, note.id, note.time_ns);
    }
}

static int read_file(int fd, uint64_t boot, void (*fn)(void *arg, const char *id, uint64_t time_ns), void *arg)
{
    _cleanup_(freep) char *data = malloc(FILE_LENGTH);
    size_t len = 0;
    if (data == NULL)
        return -ENOMEM;
    while (len < FILE_LENGTH) {
        ssize_t n = pread(fd, data + len, FILE_LENGTH - len, (off_t)len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    done_parse(data, len, boot, fn, arg);
    return 0;
}

int done_read(int queue_fd, uint64_t boot, void (*fn)(void *arg, const char *id, uint64_t time_ns), void *arg)
{
    _cleanup_(fd_closep) int folder = openat(queue_fd, "journal/qmgr", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return errno == ENOENT ? 0 : -errno;
    int r = 0;
    for (int i = 0; i < 2 && r == 0; i++) {
        _cleanup_(fd_closep) int fd = openat(folder, names[i], O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0)
            r = read_file(fd, boot, fn, arg);
        else if (errno != ENOENT)
            r = -errno;
    }
    return r;
}
