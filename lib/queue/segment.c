#include "queue/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/crc.h"

#define HEADER_MAGIC 0x31676573686f70ULL /* "pohseg1" */
#define RECORD_MAGIC 0x72656370u         /* "pcer" */
#define BOOT_ID      "/proc/sys/kernel/random/boot_id"

struct disk_header {
    uint64_t magic, generation, count, from;
    uint32_t suspect;
    uint32_t crc; /* of all before it */
};

struct disk_record {
    uint32_t magic;
    uint32_t crc; /* of all behind it, data included */
    uint32_t kind, length;
    uint64_t generation, sequence, boot, time_ns;
    char id[16]; /* zeros behind the id */
};
_Static_assert(sizeof(struct disk_record) == SEGMENT_RECORD_HEAD, "no padding on disk");
#define CRC_FROM offsetof(struct disk_record, kind)

void segment_header_format(const struct segment_header *h, char page[SEGMENT_PAGE])
{
    struct disk_header d = {
        .magic = HEADER_MAGIC, .generation = h->generation, .count = h->count, .from = h->from, .suspect = h->suspect};
    d.crc = crc32c(0, &d, offsetof(struct disk_header, crc));
    memset(page, 0, SEGMENT_PAGE);
    memcpy(page, &d, sizeof(d));
}

static bool header_read(const char *page, struct disk_header *d)
{
    memcpy(d, page, sizeof(*d));
    return d->magic == HEADER_MAGIC && d->generation != 0 && d->crc == crc32c(0, d, offsetof(struct disk_header, crc));
}

int segment_header_parse(const char pages[SEGMENT_DATA], struct segment_header *out)
{
    struct disk_header d, other;
    bool first = header_read(pages, &d), second = header_read(pages + SEGMENT_PAGE, &other);
    if (!first && !second)
        return -EPROTO;
    if (!first || (second && other.count > d.count))
        d = other;
    *out = (struct segment_header){
        .generation = d.generation, .count = d.count, .from = d.from, .suspect = d.suspect != 0};
    return 0;
}

size_t segment_record_size(uint32_t length)
{
    return (SEGMENT_RECORD_HEAD + (size_t)length + SEGMENT_ALIGNMENT - 1) & ~(size_t)(SEGMENT_ALIGNMENT - 1);
}

void segment_record_format(const struct segment_record *r, struct segment_head *head)
{
    struct disk_record d = {.magic = RECORD_MAGIC,
                            .kind = r->kind,
                            .length = r->length,
                            .generation = r->generation,
                            .sequence = r->sequence,
                            .boot = r->boot,
                            .time_ns = r->time_ns};
    memcpy(d.id, r->id, QUEUE_ID_SIZE);
    d.crc = crc32c(0, (const char *)&d + CRC_FROM, sizeof(d) - CRC_FROM);
    if (r->length > 0)
        d.crc = crc32c(d.crc, r->data, r->length);
    memcpy(head->bytes, &d, sizeof(d));
}

static bool record_read(const char *data, size_t len, uint64_t generation, uint64_t after, struct segment_record *out)
{
    struct disk_record d;
    if (len < sizeof(d))
        return false;
    memcpy(&d, data, sizeof(d));
    bool known = d.magic == RECORD_MAGIC && (d.kind == SEGMENT_MESSAGE || d.kind == SEGMENT_VOID);
    if (!known || d.generation != generation || d.sequence <= after || d.length > len - sizeof(d))
        return false;
    if (crc32c(0, data + CRC_FROM, sizeof(d) - CRC_FROM + d.length) != d.crc)
        return false;
    *out = (struct segment_record){.kind = (enum segment_kind)d.kind,
                                   .generation = d.generation,
                                   .sequence = d.sequence,
                                   .boot = d.boot,
                                   .time_ns = d.time_ns,
                                   .data = data + sizeof(d),
                                   .length = d.length};
    memcpy(out->id, d.id, QUEUE_ID_SIZE);
    return out->id[QUEUE_ID_LEN] == '\0' && queue_id_valid(out->id);
}

bool segment_next(const char *data, size_t len, uint64_t generation, size_t *at, struct segment_record *out)
{
    uint64_t after = out->generation == generation ? out->sequence : 0;
    for (size_t place = *at; place < len; place = (place / SEGMENT_PAGE + 1) * SEGMENT_PAGE) {
        if (!record_read(data + place, len - place, generation, after, out))
            continue;
        *at = place + segment_record_size(out->length);
        return true;
    }
    *at = len;
    return false;
}

uint64_t segment_boot(void)
{
    char text[64];
    _cleanup_(fd_closep) int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text)) : -1;
    return n > 0 ? (uint64_t)crc32c(0, text, (size_t)n) << 32 | crc32c(1, text, (size_t)n) : 0;
}

uint64_t segment_time_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}
