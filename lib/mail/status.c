#include "mail/status.h"

#include <stdbool.h>
#include <stdio.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* One to three digits without a leading zero; moves *pos behind them. */
static bool status_number(const char *text, size_t len, size_t *pos, unsigned *out)
{
    size_t start = *pos;
    unsigned value = 0;
    while (*pos < len && is_digit(text[*pos]) && *pos - start < 3)
        value = value * 10 + (unsigned)(text[(*pos)++] - '0');
    if (*pos == start || (*pos - start > 1 && text[start] == '0'))
        return false;
    *out = value;
    return true;
}

static bool status_dot(const char *text, size_t len, size_t *pos)
{
    return *pos < len && text[(*pos)++] == '.';
}

size_t mail_status_parse(const char *text, size_t len, struct mail_status *out)
{
    struct mail_status s = {0};
    size_t pos = 0;
    *out = s;
    if (!status_number(text, len, &pos, &s.class) || (s.class != 2 && s.class != 4 && s.class != 5) ||
        !status_dot(text, len, &pos) || !status_number(text, len, &pos, &s.subject) || !status_dot(text, len, &pos) ||
        !status_number(text, len, &pos, &s.detail))
        return 0;
    if (pos < len && text[pos] != ' ' && text[pos] != '\t')
        return 0;
    *out = s;
    return pos;
}

const char *mail_status_format(const struct mail_status *s, char text[MAIL_STATUS_TEXT_MAX])
{
    text[0] = '\0';
    if (s->class > 0)
        snprintf(text, MAIL_STATUS_TEXT_MAX, "%u.%u.%u", s->class % 10, s->subject % 1000, s->detail % 1000);
    return text;
}
