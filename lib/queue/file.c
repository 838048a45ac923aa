#include "queue/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "base/whole.h"

#define HEAD_FIRST_READ 4096

int queue_file_read(int fd, struct envelope *out)
{
    char first[HEAD_FIRST_READ];
    struct stat st;
    uint32_t head;
    *out = (struct envelope){0};
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EPROTO;
    ssize_t n = pread(fd, first, sizeof(first), 0);
    if (n < 0)
        return -errno;
    int r = envelope_peek(first, (size_t)n, &head, NULL);
    if (r < 0)
        return r;
    if (head <= (size_t)n) {
        r = envelope_parse(first, head, out);
    } else {
        _cleanup_(freep) char *text = (off_t)head <= st.st_size ? malloc(head + 1) : NULL;
        if (text == NULL)
            return (off_t)head <= st.st_size ? -ENOMEM : -EPROTO;
        r = whole_read_at(fd, text, head, 0);
        text[head] = '\0';
        if (r == 0)
            r = envelope_parse_own(TAKE_PTR(text), head, out);
    }
    bool whole = r == 0 && out->content_length > 0 && (uint64_t)st.st_size >= out->content_offset + out->content_length;
    if (r == 0 && !whole) {
        envelope_free(out);
        r = -EPROTO;
    }
    return r;
}

bool queue_file_is_short(int fd)
{
    char first[ENVELOPE_FIRST_LINE];
    struct stat st;
    uint32_t head;
    uint64_t content;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    ssize_t n = pread(fd, first, sizeof(first), 0);
    size_t begin = strlen(ENVELOPE_MAGIC);
    if (n >= 0 && (size_t)n < sizeof(first))
        return memcmp(first, ENVELOPE_MAGIC, (size_t)n < begin ? (size_t)n : begin) == 0;
    return n == (ssize_t)sizeof(first) && envelope_peek(first, sizeof(first), &head, &content) == 0 && content > 0 &&
           (uint64_t)st.st_size < head + content;
}

int queue_file_mark(int fd, uint32_t index, enum recipient_status status)
{
    return whole_write_at(fd, recipient_status_text(status), RECIPIENT_STATUS_WIDTH,
                          (off_t)index + RECIPIENT_STATUS_OFFSET);
}

int queue_file_mark_state(int fd, const struct envelope *e)
{
    char line[ENVELOPE_STATE_LINE + 1];
    envelope_format_state(e, line);
    return whole_write_at(fd, line, ENVELOPE_STATE_LINE, ENVELOPE_STATE_OFFSET);
}

static int append_word(struct buf *text, const char *word, const char *none)
{
    if (word == NULL || *word == '\0')
        word = none;
    int r = 0;
    for (; *word != '\0' && r == 0; word++)
        r = buf_append_char(text, (unsigned char)*word <= ' ' ? '_' : *word);
    return r;
}

static int append_line_end(struct buf *text, const char *reply)
{
    int r = 0;
    for (; *reply != '\0' && r == 0; reply++)
        r = buf_append_char(text, (unsigned char)*reply < ' ' || *reply == 0x7f ? ' ' : *reply);
    return r < 0 ? r : buf_append_char(text, '\n');
}

int queue_attempt_format(const struct queue_attempt *a, struct buf *text)
{
    size_t before = text->len;
    int r = buf_printf(text, "attempt %" PRId64 " %" PRIu32 " ", a->time_s, a->index);
    if (r == 0 && (r = append_word(text, a->outcome, "-")) == 0 &&
        (r = buf_printf(text, " %" PRIu32 " ", a->code)) == 0 && (r = append_word(text, a->enhanced, "-")) == 0 &&
        (r = buf_append_char(text, ' ')) == 0 && (r = append_word(text, a->relay, "none")) == 0 &&
        (r = buf_append_char(text, ' ')) == 0)
        r = append_line_end(text, a->reply);
    if (r < 0)
        buf_truncate(text, before);
    return r;
}

int queue_file_append(int fd, const struct envelope *e, const struct buf *text)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    uint64_t begin = e->content_offset + e->content_length;
    if ((uint64_t)st.st_size < begin)
        return -EPROTO;
    if ((uint64_t)st.st_size - begin + text->len >= QUEUE_HISTORY_MAX)
        return -EFBIG;
    /* Behind a line that a crash tore, or the first new one would be torn with it. */
    char last = '\n';
    int r = (uint64_t)st.st_size > begin ? whole_read_at(fd, &last, 1, st.st_size - 1) : 0;
    if (r == 0 && last != '\n')
        r = whole_write_at(fd, "\n", 1, st.st_size++);
    return r < 0 ? r : whole_write_at(fd, text->data, text->len, st.st_size);
}

static int parse_attempt(char *line, struct queue_attempt *out)
{
    char *save = NULL, *word[7];
    uint64_t time_s, index, code;
    for (int i = 0; i < 7; i++) {
        word[i] = strtok_r(i == 0 ? line : NULL, " ", &save);
        if (word[i] == NULL)
            return -EPROTO;
    }
    if (strcmp(word[0], "attempt") != 0 || text_parse_u64(word[1], INT64_MAX, &time_s) < 0 ||
        text_parse_u64(word[2], UINT32_MAX, &index) < 0 || text_parse_u64(word[4], 999, &code) < 0)
        return -EPROTO;
    *out = (struct queue_attempt){.time_s = (int64_t)time_s,
                                  .index = (uint32_t)index,
                                  .outcome = word[3],
                                  .code = (uint32_t)code,
                                  .enhanced = word[5],
                                  .relay = word[6],
                                  .reply = save != NULL ? save : ""};
    return 0;
}

void queue_history_parse(char *text, size_t len, void (*fn)(void *arg, const struct queue_attempt *a), void *arg)
{
    char *line = text, *end = text + len;
    for (char *newline; line < end && (newline = memchr(line, '\n', (size_t)(end - line))) != NULL;
         line = newline + 1) {
        struct queue_attempt a;
        *newline = '\0';
        if (parse_attempt(line, &a) == 0)
            fn(arg, &a);
    }
}

int queue_file_history(int fd, const struct envelope *e, void (*fn)(void *arg, const struct queue_attempt *a),
                       void *arg)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    off_t begin = (off_t)(e->content_offset + e->content_length);
    if (st.st_size <= begin)
        return 0;
    size_t len = (size_t)(st.st_size - begin);
    if (len > QUEUE_HISTORY_MAX)
        len = QUEUE_HISTORY_MAX;
    _cleanup_(freep) char *text = malloc(len);
    if (text == NULL)
        return -ENOMEM;
    int r = whole_read_at(fd, text, len, begin);
    if (r == 0)
        queue_history_parse(text, len, fn, arg);
    return r;
}
