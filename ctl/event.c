#include "ctl/event.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"

#define TAG "posthouse/"

/* The id as a word of its own. */
static bool mentions(const char *text, const char *id)
{
    size_t len = strlen(id);
    for (const char *at = text; (at = strstr(at, id)) != NULL; at += len)
        if ((at == text || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[len]))
            return true;
    return false;
}

/* "2026-01-31T23:59:59.123+01:00 " or, by syslog, "Jan 31 23:59:59 host " or "2026-01-31T23:59:59+01:00 host ". */
static void cut_host(char *head)
{
    size_t words = 1;
    for (const char *p = head; (p = strchr(p, ' ')) != NULL; p += strspn(p, " "))
        words++;
    bool old_form = isalpha((unsigned char)head[0]);
    char *last = strrchr(head, ' ');
    if (last != NULL && words > (old_form ? 3u : 1u))
        *last = '\0';
}

bool event_split(char *line, struct event *out)
{
    line[strcspn(line, "\n")] = '\0';
    char *tag = strstr(line, TAG);
    if (tag == NULL)
        return false;
    char *program = tag + strlen(TAG), *end = strstr(program, ": ");
    if (end == NULL || tag == line || tag[-1] != ' ')
        return false;
    tag[-1] = '\0';
    *end = '\0';
    char *pid = strchr(program, '[');
    *out = (struct event){.time = line, .program = program, .text = end + 2};
    if (pid != NULL) {
        *pid = '\0';
        out->pid = strtoll(pid + 1, NULL, 10);
    }
    cut_host(line);
    return true;
}

/* ".123+01:00", "+0100", "Z" or nothing: how far the zone is ahead of UTC, seconds. */
static int64_t zone_s(const char *text)
{
    const char *sign = strpbrk(text, "+-");
    int hours = 0, minutes = 0;
    if (sign == NULL || sscanf(sign + 1, "%2d%*[:]%2d", &hours, &minutes) == 2 ||
        sscanf(sign + 1, "%2d%2d", &hours, &minutes) == 2)
        return (sign != NULL && *sign == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    return 0;
}

/* "Nov  3 20:46:08" knows no year: it is the last such day. */
static int64_t old_time_us(const char *text)
{
    time_t now = (time_t)clock_wall_s(), then;
    struct tm tm;
    localtime_r(&now, &tm);
    if (strptime(text, "%b %d %H:%M:%S", &tm) == NULL)
        return 0;
    tm.tm_isdst = -1;
    then = mktime(&tm);
    if (then > now + 86400) {
        tm.tm_year--;
        tm.tm_isdst = -1;
        then = mktime(&tm);
    }
    return (int64_t)then * 1000000;
}

int64_t event_time_us(const struct event *e)
{
    struct tm tm = {0};
    unsigned ms = 0;
    const char *rest = strptime(e->time, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest == NULL)
        return old_time_us(e->time);
    if (*rest == '.' && sscanf(rest, ".%3u", &ms) != 1)
        return 0;
    return ((int64_t)timegm(&tm) - zone_s(rest)) * 1000000 + ms * 1000;
}

bool event_parse(char *line, const char *queue_id, struct event *out)
{
    line[strcspn(line, "\n")] = '\0';
    const char *tag = strstr(line, TAG);
    if (tag == NULL || !mentions(tag, queue_id) || !event_split(line, out))
        return false;
    size_t id_len = strlen(queue_id);
    if (text_has_prefix(out->text, queue_id) && strncmp(out->text + id_len, ": ", 2) == 0)
        out->text += id_len + 2;
    return true;
}
