/* The header walker: the same fields whatever the chunking. */
#include <stdlib.h>
#include <string.h>

#include "mail/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int note_field(void *arg, const struct mail_field *f)
{
    if (f->value + f->value_len > f->raw + f->raw_len)
        abort();
    buf_append(arg, f->raw, f->raw_len);
    return mail_header_unfold(f->value, f->value_len, arg);
}

static int walk(const char *data, size_t size, size_t chunk, struct buf *out)
{
    struct mail_header_walker w;
    int r = 0;
    mail_header_init(&w, 4096, 16384, note_field, out);
    while (r == 0 && size > 0) {
        size_t used;
        r = mail_header_feed(&w, data, size < chunk ? size : chunk, &used);
        data += used;
        size -= used;
    }
    if (r == 0)
        r = mail_header_finish(&w);
    mail_header_deinit(&w);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole, pieces;
    buf_init(&whole, 65536);
    buf_init(&pieces, 65536);
    int a = walk((const char *)data, size, SIZE_MAX, &whole);
    int b = walk((const char *)data, size, 3, &pieces);
    if (a != b || (a != MAIL_HEADER_TOO_LARGE && strcmp(buf_str(&whole), buf_str(&pieces)) != 0))
        abort();
    buf_deinit(&whole);
    buf_deinit(&pieces);
    return 0;
}
