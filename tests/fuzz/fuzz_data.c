/* Content: decoding gives the same whatever the chunking, and encoding what was decoded brings it back. */
#include <stdlib.h>
#include <string.h>

#include "smtp/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int keep(void *arg, const char *data, size_t len)
{
    return buf_append(arg, data, len);
}

static int decode(const char *data, size_t size, size_t chunk, struct smtp_data_decoder *d, struct buf *out)
{
    int r = SMTP_DATA_MORE;
    smtp_data_decoder_init(d);
    while (r == SMTP_DATA_MORE && size > 0) {
        size_t used;
        r = smtp_data_decode(d, data, size < chunk ? size : chunk, keep, out, &used);
        data += used;
        size -= used;
    }
    return r;
}

static void encode_and_decode(const struct buf *content)
{
    struct smtp_data_encoder e;
    struct smtp_data_decoder d;
    struct buf wire, back;
    buf_init(&wire, 2 * content->len + 8);
    buf_init(&back, 2 * content->len + 8);
    smtp_data_encoder_init(&e);
    if (smtp_data_encode(&e, buf_str(content), content->len, &wire) != 0 || smtp_data_encode_end(&e, &wire) != 0 ||
        decode(wire.data, wire.len, 5, &d, &back) != 0 || memcmp(buf_str(&back), buf_str(content), content->len) != 0)
        abort();
    buf_deinit(&wire);
    buf_deinit(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smtp_data_decoder one, two;
    struct buf whole, pieces;
    buf_init(&whole, size + 2);
    buf_init(&pieces, size + 2);
    int a = decode((const char *)data, size, SIZE_MAX, &one, &whole);
    int b = decode((const char *)data, size, 3, &two, &pieces);
    if (a != b || whole.len != pieces.len || memcmp(buf_str(&whole), buf_str(&pieces), whole.len) != 0 ||
        one.has_leading_dots != two.has_leading_dots || one.has_bare_cr != two.has_bare_cr)
        abort();
    encode_and_decode(&whole);
    buf_deinit(&whole);
    buf_deinit(&pieces);
    return 0;
}
