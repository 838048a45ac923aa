#include "queue/inject.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/text.h"
#include "base/whole.h"
#include "io/offload.h"
#include "queue/folder.h"
#include "queue/journal.h"

#define INJECTION_BUFFER (64 * 1024)        /* without journal: more than this is written while it comes */
#define HELD_MAX         (64 * 1024 * 1024) /* bytes of all messages that wait in memory for the journal */
#define GROUP_BYTES      (4 * 1024 * 1024)  /* of queue files that share a flush */
#define FIRST_BUFFER     (8 * 1024)
#define CARE_MS          1000
#define FILE_MODE        0660

TAILQ_HEAD(injection_list, injection);

/* Messages that are committed together: open for more until the committer takes it up. */
struct group {
    struct offload_job job;
    struct injector *injector;
    struct injection_list members;
    int trouble;                                 /* what the journal answered */
    struct journal_mark marks[JOURNAL_SEGMENTS]; /* how far it filled which segments; generation 0 = not */
    size_t refused;                              /* durable, but no file could be made */
};

/* What a file that we create gets, which is the same each time. */
struct mode_check {
    bool known, is_right;
};

struct injector {
    struct loop *loop;
    struct offload *offload; /* flushes of single files */
    unsigned writer;
    int tmp_fd; /* our own folder below tmp/ */
    int new_fd;
    int ids_fd;                           /* see take_share */
    struct mode_check tmp_mode, new_mode; /* the loop's and the committer's */
    size_t committing;
    size_t held;

    struct journal *journal; /* NULL = none */
    int journal_fd;
    struct offload *committer, *maker, *keeper; /* a thread each */
    pthread_mutex_t lock;
    struct group *filling; /* under lock, like the next */
    size_t making;         /* groups the maker has */
    struct timer care_timer;
    struct offload_job care_job;
    bool caring;
    int care_result;
    const char *care_step;
    void (*trouble)(void *arg, const char *what, int err);
    void *trouble_arg;
};

struct injection {
    struct offload_job job;
    struct injector *injector;
    struct envelope head; /* first line's numbers and the id only; no texts */
    int fd;               /* of the file in tmp/, -1 = there is none: all of it is in pending */
    int result;
    bool streamed;      /* some of it is in the file already */
    bool alone;         /* the journal did not take it */
    struct buf pending; /* not written yet */
    size_t held;        /* what it counts for in injector->held */
    TAILQ_ENTRY(injection) link;
    void (*done)(void *arg, const char *id, int result);
    void *arg;
};

/* A share of the microseconds that no other process of this writer has: whoever holds a byte of the file has its share.
 */
static int take_share(struct injector *q, const char *queue_directory)
{
    _cleanup_(freep) char *path = text_format("%s/journal/%u/ids", queue_directory, q->writer);
    if (path == NULL)
        return -ENOMEM;
    q->ids_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (q->ids_fd < 0)
        return -errno;
    for (unsigned share = 0; share < QUEUE_ID_SHARES; share++) {
        struct flock byte = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = share, .l_len = 1};
        if (fcntl(q->ids_fd, F_OFD_SETLK, &byte) == 0) {
            queue_id_set_share(share);
            return 0;
        }
        if (errno != EAGAIN && errno != EACCES)
            return -errno;
    }
    return -EBUSY;
}

int injector_new(struct loop *l, const char *queue_directory, unsigned writer, unsigned threads, struct injector **out)
{
    struct injector *q = calloc(1, sizeof(*q));
    if (q == NULL)
        return -ENOMEM;
    *q = (struct injector){.loop = l, .writer = writer, .tmp_fd = -1, .new_fd = -1, .journal_fd = -1, .ids_fd = -1};
    pthread_mutex_init(&q->lock, NULL);
    _cleanup_(freep) char *tmp = text_format("%s/tmp/%u", queue_directory, writer);
    _cleanup_(freep) char *fresh = text_format("%s/new", queue_directory);
    int r = tmp == NULL || fresh == NULL ? -ENOMEM : 0;
    if (r == 0) {
        /* O_PATH: the writer has no right to list these folders and needs none. */
        q->tmp_fd = open(tmp, O_PATH | O_DIRECTORY | O_CLOEXEC);
        q->new_fd = open(fresh, O_PATH | O_DIRECTORY | O_CLOEXEC);
        r = q->tmp_fd < 0 || q->new_fd < 0 ? -errno : 0;
    }
    if (r == 0)
        r = take_share(q, queue_directory);
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
    if (q->journal != NULL)
        journal_hurry(q->journal);
    timer_deinit(&q->care_timer);
    offload_free(q->committer);
    offload_free(q->maker);
    offload_free(q->keeper);
    offload_free(q->offload);
    journal_free(q->journal);
    if (q->journal_fd >= 0)
        close(q->journal_fd);
    if (q->ids_fd >= 0)
        close(q->ids_fd);
    if (q->tmp_fd >= 0)
        close(q->tmp_fd);
    if (q->new_fd >= 0)
        close(q->new_fd);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

static void care(void *arg);

static void care_work(struct offload_job *job)
{
    struct injector *q = (struct injector *)((char *)job - offsetof(struct injector, care_job));
    q->care_result = journal_care(q->journal, &q->care_step);
}

static void care_done(struct offload_job *job)
{
    struct injector *q = (struct injector *)((char *)job - offsetof(struct injector, care_job));
    q->caring = false;
    if (q->care_result < 0 && q->trouble != NULL)
        q->trouble(q->trouble_arg, q->care_step, q->care_result);
    care(q);
}

static void care(void *arg)
{
    struct injector *q = arg;
    if (!q->caring && journal_needs_care(q->journal)) {
        q->caring = true;
        q->care_job = (struct offload_job){.work = care_work, .done = care_done};
        offload_submit(q->keeper, &q->care_job);
    }
    timer_set_ms(&q->care_timer, CARE_MS);
}

int injector_use_journal(struct injector *q, uint64_t segment_size,
                         void (*trouble)(void *arg, const char *what, int err), void *arg)
{
    _cleanup_(freep) char *path = text_format("../journal/%u", q->writer);
    if (path == NULL)
        return -ENOMEM;
    /* Read permission, as fsync and syncfs want. */
    q->journal_fd = openat(q->new_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (q->journal_fd < 0)
        return -errno;
    q->trouble = trouble;
    q->trouble_arg = arg;
    q->committer = offload_new(q->loop, 1);
    q->maker = offload_new(q->loop, 1);
    q->keeper = offload_new(q->loop, 1);
    if (q->committer == NULL || q->maker == NULL || q->keeper == NULL)
        return -EAGAIN;
    q->journal = journal_new(q->journal_fd, segment_size);
    int r = q->journal == NULL ? -ENOMEM : timer_init(&q->care_timer, q->loop, care, q);
    /* On the loop: the files are to belong to the user that this process is going to be. */
    return r == 0 ? timer_set_ms(&q->care_timer, 0) : r;
}

size_t injector_pending(const struct injector *q)
{
    return q->committing;
}

int injector_free_space(const struct injector *q, uint64_t *bytes, uint64_t *inodes)
{
    return queue_free_space(q->new_fd, bytes, inodes);
}

static void release_held(struct injection *i)
{
    i->injector->held -= i->held;
    i->held = 0;
}

static void injection_free(struct injection *i)
{
    release_held(i);
    if (i->fd >= 0)
        close(i->fd);
    buf_deinit(&i->pending);
    free(i);
}

/* Readable and writable for qmgr's group, which the folder's set-group-id bit gives the file.  A program whose umask
 * leaves the mode alone saves a system call for each message. */
static int set_mode(struct mode_check *check, int fd)
{
    struct stat st;
    if (!check->known) {
        if (fstat(fd, &st) < 0)
            return -errno;
        check->is_right = (st.st_mode & 0777) == FILE_MODE;
        check->known = true;
    }
    return !check->is_right && fchmod(fd, FILE_MODE) < 0 ? -errno : 0;
}

/* A file in tmp/, for what does not go through the journal.  0 or -errno. */
static int create_file(struct injection *i)
{
    struct injector *q = i->injector;
    if (i->fd >= 0)
        return 0;
    i->fd = openat(q->tmp_fd, i->head.id, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    return i->fd < 0 ? -errno : set_mode(&q->tmp_mode, i->fd);
}

static void drop_file(struct injection *i)
{
    if (i->fd >= 0)
        unlinkat(i->injector->tmp_fd, i->head.id, 0);
}

static int injection_flush(struct injection *i)
{
    i->streamed = true;
    int r = create_file(i);
    if (r == 0)
        r = whole_write(i->fd, i->pending.data, i->pending.len);
    if (r == 0)
        buf_clear(&i->pending);
    return r;
}

/* The head of a message with thousands of recipients goes to the file in parts. */
static int begin_head(struct injection *i, struct envelope *e)
{
    size_t written = 0;
    int r = envelope_format_begin(e, &i->pending);
    for (size_t k = 0; k < e->recipient_count && r == 0; k++) {
        r = envelope_format_recipient(&e->recipients[k], (uint32_t)(written + i->pending.len), &i->pending);
        if (r == 0 && i->pending.len > JOURNAL_MESSAGE_MAX) {
            written += i->pending.len;
            r = injection_flush(i);
        }
        if (written > ENVELOPE_MAX)
            r = -ENOBUFS;
    }
    e->content_offset = i->head.content_offset = (uint32_t)(written + i->pending.len);
    return r;
}

int injection_begin(struct injector *q, struct envelope *e, struct injection **out)
{
    struct injection *i = calloc(1, sizeof(*i));
    if (i == NULL)
        return -ENOMEM;
    *i = (struct injection){.injector = q, .fd = -1};
    buf_init(&i->pending, 2 * JOURNAL_MESSAGE_MAX);
    (void)buf_reserve(&i->pending, FIRST_BUFFER); /* what most messages fit in; if it fails, an append will tell */
    e->content_length = 0;
    queue_id_new(q->writer, e->id);
    i->head.flags = e->flags;
    memcpy(i->head.id, e->id, sizeof(e->id));
    int r = q->journal == NULL ? create_file(i) : 0;
    if (r == 0)
        r = begin_head(i, e);
    if (r < 0) {
        injection_abort(i);
        return r;
    }
    if (q->journal != NULL)
        journal_want(q->journal);
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

/* What may go through the journal stays in memory until the commit, as long as not too much of it does. */
static bool hold(struct injection *i, const void *data, size_t len)
{
    struct injector *q = i->injector;
    if (q->journal == NULL || i->streamed || i->pending.len + len > JOURNAL_MESSAGE_MAX || q->held + len > HELD_MAX ||
        buf_append(&i->pending, data, len) < 0)
        return false;
    i->held += len;
    q->held += len;
    return true;
}

int injection_write(struct injection *i, const void *data, size_t len)
{
    i->head.content_length += len;
    if (hold(i, data, len))
        return 0;
    if (i->pending.len > 0 && i->pending.len + len > INJECTION_BUFFER) {
        release_held(i);
        int r = injection_flush(i);
        if (r < 0)
            return r;
    }
    if (len < INJECTION_BUFFER)
        return buf_append(&i->pending, data, len);
    i->streamed = true;
    int r = create_file(i);
    return r < 0 ? r : whole_write(i->fd, data, len);
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

/* The first line as it is now known. */
static int complete_head(struct injection *i)
{
    char first[ENVELOPE_FIRST_LINE + 1];
    envelope_format_first_line(&i->head, first);
    if (!i->streamed)
        memcpy(i->pending.data, first, ENVELOPE_FIRST_LINE);
    else if (pwrite(i->fd, first, ENVELOPE_FIRST_LINE, 0) != ENVELOPE_FIRST_LINE)
        return -EIO;
    return 0;
}

static void path_in_new(const struct injection *i, char path[QUEUE_PATH_MAX])
{
    snprintf(path, QUEUE_PATH_MAX, "%c/%s", queue_id_folder(i->head.id), i->head.id);
}

/* In a helper thread, without journal: content, first line, flush, name, flush of the name. */
static int make_durable(struct injection *i)
{
    char path[QUEUE_PATH_MAX];
    char folder[2] = {queue_id_folder(i->head.id), '\0'};
    int r = complete_head(i);
    if (r == 0)
        r = whole_write(i->fd, i->pending.data, i->pending.len);
    if (r < 0)
        return r;
    path_in_new(i, path);
    if (fsync(i->fd) < 0 || renameat2(i->injector->tmp_fd, i->head.id, i->injector->new_fd, path, RENAME_NOREPLACE) < 0)
        return -errno;
    r = sync_folder(i->injector->new_fd, folder);
    if (r == 1)
        r = fsync(i->fd) < 0 ? -errno : 0;
    if (r < 0) {
        /* Not promised, so it must not be there. */
        unlinkat(i->injector->new_fd, path, 0);
    }
    return r;
}

static void commit_work(struct offload_job *job)
{
    struct injection *i = (struct injection *)job;
    if (i->result == 0)
        i->result = make_durable(i);
    if (i->result < 0)
        drop_file(i);
}

static void finish(struct injection *i)
{
    i->injector->committing--;
    i->done(i->arg, i->head.id, i->result);
    injection_free(i);
}

static void commit_done(struct offload_job *job)
{
    finish((struct injection *)job);
}

static void commit_alone(struct injection *i)
{
    i->job.work = commit_work;
    i->job.done = commit_done;
    i->result = create_file(i);
    offload_submit(i->injector->offload, &i->job);
}

static int write_file(struct injection *i, const char *path)
{
    struct injector *q = i->injector;
    int fd = openat(q->new_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    if (fd < 0)
        return -errno;
    int r = set_mode(&q->new_mode, fd);
    if (r == 0)
        r = whole_write(fd, i->pending.data, i->pending.len);
    if (r < 0)
        unlinkat(q->new_fd, path, 0);
    close(fd);
    return r;
}

/* What is durable becomes a file of the queue.  Until it is whole nobody was told of it.  A qmgr that finds one that is
 * not whole puts it aside when it did not grow for QUEUE_UNFINISHED_MS, as its writer was killed; so whoever takes long
 * over it looks whether it is there still. */
static int make_file(struct injection *i)
{
    struct injector *q = i->injector;
    char path[QUEUE_PATH_MAX];
    uint64_t begun_ms;
    int r = 0;
    path_in_new(i, path);
    do {
        begun_ms = clock_mono_ms();
        r = write_file(i, path);
    } while (r == 0 && clock_mono_ms() - begun_ms > QUEUE_UNFINISHED_MS / 2 &&
             faccessat(q->new_fd, path, F_OK, 0) < 0 && errno == ENOENT);
    return r;
}

static void settle(struct group *g)
{
    for (int k = 0; k < JOURNAL_SEGMENTS; k++)
        if (g->marks[k].generation != 0)
            journal_settle(g->injector->journal, &g->marks[k]);
}

/* Files for what is durable; a member that can not have its own is refused. */
static void make_files(struct group *g)
{
    struct injection *i;
    TAILQ_FOREACH (i, &g->members, link) {
        i->result = i->alone ? 0 : make_file(i);
        g->refused += i->result < 0;
    }
    settle(g);
}

/* In the maker. */
static void make_work(struct offload_job *job)
{
    struct group *g = (struct group *)job;
    make_files(g);
    pthread_mutex_lock(&g->injector->lock);
    g->injector->making--;
    pthread_mutex_unlock(&g->injector->lock);
}

static void settle_work(struct offload_job *job)
{
    settle((struct group *)job);
}

static void append_refusals(struct group *g, const struct journal_entry *entries, size_t count)
{
    struct journal_mark mark;
    if (count > 0 && journal_append(g->injector->journal, entries, count, &mark) == 0)
        g->marks[mark.segment] = mark;
}

/* In the committer: the journal is told who was refused after all.  It is settled behind the groups that the maker has.
 */
static void refuse_work(struct offload_job *job)
{
    struct group *g = (struct group *)job;
    struct journal_entry refused[JOURNAL_GROUP_MAX];
    struct injection *i;
    size_t count = 0;
    TAILQ_FOREACH (i, &g->members, link) {
        if (i->result >= 0)
            continue;
        refused[count++] = (struct journal_entry){.id = i->head.id};
        if (count == JOURNAL_GROUP_MAX) {
            append_refusals(g, refused, count);
            count = 0;
        }
    }
    append_refusals(g, refused, count);
    job->next = g->injector->maker;
    job->next_work = settle_work;
}

/* The next members, as many as share a flush. */
static size_t next_batch(struct injection **next, struct injection *batch[], struct journal_entry entries[])
{
    size_t count = 0, bytes = 0;
    struct injection *i = *next;
    for (; i != NULL && count < JOURNAL_GROUP_MAX && bytes < GROUP_BYTES; i = TAILQ_NEXT(i, link)) {
        complete_head(i); /* in memory: it can not fail */
        bytes += i->pending.len;
        entries[count] = (struct journal_entry){i->head.id, i->pending.data, (uint32_t)i->pending.len};
        batch[count++] = i;
    }
    *next = i;
    return count;
}

static void commit_batch(struct group *g, struct injection *batch[], const struct journal_entry *entries, size_t count)
{
    struct journal_mark mark;
    int r = journal_append(g->injector->journal, entries, count, &mark);
    if (r == 0) {
        g->marks[mark.segment] = mark;
        return;
    }
    g->trouble = r != -EAGAIN ? r : g->trouble;
    for (size_t k = 0; k < count; k++)
        batch[k]->alone = true;
}

/* The next group may be flushed while the files of this one are made; a lone one is through sooner if it stays here. */
static bool hand_over(struct group *g)
{
    struct injector *q = g->injector;
    pthread_mutex_lock(&q->lock);
    bool others = q->filling != NULL || q->making > 0;
    q->making += others;
    pthread_mutex_unlock(&q->lock);
    return others;
}

/* In the committer: whoever came until now shares the flushes of this group. */
static void group_work(struct offload_job *job)
{
    struct group *g = (struct group *)job;
    struct injection *batch[JOURNAL_GROUP_MAX];
    struct journal_entry entries[JOURNAL_GROUP_MAX];
    pthread_mutex_lock(&g->injector->lock);
    if (g->injector->filling == g)
        g->injector->filling = NULL;
    pthread_mutex_unlock(&g->injector->lock);
    for (struct injection *next = TAILQ_FIRST(&g->members); next != NULL;) {
        size_t count = next_batch(&next, batch, entries);
        if (count > 0)
            commit_batch(g, batch, entries, count);
    }
    if (hand_over(g)) {
        job->next = g->injector->maker;
        job->next_work = make_work;
    } else {
        make_files(g);
    }
}

static void group_over(struct offload_job *job)
{
    struct group *g = (struct group *)job;
    struct injector *q = g->injector;
    if (g->trouble < 0 && q->trouble != NULL)
        q->trouble(q->trouble_arg, "write to a segment", g->trouble);
    while (!TAILQ_EMPTY(&g->members)) {
        struct injection *i = TAILQ_FIRST(&g->members);
        TAILQ_REMOVE(&g->members, i, link);
        if (i->alone)
            commit_alone(i);
        else
            finish(i);
    }
    free(g);
    if (!q->caring && journal_needs_care(q->journal))
        care(q);
}

static void group_done(struct offload_job *job)
{
    struct group *g = (struct group *)job;
    if (g->refused == 0) {
        group_over(job);
        return;
    }
    job->work = refuse_work;
    job->done = group_over;
    offload_submit(g->injector->committer, job);
}

/* Joins the group that fills, or opens one; the committer takes it up when it is done with the one before. */
static bool join_group(struct injection *i)
{
    struct injector *q = i->injector;
    bool suits = q->journal != NULL && i->fd < 0 && i->pending.len <= JOURNAL_MESSAGE_MAX;
    if (!suits || !journal_ready(q->journal))
        return false;
    pthread_mutex_lock(&q->lock);
    struct group *g = q->filling, *fresh = NULL;
    if (g == NULL && (fresh = malloc(sizeof(*fresh))) != NULL) {
        *fresh = (struct group){.job = {.work = group_work, .done = group_done}, .injector = q};
        TAILQ_INIT(&fresh->members);
        q->filling = g = fresh;
    }
    if (g != NULL)
        TAILQ_INSERT_TAIL(&g->members, i, link);
    pthread_mutex_unlock(&q->lock);
    if (fresh != NULL)
        offload_submit(q->committer, &fresh->job);
    return g != NULL;
}

void injection_commit(struct injection *i, uint32_t flags, void (*done)(void *arg, const char *id, int result),
                      void *arg)
{
    i->head.flags |= flags;
    i->done = done;
    i->arg = arg;
    i->injector->committing++;
    if (!join_group(i))
        commit_alone(i);
}

void injection_abort(struct injection *i)
{
    if (i == NULL)
        return;
    drop_file(i);
    injection_free(i);
}
