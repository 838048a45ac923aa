/* The header walker: the same fields whatever the chunking. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "mail/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int note_field(void *arg, const struct mail_field *f)
{
    if (f->value + f->value_len > f->raw + f->raw_len)
        abort();
    buf_append(arg, f->raw, f->raw_len);
    return mail_header_unfold(f->value, f->value_len, arg);
}

static bool same(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && memcmp(buf_str(a), buf_str(b), a->len) == 0;
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
    static const size_t chunks[] = {1, 3, 17};
    struct buf whole, pieces;
    buf_init(&whole, 65536);
    buf_init(&pieces, 65536);
    int a = walk((const char *)data, size, SIZE_MAX, &whole);
    for (size_t i = 0; i < ARRAY_LENGTH(chunks); i++) {
        buf_clear(&pieces);
        int b = walk((const char *)data, size, chunks[i], &pieces);
        if (a != b || (a != MAIL_HEADER_TOO_LARGE && !same(&whole, &pieces)))
            abort();
    }
    buf_deinit(&whole);
    buf_deinit(&pieces);
    return 0;
}
