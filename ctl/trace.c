/* posthouse trace ID: the life of a message, line by line, out of the log, and where it is now, out of the queue. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/commands.h"
#include "ctl/event.h"
#include "ctl/item.h"
#include "ctl/listing.h"
#include "ctl/logs.h"
#include "queue/id.h"
#include "service/service.h"

#define OUTPUT_MAX (64 * 1024 * 1024)

struct tracing {
    const char *id;
    bool as_json;
    struct buf out;
    struct json json;
    unsigned events;
};

static void put_event(struct tracing *t, const struct event *e)
{
    if (t->as_json) {
        json_begin_object(&t->json, NULL);
        json_string(&t->json, "time", e->time);
        json_string(&t->json, "program", e->program);
        json_number(&t->json, "pid", e->pid);
        json_string(&t->json, "text", e->text);
        json_end_object(&t->json);
    } else {
        buf_printf(&t->out, "%s  %-11s  ", e->time, e->program);
        listing_printable(e->text, &t->out);
        buf_append_char(&t->out, '\n');
    }
    t->events++;
}

static void on_line(void *arg, char *line)
{
    struct tracing *t = arg;
    struct event e;
    if (event_parse(line, t->id, &e))
        put_event(t, &e);
}

/* false: the file is not there. */
static bool read_log(struct tracing *t, const char *path)
{
    struct logs logs;
    bool found = logs_open(&logs, path);
    logs_read(&logs, on_line, t);
    logs_close(&logs);
    return found;
}

static void become_journalctl(int out, const char *id)
{
    dup2(out, STDOUT_FILENO);
    execlp("journalctl", "journalctl", "--quiet", "--no-pager", "--output=short-iso", "--grep", id, (char *)NULL);
    _exit(127);
}

static bool read_journal(struct tracing *t)
{
    int ends[2], status = 0;
    if (pipe(ends) < 0)
        return false;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        become_journalctl(ends[1], t->id);
    close(ends[1]);
    FILE *f = pid > 0 ? fdopen(ends[0], "r") : NULL;
    if (f == NULL) {
        close(ends[0]);
        return false;
    }
    struct logs pipe_end = {.files = {f}, .count = 1};
    logs_read(&pipe_end, on_line, t);
    logs_close(&pipe_end);
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) != 127;
}

/* Where syslog puts the mail facility is the machine's decision: the usual file, else the journal. */
static bool read_syslog(struct tracing *t)
{
    return read_log(t, "/var/log/mail.log") || read_journal(t) || read_log(t, "/var/log/syslog");
}

static void read_events(const struct ctl *c, struct tracing *t)
{
    const char *log = c->shared.log;
    if (strcmp(log, "stderr") == 0)
        ctl_note(c, "log = stderr: what the programs wrote was not kept where this command could read it");
    else if (!(strcmp(log, "syslog") == 0 ? read_syslog(t) : read_log(t, log)))
        ctl_note(c, "the log (%s) can not be read", log);
}

static void put_now(struct tracing *t, const struct item *i, bool asked)
{
    if (!asked) {
        buf_append_str(&t->out, "now: not known, qmgr does not answer\n");
    } else if (i == NULL) {
        buf_append_str(&t->out, "now: no longer in the queue\n");
    } else {
        buf_printf(&t->out, "now: %s in the queue, next attempt ", i->state);
        listing_format_time(i->due_s, &t->out);
        buf_append_char(&t->out, '\n');
    }
}

static void json_now(struct tracing *t, const struct item *i)
{
    json_bool(&t->json, "in_queue", i != NULL);
    if (i == NULL)
        return;
    json_begin_object(&t->json, "queue");
    item_json(i, &t->json);
    json_end_object(&t->json);
}

static int conclude(struct tracing *t, bool in_queue, bool asked)
{
    if (t->events == 0 && !in_queue)
        return ctl_say(asked ? CTL_FAILED : CTL_TRY_LATER, "%s: neither in the log nor in the queue%s", t->id,
                       asked ? "" : ", and qmgr does not answer");
    fwrite(buf_str(&t->out), 1, t->out.len, stdout);
    return CTL_OK;
}

static void trace_json_begin(struct tracing *t)
{
    json_begin_object(&t->json, NULL);
    json_string(&t->json, "queue_id", t->id);
    json_begin_array(&t->json, "events");
}

int trace_message(struct ctl *c, const struct args *a)
{
    struct tracing t = {.id = args_at(a, 0), .as_json = c->json};
    struct ipc_sync *qmgr = NULL;
    struct item item;
    if (!queue_id_valid(t.id))
        return ctl_say(CTL_USAGE, "%s: expected a queue id, %d characters as in \"queued as ...\"", t.id, QUEUE_ID_LEN);
    buf_init(&t.out, OUTPUT_MAX);
    t.json.out = &t.out;
    if (c->json)
        trace_json_begin(&t);
    read_events(c, &t);
    bool asked = ctl_connect(c, SERVICE_QMGR_SOCKET, true, &qmgr) == CTL_OK;
    bool in_queue = asked && item_find(qmgr, t.id, &item);
    if (c->json) {
        json_end_array(&t.json);
        json_now(&t, in_queue ? &item : NULL);
        json_end_object(&t.json);
        buf_append_char(&t.out, '\n');
    } else {
        put_now(&t, in_queue ? &item : NULL, asked);
    }
    int status = conclude(&t, in_queue, asked);
    if (in_queue)
        item_deinit(&item);
    ipc_sync_close(qmgr);
    buf_deinit(&t.out);
    return status;
}
