/* posthouse queue audit: is every accepted recipient delivered, bounced, expired, removed or still in the queue?  The
 * log says one half and the queue the other; ledger does the arithmetic. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "conf/value.h"
#include "ctl/commands.h"
#include "ctl/item.h"
#include "ctl/ledger.h"
#include "ctl/listing.h"
#include "ctl/logs.h"
#include "log/log.h"
#include "queue/folder.h"
#include "service/service.h"

#define MOVING_WAIT_S 1 /* before what does not add up is looked at again */
#define OUTPUT_MAX    (64 * 1024 * 1024)

struct audit {
    struct ctl *c;
    struct ledger ledger;
    struct logs logs;
    struct ipc_sync *qmgr; /* NULL: the suite does not run */
    struct ledger_message **doubts;
    size_t doubt_count;
    struct buf problems; /* as they are printed */
    size_t problem_count;
};

/* -- the log -- */

static const struct conf_param since_param = {
    .name = "since", .type = CONF_DURATION, .min = 1000, .max = INT64_C(1000) * 86400 * 3660};

static int take_since(struct audit *a, const char *text)
{
    int64_t since_ms = 0;
    if (text == NULL)
        return CTL_OK;
    if (conf_value_set(&since_param, &since_ms, text) < 0)
        return ctl_say(CTL_USAGE, "--since %s: expected a duration: 30m 5h 2d", text);
    a->ledger.since_us = clock_wall_us() - since_ms * 1000;
    return CTL_OK;
}

static bool open_log(struct audit *a, const char *log)
{
    if (strcmp(log, "syslog") != 0)
        return logs_open(&a->logs, log);
    if (logs_open(&a->logs, "/var/log/mail.log"))
        return true;
    logs_close(&a->logs);
    return logs_open(&a->logs, "/var/log/syslog");
}

static int begin_log(struct audit *a)
{
    const struct settings_posthouse *s = &a->c->shared;
    if (s->log_level < LOG_LEVEL_INFO)
        return ctl_say(CTL_FAILED, "log_level leaves out the lines an audit needs; it has to be info or debug");
    if (strcmp(s->log, "stderr") == 0)
        return ctl_say(CTL_FAILED,
                       "log = stderr: what the programs wrote was not kept where this command could read it");
    if (!open_log(a, s->log))
        return ctl_say(CTL_FAILED, "the log (%s) can not be read", s->log);
    return CTL_OK;
}

static void read_log(struct audit *a)
{
    logs_read(&a->logs, ledger_line, &a->ledger);
}

/* -- the queue: its folders, for a list of a long queue is work that would keep qmgr from its own -- */

/* By the path of its file; false: not there, or not to be read. */
static bool take_file(struct audit *a, int at, const char *path, bool fresh)
{
    struct envelope e;
    _cleanup_(fd_closep) int fd = openat(at, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || queue_file_read(fd, &e) < 0)
        return false;
    struct ledger_message *m = ledger_file(&a->ledger, &e);
    if (m != NULL)
        m->fresh = fresh;
    envelope_free(&e);
    return true;
}

static bool is_message(const char *name)
{
    char id[QUEUE_ID_SIZE];
    int64_t due_s;
    return queue_id_valid(name) || queue_parse_deferred_name(name, id, &due_s) == 0;
}

/* Messages stand in the folder, or one below it. */
static int walk(struct audit *a, int at, const char *path, bool fresh, int depth)
{
    int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), status = CTL_OK;
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        int err = errno;
        if (fd >= 0)
            close(fd);
        return err == ENOENT ? CTL_OK : ctl_say(CTL_FAILED, "%s: %s", path, text_errno(err));
    }
    for (struct dirent *e; status == CTL_OK && (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        if (is_message(e->d_name))
            take_file(a, fd, e->d_name, fresh);
        else if (depth > 0)
            status = walk(a, fd, e->d_name, fresh, depth - 1);
    }
    closedir(dir);
    return status;
}

static int walk_queue(struct audit *a)
{
    static const struct {
        const char *name;
        bool fresh;
        int depth;
    } folders[] = {{"new", true, 1}, {"deferred", false, 1}, {"hold", false, 0}};
    const char *root = a->c->shared.queue_directory;
    _cleanup_(fd_closep) int at = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int status = at < 0 ? ctl_say(CTL_FAILED, "%s: %s", root, text_errno(errno)) : CTL_OK;
    for (size_t i = 0; status == CTL_OK && i < ARRAY_LENGTH(folders); i++)
        status = walk(a, at, folders[i].name, folders[i].fresh, folders[i].depth);
    return status;
}

/* -- what does not add up at once -- */

static int find_doubts(struct audit *a)
{
    a->doubts = calloc(HASH_COUNT(a->ledger.messages) + 1, sizeof(*a->doubts));
    if (a->doubts == NULL)
        return ctl_say(CTL_FAILED, "%s", text_errno(ENOMEM));
    for (struct ledger_message *m = a->ledger.messages; m != NULL; m = m->hh.next)
        if (!m->late && ledger_judge(&a->ledger, m) != NULL)
            a->doubts[a->doubt_count++] = m;
    return CTL_OK;
}

/* It may have gone from one folder to another while they were read: qmgr knows where it is, but for what stands in new/
 * and was not announced. */
static void look_again(struct audit *a, struct ledger_message *m)
{
    struct item item;
    char path[QUEUE_PATH_MAX];
    ledger_again(m);
    if (item_find(a->qmgr, m->id, &item)) {
        if (item.readable)
            ledger_file(&a->ledger, &item.envelope);
        item_deinit(&item);
    }
    queue_path(QUEUE_NEW, m->id, 0, path);
    _cleanup_(fd_closep) int at = open(a->c->shared.queue_directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (m->queued)
        m->fresh = faccessat(at, path, F_OK, 0) == 0;
    else
        take_file(a, at, path, true);
    read_log(a);
}

/* Two readings each: one may meet a message on its way, or a line on its way into the log. */
static void resolve_doubts(struct audit *a)
{
    for (int pass = 0; pass < 2 && a->doubt_count > 0; pass++) {
        size_t left = 0;
        if (pass > 0)
            sleep(MOVING_WAIT_S);
        for (size_t i = 0; i < a->doubt_count; i++) {
            look_again(a, a->doubts[i]);
            if (ledger_judge(&a->ledger, a->doubts[i]) != NULL)
                a->doubts[left++] = a->doubts[i];
        }
        a->doubt_count = left;
    }
}

static int read_all(struct audit *a)
{
    read_log(a);
    ledger_first_read(&a->ledger);
    bool runs = ctl_connect(a->c, SERVICE_QMGR_SOCKET, true, &a->qmgr) == CTL_OK;
    int status = walk_queue(a);
    if (status != CTL_OK)
        return status;
    read_log(a);
    status = find_doubts(a);
    if (status == CTL_OK && runs)
        resolve_doubts(a);
    return status;
}

/* -- the result -- */

static void put_problem(struct audit *a, const struct ledger_message *m, int64_t missing, const char *why)
{
    unsigned long long accepted = m->accepted ? m->accepted_count : 0, queued = m->queued ? m->waiting : 0;
    struct json j = {.out = &a->problems, .need_comma = a->problem_count++ > 0};
    if (!a->c->json) {
        buf_printf(&a->problems, "%s  accepted %llu, in the queue %llu, missing %lld: %s\n", m->id, accepted, queued,
                   (long long)missing, why);
        return;
    }
    json_begin_object(&j, NULL);
    json_string(&j, "queue_id", m->id);
    json_number(&j, "accepted", (int64_t)accepted);
    json_number(&j, "queued", (int64_t)queued);
    json_number(&j, "missing", missing);
    json_string(&j, "reason", why);
    json_end_object(&j);
}

static void add_all(struct audit *a)
{
    for (struct ledger_message *m = a->ledger.messages; m != NULL; m = m->hh.next) {
        if (m->late)
            continue;
        const char *why = ledger_judge(&a->ledger, m);
        int64_t missing = ledger_add(&a->ledger, m);
        if (why != NULL)
            put_problem(a, m, missing, why);
    }
}

/* The rows behind the classes, in the order both forms show them. */
static const struct {
    const char *key, *title;
    size_t offset;
} notes[] = {
    {"missing", "unexplained", offsetof(struct ledger_sums, missing)},
    {"taken_over", "messages whose acceptance only qmgr logged", offsetof(struct ledger_sums, taken_over)},
    {"unlogged", "of these told by the queue file only, so far", offsetof(struct ledger_sums, unlogged)},
    {"repeated", "repeated deliveries", offsetof(struct ledger_sums, repeated)},
    {"doubtful", "attempts repeated since no reply was known", offsetof(struct ledger_sums, doubtful)},
};

static int64_t note_value(const struct ledger_sums *s, size_t i)
{
    return *(const int64_t *)((const char *)s + notes[i].offset);
}

static void put_text(const struct audit *a)
{
    const struct ledger_sums *s = &a->ledger.sums;
    printf("%12llu  accepted, in %llu messages\n", (unsigned long long)s->accepted, (unsigned long long)s->messages);
    if (s->before > 0)
        printf("%12llu  from before the log\n", (unsigned long long)s->before);
    for (int i = 0; i < LEDGER_CLASS_COUNT; i++)
        printf("%12llu  %s\n", (unsigned long long)s->class[i], ledger_class_name((enum ledger_class)i));
    printf("%12llu  queued\n", (unsigned long long)s->queued);
    for (size_t i = 0; i < ARRAY_LENGTH(notes); i++)
        if (note_value(s, i) != 0)
            printf("%12lld  %s\n", (long long)note_value(s, i), notes[i].title);
    fwrite(buf_str(&a->problems), 1, a->problems.len, stdout);
    if (a->problem_count == 0)
        puts("Every recipient is accounted for.");
    else
        printf("%zu message%s not add up; 'posthouse trace ID' tells their lives.\n", a->problem_count,
               a->problem_count == 1 ? " does" : "s do");
}

static void put_json(const struct audit *a)
{
    const struct ledger_sums *s = &a->ledger.sums;
    struct buf out;
    struct json j = {.out = &out};
    buf_init(&out, OUTPUT_MAX);
    json_begin_object(&j, NULL);
    json_bool(&j, "adds_up", a->problem_count == 0);
    json_bool(&j, "running", a->qmgr != NULL);
    json_time(&j, "log_begins", a->ledger.begin_us / 1000000);
    json_number(&j, "messages", (int64_t)s->messages);
    json_number(&j, "accepted", (int64_t)s->accepted);
    json_number(&j, "before_log", (int64_t)s->before);
    for (int i = 0; i < LEDGER_CLASS_COUNT; i++)
        json_number(&j, ledger_class_name((enum ledger_class)i), (int64_t)s->class[i]);
    json_number(&j, "queued", (int64_t)s->queued);
    for (size_t i = 0; i < ARRAY_LENGTH(notes); i++)
        json_number(&j, notes[i].key, note_value(s, i));
    json_begin_array(&j, "problems");
    fwrite(buf_str(&out), 1, out.len, stdout);
    fwrite(buf_str(&a->problems), 1, a->problems.len, stdout);
    puts("]}");
    buf_deinit(&out);
}

static int conclude(struct audit *a)
{
    add_all(a);
    if (a->c->json)
        put_json(a);
    else
        put_text(a);
    if (a->problem_count > 0)
        return CTL_FAILED;
    if (a->qmgr != NULL)
        return CTL_OK;
    ctl_note(a->c, "the suite is not running; what moved in between was not looked at again");
    return CTL_TRY_LATER;
}

int queue_audit(struct ctl *c, const struct args *args)
{
    struct audit a = {.c = c};
    buf_init(&a.problems, OUTPUT_MAX);
    int status = take_since(&a, args_option(args, "since"));
    if (status == CTL_OK)
        status = begin_log(&a);
    if (status == CTL_OK)
        status = read_all(&a);
    if (status == CTL_OK)
        status = conclude(&a);
    free(a.doubts);
    ipc_sync_close(a.qmgr);
    logs_close(&a.logs);
    ledger_deinit(&a.ledger);
    buf_deinit(&a.problems);
    return status;
}
