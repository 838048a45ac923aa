/* The life of the children: started together, started again with back-off when they die, replaced one by one at a
 * reload, ended stage by stage at a stop. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "log/log.h"
#include "master/master.h"

#define LIVED_WELL_MS   10000 /* a child that lived this long starts again without a longer wait */
#define KILL_GRACE_MS   5000  /* on top of shutdown_timeout, which the child knows itself */
#define STOP_STAGE_LAST 2
#define RETIRING_MAX    4 /* of one slot: whoever reloads often shall not fill the machine with old processes */

static void start_child(struct child *c)
{
    struct master *m = c->master;
    const struct program *p = c->program;
    const struct child_inheritance with = {.program_directory = m->configuration.shared.program_directory,
                                           .config_dir = m->config_dir,
                                           .listeners = &m->listeners,
                                           .socket_fd = p->socket != NULL ? m->local_fds[p->role] : -1,
                                           .lock_fd = p->lock ? m->lock_fd : -1,
                                           .tickets_fd = tickets_fd(m->tickets),
                                           .limits_fd = m->limits_fd};
    int r = child_start(c, &with);
    if (r == 0) {
        log_info("child started: program=%s, slot=%u, pid=%d", role_name(p->role), c->slot, (int)c->pid);
        return;
    }
    log_error("child not started: program=%s, slot=%u: %s, will retry in %llu ms", role_name(p->role), c->slot,
              text_errno(r), (unsigned long long)c->delay_ms);
    child_set_state(c, CHILD_WAITING);
    timer_set_ms(&c->timer, c->delay_ms);
}

static struct child *add_child(struct master *m, const struct program *p, unsigned slot)
{
    struct child *c = child_new(m, p, slot);
    if (c != NULL)
        TAILQ_INSERT_TAIL(&m->children, c, link);
    return c;
}

int master_start_children(struct master *m)
{
    for (const struct program *p = programs; p->file != NULL; p++) {
        unsigned workers = p->listeners ? m->smtpd_slots : program_workers(p, &m->configuration.master);
        for (unsigned slot = 0; slot < workers; slot++) {
            struct child *c = add_child(m, p, slot);
            if (c == NULL)
                return -ENOMEM;
            start_child(c);
        }
    }
    return 0;
}

/* Tells a child to finish; signo is SIGTERM, or SIGUSR1 for qmgr at a reload (end at once: the queue is on disk). */
static void finish_child(struct child *c, int signo)
{
    if (c->pid == 0)
        return;
    kill(c->pid, signo);
    child_set_state(c, CHILD_DRAINING);
    timer_set_ms(&c->timer, (uint64_t)c->master->configuration.shared.shutdown_timeout_ms + KILL_GRACE_MS);
}

/* Its successor is ready. */
static void retire_child(struct child *c)
{
    uint64_t grace_ms = (uint64_t)c->master->configuration.master.retire_timeout_ms;
    if (!c->program->retires || grace_ms == 0 || c->state != CHILD_READY) {
        finish_child(c, SIGTERM);
        return;
    }
    kill(c->pid, SIGUSR2);
    child_set_state(c, CHILD_RETIRING);
    timer_set_ms(&c->timer, grace_ms);
}

/* The oldest stand first. */
static void finish_some_retiring(const struct child *fresh)
{
    struct child *c;
    unsigned retiring = 0;
    TAILQ_FOREACH_REVERSE (c, &fresh->master->children, child_list, link)
        if (c->program == fresh->program && c->slot == fresh->slot && c->state == CHILD_RETIRING &&
            ++retiring > RETIRING_MAX)
            finish_child(c, SIGTERM);
}

static void retire_predecessors(struct child *fresh)
{
    struct child *c;
    TAILQ_FOREACH (c, &fresh->master->children, link)
        if (c != fresh && c->last_time && c->program == fresh->program && c->slot == fresh->slot &&
            c->state != CHILD_RETIRING && c->state != CHILD_DRAINING)
            retire_child(c);
    finish_some_retiring(fresh);
}

/* A reload is complete when every child that stays is ready. */
static void check_reloaded(struct master *m)
{
    struct child *c;
    if (!m->reloading)
        return;
    TAILQ_FOREACH (c, &m->children, link)
        if (!c->last_time && c->state != CHILD_READY)
            return;
    m->reloading = false;
    log_info("reload complete");
    control_reloaded(m);
}

/* The child wrote its "R", or its end of the pair closed (then waitpid tells the rest). */
void master_child_ready(void *arg, int ready)
{
    struct child *c = arg;
    char text[8];
    ssize_t n = read(c->ready_fd, text, sizeof(text));
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            io_watch_set(&c->ready, 0);
        return;
    }
    if (c->state != CHILD_STARTING)
        return;
    child_set_state(c, CHILD_READY);
    log_info("child ready: program=%s, slot=%u, pid=%d", role_name(c->program->role), c->slot, (int)c->pid);
    retire_predecessors(c);
    check_reloaded(c->master);
}

void master_child_timer(void *arg)
{
    struct child *c = arg;
    if (c->state == CHILD_WAITING) {
        if (!c->master->stopping)
            start_child(c);
        return;
    }
    if (c->state == CHILD_RETIRING) {
        finish_child(c, SIGTERM);
        return;
    }
    if (c->pid > 0) {
        log_warning("child killed: program=%s, slot=%u, pid=%d: did not finish within shutdown_timeout",
                    role_name(c->program->role), c->slot, (int)c->pid);
        c->killed = true;
        kill(c->pid, SIGKILL);
    }
}

static void describe_end(int status, struct buf *text)
{
    if (WIFSIGNALED(status))
        buf_printf(text, "signal %d (%s)%s", WTERMSIG(status), strsignal(WTERMSIG(status)),
                   WCOREDUMP(status) ? ", core dumped" : "");
    else
        buf_printf(text, "exit status %d", WEXITSTATUS(status));
}

static void stop_next_stage(struct master *m)
{
    struct child *c;
    for (; m->stop_stage <= STOP_STAGE_LAST; m->stop_stage++) {
        bool any = false;
        TAILQ_FOREACH (c, &m->children, link) {
            if (c->program->stop_stage > m->stop_stage || c->pid == 0)
                continue;
            any = true;
            if (c->state != CHILD_DRAINING)
                finish_child(c, SIGTERM);
        }
        if (any)
            return;
    }
    log_info("all children ended, master stops");
    control_stopped(m);
    loop_stop(m->loop);
}

/* Again, unless that was its last time: at once after a reload or a good life, else with a doubling wait. */
static void start_again(struct child *c, bool expected)
{
    struct master *m = c->master;
    uint64_t min = (uint64_t)m->configuration.master.restart_delay_min_ms;
    uint64_t max = (uint64_t)m->configuration.master.restart_delay_max_ms;
    child_set_state(c, CHILD_WAITING);
    if (expected || clock_mono_ms() - c->started_ms >= LIVED_WELL_MS)
        c->delay_ms = min;
    uint64_t wait = expected ? 0 : c->delay_ms;
    if (!expected) {
        c->restarts++;
        c->delay_ms = c->delay_ms * 2 > max ? max : c->delay_ms * 2;
        log_info("child restart: program=%s, slot=%u, in %llu ms", role_name(c->program->role), c->slot,
                 (unsigned long long)wait);
    }
    timer_set_ms(&c->timer, wait);
}

void master_child_ended(struct master *m, pid_t pid, int status)
{
    struct child *c;
    TAILQ_FOREACH (c, &m->children, link)
        if (c->pid == pid)
            break;
    if (c == NULL)
        return;
    bool expected = c->state == CHILD_DRAINING || c->state == CHILD_RETIRING;
    struct buf cause;
    buf_init(&cause, 256);
    describe_end(status, &cause);
    if (expected && status == 0)
        log_info("child ended: program=%s, slot=%u, pid=%d, cause=%s", role_name(c->program->role), c->slot, (int)pid,
                 buf_str(&cause));
    else
        log_warning("child died: program=%s, slot=%u, pid=%d, cause=%s", role_name(c->program->role), c->slot, (int)pid,
                    buf_str(&cause));
    buf_deinit(&cause);
    c->pid = 0;
    timer_stop(&c->timer);
    if (m->stopping) {
        child_set_state(c, CHILD_WAITING);
        stop_next_stage(m);
    } else if (c->last_time) {
        TAILQ_REMOVE(&m->children, c, link);
        child_free(c);
    } else {
        start_again(c, expected);
    }
}

void master_stop(struct master *m)
{
    struct child *c;
    if (m->stopping)
        return;
    m->stopping = true;
    m->stop_stage = 0;
    log_info("stopping: no new sessions, work in hand is finished first");
    TAILQ_FOREACH (c, &m->children, link)
        timer_stop(&c->timer);
    stop_next_stage(m);
}

static void replace_child(struct master *m, struct child *c)
{
    const struct program *p = c->program;
    unsigned workers = p->listeners ? m->smtpd_slots : program_workers(p, &m->configuration.master);
    if (p->replaced_in_turn) {
        finish_child(c, SIGUSR1);
        return;
    }
    c->last_time = true;
    struct child *fresh = c->slot < workers ? add_child(m, p, c->slot) : NULL;
    if (fresh != NULL)
        start_child(fresh);
    else
        finish_child(c, SIGTERM);
    if (c->pid == 0) {
        TAILQ_REMOVE(&m->children, c, link);
        child_free(c);
    }
}

/* Old children go when their successors are ready, those without successor at once. */
static void replace_children(struct master *m, bool only_listeners)
{
    struct child *c, *next, *last = TAILQ_LAST(&m->children, child_list);
    for (c = TAILQ_FIRST(&m->children); c != NULL; c = next) {
        next = c == last ? NULL : TAILQ_NEXT(c, link);
        if (!c->last_time && (c->program->listeners || !only_listeners))
            replace_child(m, c);
    }
}

void master_replace_smtpd(struct master *m)
{
    log_info("replacing smtpd: sessions go on with the old one until they end");
    replace_children(m, true);
}

/* Slots that the new configuration has on top. */
static void add_missing(struct master *m)
{
    for (const struct program *p = programs; p->file != NULL; p++) {
        unsigned workers = p->listeners ? m->smtpd_slots : program_workers(p, &m->configuration.master);
        for (unsigned slot = 0; slot < workers; slot++) {
            struct child *c;
            TAILQ_FOREACH (c, &m->children, link)
                if (c->program == p && c->slot == slot && !c->last_time)
                    break;
            if (c == NULL && (c = add_child(m, p, slot)) != NULL)
                start_child(c);
        }
    }
}

/* What a running suite can not change under its own feet. */
static int check_unchanged(const struct configuration *old, const struct configuration *fresh, struct buf *errors)
{
    const struct {
        const char *name, *before, *now;
    } fixed[] = {
        {"queue_directory", old->shared.queue_directory, fresh->shared.queue_directory},
        {"run_directory", old->shared.run_directory, fresh->shared.run_directory},
        {"state_directory", old->shared.state_directory, fresh->shared.state_directory},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(fixed); i++) {
        if (strcmp(fixed[i].before, fixed[i].now) == 0)
            continue;
        buf_printf(errors, "posthouse.conf: %s = %s: was %s when the suite started; stop and start it to change this\n",
                   fixed[i].name, fixed[i].now, fixed[i].before);
        return -EINVAL;
    }
    return 0;
}

int master_reload(struct master *m, struct buf *errors)
{
    struct configuration fresh;
    int r = configuration_load(m->config_dir, &fresh, errors);
    if (r < 0)
        return r;
    r = check_unchanged(&m->configuration, &fresh, errors);
    if (r == 0 && (r = listen_apply(&m->listeners, &fresh, m->smtpd_slots)) < 0)
        buf_append_str(errors, "smtpd.conf: a listener can not be opened, see the log\n");
    if (r < 0) {
        configuration_free(&fresh);
        return r;
    }
    configuration_free(&m->configuration);
    m->configuration = fresh;
    if (settings_workers(fresh.master.smtpd_workers) != m->smtpd_slots)
        log_warning("master.conf: smtpd_workers: changes with the next start");
    log_info("reload: configuration is right, replacing every program");
    m->reloading = true;
    replace_children(m, false);
    add_missing(m);
    if (certificates_watch(&m->certificates) < 0)
        log_warning("no memory to watch the certificates: smtpd takes new ones at the next reload");
    return 0;
}
