/* The journal: what is appended is read back, what is torn or stale is not, and a segment is used again only after a
 * checkpoint. */
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

#include "base/clock.h"
#include "base/crc.h"
#include "base/text.h"
#include "queue/journal.h"
#include "queue/segment.h"

#define SIZE (1024 * 1024)

static char folder[64];
static int folder_fd;
static struct journal *journal;
static struct journal_mark mark; /* of the last group */

static int setup(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/posthouse-test-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    journal = journal_new(folder_fd, SIZE);
    return folder_fd < 0 || journal == NULL ? -1 : 0;
}

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *where)
{
    return remove(path);
}

static int teardown(void **state)
{
    journal_free(journal);
    close(folder_fd);
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void take_care(void)
{
    const char *step = "";
    while (journal_needs_care(journal))
        assert_int_equal(journal_care(journal, &step), 0);
}

static void make_ready(void)
{
    journal_want(journal);
    take_care();
    assert_true(journal_ready(journal));
}

static void restart(uint64_t size)
{
    journal_free(journal);
    journal = journal_new(folder_fd, size);
    make_ready();
}

static void make_id(unsigned n, char id[QUEUE_ID_SIZE])
{
    snprintf(id, QUEUE_ID_SIZE, "1P8X2K7Q%05u", n);
}

static char content[200000];

/* One group of messages of so many bytes each. */
static int append(unsigned first, unsigned count, uint32_t length)
{
    struct journal_entry entries[JOURNAL_GROUP_MAX];
    char ids[JOURNAL_GROUP_MAX][QUEUE_ID_SIZE];
    for (unsigned i = 0; i < count; i++) {
        make_id(first + i, ids[i]);
        entries[i] = (struct journal_entry){ids[i], content + i, length};
    }
    return journal_append(journal, entries, count, &mark);
}

static char image[SIZE];

static void load(int number, struct segment_header *header)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/%d", folder, number);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, image, SIZE, 0), SIZE);
    close(fd);
    if (header != NULL)
        assert_int_equal(segment_header_parse(image, header), 0);
}

/* How many records the segment holds from `from` on, and that they are numbered from first. */
static unsigned count_records(uint64_t generation, size_t from, unsigned first)
{
    struct segment_record r = {0};
    unsigned count = 0;
    char id[QUEUE_ID_SIZE];
    for (size_t at = from; segment_next(image, SIZE, generation, &at, &r); count++) {
        make_id(first + count, id);
        assert_string_equal(r.id, id);
        assert_int_equal(r.boot, segment_boot());
    }
    return count;
}

static void checksums(void **state)
{
    assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283u);
    assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xE3069283u);
    assert_int_equal(crc32c(0, "", 0), 0);
}

static void records_come_back(void **state)
{
    static const uint32_t lengths[] = {1, 7, 8, 4031, 4032, 4033, 8192, 100000};
    struct segment_header header;
    unsigned n = 0;
    make_ready();
    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (char)(i * 31);
    for (size_t i = 0; i < ARRAY_LENGTH(lengths); i++) {
        assert_int_equal(append(n, 3, lengths[i]), 0);
        n += 3;
    }
    load(0, &header);
    assert_int_equal(header.from, SEGMENT_DATA);
    assert_false(header.suspect);
    struct segment_record r = {0};
    size_t at = header.from;
    for (unsigned k = 0; k < n; k++) {
        assert_true(segment_next(image, SIZE, header.generation, &at, &r));
        assert_int_equal(r.kind, SEGMENT_MESSAGE);
        assert_int_equal(r.length, lengths[k / 3]);
        assert_memory_equal(r.data, content + k % 3, r.length);
        assert_int_equal((r.data - image) % SEGMENT_ALIGNMENT, 0);
        if (k % 3 == 0)
            assert_int_equal((r.data - image) % SEGMENT_PAGE, SEGMENT_RECORD_HEAD);
    }
    assert_false(segment_next(image, SIZE, header.generation, &at, &r));
    assert_int_equal(at, SIZE);
}

static void a_refused_message(void **state)
{
    struct segment_header header;
    make_ready();
    assert_int_equal(append(1, 1, 100), 0);
    const struct journal_entry refused = {.id = "1P8X2K7Q00001"};
    assert_int_equal(journal_append(journal, &refused, 1, &mark), 0);
    load(0, &header);
    struct segment_record r = {0};
    size_t at = header.from;
    assert_true(segment_next(image, SIZE, header.generation, &at, &r));
    assert_true(segment_next(image, SIZE, header.generation, &at, &r));
    assert_int_equal(r.kind, SEGMENT_VOID);
    assert_string_equal(r.id, "1P8X2K7Q00001");
}

/* Every cut of the last group: what was before it comes back, of itself only whole records. */
static void torn_groups(void **state)
{
    struct segment_header header;
    make_ready();
    assert_int_equal(append(0, 5, 1000), 0);
    size_t second = SEGMENT_DATA + 2 * SEGMENT_PAGE;
    assert_int_equal(append(5, 5, 1000), 0);
    load(0, &header);
    static char whole[SIZE];
    memcpy(whole, image, SIZE);
    size_t record = segment_record_size(1000);
    for (size_t cut = 0; cut <= 5 * record; cut += 61) {
        memcpy(image, whole, SIZE);
        memset(image + second + cut, 0, SIZE - second - cut);
        unsigned got = count_records(header.generation, SEGMENT_DATA, 0);
        assert_in_range(got, 5 + cut / record, 5 + (cut + 32) / record); /* the padding is zeros anyway */
    }
    /* A byte that changed anywhere in the first group costs one record, and what shares no page with it lives. */
    for (size_t bad = SEGMENT_DATA; bad < SEGMENT_DATA + SEGMENT_PAGE; bad += 97) {
        memcpy(image, whole, SIZE);
        image[bad] ^= 0x40;
        struct segment_record r = {0};
        unsigned count = 0;
        for (size_t at = SEGMENT_DATA; segment_next(image, SIZE, header.generation, &at, &r);)
            count++;
        assert_in_range(count, 5, 10);
    }
}

static void stale_generations(void **state)
{
    struct segment_header header;
    make_ready();
    assert_int_equal(append(0, 5, 1000), 0);
    load(0, &header);
    assert_int_equal(count_records(header.generation, SEGMENT_DATA, 0), 5);
    assert_int_equal(count_records(header.generation + 1, SEGMENT_DATA, 0), 0);
}

/* Headers are written in turn, and the newer one counts; a torn one leaves the other. */
static void headers(void **state)
{
    static char pages[SEGMENT_DATA];
    struct segment_header h = {.generation = 7, .count = 2, .from = SEGMENT_DATA}, got;
    assert_int_equal(segment_header_parse(pages, &got), -EPROTO);
    segment_header_format(&h, pages);
    assert_int_equal(segment_header_parse(pages, &got), 0);
    assert_int_equal(got.from, SEGMENT_DATA);
    h.count = 3;
    h.from = SEGMENT_NOTHING;
    h.suspect = true;
    segment_header_format(&h, pages + SEGMENT_PAGE);
    assert_int_equal(segment_header_parse(pages, &got), 0);
    assert_int_equal(got.from, SEGMENT_NOTHING);
    assert_true(got.suspect);
    pages[SEGMENT_PAGE + 20] ^= 1;
    assert_int_equal(segment_header_parse(pages, &got), 0);
    assert_int_equal(got.count, 2);
}

/* Nothing is overwritten before it is covered: the journal says so when it is full. */
static void a_full_journal(void **state)
{
    unsigned n = 0;
    struct segment_header header;
    make_ready();
    int r;
    for (; (r = append(n, 1, 100000)) == 0; n++)
        journal_settle(journal, &mark);
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(n, 2 * 10);
    load(0, &header);
    assert_int_equal(count_records(header.generation, header.from, 0), 10);
    load(1, &header);
    assert_int_equal(count_records(header.generation, header.from, 10), 10);
    assert_int_equal(append(n, 1, SIZE), -EAGAIN); /* never fits */
    /* A checkpoint frees both, and since two were too few, a third is made. */
    assert_true(journal_needs_care(journal));
    take_care();
    load(0, &header);
    assert_int_equal(header.from, SEGMENT_NOTHING);
    struct stat st;
    assert_int_equal(fstatat(folder_fd, "2", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    assert_true(st.st_blocks * 512 >= SIZE);
    uint64_t before = header.generation;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(append(100 + i, 1, 100000), 0);
    load(0, &header);
    assert_int_not_equal(header.generation, before);
    assert_int_equal(count_records(header.generation, header.from, 100), 3); /* and none of the seven behind them */
}

/* What is not settled, a checkpoint does not cover. */
static void an_unsettled_group(void **state)
{
    struct segment_header header;
    clock_fake_set(1000, 0);
    make_ready();
    assert_int_equal(append(0, 2, 1000), 0);
    journal_settle(journal, &mark);
    assert_int_equal(append(2, 2, 1000), 0);
    assert_false(journal_needs_care(journal));
    clock_fake_advance_ms(JOURNAL_CHECKPOINT_MS);
    assert_true(journal_needs_care(journal));
    take_care();
    load(0, &header);
    assert_int_equal(header.from, SEGMENT_DATA + SEGMENT_PAGE);
    assert_int_equal(count_records(header.generation, header.from, 2), 2);
    journal_settle(journal, &mark);
    clock_fake_advance_ms(JOURNAL_CHECKPOINT_MS);
    take_care();
    load(0, &header);
    assert_int_equal(count_records(header.generation, header.from, 4), 0);
}

/* The next process of the slot takes the segments over, empty; while the old one lives it waits. */
static void another_process(void **state)
{
    struct segment_header header;
    make_ready();
    assert_int_equal(append(0, 2, 1000), 0);
    journal_settle(journal, &mark);
    struct journal *first = journal;
    journal = journal_new(folder_fd, SIZE);
    const char *step;
    journal_want(journal);
    assert_int_equal(journal_care(journal, &step), 0);
    assert_false(journal_ready(journal));
    assert_int_equal(append(2, 1, 1000), -EAGAIN);
    journal_free(first);
    load(0, &header);
    assert_int_equal(header.from, SEGMENT_DATA);
    restart(SIZE);
    load(0, &header);
    assert_int_equal(header.from, SEGMENT_NOTHING);
    assert_int_equal(append(5, 1, 1000), 0);
}

static void another_size(void **state)
{
    struct stat st;
    make_ready();
    assert_int_equal(append(0, 2, 1000), 0);
    restart(2 * SIZE);
    assert_int_equal(fstatat(folder_fd, "0", &st, 0), 0);
    assert_int_equal(st.st_size, 2 * SIZE);
    journal_free(journal);
    journal = journal_new(folder_fd, 0);
    journal_want(journal);
    take_care();
    assert_false(journal_ready(journal));
    assert_int_equal(fstatat(folder_fd, "0", &st, 0), -1);
    assert_int_equal(append(0, 1, 10), -EAGAIN);
}

#define LIVE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksums), cmocka_unit_test(headers), LIVE(records_come_back), LIVE(a_refused_message),
        LIVE(torn_groups),           LIVE(stale_generations),   LIVE(a_full_journal),    LIVE(another_process),
        LIVE(another_size),          LIVE(an_unsettled_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
