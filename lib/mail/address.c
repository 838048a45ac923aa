#include "mail/address.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "mail/domain.h"

struct cursor {
    const char *at, *end;
};

/* RFC 5322 section 3.2.3 atext, and UTF-8 by RFC 6531 section 3.3. */
static bool is_atext(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c >= 0x80 ||
           (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool is_dot_string(const char *s, size_t len)
{
    bool after_dot = true;
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '.' ? after_dot : !is_atext((unsigned char)s[i]))
            return false;
        after_dot = s[i] == '.';
    }
    return !after_dot;
}

int mail_local_part_quote(const char *local, size_t len, struct buf *out)
{
    if (is_dot_string(local, len))
        return buf_append(out, local, len);
    int r = buf_append_char(out, '"');
    for (size_t i = 0; r == 0 && i < len; i++) {
        if (local[i] == '"' || local[i] == '\\')
            r = buf_append_char(out, '\\');
        if (r == 0)
            r = buf_append_char(out, local[i]);
    }
    return r < 0 ? r : buf_append_char(out, '"');
}

/* Quoted-string = DQUOTE *QcontentSMTP DQUOTE; out gets what it means. */
static int quoted_local(struct cursor *c, struct buf *out)
{
    for (c->at++; c->at < c->end && *c->at != '"'; c->at++) {
        if (*c->at == '\\' && ++c->at == c->end)
            return MAIL_ADDRESS_SYNTAX;
        if ((unsigned char)*c->at < ' ' || *c->at == 0x7f)
            return MAIL_ADDRESS_SYNTAX;
        if (buf_append_char(out, *c->at) < 0)
            return MAIL_ADDRESS_TOO_LONG;
    }
    if (c->at == c->end)
        return MAIL_ADDRESS_SYNTAX;
    c->at++;
    return 0;
}

static int dot_string_local(struct cursor *c, struct buf *out)
{
    const char *start = c->at;
    while (c->at < c->end && (*c->at == '.' || is_atext((unsigned char)*c->at)))
        c->at++;
    size_t len = (size_t)(c->at - start);
    if (!is_dot_string(start, len))
        return MAIL_ADDRESS_SYNTAX;
    return buf_append(out, start, len) < 0 ? MAIL_ADDRESS_TOO_LONG : 0;
}

static int check_utf8(const char *s, size_t len, unsigned allow, struct mail_address *out)
{
    if (text_is_ascii(s, len))
        return 0;
    if (!(allow & MAIL_ADDRESS_ALLOW_UTF8))
        return MAIL_ADDRESS_NEEDS_UTF8;
    out->needs_utf8 = true;
    return mail_utf8_is_valid(s, len) ? 0 : MAIL_ADDRESS_SYNTAX;
}

/* Local-part = Dot-string / Quoted-string */
static int parse_local(struct cursor *c, unsigned allow, struct mail_address *out)
{
    _cleanup_(buf_deinit) struct buf plain, quoted;
    buf_init(&plain, MAIL_ADDRESS_MAX);
    buf_init(&quoted, MAIL_ADDRESS_MAX);
    int r = c->at < c->end && *c->at == '"' ? quoted_local(c, &plain) : dot_string_local(c, &plain);
    if (r == 0)
        r = check_utf8(buf_str(&plain), plain.len, allow, out);
    if (r != 0)
        return r;
    if (mail_local_part_quote(buf_str(&plain), plain.len, &quoted) < 0)
        return MAIL_ADDRESS_TOO_LONG;
    memcpy(out->text, buf_str(&quoted), quoted.len + 1);
    out->local_len = quoted.len;
    return 0;
}

/* The domain or address literal reaches to the end of the mailbox: '>' or the end of the text. */
static int parse_domain(struct cursor *c, unsigned allow, struct mail_address *out)
{
    const char *start = c->at;
    while (c->at < c->end && *c->at != '>' && *c->at != ' ')
        c->at++;
    size_t len = (size_t)(c->at - start);
    int r = check_utf8(start, len, allow, out);
    if (r != 0)
        return r == MAIL_ADDRESS_SYNTAX ? MAIL_ADDRESS_BAD_DOMAIN : r;
    if (out->local_len + 1 + len > MAIL_ADDRESS_MAX)
        return MAIL_ADDRESS_TOO_LONG;
    char *domain = out->text + out->local_len + 1;
    out->text[out->local_len] = '@';
    memcpy(domain, start, len);
    domain[len] = '\0';
    if (!mail_domain_is_valid(domain, len) && !mail_domain_is_literal(domain, len))
        return MAIL_ADDRESS_BAD_DOMAIN;
    text_lower(domain);
    return 0;
}

static int parse_mailbox(struct cursor *c, unsigned allow, struct mail_address *out)
{
    int r = parse_local(c, allow, out);
    if (r != 0)
        return r;
    if (c->at < c->end && *c->at == '@') {
        c->at++;
        return parse_domain(c, allow, out);
    }
    if ((allow & MAIL_ADDRESS_ALLOW_POSTMASTER) && text_equal_nocase(out->text, "postmaster"))
        return 0;
    return c->at == c->end || *c->at == '>' ? MAIL_ADDRESS_NO_DOMAIN : MAIL_ADDRESS_SYNTAX;
}

/* A-d-l ":" = "@" Domain *( "," "@" Domain ) ":" */
static int skip_route(struct cursor *c)
{
    if (c->at == c->end || *c->at != '@')
        return 0;
    for (;;) {
        const char *start = ++c->at;
        while (c->at < c->end && *c->at != ',' && *c->at != ':' && *c->at != '>')
            c->at++;
        if (c->at == c->end || *c->at == '>' || !mail_domain_is_valid(start, (size_t)(c->at - start)))
            return MAIL_ADDRESS_SYNTAX;
        bool last = *c->at++ == ':';
        if (last)
            return 0;
        if (c->at == c->end || *c->at != '@')
            return MAIL_ADDRESS_SYNTAX;
    }
}

int mail_path_parse(const char *text, size_t len, unsigned allow, struct mail_address *out, size_t *used)
{
    struct cursor c = {.at = text, .end = text + len};
    *out = (struct mail_address){0};
    *used = 0;
    if (len == 0 || *c.at != '<')
        return MAIL_ADDRESS_NO_BRACKETS;
    c.at++;
    if ((allow & MAIL_ADDRESS_ALLOW_NULL) && c.at < c.end && *c.at == '>') {
        *used = 2;
        return 0;
    }
    int r = skip_route(&c);
    if (r == 0)
        r = parse_mailbox(&c, allow, out);
    if (r != 0)
        return r;
    if (c.at == c.end || *c.at != '>')
        return MAIL_ADDRESS_SYNTAX;
    *used = (size_t)(c.at + 1 - text);
    return 0;
}

int mail_address_parse(const char *text, size_t len, unsigned allow, struct mail_address *out)
{
    struct cursor c = {.at = text, .end = text + len};
    *out = (struct mail_address){0};
    if (len == 0 && (allow & MAIL_ADDRESS_ALLOW_NULL))
        return 0;
    int r = parse_mailbox(&c, allow, out);
    return r == 0 && c.at != c.end ? MAIL_ADDRESS_SYNTAX : r;
}

const char *mail_address_problem(int result)
{
    static const char *const problems[] = {
        [MAIL_ADDRESS_SYNTAX] = "address is not of the form local-part@domain",
        [MAIL_ADDRESS_NO_BRACKETS] = "address is not in angle brackets",
        [MAIL_ADDRESS_NO_DOMAIN] = "address has no domain",
        [MAIL_ADDRESS_BAD_DOMAIN] = "domain of the address is not valid",
        [MAIL_ADDRESS_TOO_LONG] = "address is longer than 254 bytes",
        [MAIL_ADDRESS_NEEDS_UTF8] = "address beyond ASCII needs SMTPUTF8",
    };
    return result > 0 && (size_t)result < ARRAY_LENGTH(problems) ? problems[result] : "address is valid";
}

const char *mail_address_domain(const struct mail_address *a)
{
    const char *at = a->text + a->local_len;
    return *at == '@' ? at + 1 : "";
}
