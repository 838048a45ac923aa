/* posthouse start, stop, reload, status: the suite as a whole, asked of master. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "ctl/commands.h"
#include "ctl/listing.h"
#include "service/service.h"

#define START_TIMEOUT_S 60
#define POLL_MS         50

/* -- the state of the programs -- */

struct programs {
    unsigned count, ready;   /* without those that finish what they have while another one took their place */
    struct listing *listing; /* NULL = only count */
};

static void take_child(const struct ipc_child_status *s, struct programs *p)
{
    if (strcmp(s->state, "draining") != 0 && strcmp(s->state, "retiring") != 0) {
        p->count++;
        p->ready += strcmp(s->state, "ready") == 0;
    }
    if (p->listing == NULL)
        return;
    listing_text(p->listing, role_name(s->role));
    listing_number(p->listing, s->slot);
    listing_text(p->listing, s->state);
    listing_number(p->listing, s->pid);
    listing_number(p->listing, s->restarts);
    listing_time(p->listing, (int64_t)s->since_s);
}

static int ask_programs(struct ctl *c, struct ipc_sync *master, struct programs *p)
{
    const struct ipc_suite_order order = {.verb = SUITE_STATUS};
    if (ipc_sync_send(master, IPC_SUITE_ORDER, &order) < 0)
        return ctl_say(CTL_TRY_LATER, "master is gone");
    for (;;) {
        enum ipc_type type;
        union ipc_any m;
        _cleanup_(fd_closep) int fd = -1;
        int status = ctl_receive(master, &type, &m, &fd);
        if (status != CTL_OK)
            return status;
        if (type == IPC_ORDER_DONE)
            return CTL_OK;
        if (type == IPC_CHILD_STATUS)
            take_child(&m.child_status, p);
    }
}

static const struct listing_column program_columns[] = {
    {"program", "PROGRAM", 12},  {"slot", "SLOT", 4},    {"state", "STATE", 8}, {"pid", "PID", 7},
    {"restarts", "RESTARTS", 8}, {"since", "SINCE", 19}, {NULL, NULL, 0},
};

/* -- the state of the queue -- */

static const struct {
    const char *key;
    size_t offset;
} counts[] = {
    {"active", offsetof(struct ipc_queue_counts, active)},
    {"deferred", offsetof(struct ipc_queue_counts, deferred)},
    {"hold", offsetof(struct ipc_queue_counts, hold)},
    {"corrupt", offsetof(struct ipc_queue_counts, corrupt)},
    {"delivering", offsetof(struct ipc_queue_counts, delivering)},
    {"sites", offsetof(struct ipc_queue_counts, sites)},
    {"delivered", offsetof(struct ipc_queue_counts, delivered)},
    {"deferrals", offsetof(struct ipc_queue_counts, deferrals)},
    {"failed", offsetof(struct ipc_queue_counts, failed)},
};

static uint64_t count_at(const struct ipc_queue_counts *q, size_t i)
{
    return *(const uint64_t *)((const char *)q + counts[i].offset);
}

static bool ask_queue(struct ctl *c, struct ipc_queue_counts *out)
{
    const struct ipc_queue_status question = {0};
    struct ipc_sync *qmgr = NULL;
    bool found = false;
    if (ctl_connect(c, SERVICE_QMGR_SOCKET, true, &qmgr) != CTL_OK)
        return false;
    if (ipc_sync_send(qmgr, IPC_QUEUE_STATUS, &question) == 0) {
        enum ipc_type type = IPC_NONE;
        union ipc_any m;
        while (type != IPC_ORDER_DONE) {
            _cleanup_(fd_closep) int fd = -1;
            if (ipc_sync_receive(qmgr, &type, &m, &fd) < 0)
                break;
            if (type == IPC_QUEUE_COUNTS) {
                *out = m.queue_counts;
                found = true;
            }
        }
    }
    ipc_sync_close(qmgr);
    return found;
}

static void show_queue(const struct ctl *c, const struct ipc_queue_counts *q)
{
    struct buf out;
    buf_init(&out, 4096);
    struct json j = {.out = &out};
    if (c->json) {
        json_begin_object(&j, NULL);
        for (size_t i = 0; i < ARRAY_LENGTH(counts); i++)
            json_number(&j, counts[i].key, (int64_t)count_at(q, i));
        json_bool(&j, "scanning", q->scanning != 0);
        json_end_object(&j);
    } else {
        buf_append_str(&out, "Queue: ");
        for (size_t i = 0; i < ARRAY_LENGTH(counts); i++)
            buf_printf(&out, "%s%s %llu", i > 0 ? ", " : "", counts[i].key, (unsigned long long)count_at(q, i));
        buf_append_str(&out, q->scanning != 0 ? "; still being read\n" : "\n");
    }
    fwrite(buf_str(&out), 1, out.len, stdout);
    buf_deinit(&out);
}

int suite_status(struct ctl *c, const struct args *a)
{
    struct listing l;
    struct programs p = {.listing = &l};
    struct ipc_queue_counts q = {0};
    if (c->json)
        fputs("{\"programs\":", stdout);
    listing_begin(&l, stdout, c->json, program_columns);
    int status = ask_programs(c, c->peer, &p);
    listing_end(&l);
    bool have_queue = status == CTL_OK && ask_queue(c, &q);
    if (c->json)
        fputs(have_queue ? ",\"queue\":" : ",\"queue\":null", stdout);
    if (have_queue)
        show_queue(c, &q);
    if (c->json)
        fputs("}\n", stdout);
    if (status != CTL_OK)
        return status;
    return p.ready == p.count ? CTL_OK
                              : ctl_say(CTL_FAILED, "%u of %u programs are not ready", p.count - p.ready, p.count);
}

/* -- stop and reload -- */

static int order(struct ctl *c, enum ipc_suite_verb verb)
{
    const struct ipc_suite_order m = {.verb = verb};
    enum ipc_type type = IPC_NONE;
    union ipc_any answer;
    if (ipc_sync_send(c->peer, IPC_SUITE_ORDER, &m) < 0)
        return ctl_say(CTL_TRY_LATER, "master is gone");
    while (type != IPC_ORDER_DONE) {
        _cleanup_(fd_closep) int fd = -1;
        int status = ctl_receive(c->peer, &type, &answer, &fd);
        if (status != CTL_OK)
            return status;
    }
    return ctl_order_done(c, &answer.order_done);
}

int suite_stop(struct ctl *c, const struct args *a)
{
    int status = order(c, SUITE_STOP);
    if (status != CTL_OK)
        return status;
    /* Master answers when its programs have ended; a moment later it is gone itself, which ends the connection. */
    enum ipc_type type;
    union ipc_any m;
    int r, fd = -1;
    while ((r = ipc_sync_receive(c->peer, &type, &m, &fd)) == 0)
        if (fd >= 0)
            close(fd);
    return r == -ETIMEDOUT ? ctl_say(CTL_FAILED, "the programs ended, but master did not") : CTL_OK;
}

int suite_reload(struct ctl *c, const struct args *a)
{
    return order(c, SUITE_RELOAD);
}

/* -- start -- */

static bool executable(const char *folder, const char *tail, char path[PATH_MAX])
{
    int n = snprintf(path, PATH_MAX, "%s%s", folder, tail);
    return n > 0 && n < PATH_MAX && access(path, X_OK) == 0;
}

/* Beside this program (a build tree), in sbin beside its folder (an installation), or where it was to be installed. */
static bool find_master(char path[PATH_MAX])
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n > 0) {
        self[n] = '\0';
        const char *folder = dirname(self);
        if (executable(folder, "/posthouse-master", path) || executable(folder, "/../sbin/posthouse-master", path))
            return true;
    }
    return executable(POSTHOUSE_SBIN, "/posthouse-master", path);
}

/* In the child: a session of its own, nothing of our terminal; what master says before its log is open goes to err_fd.
 */
static void become_master(const char *path, const char *config_dir, int err_fd)
{
    setsid();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    if (err_fd >= 0)
        dup2(err_fd, STDERR_FILENO);
    execl(path, "posthouse-master", "-c", config_dir, (char *)NULL);
    dprintf(STDERR_FILENO, "%s: %s\n", path, text_errno(errno));
    _exit(EXIT_FAILURE);
}

static void copy_out(int fd)
{
    char block[4096];
    ssize_t n;
    for (off_t at = 0; (n = pread(fd, block, sizeof(block), at)) > 0; at += n)
        fwrite(block, 1, (size_t)n, stderr);
}

static bool all_ready(struct ctl *c)
{
    struct ipc_sync *master = NULL;
    struct programs p = {0};
    if (ctl_connect(c, SERVICE_MASTER_SOCKET, true, &master) != CTL_OK)
        return false;
    int status = ask_programs(c, master, &p);
    ipc_sync_close(master);
    return status == CTL_OK && p.count > 0 && p.ready == p.count;
}

static int await_ready(struct ctl *c, pid_t pid, int err_fd, uint64_t timeout_ms)
{
    int status;
    for (uint64_t end = clock_mono_ms() + timeout_ms; clock_mono_ms() < end; usleep(POLL_MS * 1000)) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            if (err_fd >= 0)
                copy_out(err_fd);
            return ctl_say(CTL_FAILED, "the suite did not start; the log (%s) may tell more", c->shared.log);
        }
        if (all_ready(c)) {
            ctl_note(c, "the suite is running, master pid %d", (int)pid);
            return CTL_OK;
        }
    }
    if (err_fd >= 0)
        copy_out(err_fd);
    return ctl_say(CTL_TRY_LATER,
                   "not every program is ready after %llu s; 'posthouse status' shows which, the log (%s) why",
                   (unsigned long long)timeout_ms / 1000, c->shared.log);
}

int suite_start(struct ctl *c, const struct args *a)
{
    char path[PATH_MAX];
    uint64_t timeout_s = START_TIMEOUT_S;
    const char *text = args_option(a, "timeout");
    struct ipc_sync *running = NULL;
    if (text != NULL && text_parse_u64(text, 3600, &timeout_s) < 0)
        return ctl_say(CTL_USAGE, "--timeout %s: expected seconds from 0 to 3600", text);
    if (ctl_connect(c, SERVICE_MASTER_SOCKET, true, &running) == CTL_OK) {
        ipc_sync_close(running);
        return ctl_say(CTL_FAILED, "the suite is running already (%s)", c->shared.run_directory);
    }
    if (!find_master(path))
        return ctl_say(CTL_FAILED, "posthouse-master is neither beside this program nor in " POSTHOUSE_SBIN);
    /* A log on standard error is somebody's wish to see it here. */
    bool log_here = strcmp(c->shared.log, "stderr") == 0;
    _cleanup_(fd_closep) int err_fd = log_here ? -1 : memfd_create("posthouse-start", MFD_CLOEXEC);
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        return ctl_say(CTL_FAILED, "no process for master: %s", text_errno(errno));
    if (pid == 0)
        become_master(path, c->config_dir, err_fd);
    return await_ready(c, pid, err_fd, timeout_s * 1000);
}
