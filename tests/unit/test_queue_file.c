/* Committed queue files: reading the head, marks in place, the history behind the content. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"
#include "queue/file.h"

static const char content[] = "Received: x\r\n\r\nbody\r\n";
#define CONTENT_LENGTH (sizeof(content) - 1)

/* A committed file of so many recipients, without a name. */
static int make_file(size_t recipients, struct envelope *e)
{
    static struct envelope_recipient r[1000];
    struct buf text;
    for (size_t i = 0; i < recipients; i++)
        r[i] = (struct envelope_recipient){.address = "somebody@example.com", .notify = (uint32_t)i};
    *e = (struct envelope){.id = "1P8X2K7Q3M40A",
                           .sender = "a@b.example",
                           .content_length = CONTENT_LENGTH,
                           .recipients = r,
                           .recipient_count = recipients};
    buf_init(&text, 1024 * 1024);
    assert_int_equal(envelope_format(e, &text), 0);
    buf_append(&text, content, CONTENT_LENGTH);
    int fd = memfd_create("queue-file", MFD_CLOEXEC);
    assert_int_equal(write(fd, text.data, text.len), (ssize_t)text.len);
    buf_deinit(&text);
    return fd;
}

static off_t size_of(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return st.st_size;
}

static void reads_heads_of_any_length(void **state)
{
    static const size_t counts[] = {1, 60, 64, 65, 66, 67, 70, 1000};
    for (size_t i = 0; i < ARRAY_LENGTH(counts); i++) {
        struct envelope made, got;
        int fd = make_file(counts[i], &made);
        assert_int_equal(queue_file_read(fd, &got), 0);
        assert_int_equal(got.recipient_count, counts[i]);
        assert_int_equal(got.content_offset, made.content_offset);
        assert_int_equal(got.recipients[counts[i] - 1].notify, counts[i] - 1);
        envelope_free(&got);
        close(fd);
    }
}

static void every_cut_is_refused(void **state)
{
    struct envelope made, got;
    int fd = make_file(70, &made);
    for (off_t n = size_of(fd) - 1; n >= 0; n--) {
        assert_int_equal(ftruncate(fd, n), 0);
        assert_int_equal(queue_file_read(fd, &got), -EPROTO);
        assert_null(got.recipients);
    }
    close(fd);
}

static void not_queue_files(void **state)
{
    struct envelope made, got;
    int fd = make_file(1, &made), pipe_fds[2];
    char first[ENVELOPE_FIRST_LINE + 1];
    made.content_length = 0; /* written, never committed */
    envelope_format_first_line(&made, first);
    assert_int_equal(pwrite(fd, first, ENVELOPE_FIRST_LINE, 0), ENVELOPE_FIRST_LINE);
    assert_int_equal(queue_file_read(fd, &got), -EPROTO);
    made.content_length = INT64_MAX - ENVELOPE_MAX;
    envelope_format_first_line(&made, first);
    assert_int_equal(pwrite(fd, first, ENVELOPE_FIRST_LINE, 0), ENVELOPE_FIRST_LINE);
    assert_int_equal(queue_file_read(fd, &got), -EPROTO);
    /* A head of 60 MiB in a small file is not worth an allocation. */
    made.content_offset = 60 * 1024 * 1024;
    made.content_length = 1;
    envelope_format_first_line(&made, first);
    assert_int_equal(pwrite(fd, first, ENVELOPE_FIRST_LINE, 0), ENVELOPE_FIRST_LINE);
    assert_int_equal(queue_file_read(fd, &got), -EPROTO);
    close(fd);
    assert_int_equal(queue_file_read(fd, &got), -EBADF);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    assert_int_equal(queue_file_read(pipe_fds[0], &got), -EPROTO);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(queue_file_read(fd, &got), -EPROTO);
    close(fd);
}

static void marks_in_place(void **state)
{
    struct envelope made, got;
    int fd = make_file(RECIPIENT_STATUS_COUNT + 1, &made);
    off_t size = size_of(fd);
    for (int i = 0; i < RECIPIENT_STATUS_COUNT; i++)
        assert_int_equal(queue_file_mark(fd, made.recipients[i].index, (enum recipient_status)i), 0);
    made.attempts = 42;
    made.warned = true;
    assert_int_equal(queue_file_mark_state(fd, &made), 0);
    assert_int_equal(size_of(fd), size);
    assert_int_equal(queue_file_read(fd, &got), 0);
    for (int i = 0; i < RECIPIENT_STATUS_COUNT; i++) {
        assert_int_equal(got.recipients[i].status, i);
        assert_string_equal(got.recipients[i].address, "somebody@example.com");
    }
    assert_int_equal(got.recipients[RECIPIENT_STATUS_COUNT].status, RECIPIENT_TODO);
    assert_int_equal(got.attempts, 42);
    assert_true(got.warned);
    char tail[CONTENT_LENGTH];
    assert_int_equal(pread(fd, tail, sizeof(tail), got.content_offset), CONTENT_LENGTH);
    assert_memory_equal(tail, content, CONTENT_LENGTH);
    envelope_free(&got);
    int read_only = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(queue_file_mark(read_only, 200, RECIPIENT_DONE), -EBADF);
    close(read_only);
    close(fd);
}

/* What a walk through the history saw, one line each, in the form it is written. */
static void note(void *arg, const struct queue_attempt *a)
{
    assert_int_equal(queue_attempt_format(a, arg), 0);
}

static void assert_history(int fd, const struct envelope *e, const char *want)
{
    struct buf got;
    buf_init(&got, 4 * QUEUE_HISTORY_MAX);
    assert_int_equal(queue_file_history(fd, e, note, &got), 0);
    assert_string_equal(buf_str(&got), want);
    buf_deinit(&got);
}

static void append(int fd, const struct envelope *e, const char *line, int want)
{
    struct buf text;
    buf_init(&text, 2 * QUEUE_HISTORY_MAX);
    buf_append_str(&text, line);
    assert_int_equal(queue_file_append(fd, e, &text), want);
    buf_deinit(&text);
}

static void attempts_as_text(void **state)
{
    static const struct {
        struct queue_attempt attempt;
        const char *want;
    } cases[] = {
        {{1763928000, 341, "deferred", 450, "4.2.1", "mx.example.com[192.0.2.1]:25", "mailbox busy"},
         "attempt 1763928000 341 deferred 450 4.2.1 mx.example.com[192.0.2.1]:25 mailbox busy\n"},
        {{1, 2, "failed", 0, "", NULL, ""}, "attempt 1 2 failed 0 - none \n"},
        {{0, 0, "", 0, NULL, "", "  two  blanks "}, "attempt 0 0 - 0 - none   two  blanks \n"},
        {{1, 2, "a b", 999, "5.0.0\n", "x y", "one\r\nattempt 9 9 x"},
         "attempt 1 2 a_b 999 5.0.0_ x_y one  attempt 9 9 x\n"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct buf text, again;
        buf_init(&text, 1000);
        buf_init(&again, 1000);
        assert_int_equal(queue_attempt_format(&cases[i].attempt, &text), 0);
        assert_string_equal(buf_str(&text), cases[i].want);
        queue_history_parse(text.data, text.len, note, &again);
        assert_string_equal(buf_str(&again), cases[i].want);
        buf_deinit(&text);
        buf_deinit(&again);
    }
    struct buf small;
    buf_init(&small, 30);
    buf_append_str(&small, "kept");
    assert_int_equal(queue_attempt_format(&cases[0].attempt, &small), -ENOBUFS);
    assert_string_equal(buf_str(&small), "kept");
    buf_deinit(&small);
}

#define LINE_1 "attempt 1763928000 341 deferred 450 4.2.1 mx.example.com[192.0.2.1]:25 mailbox busy\n"
#define LINE_2 "attempt 1763928300 341 delivered 250 2.0.0 mx.example.com[192.0.2.1]:25 ok\n"

static void history_grows(void **state)
{
    struct envelope e, got;
    int fd = make_file(1, &e);
    assert_history(fd, &e, "");
    append(fd, &e, LINE_1, 0);
    append(fd, &e, LINE_2 LINE_1, 0);
    assert_history(fd, &e, LINE_1 LINE_2 LINE_1);
    assert_int_equal(queue_file_read(fd, &got), 0); /* still a queue file */
    envelope_free(&got);
    close(fd);
}

static void torn_lines(void **state)
{
    for (size_t n = 1; n < strlen(LINE_2); n++) {
        struct envelope e;
        char torn[200];
        int fd = make_file(1, &e);
        append(fd, &e, LINE_1, 0);
        memcpy(torn, LINE_2, n);
        torn[n] = '\0';
        append(fd, &e, torn, 0);
        assert_history(fd, &e, LINE_1); /* ignored */
        append(fd, &e, LINE_2, 0);
        struct buf got;
        buf_init(&got, 1000);
        assert_int_equal(queue_file_history(fd, &e, note, &got), 0);
        assert_true(text_has_suffix_nocase(buf_str(&got), LINE_2)); /* and does not take the next one with it */
        buf_deinit(&got);
        close(fd);
    }
}

static void lines_that_make_no_sense(void **state)
{
    static const char *const lines[] = {
        "\n",
        "nothing\n",
        "attempt\n",
        "attempt 1 2 x 3 4\n",
        "attempt x 2 x 3 4 5 6\n",
        "attempt 1 -2 x 3 4 5 6\n",
        "attempt 1 4294967296 x 3 4 5 6\n",
        "attempt 1 2 x 1000 4 5 6\n",
        "attempted 1 2 x 3 4 5 6\n",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(lines); i++) {
        struct envelope e;
        int fd = make_file(1, &e);
        append(fd, &e, LINE_1, 0);
        append(fd, &e, lines[i], 0);
        append(fd, &e, LINE_2, 0);
        assert_history(fd, &e, LINE_1 LINE_2);
        close(fd);
    }
    struct buf got;
    char zeros[] = LINE_1 "\0\0\0\0\n" LINE_2;
    buf_init(&got, 1000);
    queue_history_parse(zeros, sizeof(zeros) - 1, note, &got);
    assert_string_equal(buf_str(&got), LINE_1 LINE_2);
    buf_deinit(&got);
}

static void history_is_bounded(void **state)
{
    struct envelope e;
    int fd = make_file(1, &e);
    struct buf much;
    buf_init(&much, QUEUE_HISTORY_MAX);
    while (much.len + strlen(LINE_1) < QUEUE_HISTORY_MAX)
        buf_append_str(&much, LINE_1);
    assert_int_equal(queue_file_append(fd, &e, &much), 0);
    append(fd, &e, LINE_2, -EFBIG);
    assert_history(fd, &e, buf_str(&much));
    assert_true((uint64_t)size_of(fd) <= e.content_offset + e.content_length + QUEUE_HISTORY_MAX);
    buf_deinit(&much);
    /* A file that lost content takes no history. */
    assert_int_equal(ftruncate(fd, e.content_offset), 0);
    append(fd, &e, LINE_1, -EPROTO);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_heads_of_any_length),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(not_queue_files),
        cmocka_unit_test(marks_in_place),
        cmocka_unit_test(attempts_as_text),
        cmocka_unit_test(history_grows),
        cmocka_unit_test(torn_lines),
        cmocka_unit_test(lines_that_make_no_sense),
        cmocka_unit_test(history_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
