#include "ctl/event.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

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

bool event_parse(char *line, const char *queue_id, struct event *out)
{
    size_t len = strcspn(line, "\n");
    line[len] = '\0';
    char *tag = strstr(line, TAG);
    if (tag == NULL || !mentions(tag, queue_id))
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
    size_t id_len = strlen(queue_id);
    if (text_has_prefix(out->text, queue_id) && strncmp(out->text + id_len, ": ", 2) == 0)
        out->text += id_len + 2;
    return true;
}
