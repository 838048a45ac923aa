/* Recovery: for each thing that a crash may have done to a message's file, what stands in the queue afterwards. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"
#include "queue/done.h"
#include "queue/file.h"
#include "queue/folder.h"
#include "queue/inject.h"
#include "queue/journal.h"
#include "queue/recover.h"
#include "queue/segment.h"

#define SIZE (1024 * 1024)

static char queue[64];
static int queue_fd;
static struct loop *loop;
static struct injector *injector;
static struct queue_recovery found;

static struct envelope_recipient recipients[] = {{.address = "a@b.example"}, {.address = "c@d.example"}};
static char content[3000];

static int setup(void **state)
{
    const char *where;
    snprintf(queue, sizeof(queue), "/tmp/posthouse-test-XXXXXX");
    if (mkdtemp(queue) == NULL || queue_make_folders(queue, 2, NULL, &where) < 0)
        return -1;
    memset(content, 'x', sizeof(content));
    queue_fd = open(queue, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    loop = loop_new();
    return queue_fd < 0 || loop == NULL ? -1 : 0;
}

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *where)
{
    return remove(path);
}

static int teardown(void **state)
{
    injector_free(injector);
    injector = NULL;
    loop_free(loop);
    close(queue_fd);
    return nftw(queue, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void committed(void *arg, const char *id, int result)
{
    assert_int_equal(result, 0);
    ++*(int *)arg;
}

static void inject(char id[QUEUE_ID_SIZE])
{
    struct envelope e = {.sender = "s@t.example",
                         .arrived_us = 5,
                         .recipients = recipients,
                         .recipient_count = ARRAY_LENGTH(recipients)};
    struct injection *i;
    int calls = 0;
    assert_int_equal(injection_begin(injector, &e, &i), 0);
    assert_int_equal(injection_write(i, content, sizeof(content)), 0);
    memcpy(id, e.id, QUEUE_ID_SIZE);
    injection_commit(i, 0, committed, &calls);
    while (calls == 0)
        loop_turn(loop, 100);
}

static bool journal_has(const char *id)
{
    char path[96];
    static char image[SIZE];
    snprintf(path, sizeof(path), "%s/journal/1/0", queue);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? pread(fd, image, SIZE, 0) : -1;
    if (fd >= 0)
        close(fd);
    return n == SIZE && memmem(image, SIZE, id, QUEUE_ID_LEN) != NULL;
}

/* A writer with a journal that is ready; what it commits goes through it. */
static void start_writer(void)
{
    char id[QUEUE_ID_SIZE], path[QUEUE_PATH_MAX];
    assert_int_equal(injector_new(loop, queue, 1, 1, &injector), 0);
    assert_int_equal(injector_use_journal(injector, SIZE, NULL, NULL), 0);
    for (int k = 0;; k++) {
        inject(id);
        queue_path(QUEUE_NEW, id, 0, path);
        if (journal_has(id))
            break;
        assert_int_equal(unlinkat(queue_fd, path, 0), 0);
        assert_in_range(k, 0, 1000);
        loop_turn(loop, 50);
    }
}

static void stop_writer(void)
{
    injector_free(injector);
    injector = NULL;
}

static void recover(bool other_run)
{
    const char *step = "";
    if (other_run)
        unlinkat(queue_fd, "journal/boot", 0);
    int r = queue_recover(queue_fd, &found, &step);
    if (r < 0)
        fail_msg("%s: %s", step, text_errno(r));
}

static bool whole(const char *path)
{
    struct envelope e;
    char back[sizeof(content)];
    int fd = openat(queue_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = queue_file_read(fd, &e) == 0;
    if (ok) {
        ok = e.content_length == sizeof(content) &&
             pread(fd, back, sizeof(back), e.content_offset) == (ssize_t)sizeof(back) &&
             memcmp(back, content, sizeof(back)) == 0 && e.recipient_count == 2;
        envelope_free(&e);
    }
    close(fd);
    return ok;
}

static int open_at(const char *path)
{
    int fd = openat(queue_fd, path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void remove_it(const char *path)
{
    assert_int_equal(unlinkat(queue_fd, path, 0), 0);
}

static void cut_it(const char *path, off_t length)
{
    int fd = open_at(path);
    assert_int_equal(ftruncate(fd, length), 0);
    close(fd);
}

static void zero_length(const char *path)
{
    cut_it(path, 0);
}

static void short_file(const char *path)
{
    cut_it(path, 2000);
}

static void zeros_inside(const char *path)
{
    static const char zeros[500];
    int fd = open_at(path);
    assert_int_equal(pwrite(fd, zeros, sizeof(zeros), 1500), sizeof(zeros));
    close(fd);
}

static void garbage_head(const char *path)
{
    int fd = open_at(path);
    assert_int_equal(pwrite(fd, "\0\0\0\0", 4, 30), 4);
    close(fd);
}

static void nothing(const char *path)
{
}

/* What qmgr writes: counters, a status, history. */
static void served(const char *path)
{
    struct envelope e;
    struct buf text;
    int fd = open_at(path);
    assert_int_equal(queue_file_read(fd, &e), 0);
    e.attempts = 3;
    assert_int_equal(queue_file_mark_state(fd, &e), 0);
    assert_int_equal(queue_file_mark(fd, e.recipients[0].index, RECIPIENT_DONE), 0);
    buf_init(&text, 1000);
    buf_append_str(&text, "attempt 1763928000 341 deferred 450 4.2.1 none busy\n");
    assert_int_equal(queue_file_append(fd, &e, &text), 0);
    buf_deinit(&text);
    envelope_free(&e);
    close(fd);
}

static void served_then_short(const char *path)
{
    served(path);
    short_file(path);
}

static enum recipient_status first_status(const char *path)
{
    struct envelope e;
    int fd = open_at(path);
    assert_int_equal(queue_file_read(fd, &e), 0);
    enum recipient_status status = e.recipients[0].status;
    envelope_free(&e);
    close(fd);
    return status;
}

static const struct damage {
    const char *name;
    enum queue_state state; /* where the file stands when it happens */
    void (*happens)(const char *path);
    bool stays; /* the file itself is right; else it is written again into new/ */
    enum recipient_status first;
} damages[] = {
    {"nothing", QUEUE_NEW, nothing, true, RECIPIENT_TODO},
    {"missing", QUEUE_NEW, remove_it, false, RECIPIENT_TODO},
    {"zero length", QUEUE_NEW, zero_length, false, RECIPIENT_TODO},
    {"short", QUEUE_NEW, short_file, false, RECIPIENT_TODO},
    {"zeros in the content", QUEUE_NEW, zeros_inside, false, RECIPIENT_TODO},
    {"head destroyed", QUEUE_NEW, garbage_head, false, RECIPIENT_TODO},
    {"served in part", QUEUE_NEW, served, true, RECIPIENT_DONE},
    {"served in part, content lost", QUEUE_NEW, served_then_short, false, RECIPIENT_DONE},
    {"deferred", QUEUE_DEFERRED, nothing, true, RECIPIENT_TODO},
    {"deferred and served in part", QUEUE_DEFERRED, served, true, RECIPIENT_DONE},
    {"deferred, missing", QUEUE_DEFERRED, remove_it, false, RECIPIENT_TODO},
    {"deferred, zero length", QUEUE_DEFERRED, zero_length, false, RECIPIENT_TODO},
    {"deferred, served, content lost", QUEUE_DEFERRED, served_then_short, false, RECIPIENT_DONE},
    {"held", QUEUE_HOLD, nothing, true, RECIPIENT_TODO},
    {"held, short", QUEUE_HOLD, short_file, false, RECIPIENT_TODO},
};

static void a_table_of_damages(void **state)
{
    static char ids[ARRAY_LENGTH(damages)][QUEUE_ID_SIZE];
    char path[QUEUE_PATH_MAX], fresh[QUEUE_PATH_MAX];
    mkdirat(queue_fd, "deferred/2", 0700);
    start_writer();
    for (size_t i = 0; i < ARRAY_LENGTH(damages); i++)
        inject(ids[i]);
    stop_writer();
    for (size_t i = 0; i < ARRAY_LENGTH(damages); i++) {
        queue_path(QUEUE_NEW, ids[i], 0, fresh);
        queue_path(damages[i].state, ids[i], 1234, path);
        assert_int_equal(renameat(queue_fd, fresh, queue_fd, path), 0);
        damages[i].happens(path);
    }
    recover(true);
    assert_true(found.replayed);
    assert_int_equal(found.records, ARRAY_LENGTH(damages) + 1);
    for (size_t i = 0; i < ARRAY_LENGTH(damages); i++) {
        const struct damage *d = &damages[i];
        print_message("%s\n", d->name);
        queue_path(QUEUE_NEW, ids[i], 0, fresh);
        queue_path(d->state, ids[i], 1234, path);
        const char *now = d->stays ? path : fresh;
        assert_true(whole(now));
        assert_int_equal(first_status(now), d->first);
        if (strcmp(path, now) != 0)
            assert_int_equal(faccessat(queue_fd, path, F_OK, 0), -1);
    }
    /* The journal is empty now: what leaves the queue is not brought back. */
    remove_it(fresh);
    recover(true);
    assert_int_equal(found.records, 0);
    assert_int_equal(faccessat(queue_fd, fresh, F_OK, 0), -1);
}

static void what_is_done_stays_away(void **state)
{
    char id[QUEUE_ID_SIZE], lost[QUEUE_ID_SIZE], path[QUEUE_PATH_MAX], lost_path[QUEUE_PATH_MAX];
    struct done *d;
    start_writer();
    inject(id);
    inject(lost);
    stop_writer();
    assert_int_equal(done_new(loop, queue_fd, &d), 0);
    done_add(d, id);
    done_add(d, lost);
    assert_int_equal(done_free(d), 0);
    queue_path(QUEUE_NEW, id, 0, path);
    queue_path(QUEUE_NEW, lost, 0, lost_path);
    remove_it(path);
    recover(true); /* the removal of the second did not reach the disk */
    assert_int_equal(found.done, 2);
    assert_int_equal(found.removed, 1);
    assert_int_equal(found.restored, 0);
    assert_int_equal(faccessat(queue_fd, path, F_OK, 0), -1);
    assert_int_equal(faccessat(queue_fd, lost_path, F_OK, 0), -1);
}

/* A note that is older than the promise is about another message of that id. */
static void an_older_note(void **state)
{
    char id[QUEUE_ID_SIZE], path[QUEUE_PATH_MAX];
    struct done *d;
    start_writer();
    inject(id);
    stop_writer();
    assert_int_equal(done_new(loop, queue_fd, &d), 0);
    done_add(d, id);
    assert_int_equal(done_free(d), 0);
    int fd = open_at("journal/qmgr/0");
    uint64_t note[DONE_RECORD / 8];
    assert_int_equal(pread(fd, note, sizeof(note), 0), sizeof(note));
    close(fd);
    queue_path(QUEUE_NEW, id, 0, path);
    remove_it(path);
    /* Its checksum does not fit any more either way: a note that is not believed. */
    fd = open_at("journal/qmgr/0");
    note[1] = 1;
    assert_int_equal(pwrite(fd, note, sizeof(note), 0), sizeof(note));
    close(fd);
    recover(true);
    assert_int_equal(found.restored, 1);
    assert_true(whole(path));
}

static void the_same_run(void **state)
{
    char id[QUEUE_ID_SIZE], path[QUEUE_PATH_MAX];
    recover(true);
    start_writer();
    inject(id);
    stop_writer();
    queue_path(QUEUE_NEW, id, 0, path);
    remove_it(path); /* as an admin might */
    recover(false);
    assert_false(found.replayed);
    assert_int_equal(found.segments, 1);
    assert_int_equal(faccessat(queue_fd, path, F_OK, 0), -1);
    recover(true); /* and the segments were handed over */
    assert_int_equal(found.segments, 0);
    assert_int_equal(faccessat(queue_fd, path, F_OK, 0), -1);
}

static void a_suspect_segment(void **state)
{
    char id[QUEUE_ID_SIZE], path[QUEUE_PATH_MAX], pages[SEGMENT_DATA], page[SEGMENT_PAGE];
    struct segment_header header;
    recover(true);
    start_writer();
    inject(id);
    stop_writer();
    int fd = open_at("journal/1/0");
    assert_int_equal(pread(fd, pages, sizeof(pages), 0), sizeof(pages));
    assert_int_equal(segment_header_parse(pages, &header), 0);
    header.count++;
    header.suspect = true;
    segment_header_format(&header, page);
    assert_int_equal(pwrite(fd, page, sizeof(page), header.count % 2 * SEGMENT_PAGE), sizeof(page));
    close(fd);
    queue_path(QUEUE_NEW, id, 0, path);
    remove_it(path);
    recover(false);
    assert_true(found.replayed);
    assert_int_equal(found.restored, 1);
    assert_true(whole(path));
}

/* A damaged record is lost; those before and behind it are not, and nothing falls over. */
static void a_damaged_segment(void **state)
{
    char ids[8][QUEUE_ID_SIZE], path[QUEUE_PATH_MAX];
    static char image[SIZE];
    start_writer();
    for (int i = 0; i < 8; i++)
        inject(ids[i]);
    stop_writer();
    int fd = open_at("journal/1/0");
    assert_int_equal(pread(fd, image, SIZE, 0), SIZE);
    char *record = memmem(image, SIZE, ids[3], QUEUE_ID_LEN);
    assert_non_null(record);
    assert_int_equal(pwrite(fd, "garbage", 7, record - image), 7);
    close(fd);
    for (int i = 0; i < 8; i++) {
        queue_path(QUEUE_NEW, ids[i], 0, path);
        remove_it(path);
    }
    recover(true);
    for (int i = 0; i < 8; i++) {
        queue_path(QUEUE_NEW, ids[i], 0, path);
        assert_int_equal(whole(path), i != 3);
    }
}

/* What was moved to corrupt/ stays there, and the message comes back beside it. */
static void a_corrupt_file(void **state)
{
    char id[QUEUE_ID_SIZE], path[QUEUE_PATH_MAX], corrupt[QUEUE_PATH_MAX];
    start_writer();
    inject(id);
    stop_writer();
    queue_path(QUEUE_NEW, id, 0, path);
    queue_path(QUEUE_CORRUPT, id, 0, corrupt);
    zero_length(path);
    assert_int_equal(renameat(queue_fd, path, queue_fd, corrupt), 0);
    recover(true);
    assert_true(whole(path));
    assert_int_equal(faccessat(queue_fd, corrupt, F_OK, 0), 0);
}

/* An id that is drawn again, by a clock that stepped back: the second message is refused, and the first one keeps its
 * promise. */
static void a_refused_namesake(void **state)
{
    char id[QUEUE_ID_SIZE], path[QUEUE_PATH_MAX], first[8192], second[8192];
    const char *step;
    assert_int_equal(injector_new(loop, queue, 1, 1, &injector), 0);
    inject(id);
    stop_writer();
    queue_path(QUEUE_NEW, id, 0, path);
    int fd = open_at(path), folder = openat(queue_fd, "journal/1", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ssize_t n = read(fd, first, sizeof(first));
    assert_true(n > 1000);
    memcpy(second, first, (size_t)n);
    second[n - 3] = '!';
    struct journal *j = journal_new(folder, SIZE);
    journal_want(j);
    while (!journal_ready(j))
        assert_int_equal(journal_care(j, &step), 0);
    const struct journal_entry one = {id, first, (uint32_t)n}, two = {id, second, (uint32_t)n}, refused = {.id = id};
    struct journal_mark mark;
    assert_int_equal(journal_append(j, &one, 1, &mark), 0);
    assert_int_equal(journal_append(j, &two, 1, &mark), 0);
    assert_int_equal(journal_append(j, &refused, 1, &mark), 0);
    journal_free(j);
    close(folder);
    close(fd);
    remove_it(path);
    recover(true);
    assert_true(whole(path));
    assert_int_equal(found.restored, 1);
}

/* Recovery that was cut itself is begun again and ends the same. */
static void twice(void **state)
{
    char id[QUEUE_ID_SIZE], path[QUEUE_PATH_MAX], deferred[QUEUE_PATH_MAX];
    mkdirat(queue_fd, "deferred/2", 0700);
    start_writer();
    inject(id);
    stop_writer();
    queue_path(QUEUE_NEW, id, 0, path);
    queue_path(QUEUE_DEFERRED, id, 1234, deferred);
    /* The crash came between the new file and the removal of the damaged one. */
    int fd = openat(queue_fd, deferred, O_WRONLY | O_CREAT | O_CLOEXEC, 0660);
    assert_int_equal(write(fd, "posthouse-queue", 15), 15);
    close(fd);
    recover(true);
    assert_true(whole(path));
    assert_int_equal(faccessat(queue_fd, deferred, F_OK, 0), -1);
    recover(true);
    assert_true(whole(path));
}

#define LIVE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIVE(a_table_of_damages), LIVE(what_is_done_stays_away), LIVE(an_older_note),  LIVE(the_same_run),
        LIVE(a_suspect_segment),  LIVE(a_damaged_segment),       LIVE(a_corrupt_file), LIVE(twice),
        LIVE(a_refused_namesake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
