/* A journal segment after a crash: whatever stands in it, records that are read lie inside it, come in order, and are
 * the same when they are written again. */
#include <stdlib.h>
#include <string.h>

#include "queue/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *data, size_t size, const struct segment_record *r, uint64_t after)
{
    struct segment_head head;
    bool inside = r->data >= data + SEGMENT_RECORD_HEAD && (size_t)(r->data - data) <= size &&
                  r->length <= size - (size_t)(r->data - data);
    if (!inside || r->sequence <= after || !queue_id_valid(r->id))
        abort();
    segment_record_format(r, &head);
    /* But for what stands behind the id, which the checksum covers and nobody reads. */
    if (memcmp(head.bytes + 8, r->data - SEGMENT_RECORD_HEAD + 8, SEGMENT_RECORD_HEAD - 8 - 2) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const char *data = (const char *)bytes;
    struct segment_header header;
    uint64_t generation = 1;
    if (size >= SEGMENT_DATA && segment_header_parse(data, &header) == 0)
        generation = header.generation;
    else if (size >= 24)
        memcpy(&generation, data + 16, sizeof(generation)); /* of a record at the very beginning */
    struct segment_record r = {0};
    uint64_t after = 0;
    for (size_t at = 0; segment_next(data, size, generation, &at, &r); after = r.sequence)
        check(data, size, &r, after);
    return 0;
}
