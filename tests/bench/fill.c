/* posthouse-fill: a queue directory full of deferred messages, as qmgr would have left them.
 *
 *     posthouse-fill QUEUE-DIRECTORY COUNT [DOMAINS [SIZE [FIRST-DUE-S [SPREAD-S]]]]
 *
 * Messages go to recipients of DOMAINS domains (100) named d0.test, d1.test, …, are SIZE bytes (1024) and due from
 * FIRST-DUE-S seconds (3600) from now on, evenly over SPREAD-S (14400).  Nothing is flushed. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "queue/envelope.h"
#include "queue/folder.h"

#define CONTENT_MAX (1024 * 1024)

enum argument { DIRECTORY = 1, COUNT, DOMAINS, SIZE, FIRST_DUE_S, SPREAD_S, ARGUMENTS };

struct plan {
    uint64_t number[ARGUMENTS];
    int queue_fd;
    int64_t now_s;
    char content[CONTENT_MAX];
};

static int write_file(const struct plan *p, const char *path, const struct buf *text)
{
    _cleanup_(fd_closep) int fd = openat(p->queue_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0660);
    if (fd < 0)
        return -errno;
    return write(fd, text->data, text->len) == (ssize_t)text->len ? 0 : -EIO;
}

static int add_message(const struct plan *p, uint64_t i, struct buf *text)
{
    char recipient[64], path[QUEUE_PATH_MAX], first[ENVELOPE_FIRST_LINE + 1];
    snprintf(recipient, sizeof(recipient), "user%" PRIu64 "@d%" PRIu64 ".test", i, i % p->number[DOMAINS]);
    struct envelope_recipient rcpt = {.address = recipient, .orcpt = ""};
    struct envelope e = {.arrived_us = clock_wall_us(),
                         .sender = "fill@sender.test",
                         .client_address = "127.0.0.1",
                         .client_name = "fill.test",
                         .listener = "smtp",
                         .protocol = "ESMTP",
                         .attempts = 1,
                         .content_length = p->number[SIZE],
                         .recipients = &rcpt,
                         .recipient_count = 1};
    queue_id_new(0, e.id);
    buf_clear(text);
    int r = envelope_format(&e, text);
    if (r < 0)
        return r;
    envelope_format_first_line(&e, first);
    memcpy(text->data, first, ENVELOPE_FIRST_LINE);
    int64_t due_s = p->now_s + (int64_t)p->number[FIRST_DUE_S] + (int64_t)(i * p->number[SPREAD_S] / p->number[COUNT]);
    queue_path(QUEUE_DEFERRED, e.id, due_s, path);
    if ((r = buf_append(text, p->content, p->number[SIZE])) < 0)
        return r;
    /* The file's folder is one slice of due time. */
    char folder[QUEUE_PATH_MAX];
    snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path), path);
    r = write_file(p, path, text);
    if (r != -ENOENT)
        return r;
    return mkdirat(p->queue_fd, folder, 0700) < 0 ? -errno : write_file(p, path, text);
}

static void make_content(struct plan *p)
{
    static const char text[] =
        "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nFrom: <fill@sender.test>\r\nTo: <user@d0.test>\r\n"
        "Subject: Filling\r\nMessage-ID: <1@fill.test>\r\n\r\n";
    static const char line[] = "A line of a message that waits in the queue for its next attempt.....\r\n";
    size_t size = (size_t)p->number[SIZE];
    for (size_t i = 0; i < size; i++)
        p->content[i] = i < strlen(text) ? text[i] : line[(i - strlen(text)) % strlen(line)];
    memcpy(p->content + size - 2, "\r\n", 2);
}

int main(int argc, char **argv)
{
    static struct plan plan = {.number = {[DOMAINS] = 100, [SIZE] = 1024, [FIRST_DUE_S] = 3600, [SPREAD_S] = 14400}};
    static const uint64_t least[] = {[COUNT] = 1, [DOMAINS] = 1, [SIZE] = 256, [FIRST_DUE_S] = 0, [SPREAD_S] = 0};
    bool good = argc > COUNT && argc <= ARGUMENTS;
    for (int i = COUNT; good && i < argc; i++)
        good = text_parse_u64(argv[i], i == SIZE ? CONTENT_MAX : 1000000000, &plan.number[i]) == 0 &&
               plan.number[i] >= least[i];
    if (!good) {
        fputs("usage: posthouse-fill QUEUE-DIRECTORY COUNT [DOMAINS [SIZE [FIRST-DUE-S [SPREAD-S]]]]\n", stderr);
        return 64;
    }
    const char *where = argv[DIRECTORY];
    struct buf text;
    buf_init(&text, ENVELOPE_MAX);
    int r = queue_make_folders(where, 1, NULL, &where);
    if (r == 0 && (plan.queue_fd = open(argv[DIRECTORY], O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
        r = -errno;
    plan.now_s = clock_wall_s();
    make_content(&plan);
    for (uint64_t i = 0; r == 0 && i < plan.number[COUNT]; i++)
        r = add_message(&plan, i, &text);
    if (r < 0)
        fprintf(stderr, "posthouse-fill: %s: %s\n", where, text_errno(r));
    buf_deinit(&text);
    return r == 0 ? 0 : 1;
}
