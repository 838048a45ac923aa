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

/* One element of an address list as it is read, without comments. */
struct element {
    struct buf bare, angle; /* outside and inside of "<>", runs of blanks as one */
    bool in_angle, had_angle, in_brackets, broken;
};

static int element_add(struct element *e, char c)
{
    struct buf *b = e->in_angle ? &e->angle : &e->bare;
    char last = b->len > 0 ? b->data[b->len - 1] : ' ';
    if (is_space(c) && (last == ' ' || last == '@' || last == '.' || last == '<'))
        return 0;
    if (last == ' ' && b->len > 0 && (c == '@' || c == '.'))
        b->len--;
    int r = buf_append_char(b, is_space(c) ? ' ' : c);
    e->broken |= r == -ENOBUFS;
    return r == -ENOBUFS ? 0 : r;
}

static void element_clear(struct element *e)
{
    buf_clear(&e->bare);
    buf_clear(&e->angle);
    e->in_angle = e->had_angle = e->in_brackets = e->broken = false;
}

static void trim(struct buf *b)
{
    while (b->len > 0 && b->data[b->len - 1] == ' ')
        b->len--;
}

/* 1: it is a mailbox; 0: it is empty; -1: neither. */
static int element_parse(struct element *e, struct mail_address *out)
{
    struct buf *text = e->had_angle ? &e->angle : &e->bare;
    trim(text);
    if (e->broken || e->in_angle)
        return -1;
    if (text->len == 0)
        return e->had_angle ? -1 : 0;
    if (e->had_angle) {
        size_t used;
        _cleanup_(buf_deinit) struct buf path;
        buf_init(&path, text->len + 3);
        if (buf_append_char(&path, '<') < 0 || buf_append(&path, text->data, text->len) < 0 ||
            buf_append_char(&path, '>') < 0)
            return -1;
        return mail_path_parse(path.data, path.len, MAIL_ADDRESS_ALLOW_UTF8, out, &used) == 0 && used == path.len ? 1
                                                                                                                  : -1;
    }
    return mail_address_parse(text->data, text->len, MAIL_ADDRESS_ALLOW_UTF8, out) == 0 ? 1 : -1;
}

/* Takes s[*i], which may be the beginning of something longer.  1: the element ended in front of it. */
static int element_feed(struct element *e, const char *s, size_t len, size_t *i)
{
    size_t at = *i, end = at + 1;
    int r = 0;
    if (s[at] == '(') {
        end = skip_comment(s, len, at);
        r = element_add(e, ' ');
    } else if (s[at] == '"') {
        end = skip_quoted(s, len, at);
        for (size_t k = at; k < end && r == 0; k++)
            if (s[k] != '\r' && s[k] != '\n')
                r = buf_append_char(e->in_angle ? &e->angle : &e->bare, s[k]);
        e->broken |= r == -ENOBUFS;
        r = r == -ENOBUFS ? 0 : r;
    } else if (s[at] == '<' && !e->in_angle) {
        e->broken |= e->had_angle;
        e->in_angle = true;
    } else if (s[at] == '>' && e->in_angle) {
        e->in_angle = false;
        e->had_angle = true;
    } else if ((s[at] == ',' || s[at] == ';') && !e->in_angle) {
        r = 1;
    } else if (s[at] == ':' && !e->in_angle && !e->in_brackets) {
        buf_clear(&e->bare); /* the name of a group */
    } else {
        e->in_brackets = s[at] == '[' || (e->in_brackets && s[at] != ']');
        e->broken |= e->had_angle && !is_space(s[at]);
        r = element_add(e, s[at]);
    }
    *i = end;
    return r;
}

int mail_from_mailboxes(const char *field_value, size_t len, int (*fn)(void *arg, const struct mail_address *a),
                        void *arg)
{
    struct element e = {0};
    bool any = false, broken = false;
    int r = 0;
    buf_init(&e.bare, 1024);
    buf_init(&e.angle, 1024);
    for (size_t i = 0; i <= len && r >= 0 && !broken;) {
        r = i < len ? element_feed(&e, field_value, len, &i) : 1;
        if (r != 1)
            continue;
        struct mail_address a;
        int parsed = element_parse(&e, &a);
        element_clear(&e);
        broken = parsed < 0;
        any |= parsed > 0;
        r = parsed > 0 ? fn(arg, &a) : 0;
        if (i == len || r != 0)
            break;
    }
    buf_deinit(&e.bare);
    buf_deinit(&e.angle);
    return r != 0 ? r : broken || !any ? MAIL_FROM_NONE : 0;
}
