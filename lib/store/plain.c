#include "store/plain.h"

#include <stdint.h>

#include "base/text.h"

static const struct {
    unsigned char mask, lead, length;
    uint32_t lowest;
} shapes[] = {{0x80, 0x00, 1, 0}, {0xe0, 0xc0, 2, 0x80}, {0xf0, 0xe0, 3, 0x800}, {0xf8, 0xf0, 4, 0x10000}};

/* Bytes of the character at p, 0 if it is none. */
static size_t next_character(const unsigned char *p, size_t left, uint32_t *out)
{
    for (size_t i = 0; i < ARRAY_LENGTH(shapes); i++) {
        if ((p[0] & shapes[i].mask) != shapes[i].lead)
            continue;
        if (left < shapes[i].length)
            return 0;
        uint32_t c = p[0] & (unsigned char)~shapes[i].mask;
        for (size_t n = 1; n < shapes[i].length; n++) {
            if ((p[n] & 0xc0) != 0x80)
                return 0;
            c = c << 6 | (p[n] & 0x3f);
        }
        *out = c;
        return c < shapes[i].lowest || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : shapes[i].length;
    }
    return 0;
}

bool plain_text(const char *s, size_t len)
{
    for (size_t at = 0; at < len;) {
        uint32_t c = 0;
        size_t n = next_character((const unsigned char *)s + at, len - at, &c);
        if (n == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0))
            return false;
        at += n;
    }
    return true;
}
