/* Notes of what left the queue: written late, read back, damaged ones skipped. */
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

#include "queue/done.h"
#include "queue/folder.h"
#include "queue/segment.h"

static char queue[64];
static int queue_fd;
static struct loop *loop;

static int setup(void **state)
{
    const char *where;
    snprintf(queue, sizeof(queue), "/tmp/posthouse-test-XXXXXX");
    if (mkdtemp(queue) == NULL || queue_make_folders(queue, 1, NULL, &where) < 0)
        return -1;
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
    loop_free(loop);
    close(queue_fd);
    return nftw(queue, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct seen {
    unsigned count;
    char last[QUEUE_ID_SIZE];
    uint64_t time_ns;
} seen;

static void note(void *arg, const char *id, uint64_t time_ns)
{
    struct seen *s = arg;
    s->count++;
    s->time_ns = time_ns;
    memcpy(s->last, id, QUEUE_ID_SIZE);
}

static unsigned read_back(uint64_t boot)
{
    seen = (struct seen){0};
    assert_int_equal(done_read(queue_fd, boot, note, &seen), 0);
    return seen.count;
}

static void add(struct done *d, unsigned first, unsigned count)
{
    char id[QUEUE_ID_SIZE];
    for (unsigned i = first; i < first + count; i++) {
        snprintf(id, sizeof(id), "1P8X2K7Q%05u", i);
        done_add(d, id);
    }
}

static void notes_come_back(void **state)
{
    struct done *d;
    uint64_t began = segment_time_ns();
    assert_int_equal(done_new(loop, queue_fd, &d), 0);
    assert_int_equal(read_back(segment_boot()), 0);
    add(d, 0, 3);
    assert_int_equal(read_back(segment_boot()), 0); /* late */
    for (int i = 0; i < 100 && read_back(segment_boot()) == 0; i++)
        loop_turn(loop, 100);
    assert_int_equal(seen.count, 3);
    assert_string_equal(seen.last, "1P8X2K7Q00002");
    assert_in_range(seen.time_ns, began, segment_time_ns());
    add(d, 3, 2);
    assert_int_equal(done_free(d), 0); /* writes the rest */
    assert_int_equal(read_back(segment_boot()), 5);
    assert_int_equal(read_back(segment_boot() + 1), 0); /* another run of the machine */
    /* The next process writes into the other file, and so on in turn. */
    assert_int_equal(done_new(loop, queue_fd, &d), 0);
    add(d, 5, 4);
    assert_int_equal(done_free(d), 0);
    assert_int_equal(read_back(segment_boot()), 9);
    assert_int_equal(done_free(NULL), 0);
}

static void two_files_in_turn(void **state)
{
    struct done *d;
    struct stat st;
    assert_int_equal(done_new(loop, queue_fd, &d), 0);
    for (unsigned k = 0; k < 5; k++) {
        unsigned want = (k + 1) * 90000 < 2 * DONE_RECORDS ? (k + 1) * 90000 : 2 * DONE_RECORDS;
        add(d, 0, 90000);
        for (int i = 0; i < 300 && read_back(segment_boot()) < want; i++)
            loop_turn(loop, 100);
    }
    assert_int_equal(done_free(d), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fstatat(queue_fd, i == 0 ? "journal/qmgr/0" : "journal/qmgr/1", &st, 0), 0);
        assert_int_equal(st.st_size, DONE_RECORDS * DONE_RECORD);
    }
    assert_int_equal(read_back(segment_boot()), 2 * DONE_RECORDS);
}

static void damaged_notes(void **state)
{
    struct done *d;
    assert_int_equal(done_new(loop, queue_fd, &d), 0);
    add(d, 0, 10);
    assert_int_equal(done_free(d), 0);
    int fd = openat(queue_fd, "journal/qmgr/0", O_RDWR | O_CLOEXEC);
    char data[10 * DONE_RECORD], bad[sizeof(data)];
    assert_int_equal(pread(fd, data, sizeof(data), 0), sizeof(data));
    close(fd);
    for (size_t i = 0; i < sizeof(data); i++) {
        memcpy(bad, data, sizeof(data));
        bad[i] ^= 0x10;
        seen = (struct seen){0};
        done_parse(bad, sizeof(bad), segment_boot(), note, &seen);
        assert_int_equal(seen.count, 9);
        seen = (struct seen){0};
        done_parse(data, i, segment_boot(), note, &seen);
        assert_int_equal(seen.count, i / DONE_RECORD);
    }
}

#define LIVE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIVE(notes_come_back),
        LIVE(two_files_in_turn),
        LIVE(damaged_notes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
