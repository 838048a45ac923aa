#include "base/encode.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static const char base64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int base64_encode(const void *data, size_t len, struct buf *out)
{
    const unsigned char *p = data;
    int r = buf_reserve(out, (len + 2) / 3 * 4);
    if (r < 0)
        return r;
    for (size_t i = 0; i < len; i += 3) {
        size_t have = len - i < 3 ? len - i : 3;
        uint32_t v = (uint32_t)p[i] << 16;
        v |= have > 1 ? (uint32_t)p[i + 1] << 8 : 0;
        v |= have > 2 ? p[i + 2] : 0;
        char quad[4] = {base64_alphabet[v >> 18], base64_alphabet[v >> 12 & 63],
                        have > 1 ? base64_alphabet[v >> 6 & 63] : '=', have > 2 ? base64_alphabet[v & 63] : '='};
        buf_append(out, quad, sizeof(quad));
    }
    return 0;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int base64_decode(const char *text, size_t len, struct buf *out)
{
    if (len % 4 != 0)
        return -EINVAL;
    int r = buf_reserve(out, len / 4 * 3);
    if (r < 0)
        return r;
    size_t start = out->len;
    for (size_t i = 0; i < len; i += 4) {
        bool last = i + 4 == len;
        size_t pad = last && text[i + 3] == '=' ? (text[i + 2] == '=' ? 2 : 1) : 0;
        uint32_t v = 0;
        for (size_t k = 0; k < 4; k++) {
            int d = k >= 4 - pad ? 0 : base64_value(text[i + k]);
            if (d < 0) {
                buf_truncate(out, start);
                return -EINVAL;
            }
            v = v << 6 | (uint32_t)d;
        }
        /* Bits that no byte carries must be zero, or one secret has two spellings. */
        if ((pad == 1 && (v & 0xff) != 0) || (pad == 2 && (v & 0xffff) != 0)) {
            buf_truncate(out, start);
            return -EINVAL;
        }
        char bytes[3] = {(char)(v >> 16), (char)(v >> 8), (char)v};
        buf_append(out, bytes, 3 - pad);
    }
    return 0;
}

static const char hex_upper[] = "0123456789ABCDEF";

int xtext_encode(const char *text, struct buf *out)
{
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        int r;
        if (*p > 0x20 && *p < 0x7f && *p != '+' && *p != '=') {
            r = buf_append_char(out, (char)*p);
        } else {
            char coded[3] = {'+', hex_upper[*p >> 4], hex_upper[*p & 15]};
            r = buf_append(out, coded, sizeof(coded));
        }
        if (r < 0)
            return r;
    }
    return 0;
}

int xtext_decode(const char *text, size_t len, struct buf *out)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c <= 0x20 || c >= 0x7f || c == '=')
            return -EINVAL;
        if (c == '+') {
            const char *hi = i + 1 < len && text[i + 1] != '\0' ? strchr(hex_upper, text[i + 1]) : NULL;
            const char *lo = i + 2 < len && text[i + 2] != '\0' ? strchr(hex_upper, text[i + 2]) : NULL;
            if (hi == NULL || lo == NULL)
                return -EINVAL;
            c = (unsigned char)((hi - hex_upper) << 4 | (lo - hex_upper));
            i += 2;
        }
        int r = buf_append_char(out, (char)c);
        if (r < 0)
            return r;
    }
    return 0;
}

int hex_encode(const void *data, size_t len, struct buf *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = data;
    for (size_t i = 0; i < len; i++) {
        char pair[2] = {digits[p[i] >> 4], digits[p[i] & 15]};
        int r = buf_append(out, pair, sizeof(pair));
        if (r < 0)
            return r;
    }
    return 0;
}
