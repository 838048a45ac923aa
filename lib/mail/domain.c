#include "mail/domain.h"

#include <errno.h>
#include <idn2.h>
#include <string.h>

#include "base/text.h"

/* Bytes of the sequence at s (RFC 3629 section 4), 0 = none that is valid. */
static size_t utf8_sequence(const unsigned char *s, size_t len)
{
    static const struct {
        unsigned char first, last, second_min, second_max;
        size_t bytes;
    } forms[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t f = 0; f < ARRAY_LENGTH(forms); f++) {
        if (s[0] < forms[f].first || s[0] > forms[f].last)
            continue;
        if (forms[f].bytes > len)
            return 0;
        for (size_t i = 1; i < forms[f].bytes; i++) {
            unsigned char min = i == 1 ? forms[f].second_min : 0x80, max = i == 1 ? forms[f].second_max : 0xbf;
            if (s[i] < min || s[i] > max)
                return 0;
        }
        return forms[f].bytes;
    }
    return 0;
}

bool mail_utf8_is_valid(const char *s, size_t len)
{
    while (len > 0) {
        size_t n = utf8_sequence((const unsigned char *)s, len);
        if (n == 0)
            return false;
        s += n;
        len -= n;
    }
    return true;
}

static bool is_let_dig(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c >= 0x80;
}

static bool label_is_valid(const char *label, size_t len)
{
    if (len == 0 || (len > 63 && text_is_ascii(label, len)))
        return false;
    if (!is_let_dig((unsigned char)label[0]) || !is_let_dig((unsigned char)label[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_let_dig((unsigned char)label[i]) && label[i] != '-')
            return false;
    return true;
}

bool mail_domain_is_valid(const char *domain, size_t len)
{
    if (len == 0 || len > 255 || !mail_utf8_is_valid(domain, len))
        return false;
    for (size_t start = 0; start <= len;) {
        const char *dot = memchr(domain + start, '.', len - start);
        size_t end = dot != NULL ? (size_t)(dot - domain) : len;
        if (!label_is_valid(domain + start, end - start))
            return false;
        start = end + 1;
    }
    return true;
}

int mail_literal_parse(const char *literal, size_t len, struct net_address *out)
{
    char text[NET_TEXT_MAX];
    if (len < 3 || len >= sizeof(text) || literal[0] != '[' || literal[len - 1] != ']' ||
        memchr(literal, '\0', len) != NULL)
        return -EINVAL;
    memcpy(text, literal + 1, len - 2);
    text[len - 2] = '\0';
    bool tagged = text_equal_nocase_n(text, "IPv6:", 5);
    const char *address = tagged ? text + 5 : text;
    /* net_parse also takes "address:port" and brackets; a literal has neither. */
    if (strpbrk(address, "[]") != NULL || tagged != (strchr(address, ':') != NULL) || net_parse(address, 0, out) < 0)
        return -EINVAL;
    return out->any.sa_family == (tagged ? AF_INET6 : AF_INET) ? 0 : -EINVAL;
}

bool mail_domain_is_literal(const char *domain, size_t len)
{
    struct net_address ignored;
    return mail_literal_parse(domain, len, &ignored) == 0;
}

int mail_domain_to_ascii(const char *domain, char out[MAIL_DNS_NAME_MAX + 1])
{
    size_t len = strlen(domain);
    if (!mail_domain_is_valid(domain, len))
        return -EINVAL;
    if (text_is_ascii(domain, len)) {
        if (len > MAIL_DNS_NAME_MAX)
            return -EINVAL;
        memcpy(out, domain, len + 1);
        text_lower(out);
        return 0;
    }
    uint8_t *ascii = NULL;
    int r = idn2_lookup_u8((const uint8_t *)domain, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    if (r != IDN2_OK)
        return -EINVAL;
    size_t ascii_len = strlen((const char *)ascii);
    /* Some characters are mapped to ASCII that is in no host name: U+00A0 to a blank, U+2100 to "a/c" and more. */
    bool valid = ascii_len <= MAIL_DNS_NAME_MAX && mail_domain_is_valid((const char *)ascii, ascii_len);
    if (valid)
        memcpy(out, ascii, ascii_len + 1);
    idn2_free(ascii);
    return valid ? 0 : -EINVAL;
}
