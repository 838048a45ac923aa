#include "queue/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "base/whole.h"
#include "queue/folder.h"
#include "queue/segment.h"

#define ZEROS          (1024 * 1024)
#define SEGMENTS_FIRST 2
#define RETRY_MS       1000  /* an earlier process of our slot still has the segments */
#define FAILED_MS      30000 /* no room for a segment */
#define ROOM_FACTOR    4     /* free space, in segments, without which none is made */

enum state {
    ABSENT,
    FREE,    /* nothing in it is needed */
    CURRENT, /* takes the next group */
    FULL,    /* free after a checkpoint */
    BROKEN,  /* the disk refused something: removed after a checkpoint */
    SUSPECT, /* a checkpoint failed: stays for the recovery */
};

struct segment {
    enum state state;
    int fd;
    struct segment_header header;
    uint64_t end;       /* where the next group goes */
    uint64_t settled;   /* before it, every message stands under its name */
    uint64_t oldest_ms; /* when the first record behind header.from came */
};

struct journal {
    int folder_fd;
    uint64_t size; /* of a segment, 0 = none wanted */
    uint64_t boot, sequence;
    atomic_bool hurry;
    atomic_bool failed; /* a checkpoint failed: nothing goes in, nothing is freed */
    pthread_mutex_t lock;
    struct segment segments[JOURNAL_SEGMENTS]; /* under lock; the files of CURRENT are written without */
    struct segment *current;                   /* committer only */
    bool adopted;                              /* what was there is taken over, or gone */
    bool wanted;                               /* make segments */
    unsigned target;                           /* how many */
    uint64_t not_before_ms;                    /* the next try after a failure */
};

struct journal *journal_new(int folder_fd, uint64_t segment_size)
{
    struct journal *j = calloc(1, sizeof(*j));
    if (j == NULL)
        return NULL;
    *j = (struct journal){.folder_fd = folder_fd,
                          .size = segment_size / SEGMENT_PAGE * SEGMENT_PAGE,
                          .boot = segment_boot(),
                          .target = SEGMENTS_FIRST};
    pthread_mutex_init(&j->lock, NULL);
    for (int i = 0; i < JOURNAL_SEGMENTS; i++)
        j->segments[i].fd = -1;
    return j;
}

void journal_free(struct journal *j)
{
    if (j == NULL)
        return;
    for (int i = 0; i < JOURNAL_SEGMENTS; i++)
        if (j->segments[i].fd >= 0)
            close(j->segments[i].fd);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

/* The other copy stays valid until this one is flushed, which is the caller's. */
static int write_header(struct journal *j, struct segment *s, struct segment_header fresh)
{
    char page[SEGMENT_PAGE];
    fresh.count++;
    segment_header_format(&fresh, page);
    int r = whole_write_at(s->fd, page, sizeof(page), fresh.count % 2 * SEGMENT_PAGE);
    pthread_mutex_lock(&j->lock);
    s->header = fresh;
    pthread_mutex_unlock(&j->lock);
    return r;
}

static void set_state(struct journal *j, struct segment *s, enum state state)
{
    pthread_mutex_lock(&j->lock);
    s->state = state;
    pthread_mutex_unlock(&j->lock);
}

/* ---- the committer ---------------------------------------------------------------------------------------------- */

static size_t group_size(const struct journal_entry *entries, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += segment_record_size(entries[i].length);
    return (size + SEGMENT_PAGE - 1) / SEGMENT_PAGE * SEGMENT_PAGE;
}

static uint64_t random_generation(void)
{
    uint64_t g = 0;
    if (getrandom(&g, sizeof(g), 0) != (ssize_t)sizeof(g))
        g = segment_time_ns();
    return g != 0 ? g : 1;
}

/* The first header of a generation is flushed together with its first group, and counts only with it. */
static int take_free(struct journal *j)
{
    struct segment *found = NULL;
    pthread_mutex_lock(&j->lock);
    for (int i = 0; i < JOURNAL_SEGMENTS && found == NULL; i++)
        if (j->segments[i].state == FREE)
            found = &j->segments[i];
    if (found != NULL) {
        found->state = CURRENT;
        found->end = found->settled = SEGMENT_DATA;
    } else if (j->target < JOURNAL_SEGMENTS) {
        j->target++;
    }
    pthread_mutex_unlock(&j->lock);
    if (found == NULL)
        return -EAGAIN;
    j->current = found;
    const struct segment_header fresh = {
        .generation = random_generation(), .count = found->header.count, .from = SEGMENT_DATA};
    return write_header(j, found, fresh);
}

static void leave_current(struct journal *j, enum state state)
{
    set_state(j, j->current, state);
    j->current = NULL;
}

/* A segment with room for so many bytes. */
static int choose_segment(struct journal *j, size_t size)
{
    if (SEGMENT_DATA + size > j->size || atomic_load(&j->failed))
        return -EAGAIN;
    if (j->current != NULL && j->current->end + size > j->size)
        leave_current(j, FULL);
    int r = j->current == NULL ? take_free(j) : 0;
    if (r < 0 && j->current != NULL)
        leave_current(j, BROKEN);
    return r;
}

static int write_vector(int fd, struct iovec *v, size_t count, uint64_t offset)
{
    while (count > 0) {
        ssize_t n = pwritev(fd, v, (int)count, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        offset += (uint64_t)n;
        for (; count > 0 && (size_t)n >= v->iov_len; v++, count--)
            n -= (ssize_t)v->iov_len;
        if (count > 0) {
            v->iov_base = (char *)v->iov_base + n;
            v->iov_len -= (size_t)n;
        }
    }
    return 0;
}

static int write_group(struct journal *j, const struct journal_entry *entries, size_t count, size_t size)
{
    static char zeros[SEGMENT_PAGE];
    struct segment_head heads[JOURNAL_GROUP_MAX];
    struct iovec v[3 * JOURNAL_GROUP_MAX + 1];
    size_t n = 0, written = 0;
    uint64_t now = segment_time_ns();
    for (size_t i = 0; i < count; i++) {
        struct segment_record r = {.kind = entries[i].data != NULL ? SEGMENT_MESSAGE : SEGMENT_VOID,
                                   .generation = j->current->header.generation,
                                   .sequence = ++j->sequence,
                                   .boot = j->boot,
                                   .time_ns = now,
                                   .data = entries[i].data,
                                   .length = entries[i].data != NULL ? entries[i].length : 0};
        size_t whole = segment_record_size(r.length), bare = SEGMENT_RECORD_HEAD + r.length;
        memcpy(r.id, entries[i].id, QUEUE_ID_SIZE);
        segment_record_format(&r, &heads[i]);
        v[n++] = (struct iovec){heads[i].bytes, SEGMENT_RECORD_HEAD};
        v[n++] = (struct iovec){(char *)entries[i].data, r.length};
        v[n++] = (struct iovec){zeros, whole - bare};
        written += whole;
    }
    v[n++] = (struct iovec){zeros, size - written};
    int r = write_vector(j->current->fd, v, n, j->current->end);
    return r == 0 && fdatasync(j->current->fd) < 0 ? -errno : r;
}

int journal_append(struct journal *j, const struct journal_entry *entries, size_t count, struct journal_mark *mark)
{
    if (count == 0 || count > JOURNAL_GROUP_MAX)
        return -EAGAIN;
    size_t size = group_size(entries, count);
    int r = choose_segment(j, size);
    if (r < 0)
        return r;
    r = write_group(j, entries, count, size);
    if (r < 0) {
        leave_current(j, BROKEN);
        return r;
    }
    pthread_mutex_lock(&j->lock);
    if (j->current->settled == j->current->header.from)
        j->current->oldest_ms = clock_mono_ms();
    j->current->end += size;
    *mark = (struct journal_mark){(unsigned)(j->current - j->segments), j->current->header.generation, j->current->end};
    pthread_mutex_unlock(&j->lock);
    return 0;
}

void journal_settle(struct journal *j, const struct journal_mark *mark)
{
    struct segment *s = &j->segments[mark->segment];
    pthread_mutex_lock(&j->lock);
    if (s->header.generation == mark->generation && s->settled < mark->end)
        s->settled = mark->end;
    pthread_mutex_unlock(&j->lock);
}

/* ---- the keeper ------------------------------------------------------------------------------------------------- */

static void segment_name(int number, const char *suffix, char name[16])
{
    snprintf(name, 16, "%d%s", number, suffix);
}

static void drop(struct journal *j, struct segment *s)
{
    char name[16];
    segment_name((int)(s - j->segments), "", name);
    if (unlinkat(j->folder_fd, name, 0) == 0)
        fsync(j->folder_fd);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    set_state(j, s, ABSENT);
}

/* Whether every block was written: a hole would be allocated in the middle of a commit. */
static bool is_whole(int fd, uint64_t size)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size &&
           (uint64_t)st.st_blocks * 512 >= size;
}

/* Opens what an earlier process of this slot left.  1: it still runs. */
static int open_old(struct journal *j, struct segment *s)
{
    char name[16], pages[SEGMENT_DATA];
    segment_name((int)(s - j->segments), "", name);
    if (s->fd >= 0)
        return 0;
    _cleanup_(fd_closep) int fd = openat(j->folder_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? 1 : -errno;
    s->header = (struct segment_header){.from = SEGMENT_DATA};
    if (pread(fd, pages, sizeof(pages), 0) == (ssize_t)sizeof(pages) && segment_header_parse(pages, &s->header) == 0 &&
        s->header.suspect)
        set_state(j, s, SUSPECT);
    s->fd = TAKE_FD(fd);
    return 0;
}

/* From the checkpoint on, nothing before `from` is needed. */
static int advance(struct journal *j, struct segment *s, uint64_t from)
{
    struct segment_header fresh = s->header;
    fresh.from = from;
    if (fresh.generation == 0) /* never used */
        return 0;
    int r = write_header(j, s, fresh);
    return r == 0 && fdatasync(s->fd) < 0 ? -errno : r;
}

/* Once: a segment that a process before us filled is ours after a checkpoint. */
static int adopt(struct journal *j, const char **step)
{
    bool needed = false, waits = false;
    *step = "open the segments of an earlier process";
    for (int i = 0; i < JOURNAL_SEGMENTS; i++) {
        int r = open_old(j, &j->segments[i]);
        if (r < 0)
            return r;
        waits |= r > 0;
        needed |= j->segments[i].header.generation != 0 && j->segments[i].header.from != SEGMENT_NOTHING;
    }
    if (waits) {
        j->not_before_ms = clock_mono_ms() + RETRY_MS;
        return 0;
    }
    *step = "checkpoint what an earlier process committed";
    if (needed && syncfs(j->folder_fd) < 0)
        return -errno;
    for (int i = 0; i < JOURNAL_SEGMENTS; i++) {
        struct segment *s = &j->segments[i];
        if (s->fd < 0 || s->state == SUSPECT)
            continue;
        if (advance(j, s, SEGMENT_NOTHING) == 0 && is_whole(s->fd, j->size))
            set_state(j, s, FREE);
        else
            drop(j, s);
    }
    j->adopted = true;
    return 0;
}

static int fill_with_zeros(struct journal *j, int fd)
{
    _cleanup_(freep) char *zeros = calloc(1, ZEROS);
    int r = zeros == NULL ? -ENOMEM : 0;
    for (uint64_t at = 0; at < j->size && r == 0; at += ZEROS) {
        r = whole_write_at(fd, zeros, j->size - at < ZEROS ? (size_t)(j->size - at) : ZEROS, at);
        if (r == 0 && atomic_load(&j->hurry))
            r = -ECANCELED;
    }
    return r == 0 && fsync(fd) < 0 ? -errno : r;
}

/* Written, not only allocated: the first write to an allocated block is a change of metadata, and slow to flush. */
static int make_segment(struct journal *j, struct segment *s)
{
    char name[16], fresh[16];
    uint64_t bytes, inodes;
    segment_name((int)(s - j->segments), "", name);
    segment_name((int)(s - j->segments), ".new", fresh);
    int r = queue_free_space(j->folder_fd, &bytes, &inodes);
    if (r < 0 || bytes < ROOM_FACTOR * j->size)
        return r < 0 ? r : -ENOSPC;
    _cleanup_(fd_closep) int fd =
        openat(j->folder_fd, fresh, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0660);
    if (fd < 0)
        return -errno;
    /* Writable for qmgr's group: the recovery moves the header on. */
    r = fchmod(fd, 0660) < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : fill_with_zeros(j, fd);
    if (r == 0 && (renameat(j->folder_fd, fresh, j->folder_fd, name) < 0 || fsync(j->folder_fd) < 0))
        r = -errno;
    if (r < 0) {
        unlinkat(j->folder_fd, fresh, 0);
        return r;
    }
    s->header = (struct segment_header){.from = SEGMENT_DATA};
    pthread_mutex_lock(&j->lock);
    s->fd = TAKE_FD(fd);
    s->state = FREE;
    pthread_mutex_unlock(&j->lock);
    return 0;
}

static struct segment *missing(struct journal *j)
{
    struct segment *absent = NULL;
    unsigned count = 0;
    for (int i = 0; i < JOURNAL_SEGMENTS; i++) {
        count += j->segments[i].state != ABSENT;
        if (j->segments[i].state == ABSENT && absent == NULL)
            absent = &j->segments[i];
    }
    return j->wanted && j->size > 0 && count < j->target ? absent : NULL;
}

/* Whether all that is in it stands under its name. */
static bool is_settled(const struct segment *s)
{
    return s->settled == s->end;
}

static bool wants_checkpoint(const struct segment *s)
{
    switch (s->state) {
    case FULL:
    case BROKEN:
        return is_settled(s);
    case CURRENT:
        return s->settled > s->header.from && clock_mono_ms() - s->oldest_ms >= JOURNAL_CHECKPOINT_MS;
    default:
        return false;
    }
}

static bool has_records(const struct segment *s)
{
    return s->state == FULL || s->state == BROKEN || (s->state == CURRENT && s->settled > s->header.from);
}

/* Files may be gone that only the journal still has: none of it is used again before a recovery looked. */
static void keep_suspects(struct journal *j, const struct segment snapshot[JOURNAL_SEGMENTS])
{
    atomic_store(&j->failed, true);
    for (int i = 0; i < JOURNAL_SEGMENTS; i++) {
        struct segment *s = &j->segments[i];
        if (!has_records(&snapshot[i]))
            continue;
        struct segment_header fresh = s->header;
        fresh.suspect = true;
        if (write_header(j, s, fresh) == 0)
            fdatasync(s->fd);
    }
}

static void free_covered(struct journal *j, struct segment *s, const struct segment *covered)
{
    bool current = covered->state == CURRENT;
    int r = advance(j, s, current ? covered->settled : SEGMENT_NOTHING);
    if (!current && (r < 0 || covered->state == BROKEN)) {
        drop(j, s);
        return;
    }
    pthread_mutex_lock(&j->lock);
    s->oldest_ms = clock_mono_ms();
    if (!current)
        s->state = FREE;
    pthread_mutex_unlock(&j->lock);
}

static int checkpoint(struct journal *j)
{
    struct segment snapshot[JOURNAL_SEGMENTS];
    pthread_mutex_lock(&j->lock);
    memcpy(snapshot, j->segments, sizeof(snapshot));
    pthread_mutex_unlock(&j->lock);
    if (syncfs(j->folder_fd) < 0) {
        int r = -errno;
        keep_suspects(j, snapshot);
        return r;
    }
    for (int i = 0; i < JOURNAL_SEGMENTS; i++)
        if (has_records(&snapshot[i]) && (snapshot[i].state == CURRENT || is_settled(&snapshot[i])))
            free_covered(j, &j->segments[i], &snapshot[i]);
    return 0;
}

bool journal_ready(struct journal *j)
{
    bool ready = false;
    pthread_mutex_lock(&j->lock);
    for (int i = 0; i < JOURNAL_SEGMENTS && !atomic_load(&j->failed); i++)
        ready |= j->segments[i].state == FREE || j->segments[i].state == CURRENT;
    pthread_mutex_unlock(&j->lock);
    return ready;
}

void journal_want(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    j->wanted = true;
    pthread_mutex_unlock(&j->lock);
}

static bool checkpoint_needed(struct journal *j)
{
    bool needed = false;
    for (int i = 0; i < JOURNAL_SEGMENTS && !atomic_load(&j->failed); i++)
        needed |= wants_checkpoint(&j->segments[i]);
    return needed;
}

bool journal_needs_care(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    bool early = clock_mono_ms() < j->not_before_ms;
    bool needed = checkpoint_needed(j) || (!early && (!j->adopted || missing(j) != NULL));
    pthread_mutex_unlock(&j->lock);
    return needed;
}

void journal_hurry(struct journal *j)
{
    atomic_store(&j->hurry, true);
}

static void pause_after_failure(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    j->not_before_ms = clock_mono_ms() + FAILED_MS;
    pthread_mutex_unlock(&j->lock);
}

int journal_care(struct journal *j, const char **step)
{
    pthread_mutex_lock(&j->lock);
    bool due = checkpoint_needed(j), early = clock_mono_ms() < j->not_before_ms;
    struct segment *absent = j->adopted && !early ? missing(j) : NULL;
    pthread_mutex_unlock(&j->lock);
    int r = 0;
    if (due) {
        *step = "checkpoint (syncfs)";
        r = checkpoint(j);
    } else if (!j->adopted && !early) {
        r = adopt(j, step);
    } else if (absent != NULL) {
        *step = "make a segment";
        r = make_segment(j, absent);
    }
    if (r < 0)
        pause_after_failure(j);
    return r == -ECANCELED ? 0 : r;
}
