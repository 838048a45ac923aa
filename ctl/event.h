/* event: one line of the log, taken apart. */
#ifndef POSTHOUSE_CTL_EVENT_H
#define POSTHOUSE_CTL_EVENT_H

#include <stdbool.h>
#include <stdint.h>

struct event {
    const char *time;    /* as the log has it, the host name of syslog cut off */
    const char *program; /* "smtpd" */
    int64_t pid;         /* 0 = not told */
    const char *text;    /* without the queue id in front when it is the one asked for */
};

/* Any line of the suite, taken apart in place; *out points into it.  false: not one of ours. */
bool event_split(char *line, struct event *out);
/* Microseconds since 1970; 0 = not a time as log files have it. */
int64_t event_time_us(const struct event *e);
/* Does the line tell about this message?  Takes the line apart in place; *out points into it. */
bool event_parse(char *line, const char *queue_id, struct event *out);

#endif
