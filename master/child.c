#include "master/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "log/log.h"
#include "master/master.h"

const char *child_state_name(enum child_state state)
{
    static const char *const names[] = {"starting", "ready", "retiring", "draining", "waiting"};
    return names[state];
}

struct child *child_new(struct master *m, const struct program *program, unsigned slot)
{
    struct child *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    *c = (struct child){.program = program, .slot = slot, .master = m, .ready_fd = -1};
    if (timer_init(&c->timer, m->loop, master_child_timer, c) < 0) {
        free(c);
        return NULL;
    }
    c->state = CHILD_WAITING;
    c->delay_ms = (uint64_t)m->configuration.master.restart_delay_min_ms;
    return c;
}

static void close_ready(struct child *c)
{
    io_watch_deinit(&c->ready);
    if (c->ready_fd >= 0)
        close(c->ready_fd);
    c->ready_fd = -1;
}

void child_free(struct child *c)
{
    if (c == NULL)
        return;
    close_ready(c);
    timer_deinit(&c->timer);
    free(c);
}

void child_set_state(struct child *c, enum child_state state)
{
    c->state = state;
    c->since_s = clock_wall_s();
    if (state == CHILD_WAITING)
        close_ready(c);
}

static void pass_fd(struct buf *names, const char *name, int fd)
{
    if (fd >= 0)
        buf_printf(names, "%s%s=%d", names->len > 0 ? " " : "", name, fd);
}

/* The listening sockets of this slot; a Unix socket has one, for every slot. */
static bool gets(const struct child *c, const struct listen_socket *s)
{
    return c->program->listeners && (s->slot == c->slot || s->address.any.sa_family == AF_UNIX);
}

/* Descriptors by name for the child; everything else is close-on-exec. */
static void describe_fds(const struct child *c, const struct child_inheritance *with, int ready_fd, struct buf *names)
{
    pass_fd(names, "ready", ready_fd);
    pass_fd(names, "serve", with->socket_fd);
    pass_fd(names, "lock", with->lock_fd);
    if (c->program->listeners) {
        pass_fd(names, "tickets", with->tickets_fd);
        pass_fd(names, "limits", with->limits_fd);
    }
    for (size_t i = 0; i < with->listeners->count; i++)
        if (gets(c, &with->listeners->items[i]))
            pass_fd(names, with->listeners->items[i].name, with->listeners->items[i].fd);
}

static void keep_over_exec(int fd)
{
    if (fd >= 0)
        fcntl(fd, F_SETFD, 0);
}

/* In the child, between fork and exec. */
static void __attribute__((noreturn))
become(const struct child *c, const struct child_inheritance *with, int ready_fd, const char *path, const char *names)
{
    char slot[16];
    snprintf(slot, sizeof(slot), "%u", c->slot);
    keep_over_exec(ready_fd);
    keep_over_exec(with->socket_fd);
    keep_over_exec(with->lock_fd);
    if (c->program->listeners) {
        keep_over_exec(with->tickets_fd);
        keep_over_exec(with->limits_fd);
    }
    for (size_t i = 0; i < with->listeners->count; i++)
        if (gets(c, &with->listeners->items[i]))
            keep_over_exec(with->listeners->items[i].fd);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setenv("POSTHOUSE_FDS", names, 1);
    execl(path, c->program->file, "-c", with->config_dir, "-s", slot, (char *)NULL);
    log_error("%s: can not be executed: %s; is program_directory right?", path, text_errno(errno));
    _exit(127);
}

int child_start(struct child *c, const struct child_inheritance *with)
{
    int pair[2];
    _cleanup_(freep) char *path = text_format("%s/%s", with->program_directory, c->program->file);
    if (path == NULL)
        return -ENOMEM;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -errno;
    struct buf names;
    buf_init(&names, 65536);
    describe_fds(c, with, pair[1], &names);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        become(c, with, pair[1], path, buf_str(&names));
    int r = pid < 0 ? -errno : 0;
    buf_deinit(&names);
    close(pair[1]);
    close_ready(c);
    c->ready_fd = pair[0];
    if (r == 0) {
        c->pid = pid;
        c->killed = false;
        c->started_ms = clock_mono_ms();
        child_set_state(c, CHILD_STARTING);
        r = io_watch_init(&c->ready, c->master->loop, c->ready_fd, master_child_ready, c);
    }
    return r == 0 ? io_watch_set(&c->ready, IO_READ) : r;
}
