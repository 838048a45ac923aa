#include "ctl/json.h"

#include <string.h>
#include <time.h>

static size_t utf8_length(const unsigned char *p)
{
    size_t n = p[0] < 0x80                   ? 1
               : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
               : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
               : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                             : 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    /* Over-long forms, surrogates, beyond U+10FFFF. */
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] >= 0x90))
        return 0;
    return n;
}

static void quoted(struct buf *out, const char *text)
{
    buf_append_char(out, '"');
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0';) {
        size_t n = utf8_length(p);
        if (n == 0)
            buf_append_str(out, "\\ufffd");
        else if (*p == '"' || *p == '\\')
            buf_printf(out, "\\%c", *p);
        else if (*p < 0x20 || *p == 0x7f)
            buf_printf(out, "\\u%04x", *p);
        else
            buf_append(out, p, n);
        p += n > 0 ? n : 1;
    }
    buf_append_char(out, '"');
}

static void before(struct json *j, const char *key)
{
    if (j->need_comma)
        buf_append_str(j->out, ",");
    j->need_comma = true;
    if (key == NULL)
        return;
    quoted(j->out, key);
    buf_append_char(j->out, ':');
}

static void begin(struct json *j, const char *key, char bracket)
{
    before(j, key);
    buf_append_char(j->out, bracket);
    j->need_comma = false;
}

static void end(struct json *j, char bracket)
{
    buf_append_char(j->out, bracket);
    j->need_comma = true;
}

void json_begin_object(struct json *j, const char *key)
{
    begin(j, key, '{');
}

void json_end_object(struct json *j)
{
    end(j, '}');
}

void json_begin_array(struct json *j, const char *key)
{
    begin(j, key, '[');
}

void json_end_array(struct json *j)
{
    end(j, ']');
}

void json_string(struct json *j, const char *key, const char *value)
{
    before(j, key);
    quoted(j->out, value);
}

void json_number(struct json *j, const char *key, int64_t value)
{
    before(j, key);
    buf_printf(j->out, "%lld", (long long)value);
}

void json_bool(struct json *j, const char *key, bool value)
{
    before(j, key);
    buf_append_str(j->out, value ? "true" : "false");
}

void json_time(struct json *j, const char *key, int64_t value_s)
{
    time_t s = (time_t)value_s;
    struct tm tm;
    char text[64];
    before(j, key);
    if (value_s == 0 || gmtime_r(&s, &tm) == NULL || strftime(text, sizeof(text), "\"%Y-%m-%dT%H:%M:%SZ\"", &tm) == 0)
        buf_append_str(j->out, "null");
    else
        buf_append_str(j->out, text);
}
