#include "mail/from.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "mail/domain.h"

enum { COMMENT_DEPTH_MAX = 16 };

/* Where a quoted string or comment that starts at s[i] ends: the index behind its last byte, or len. */
static size_t skip_quoted(const char *s, size_t len, size_t i)
{
    for (i++; i < len && s[i] != '"'; i++)
        if (s[i] == '\\')
            i++;
    return i < len ? i + 1 : len;
}

static size_t skip_comment(const char *s, size_t len, size_t i)
{
    unsigned depth = 0;
    for (; i < len; i++) {
        if (s[i] == '\\')
            i++;
        else if (s[i] == '(' && ++depth > COMMENT_DEPTH_MAX)
            return len;
        else if (s[i] == ')' && --depth == 0)
            return i + 1;
    }
    return len;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Copies the domain that starts behind an '@' at s[i], without blanks and comments (RFC 5322 allows both around it). */
static int copy_domain(const char *s, size_t len, size_t i, struct buf *out)
{
    int r = 0;
    while (r == 0 && i < len && strchr(">,;<\"@", s[i]) == NULL) {
        if (s[i] == '(') {
            i = skip_comment(s, len, i);
        } else {
            r = is_space(s[i]) ? 0 : buf_append_char(out, text_lower_char(s[i]));
            i++;
        }
    }
    return r;
}

/* The '@' of the first mailbox, or len.  An '@' in a display name's quotes or comments does not count; one before "<"
 * (an unquoted display name, which senders do write) counts only if no angle address follows in the same mailbox. */
static size_t find_at(const char *s, size_t len)
{
    size_t outside = len;
    bool angle = false;
    for (size_t i = 0; i < len;) {
        if (s[i] == '"') {
            i = skip_quoted(s, len, i);
            continue;
        }
        if (s[i] == '(') {
            i = skip_comment(s, len, i);
            continue;
        }
        if (s[i] == '@' && angle)
            return i;
        if (s[i] == '@' && outside == len)
            outside = i;
        else if (s[i] == '<')
            angle = true;
        else if ((s[i] == ',' || s[i] == ';') && outside < len)
            return outside;
        else if (s[i] == '>' && angle)
            return len;
        i++;
    }
    return outside;
}

int mail_from_domain(const char *field_value, size_t len, struct buf *domain)
{
    _cleanup_(buf_deinit) struct buf found;
    buf_init(&found, 255);
    size_t at = find_at(field_value, len);
    if (at >= len)
        return MAIL_FROM_NONE;
    int r = copy_domain(field_value, len, at + 1, &found);
    if (r == -ENOMEM)
        return r;
    if (r < 0 || !mail_domain_is_valid(buf_str(&found), found.len))
        return MAIL_FROM_NONE;
    buf_clear(domain);
    return buf_append(domain, found.data, found.len);
}
