/* crc: CRC-32C (Castagnoli), the checksum of what the queue keeps on disk beside the messages themselves. */
#ifndef POSTHOUSE_BASE_CRC_H
#define POSTHOUSE_BASE_CRC_H

#include <stddef.h>
#include <stdint.h>

/* Begin with 0; the result of one piece is the crc to begin the next with. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
