/* The history behind the content of a queue file: a line that was read is written, and reads as the same line. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "queue/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct note {
    struct buf text;
    unsigned lines;
};

static void write_again(void *arg, const struct queue_attempt *a)
{
    struct note *n = arg;
    if (queue_attempt_format(a, &n->text) < 0)
        abort();
    n->lines++;
}

static void rewrite(const char *text, size_t len, struct note *out)
{
    char *copy = text_dup_n(text, len);
    queue_history_parse(copy, len, write_again, out);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct note first = {0}, second = {0};
    buf_init(&first.text, 4 * size + 4096);
    buf_init(&second.text, 4 * size + 4096);
    rewrite((const char *)data, size, &first);
    rewrite(buf_str(&first.text), first.text.len, &second);
    if (first.lines != second.lines || strcmp(buf_str(&first.text), buf_str(&second.text)) != 0)
        abort();
    buf_deinit(&first.text);
    buf_deinit(&second.text);
    return 0;
}
