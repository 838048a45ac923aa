#include "mail/dsn.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/encode.h"
#include "base/text.h"
#include "mail/domain.h"

static const struct {
    const char *name;
    unsigned flag;
} notify_names[] = {
    {"NEVER", MAIL_DSN_NOTIFY_NEVER},
    {"SUCCESS", MAIL_DSN_NOTIFY_SUCCESS},
    {"FAILURE", MAIL_DSN_NOTIFY_FAILURE},
    {"DELAY", MAIL_DSN_NOTIFY_DELAY},
};

static bool is_word(const char *text, size_t len, const char *word)
{
    return strlen(word) == len && text_equal_nocase_n(text, word, len);
}

static unsigned notify_flag(const char *text, size_t len)
{
    for (size_t i = 0; i < ARRAY_LENGTH(notify_names); i++)
        if (is_word(text, len, notify_names[i].name))
            return notify_names[i].flag;
    return 0;
}

int mail_dsn_notify_parse(const char *text, size_t len, unsigned *notify)
{
    unsigned flags = 0;
    for (;;) {
        const char *comma = memchr(text, ',', len);
        size_t n = comma != NULL ? (size_t)(comma - text) : len;
        unsigned flag = notify_flag(text, n);
        if (flag == 0)
            return -EINVAL;
        flags |= flag;
        if (comma == NULL)
            break;
        text += n + 1;
        len -= n + 1;
    }
    /* Section 4.1: NEVER stands alone. */
    if ((flags & MAIL_DSN_NOTIFY_NEVER) != 0 && flags != MAIL_DSN_NOTIFY_NEVER)
        return -EINVAL;
    *notify = flags;
    return 0;
}

int mail_dsn_notify_format(unsigned notify, struct buf *out)
{
    int r = 0;
    size_t before = out->len;
    for (size_t i = 0; r == 0 && i < ARRAY_LENGTH(notify_names); i++) {
        if ((notify & notify_names[i].flag) == 0)
            continue;
        if (out->len > before)
            r = buf_append_char(out, ',');
        if (r == 0)
            r = buf_append_str(out, notify_names[i].name);
    }
    return r;
}

int mail_dsn_ret_parse(const char *text, size_t len, enum mail_dsn_ret *ret)
{
    if (is_word(text, len, "FULL"))
        *ret = MAIL_DSN_RET_FULL;
    else if (is_word(text, len, "HDRS"))
        *ret = MAIL_DSN_RET_HDRS;
    else
        return -EINVAL;
    return 0;
}

const char *mail_dsn_ret_format(enum mail_dsn_ret ret)
{
    return ret == MAIL_DSN_RET_FULL ? "FULL" : ret == MAIL_DSN_RET_HDRS ? "HDRS" : "";
}

/* xtext whose meaning is printable: nothing in it may forge a line of a report. */
static int xtext_check(const char *text, size_t len)
{
    _cleanup_(buf_deinit) struct buf plain;
    buf_init(&plain, MAIL_DSN_ORCPT_MAX);
    int r = len > 0 ? xtext_decode(text, len, &plain) : -EINVAL;
    for (size_t i = 0; r == 0 && i < plain.len; i++)
        if ((unsigned char)plain.data[i] < ' ' || (unsigned char)plain.data[i] > '~')
            r = -EINVAL;
    return r;
}

int mail_dsn_envid_check(const char *text, size_t len)
{
    return len <= MAIL_DSN_ENVID_MAX ? xtext_check(text, len) : -EINVAL;
}

/* EmbeddedUnicodeChar = "\x{" HEXPOINT "}": what can not stand for itself, but for control characters.  The length of
 * the one at the start of text, 0 = there is none. */
static size_t embedded_char(const char *text, size_t len)
{
    const char *end = len > 3 && memcmp(text, "\\x{", 3) == 0 ? memchr(text, '}', len) : NULL;
    size_t n = end != NULL ? (size_t)(end - text) - 3 : 0;
    char digits[7] = "";
    if (n < 2 || n >= sizeof(digits))
        return 0;
    memcpy(digits, text + 3, n);
    if (strspn(digits, "0123456789ABCDEFabcdef") != n)
        return 0;
    unsigned long c = strtoul(digits, NULL, 16);
    bool beyond_ascii = c >= 0x80 && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
    return beyond_ascii || c == ' ' || c == '+' || c == '=' || c == '\\' ? n + 4 : 0;
}

/* The address of type utf-8: QCHAR, UTF-8 as it is, and EmbeddedUnicodeChar. */
static int utf8_address_check(const char *text, size_t len)
{
    for (size_t i = 0, n; i < len; i += n) {
        unsigned char c = (unsigned char)text[i];
        n = c == '\\' ? embedded_char(text + i, len - i) : 1;
        if (n == 0 || c <= ' ' || c == 0x7f || c == '+' || c == '=')
            return -EINVAL;
    }
    return len > 0 && mail_utf8_is_valid(text, len) ? 0 : -EINVAL;
}

int mail_dsn_orcpt_check(const char *text, size_t len)
{
    const char *semicolon = len <= MAIL_DSN_ORCPT_MAX ? memchr(text, ';', len) : NULL;
    if (semicolon == NULL || semicolon == text)
        return -EINVAL;
    size_t type_len = (size_t)(semicolon - text);
    for (size_t i = 0; i < type_len; i++) {
        char c = text_lower_char(text[i]);
        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-')
            return -EINVAL;
    }
    const char *address = semicolon + 1;
    size_t address_len = len - type_len - 1;
    if (is_word(text, type_len, "utf-8"))
        return utf8_address_check(address, address_len);
    return xtext_check(address, address_len);
}
