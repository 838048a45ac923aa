#include "service/service.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "log/log.h"
#include "service/privileges.h"

#define SERVICE_FDS_MAX 512

/* What one process has exactly once. */
static struct {
    struct service *service;
    struct io_watch master;
    struct timer deadline;
    struct turn_end log_end;
    int master_fd;
    bool draining, failed;
    bool separated;         /* each role has a user of its own … */
    uid_t uids[ROLE_COUNT]; /* … looked up while names still can be */
    size_t fd_count;
    struct {
        char *name;
        int fd;
    } fds[SERVICE_FDS_MAX];
} process = {.master_fd = -1};

static void usage(const struct service *s)
{
    fprintf(stderr,
            "usage: posthouse-%s [-c DIR] [-s SLOT] [-V]\n"
            "Started by posthouse-master; see posthouse-%s(8).\n",
            role_name(s->role), role_name(s->role));
}

/* 0 = go on, otherwise the exit status plus one. */
static int parse_options(struct service *s, int argc, char **argv)
{
    uint64_t slot = 0;
    s->config_dir = "/etc/posthouse";
    for (int c; (c = getopt(argc, argv, "c:s:V")) != -1;) {
        if (c == 'c') {
            s->config_dir = optarg;
        } else if (c == 's' && text_parse_u64(optarg, 999, &slot) == 0) {
            s->slot = (unsigned)slot;
        } else if (c == 'V') {
            printf("posthouse-%s %s\n", role_name(s->role), POSTHOUSE_VERSION);
            return 1;
        } else {
            usage(s);
            return 3;
        }
    }
    return 0;
}

/* POSTHOUSE_FDS="ready=3 serve=4 listen:submission:0=5": what master passed. */
static void collect_fds(void)
{
    const char *all = getenv("POSTHOUSE_FDS");
    char *copy = all != NULL ? strdup(all) : NULL, *save = NULL;
    for (char *word = copy != NULL ? strtok_r(copy, " ", &save) : NULL; word != NULL;
         word = strtok_r(NULL, " ", &save)) {
        char *equals = strrchr(word, '=');
        uint64_t fd;
        if (equals == NULL || process.fd_count == SERVICE_FDS_MAX || text_parse_u64(equals + 1, 65535, &fd) < 0)
            continue;
        *equals = '\0';
        fcntl((int)fd, F_SETFD, FD_CLOEXEC);
        process.fds[process.fd_count].name = strdup(word);
        process.fds[process.fd_count++].fd = (int)fd;
    }
    free(copy);
    unsetenv("POSTHOUSE_FDS");
}

int service_take_fd(struct service *s, const char *name)
{
    for (size_t i = 0; i < process.fd_count; i++) {
        if (process.fds[i].name == NULL || strcmp(process.fds[i].name, name) != 0)
            continue;
        free(process.fds[i].name);
        process.fds[i].name = NULL;
        return process.fds[i].fd;
    }
    return -1;
}

const char *service_fd_name(struct service *s, const char *prefix, size_t i)
{
    for (size_t k = 0; k < process.fd_count; k++)
        if (process.fds[k].name != NULL && text_has_prefix(process.fds[k].name, prefix) && i-- == 0)
            return process.fds[k].name;
    return NULL;
}

void service_finished(struct service *s)
{
    loop_stop(s->loop);
}

void service_failed(struct service *s)
{
    process.failed = true;
    loop_stop(s->loop);
}

bool service_draining(const struct service *s)
{
    return process.draining;
}

static void deadline_passed(void *arg)
{
    log_warning("not finished within shutdown_timeout, ending now");
    service_finished(arg);
}

static void begin_drain(struct service *s)
{
    if (process.draining)
        return;
    process.draining = true;
    timer_set_ms(&process.deadline, (uint64_t)s->shared.shutdown_timeout_ms);
    if (s->drain != NULL)
        s->drain(s);
    else
        service_finished(s);
}

static void on_terminate(void *arg, int signo)
{
    begin_drain(arg);
}

static void on_retire(void *arg, int signo)
{
    struct service *s = arg;
    if (s->retire == NULL)
        begin_drain(s);
    else if (!process.draining)
        s->retire(s);
}

/* Master never writes here: readable means that it is gone. */
static void on_master(void *arg, int ready)
{
    io_watch_set(&process.master, 0);
    log_warning("master is gone, finishing");
    begin_drain(arg);
}

static int load_shared(struct service *s)
{
    struct buf errors;
    buf_init(&errors, 65536);
    int r = settings_posthouse_load(s->config_dir, &s->shared, &errors);
    if (r < 0)
        log_error("%s", buf_str(&errors));
    buf_deinit(&errors);
    if (r == 0) {
        r = log_open(role_name(s->role), s->shared.log, (enum log_level)s->shared.log_level);
        if (r < 0)
            log_warning("log = %s: %s, logging to standard error", s->shared.log, text_errno(r));
        r = 0;
    }
    return r;
}

static void want_log_flush(void *arg)
{
    turn_end_want(&process.log_end);
}

static void flush_log(void *arg)
{
    log_flush();
}

static int open_loop(struct service *s)
{
    s->loop = loop_new();
    if (s->loop == NULL)
        return -ENOMEM;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* Ctrl-C reaches the whole terminal; master decides what it means */
    process.service = s;
    int r = loop_on_signal(s->loop, SIGTERM, on_terminate, s);
    if (r == 0)
        r = loop_on_signal(s->loop, SIGUSR2, on_retire, s);
    if (r == 0)
        r = timer_init(&process.deadline, s->loop, deadline_passed, s);
    process.master_fd = service_take_fd(s, "ready");
    if (r == 0 && process.master_fd >= 0) {
        r = io_watch_init(&process.master, s->loop, process.master_fd, on_master, s);
        if (r == 0)
            r = io_watch_set(&process.master, IO_READ);
    }
    return r;
}

/* As many descriptors as the system lets us have: a session or delivery needs one or two. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Who may come as what, for service_may_be. */
static int learn_users(const struct service *s)
{
    process.separated = privileges_separated(&s->shared);
    for (unsigned role = ROLE_SMTPD; process.separated && role < ROLE_CTL; role++) {
        struct privileges p;
        const char *missing;
        int r = privileges_of((enum ipc_role)role, &s->shared, &p, &missing);
        if (r < 0) {
            log_error("posthouse.conf: %s: no such user or group on this machine", missing);
            return r;
        }
        process.uids[role] = p.uid;
    }
    return 0;
}

static int confine(struct service *s)
{
    const char *step = "look up the users";
    int r = learn_users(s);
    if (r == 0)
        r = privileges_drop(s->role, &s->shared, &step);
    if (r < 0)
        log_error("privileges can not be given up: %s: %s; nothing was started", step, text_errno(r));
    return r;
}

static void say_ready(struct service *s)
{
    if (process.master_fd >= 0 && write(process.master_fd, "R", 1) != 1)
        log_warning("master could not be told that we are ready");
    log_debug("ready, slot %u", s->slot);
}

static void close_loop(struct service *s)
{
    io_watch_deinit(&process.master);
    timer_deinit(&process.deadline);
    loop_free(s->loop);
    if (process.master_fd >= 0)
        close(process.master_fd);
    for (size_t i = 0; i < process.fd_count; i++)
        free(process.fds[i].name);
}

int service_main(struct service *s, int argc, char **argv)
{
    log_open(role_name(s->role), "stderr", LOG_LEVEL_INFO);
    int r = parse_options(s, argc, argv);
    if (r > 0)
        return r - 1;
    umask(0027);
    collect_fds();
    raise_descriptor_limit();
    s->self = (struct ipc_identity){.role = s->role, .slot = s->slot};
    if ((r = load_shared(s)) == 0 && (r = open_loop(s)) == 0 && (r = s->prepare(s)) == 0 && (r = confine(s)) == 0 &&
        (r = s->start(s)) == 0) {
        turn_end_init(&process.log_end, s->loop, TURN_LOG, flush_log, NULL);
        log_gather(want_log_flush, NULL);
        say_ready(s);
        r = loop_run(s->loop);
        log_gather(NULL, NULL);
    }
    if (s->loop != NULL)
        s->stop(s);
    close_loop(s);
    settings_posthouse_free(&s->shared);
    log_close();
    return r < 0 || process.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

bool service_may_be(void *arg, enum ipc_role role, uid_t uid)
{
    if (role == ROLE_CTL || !process.separated)
        return uid == 0 || uid == geteuid();
    return role > ROLE_MASTER && role < ROLE_COUNT && uid == process.uids[role];
}
