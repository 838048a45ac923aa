#include "queue/recover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/text.h"
#include "base/whole.h"
#include "queue/done.h"
#include "queue/envelope.h"
#include "queue/folder.h"
#include "queue/journal.h"
#include "queue/segment.h"

#define RESTORE   "journal/qmgr/restore"
#define BOOT      "journal/boot"
#define BOOT_NEW  "journal/boot.new"
#define READ_STEP (1024 * 1024)

struct segment_file {
    int fd;
    struct segment_header header;
    TAILQ_ENTRY(segment_file) link;
};

/* A record of some journal. */
struct entry {
    enum segment_kind kind;
    struct segment_file *segment;
    uint64_t offset; /* of its data */
    uint32_t length;
    uint64_t boot, time_ns;
    TAILQ_ENTRY(entry) link;
};

TAILQ_HEAD(entry_list, entry);

/* A message, by id. */
struct promise {
    char id[QUEUE_ID_SIZE];
    struct entry_list entries;  /* all its records, oldest first */
    const struct entry *record; /* the one that counts, NULL = all were refused after all */
    bool done, whole;
    char *damaged; /* path of a file with its name that is not what was promised */
    char *head;    /* that file's head, if only the content is wrong: it knows who was served */
    UT_hash_handle hh;
};

struct recovery {
    int queue_fd;
    struct queue_recovery *count;
    TAILQ_HEAD(, segment_file) segments;
    struct promise *promises;
};

/* Calls fn for every name in a folder that does not begin with a dot, until one fails.  0 or -errno. */
static int for_each_name(int at, const char *path, int (*fn)(void *arg, int folder, const char *path, const char *name),
                         void *arg)
{
    int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        int r = -errno;
        if (fd >= 0)
            close(fd);
        return r == -ENOTDIR || r == -ENOENT || r == -ELOOP ? 0 : r;
    }
    int r = 0;
    errno = 0;
    for (struct dirent *e; r == 0 && (e = readdir(dir)) != NULL; errno = 0)
        if (e->d_name[0] != '.')
            r = fn(arg, dirfd(dir), path, e->d_name);
    if (r == 0 && errno != 0)
        r = -errno;
    closedir(dir);
    return r;
}

/* ---- the segments ----------------------------------------------------------------------------------------------- */

static bool is_number(const char *name)
{
    uint64_t n;
    return text_parse_u64(name, QUEUE_WRITER_MAX, &n) == 0;
}

static int open_segment(void *arg, int folder, const char *path, const char *name)
{
    struct recovery *r = arg;
    struct segment_header header;
    char pages[SEGMENT_DATA];
    if (!is_number(name))
        return 0;
    _cleanup_(fd_closep) int fd = openat(folder, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return -errno;
    int err = whole_read_at(fd, pages, sizeof(pages), 0);
    if (err == -EPROTO || (err == 0 && segment_header_parse(pages, &header) < 0))
        return 0; /* nothing was ever promised here */
    if (err < 0 || header.from == SEGMENT_NOTHING)
        return err;
    struct segment_file *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return -ENOMEM;
    *s = (struct segment_file){.fd = TAKE_FD(fd), .header = header};
    TAILQ_INSERT_TAIL(&r->segments, s, link);
    r->count->segments++;
    r->count->replayed |= header.suspect;
    return 0;
}

static int open_writer(void *arg, int folder, const char *path, const char *name)
{
    return is_number(name) ? for_each_name(folder, name, open_segment, arg) : 0;
}

/* What the disk can not read counts as zeros: the records in it are lost, the others are not. */
static void read_what_can_be_read(int fd, char *data, size_t len, uint64_t offset)
{
    for (size_t at = 0; at < len; at += READ_STEP) {
        size_t n = len - at < READ_STEP ? len - at : READ_STEP;
        if (whole_read_at(fd, data + at, n, offset + at) == 0)
            continue;
        for (size_t page = at; page < at + n; page += SEGMENT_PAGE) {
            size_t k = at + n - page < SEGMENT_PAGE ? at + n - page : SEGMENT_PAGE;
            if (whole_read_at(fd, data + page, k, offset + page) < 0)
                memset(data + page, 0, k);
        }
    }
}

static int note_promise(struct recovery *r, struct segment_file *s, const struct segment_record *record,
                        uint64_t offset)
{
    struct promise *p;
    struct entry *fresh = calloc(1, sizeof(*fresh)), *e;
    if (fresh == NULL)
        return -ENOMEM;
    *fresh = (struct entry){.kind = record->kind,
                            .segment = s,
                            .offset = offset,
                            .length = record->length,
                            .boot = record->boot,
                            .time_ns = record->time_ns};
    HASH_FIND_STR(r->promises, record->id, p);
    if (p == NULL) {
        p = calloc(1, sizeof(*p));
        if (p == NULL) {
            free(fresh);
            return -ENOMEM;
        }
        memcpy(p->id, record->id, QUEUE_ID_SIZE);
        TAILQ_INIT(&p->entries);
        HASH_ADD_STR(r->promises, id, p);
    }
    e = TAILQ_LAST(&p->entries, entry_list);
    while (e != NULL && e->time_ns > fresh->time_ns)
        e = TAILQ_PREV(e, entry_list, link);
    if (e != NULL)
        TAILQ_INSERT_AFTER(&p->entries, e, fresh, link);
    else
        TAILQ_INSERT_HEAD(&p->entries, fresh, link);
    r->count->records += record->kind == SEGMENT_MESSAGE;
    return 0;
}

/* A refusal is of the message just before it: one whose id, drawn by a clock that stepped back, was taken.  Whoever had
 * it first keeps it. */
static void settle_entries(struct promise *p)
{
    struct entry *e, *last = NULL, *before = NULL;
    TAILQ_FOREACH (e, &p->entries, link) {
        if (e->kind == SEGMENT_MESSAGE) {
            before = last;
            last = e;
        } else {
            last = before;
            before = NULL;
        }
    }
    p->record = last;
}

static int read_segment(struct recovery *r, struct segment_file *s)
{
    struct stat st;
    if (fstat(s->fd, &st) < 0)
        return -errno;
    uint64_t from = s->header.from / SEGMENT_PAGE * SEGMENT_PAGE;
    if ((uint64_t)st.st_size <= from)
        return 0;
    size_t len = (size_t)((uint64_t)st.st_size - from), at = 0;
    _cleanup_(freep) char *data = malloc(len);
    if (data == NULL)
        return -ENOMEM;
    read_what_can_be_read(s->fd, data, len, from);
    struct segment_record record = {0};
    int err = 0;
    while (err == 0 && segment_next(data, len, s->header.generation, &at, &record))
        err = note_promise(r, s, &record, from + (uint64_t)(record.data - data));
    return err;
}

/* The notes of the same run of the machine, made after the promise. */
static void note_done(void *arg, const char *id, uint64_t time_ns)
{
    struct recovery *r = arg;
    struct promise *p;
    HASH_FIND_STR(r->promises, id, p);
    if (p != NULL && p->record != NULL && time_ns >= p->record->time_ns)
        p->done = true;
}

static int read_done(struct recovery *r)
{
    struct promise *p, *next;
    uint64_t seen = 0;
    /* All are of one run, the last: a recovery ends with empty segments. */
    HASH_ITER (hh, r->promises, p, next) {
        if (p->record == NULL || p->record->boot == seen)
            continue;
        seen = p->record->boot;
        int err = done_read(r->queue_fd, seen, note_done, r);
        if (err < 0)
            return err;
    }
    return 0;
}

/* ---- the folders ------------------------------------------------------------------------------------------------ */

/* What qmgr writes in place counts for nothing in a comparison of heads. */
static void blank(char *head, const struct envelope *e)
{
    memset(head + ENVELOPE_STATE_OFFSET, ' ', ENVELOPE_STATE_LINE);
    for (size_t i = 0; i < e->recipient_count; i++)
        memset(head + e->recipients[i].index + RECIPIENT_STATUS_OFFSET, ' ', RECIPIENT_STATUS_WIDTH);
}

/* Whether two heads are the same message's, and `found` is one that can be read. */
static bool same_head(const char *promised, const char *found, uint32_t len)
{
    struct envelope a = {0}, b = {0};
    _cleanup_(freep) char *x = text_dup_n(promised, len);
    _cleanup_(freep) char *y = text_dup_n(found, len);
    bool same = x != NULL && y != NULL && envelope_parse(promised, len, &a) == 0 && envelope_parse(found, len, &b) == 0;
    if (same) {
        blank(x, &a);
        blank(y, &a);
        same = memcmp(x, y, len) == 0;
    }
    envelope_free(&a);
    envelope_free(&b);
    return same;
}

static int read_promise(const struct promise *p, char **data)
{
    const struct entry *e = p->record;
    *data = malloc(e->length > 0 ? e->length : 1);
    return *data == NULL ? -ENOMEM : whole_read_at(e->segment->fd, *data, e->length, e->offset);
}

/* Compares a file with what was promised; of a damaged one, notes what is still of use.  1: it is right; 0; -errno. */
static int compare(struct promise *p, int fd)
{
    _cleanup_(freep) char *promised = NULL;
    const uint32_t length = p->record->length;
    _cleanup_(freep) char *found = calloc(1, length + 1);
    uint32_t head;
    int r = read_promise(p, &promised);
    if (r == 0 && found == NULL)
        r = -ENOMEM;
    if (r < 0 || envelope_peek(promised, length, &head, NULL) < 0)
        return r;
    /* A short or unreadable file is wrong where it ends. */
    bool complete = whole_read_at(fd, found, length, 0) == 0;
    if (head > length || !same_head(promised, found, head))
        return 0;
    if (complete && memcmp(promised + head, found + head, length - head) == 0)
        return 1;
    if (p->head == NULL)
        p->head = text_dup_n(found, head);
    return 0;
}

static int look_at(struct recovery *r, struct promise *p, int folder, const char *path, const char *name)
{
    bool corrupt = strcmp(path, "corrupt") == 0;
    if (p->record == NULL)
        return 0; /* refused, and yet there: another message, or the removal was lost; delivering is the safe side */
    if (p->done) {
        if (corrupt || unlinkat(folder, name, 0) < 0)
            return corrupt ? 0 : -errno;
        r->count->removed++;
        return 0;
    }
    _cleanup_(fd_closep) int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int result = fd >= 0 ? compare(p, fd) : 0;
    p->whole |= result > 0;
    if (result != 0 || corrupt)
        return result < 0 ? result : 0;
    free(p->damaged);
    p->damaged = text_format("%s/%s", path, name);
    return p->damaged == NULL ? -ENOMEM : 0;
}

static int look_at_name(void *arg, int folder, const char *path, const char *name)
{
    struct recovery *r = arg;
    struct promise *p;
    char id[QUEUE_ID_SIZE];
    if (strlen(name) < QUEUE_ID_LEN || (name[QUEUE_ID_LEN] != '\0' && name[QUEUE_ID_LEN] != '.'))
        return 0;
    memcpy(id, name, QUEUE_ID_LEN);
    id[QUEUE_ID_LEN] = '\0';
    HASH_FIND_STR(r->promises, id, p);
    return p != NULL ? look_at(r, p, folder, path, name) : 0;
}

static int look_into_folder(void *arg, int folder, const char *path, const char *name)
{
    struct recovery *r = arg;
    _cleanup_(freep) char *full = text_format("%s/%s", path, name);
    return full == NULL ? -ENOMEM : for_each_name(r->queue_fd, full, look_at_name, r);
}

static int look_everywhere(struct recovery *r)
{
    int err = for_each_name(r->queue_fd, "new", look_into_folder, r);
    if (err == 0)
        err = for_each_name(r->queue_fd, "deferred", look_into_folder, r);
    if (err == 0)
        err = for_each_name(r->queue_fd, "hold", look_at_name, r);
    return err == 0 ? for_each_name(r->queue_fd, "corrupt", look_at_name, r) : err;
}

/* ---- what is missing -------------------------------------------------------------------------------------------- */

static int write_restored(const struct recovery *r, const struct promise *p)
{
    char path[QUEUE_PATH_MAX];
    _cleanup_(freep) char *data = NULL;
    int err = read_promise(p, &data);
    if (err < 0)
        return err;
    if (p->head != NULL)
        memcpy(data, p->head, strlen(p->head));
    _cleanup_(fd_closep) int fd =
        openat(r->queue_fd, RESTORE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0660);
    if (fd < 0 || fchmod(fd, 0660) < 0)
        return -errno;
    err = whole_write(fd, data, p->record->length);
    queue_path(QUEUE_NEW, p->id, 0, path);
    if (err == 0 && renameat(r->queue_fd, RESTORE, r->queue_fd, path) < 0)
        err = -errno;
    if (err == 0 && p->damaged != NULL && strcmp(p->damaged, path) != 0 && unlinkat(r->queue_fd, p->damaged, 0) < 0)
        err = -errno;
    return err;
}

static int restore(struct recovery *r)
{
    struct promise *p, *next;
    HASH_ITER (hh, r->promises, p, next) {
        r->count->done += p->done;
        r->count->whole += p->whole;
        if (p->record == NULL || p->done)
            continue;
        if (p->whole) { /* the damaged one beside it is from a recovery that did not come to its end */
            if (p->damaged != NULL && unlinkat(r->queue_fd, p->damaged, 0) < 0)
                return -errno;
            continue;
        }
        int err = write_restored(r, p);
        if (err < 0)
            return err;
        if (p->damaged != NULL)
            r->count->mended++;
        else
            r->count->restored++;
    }
    return 0;
}

static int replay(struct recovery *r, const char **step)
{
    struct segment_file *s;
    struct promise *p, *next;
    *step = "read the journals";
    TAILQ_FOREACH (s, &r->segments, link) {
        int err = read_segment(r, s);
        if (err < 0)
            return err;
    }
    HASH_ITER (hh, r->promises, p, next)
        settle_entries(p);
    if (r->promises == NULL)
        return 0; /* nothing to look for in a long queue */
    int err = read_done(r);
    *step = "compare the journals with the queue";
    if (err == 0)
        err = look_everywhere(r);
    *step = "write lost messages again";
    return err == 0 ? restore(r) : err;
}

/* ---- the end ---------------------------------------------------------------------------------------------------- */

static int retire(struct segment_file *s)
{
    char page[SEGMENT_PAGE];
    s->header.from = SEGMENT_NOTHING;
    s->header.suspect = false;
    s->header.count++;
    segment_header_format(&s->header, page);
    ssize_t n = pwrite(s->fd, page, sizeof(page), (off_t)(s->header.count % 2 * SEGMENT_PAGE));
    if (n != (ssize_t)sizeof(page))
        return n < 0 ? -errno : -EIO;
    return fdatasync(s->fd) < 0 ? -errno : 0;
}

/* Everything is on the disk before the first segment says that it is not needed. */
static int hand_over(struct recovery *r, const char **step)
{
    struct segment_file *s;
    *step = "flush the queue";
    if (!TAILQ_EMPTY(&r->segments) && syncfs(r->queue_fd) < 0)
        return -errno;
    *step = "hand the journals over";
    TAILQ_FOREACH (s, &r->segments, link) {
        int err = retire(s);
        if (err < 0)
            return err;
    }
    return 0;
}

static void boot_text(char text[32])
{
    snprintf(text, 32, "%016" PRIx64 "\n", segment_boot());
}

static bool same_run(int queue_fd)
{
    char want[32], got[32] = "";
    _cleanup_(fd_closep) int fd = openat(queue_fd, BOOT, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    boot_text(want);
    return segment_boot() != 0 && fd >= 0 && read(fd, got, sizeof(got) - 1) > 0 && strcmp(got, want) == 0;
}

static int mark_run(int queue_fd)
{
    char text[32];
    boot_text(text);
    _cleanup_(fd_closep) int fd =
        openat(queue_fd, BOOT_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    _cleanup_(fd_closep) int folder = openat(queue_fd, "journal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || folder < 0)
        return -errno;
    int r = whole_write(fd, text, strlen(text));
    if (r < 0)
        return r;
    if (fsync(fd) < 0 || renameat(queue_fd, BOOT_NEW, queue_fd, BOOT) < 0 || fsync(folder) < 0)
        return -errno;
    return 0;
}

static void give_back(struct recovery *r)
{
    struct promise *p, *next;
    struct segment_file *s;
    HASH_ITER (hh, r->promises, p, next) {
        struct entry *e;
        HASH_DEL(r->promises, p);
        while ((e = TAILQ_FIRST(&p->entries)) != NULL) {
            TAILQ_REMOVE(&p->entries, e, link);
            free(e);
        }
        free(p->damaged);
        free(p->head);
        free(p);
    }
    while ((s = TAILQ_FIRST(&r->segments)) != NULL) {
        TAILQ_REMOVE(&r->segments, s, link);
        close(s->fd);
        free(s);
    }
}

int queue_recover(int queue_fd, struct queue_recovery *out, const char **step)
{
    *out = (struct queue_recovery){0};
    struct recovery r = {.queue_fd = queue_fd, .count = out};
    TAILQ_INIT(&r.segments);
    *step = "open the journals";
    bool known = same_run(queue_fd);
    int err = for_each_name(queue_fd, "journal", open_writer, &r);
    out->replayed |= !known;
    if (err == 0 && out->replayed)
        err = replay(&r, step);
    if (err == 0)
        err = hand_over(&r, step);
    if (err == 0 && !known) {
        *step = "note this run of the machine";
        err = mark_run(queue_fd);
    }
    give_back(&r);
    return err;
}
