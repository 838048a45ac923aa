#include "bounce/original.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

/* Bytes up to and without the empty line; len when there is none. */
static size_t header_length(const char *data, size_t len)
{
    if (len >= 2 && memcmp(data, "\r\n", 2) == 0)
        return 0;
    const char *end = len > 0 ? memmem(data, len, "\r\n\r\n", 4) : NULL;
    return end != NULL ? (size_t)(end - data) + 2 : len;
}

/* Where the last whole field ends: a field ends where the next line begins with something other than a blank. */
static size_t whole_fields(const char *data, size_t len)
{
    for (size_t i = len; i > 2; i--)
        if (i < len && data[i - 2] == '\r' && data[i - 1] == '\n' && data[i] != ' ' && data[i] != '\t')
            return i;
    return 0;
}

void original_take(char *data, size_t len, bool complete, bool want_whole, struct original *out)
{
    size_t header = header_length(data, len);
    bool header_ended = header < len || complete;
    *out = (struct original){.data = data, .len = header, .whole = complete && want_whole};
    if (!header_ended)
        out->len = whole_fields(data, len);
    out->utf8_header = !text_is_ascii(data, out->len);
    if (out->whole)
        out->len = len;
    out->eight_bit = !text_is_ascii(data, out->len);
}

int original_read(int fd, uint64_t offset, uint64_t length, bool want_whole, size_t limit, struct original *out)
{
    size_t len = length < limit ? (size_t)length : limit, got = 0;
    *out = (struct original){0};
    char *data = malloc(len + 1);
    if (data == NULL)
        return -ENOMEM;
    while (got < len) {
        ssize_t n = pread(fd, data + got, len - got, (off_t)(offset + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            int r = n < 0 ? -errno : -EPROTO;
            free(data);
            return r;
        }
        got += (size_t)n;
    }
    original_take(data, len, len == length, want_whole, out);
    char *smaller = realloc(out->data, out->len + 1);
    out->data = smaller != NULL ? smaller : out->data;
    return 0;
}

void original_free(struct original *o)
{
    free(o->data);
    *o = (struct original){0};
}
