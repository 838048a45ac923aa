/* Injection: what is committed stands in new/ to the byte, what is not leaves nothing. */
#include <dirent.h>
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
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/text.h"
#include "queue/file.h"
#include "queue/folder.h"
#include "queue/inject.h"
#include "queue/journal.h"

static char queue[64];
static struct loop *loop;
static struct injector *injector;

static struct envelope_recipient recipients[] = {{.address = "a@b.example"}, {.address = "c@d.example"}};

static struct envelope envelope(void)
{
    return (struct envelope){.sender = "s@t.example",
                             .arrived_us = 5,
                             .flags = ENVELOPE_SMTPUTF8,
                             .recipients = recipients,
                             .recipient_count = ARRAY_LENGTH(recipients)};
}

static bool with_journal;
static int troubles, trouble;

static void note_trouble(void *arg, const char *what, int err)
{
    troubles++;
    trouble = err;
}

/* Until it has its two segments, or it is clear that there is no room for them. */
static int start_journal(void)
{
    struct envelope e = envelope();
    struct injection *i;
    char path[96];
    snprintf(path, sizeof(path), "%s/journal/1/1", queue);
    troubles = 0;
    if (injector_use_journal(injector, 1024 * 1024, note_trouble, NULL) < 0 || injection_begin(injector, &e, &i) < 0)
        return -1;
    injection_abort(i);
    for (int k = 0; k < 200 && troubles == 0 && access(path, F_OK) < 0; k++)
        loop_turn(loop, 50);
    return 0;
}

static int start(void)
{
    const char *where;
    loop = loop_new();
    if (loop == NULL || queue_make_folders(queue, 2, NULL, &where) < 0 ||
        injector_new(loop, queue, 1, 4, &injector) < 0)
        return -1;
    return with_journal ? start_journal() : 0;
}

static int setup(void **state)
{
    with_journal = false;
    snprintf(queue, sizeof(queue), "/tmp/posthouse-test-XXXXXX");
    return mkdtemp(queue) == NULL ? -1 : start();
}

static int setup_journal(void **state)
{
    with_journal = true;
    snprintf(queue, sizeof(queue), "/tmp/posthouse-test-XXXXXX");
    return mkdtemp(queue) == NULL ? -1 : start();
}

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *where)
{
    return remove(path);
}

static int teardown(void **state)
{
    injector_free(injector);
    loop_free(loop);
    umount2(queue, MNT_DETACH); /* should a_full_disk have failed in the middle */
    return nftw(queue, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int files;

static int count_one(const char *path, const struct stat *st, int what, struct FTW *where)
{
    files += what == FTW_F;
    return 0;
}

static int files_below(const char *folder)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", queue, folder);
    files = 0;
    assert_int_equal(nftw(path, count_one, 16, FTW_PHYS), 0);
    return files;
}

static struct outcome {
    int calls, last, ok;
    char id[QUEUE_ID_SIZE];
} outcome;

static void note(void *arg, const char *id, int result)
{
    struct outcome *o = arg;
    o->calls++;
    o->last = result;
    o->ok += result == 0;
    memcpy(o->id, id, QUEUE_ID_SIZE);
}

static void commit(struct injection *i, uint32_t flags)
{
    outcome = (struct outcome){.last = 4711};
    injection_commit(i, flags, note, &outcome);
    assert_int_equal(outcome.calls, 0); /* never before it returns */
    while (injector_pending(injector) > 0)
        loop_turn(loop, 100);
    assert_int_equal(outcome.calls, 1);
}

static int open_new(const char *id)
{
    char path[QUEUE_PATH_MAX], full[192];
    queue_path(QUEUE_NEW, id, 0, path);
    snprintf(full, sizeof(full), "%s/%s", queue, path);
    return open(full, O_RDWR | O_CLOEXEC);
}

static char letter(size_t i)
{
    return (char)('a' + i * 7 % 26);
}

/* Writes so many bytes in portions of so many, commits, and compares the file. */
static void inject(size_t length, size_t portion)
{
    struct envelope e = envelope(), got;
    struct injection *i;
    char *data = malloc(length);
    for (size_t k = 0; k < length; k++)
        data[k] = letter(k);
    assert_int_equal(injection_begin(injector, &e, &i), 0);
    assert_true(queue_id_valid(e.id));
    assert_string_equal(injection_id(i), e.id);
    for (size_t at = 0; at < length; at += portion)
        assert_int_equal(injection_write(i, data + at, portion < length - at ? portion : length - at), 0);
    assert_int_equal(injection_length(i), length);
    assert_int_equal(files_below("new"), 0); /* nobody sees it yet */
    commit(i, ENVELOPE_8BIT);
    assert_int_equal(outcome.last, 0);
    assert_string_equal(outcome.id, e.id);
    assert_int_equal(files_below("tmp"), 0);
    int fd = open_new(e.id);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    assert_int_equal(queue_file_read(fd, &got), 0);
    assert_int_equal(st.st_size, got.content_offset + length);
    assert_int_equal(got.content_length, length);
    assert_int_equal(got.flags, ENVELOPE_SMTPUTF8 | ENVELOPE_8BIT);
    assert_string_equal(got.id, e.id);
    assert_string_equal(got.sender, "s@t.example");
    assert_int_equal(got.recipient_count, ARRAY_LENGTH(recipients));
    char *back = malloc(length);
    assert_int_equal(pread(fd, back, length, got.content_offset), (ssize_t)length);
    assert_memory_equal(back, data, length);
    envelope_free(&got);
    free(back);
    free(data);
    close(fd);
    char path[QUEUE_PATH_MAX], full[192];
    queue_path(QUEUE_NEW, e.id, 0, path);
    snprintf(full, sizeof(full), "%s/%s", queue, path);
    assert_int_equal(unlink(full), 0);
}

static void content_is_equal(void **state)
{
    static const struct {
        size_t length, portion;
    } cases[] = {
        {1, 1},         {100, 7},        {4096, 4096},    {65535, 65535},  {65536, 65536},    {65537, 65537},
        {65536, 1000},  {200000, 1},     {200000, 65535}, {200000, 65536}, {1000000, 100000}, {3000000, 3000000},
        {66000, 65000}, {131072, 32768},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        inject(cases[i].length, cases[i].portion);
}

static void abort_leaves_nothing(void **state)
{
    static const size_t lengths[] = {0, 100, 70000, 300000};
    static char data[300000];
    for (size_t k = 0; k < ARRAY_LENGTH(lengths); k++) {
        struct envelope e = envelope();
        struct injection *i;
        assert_int_equal(injection_begin(injector, &e, &i), 0);
        assert_int_equal(injection_write(i, data, lengths[k]), 0);
        /* What may go through the journal makes no file before. */
        assert_int_equal(files_below("tmp"), with_journal && lengths[k] < JOURNAL_MESSAGE_MAX ? 0 : 1);
        injection_abort(i);
        assert_int_equal(files_below("tmp"), 0);
        assert_int_equal(files_below("new"), 0);
    }
    injection_abort(NULL);
}

static void bad_envelopes(void **state)
{
    struct envelope e = envelope();
    struct injection *i;
    e.sender = "a\nb";
    assert_int_equal(injection_begin(injector, &e, &i), -EINVAL);
    assert_int_equal(files_below("tmp"), 0);
}

static void many_at_a_time(void **state)
{
    enum { COUNT = 300 };
    struct injection *all[COUNT];
    char ids[COUNT][QUEUE_ID_SIZE];
    for (int k = 0; k < COUNT; k++) {
        struct envelope e = envelope();
        assert_int_equal(injection_begin(injector, &e, &all[k]), 0);
        memcpy(ids[k], e.id, QUEUE_ID_SIZE);
        if (k > 0)
            assert_true(strcmp(ids[k - 1], ids[k]) < 0);
    }
    for (int k = 0; k < COUNT; k++) /* interleaved, as sessions are */
        assert_int_equal(injection_write(all[k], ids[k], QUEUE_ID_LEN), 0);
    outcome = (struct outcome){0};
    for (int k = 0; k < COUNT; k++)
        injection_commit(all[k], 0, note, &outcome);
    assert_int_equal(injector_pending(injector), COUNT);
    while (injector_pending(injector) > 0)
        loop_turn(loop, 1000);
    assert_int_equal(outcome.calls, COUNT);
    assert_int_equal(outcome.ok, COUNT);
    assert_int_equal(files_below("new"), COUNT);
    assert_int_equal(files_below("tmp"), 0);
    for (int k = 0; k < COUNT; k++) {
        struct envelope got;
        char content[QUEUE_ID_LEN];
        int fd = open_new(ids[k]);
        assert_int_equal(queue_file_read(fd, &got), 0);
        assert_int_equal(pread(fd, content, sizeof(content), got.content_offset), QUEUE_ID_LEN);
        assert_memory_equal(content, ids[k], QUEUE_ID_LEN);
        envelope_free(&got);
        close(fd);
    }
}

/* A name that is taken in new/ (a clock that stepped back over a restart): refused, and the other file untouched. */
static void a_taken_name(void **state)
{
    struct envelope e = envelope();
    struct injection *i;
    char path[QUEUE_PATH_MAX], full[192];
    assert_int_equal(injection_begin(injector, &e, &i), 0);
    assert_int_equal(injection_write(i, "x\r\n", 3), 0);
    queue_path(QUEUE_NEW, e.id, 0, path);
    snprintf(full, sizeof(full), "%s/%s", queue, path);
    FILE *f = fopen(full, "w");
    fputs("somebody else's", f);
    fclose(f);
    commit(i, 0);
    assert_int_equal(outcome.last, -EEXIST);
    assert_int_equal(files_below("tmp"), 0);
    char back[32] = "";
    int fd = open_new(e.id);
    assert_int_equal(read(fd, back, sizeof(back)), 15);
    assert_string_equal(back, "somebody else's");
    close(fd);
}

/* After a reload the old process of the slot may draw ids in the very same microsecond as the new one. */
static void two_processes_of_a_slot(void **state)
{
    struct injector *other;
    struct injection *i;
    struct envelope e = envelope();
    int64_t own, others;
    clock_fake_set(0, INT64_C(2000000000000000));
    assert_int_equal(injection_begin(injector, &e, &i), 0);
    own = queue_id_time_us(injection_id(i)) / 32 % QUEUE_ID_SHARES;
    injection_abort(i);
    assert_int_equal(injector_new(loop, queue, 1, 1, &other), 0);
    assert_int_equal(injection_begin(other, &e, &i), 0);
    others = queue_id_time_us(injection_id(i)) / 32 % QUEUE_ID_SHARES;
    injection_abort(i);
    assert_int_not_equal(own, others);
    injector_free(other);
    /* what it gives back is there for the next one */
    assert_int_equal(injector_new(loop, queue, 1, 1, &other), 0);
    assert_int_equal(injection_begin(other, &e, &i), 0);
    assert_int_equal(queue_id_time_us(injection_id(i)) / 32 % QUEUE_ID_SHARES, others);
    injection_abort(i);
    injector_free(other);
}

static void a_missing_folder(void **state)
{
    struct envelope e = envelope();
    struct injection *i;
    char path[192];
    assert_int_equal(injection_begin(injector, &e, &i), 0);
    assert_int_equal(injection_write(i, "x\r\n", 3), 0);
    snprintf(path, sizeof(path), "%s/new/%c", queue, queue_id_folder(e.id));
    assert_int_equal(rmdir(path), 0);
    commit(i, 0);
    assert_int_equal(outcome.last, -ENOENT);
    assert_int_equal(files_below("tmp"), 0);
    assert_int_equal(files_below("new"), 0);
    struct injector *other = NULL;
    assert_int_equal(injector_new(loop, queue, 5, 1, &other), -ENOENT); /* nobody made tmp/5 */
    assert_null(other);
    injector_free(NULL);
}

/* A limit on the size of files stands for a disk that fills in the middle of a message. */
static void a_write_that_fails(void **state)
{
    struct rlimit before, limit;
    static char data[100000];
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    for (size_t length = 1000; length <= sizeof(data); length += 99000) {
        struct envelope e = envelope();
        struct injection *i;
        limit = (struct rlimit){.rlim_cur = 500, .rlim_max = before.rlim_max};
        assert_int_equal(injection_begin(injector, &e, &i), 0);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        int r = injection_write(i, data, length);
        if (r == 0) {
            commit(i, 0);
            r = outcome.last;
        } else {
            injection_abort(i);
        }
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(r, -EFBIG);
        assert_int_equal(files_below("tmp"), 0);
        assert_int_equal(files_below("new"), 0);
    }
    inject(1000, 1000); /* and the next message passes */
}

/* A file system of 1 MiB that really fills. */
static void a_full_disk(void **state)
{
    if (getuid() != 0 || mount("none", queue, "tmpfs", MS_NODEV | MS_NOSUID, "size=1m") < 0)
        skip();
    static char data[100000];
    injector_free(injector);
    loop_free(loop);
    assert_int_equal(start(), 0);
    uint64_t bytes = 0, inodes = 0;
    assert_int_equal(injector_free_space(injector, &bytes, &inodes), 0);
    assert_in_range(bytes, 500000, 1048576);
    int taken = 0, refused = 0;
    for (int k = 0; k < 20; k++) {
        struct envelope e = envelope();
        struct injection *i = NULL;
        int r = injection_begin(injector, &e, &i);
        if (r == 0 && (r = injection_write(i, data, sizeof(data))) < 0)
            injection_abort(i);
        if (r == 0) {
            commit(i, 0);
            r = outcome.last;
        }
        assert_true(r == 0 || r == -ENOSPC);
        taken += r == 0;
        refused += r < 0;
        assert_int_equal(files_below("tmp"), 0);
        assert_int_equal(files_below("new"), taken);
    }
    assert_in_range(taken, 5, 10);
    assert_in_range(refused, 10, 15);
    injector_free(injector);
    loop_free(loop);
    injector = NULL;
    loop = NULL;
    assert_int_equal(umount(queue), 0);
}

/* A segment that can not be written is left alone, and the message is committed all the same. */
static void a_journal_that_fails(void **state)
{
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    limit = (struct rlimit){.rlim_cur = 5000, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    inject(1000, 1000); /* its file may be written, the journal behind its headers not */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    /* Once for the group, and once more if the keeper was just making the next segment. */
    assert_in_range(troubles, 1, 2);
    assert_int_equal(trouble, -EFBIG);
    for (int k = 0; k < 20; k++)
        inject(1000, 1000);
    assert_in_range(troubles, 1, 2);
}

#define LIVE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define JOURNAL(test)                                                                                                  \
    {                                                                                                                  \
#test " (journal)", test, setup_journal, teardown, NULL                                                        \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIVE(content_is_equal),
        LIVE(abort_leaves_nothing),
        LIVE(bad_envelopes),
        LIVE(many_at_a_time),
        LIVE(a_taken_name),
        LIVE(a_missing_folder),
        LIVE(a_write_that_fails),
        LIVE(a_full_disk),
        JOURNAL(content_is_equal),
        JOURNAL(abort_leaves_nothing),
        JOURNAL(many_at_a_time),
        JOURNAL(a_taken_name),
        JOURNAL(a_missing_folder),
        JOURNAL(a_write_that_fails),
        JOURNAL(a_full_disk),
        JOURNAL(a_journal_that_fails),
        LIVE(two_processes_of_a_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
