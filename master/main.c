/* posthouse-master: the one privileged program.  Reads the configuration, binds every socket, makes the folders, and
 * keeps the other programs running until it is told to stop. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "log/log.h"
#include "master/folders.h"
#include "master/master.h"
#include "master/recovery.h"
#include "queue/folder.h"
#include "service/privileges.h"
#include "service/service.h"

#define LOCK_WAIT_MS 5000 /* the last programs of a suite whose master was killed need a moment to end */

static struct master master = {.config_dir = "/etc/posthouse", .lock_fd = -1, .limits_fd = -1};

/* 0 = go on, otherwise the exit status plus one. */
static int parse_options(int argc, char **argv)
{
    for (int c; (c = getopt(argc, argv, "c:V")) != -1;) {
        if (c == 'c') {
            master.config_dir = optarg;
        } else if (c == 'V') {
            printf("posthouse-master %s\n", POSTHOUSE_VERSION);
            return 1;
        } else {
            fprintf(stderr, "usage: posthouse-master [-c DIR] [-V]\n");
            return 3;
        }
    }
    return 0;
}

static void log_lines(const char *text)
{
    char *copy = strdup(text), *rest = copy;
    for (char *line; copy != NULL && (line = strsep(&rest, "\n")) != NULL;)
        if (*line != '\0')
            log_error("%s", line);
    free(copy);
}

static int read_configuration(void)
{
    struct buf errors;
    buf_init(&errors, 65536);
    /* Children get the path from us and work elsewhere. */
    char *absolute = realpath(master.config_dir, NULL);
    if (absolute != NULL)
        master.config_dir = absolute;
    int r = configuration_load(master.config_dir, &master.configuration, &errors);
    if (r < 0) {
        log_lines(buf_str(&errors));
        log_error("nothing was started: correct the configuration in %s", master.config_dir);
    }
    buf_deinit(&errors);
    return r;
}

static int open_log(void)
{
    const struct settings_posthouse *shared = &master.configuration.shared;
    int r = log_open("master", shared->log, (enum log_level)shared->log_level);
    if (r < 0)
        log_error("posthouse.conf: log = %s: can not be opened: %s", shared->log, text_errno(r));
    return r;
}

static int lock_queue(void)
{
    const char *queue = master.configuration.shared.queue_directory;
    uint64_t give_up = clock_mono_ms() + LOCK_WAIT_MS;
    for (;;) {
        pid_t pid;
        int r = queue_lock(queue, &pid);
        if (r >= 0) {
            master.lock_fd = r;
            return 0;
        }
        bool master_alive = pid > 0 && kill(pid, 0) == 0;
        if (r != -EWOULDBLOCK || master_alive || clock_mono_ms() > give_up) {
            if (r == -EWOULDBLOCK)
                log_error("another suite runs on %s (master pid %d); nothing was started", queue, (int)pid);
            else
                log_error("%s: can not be locked: %s; nothing was started", queue, text_errno(r));
            return r;
        }
        usleep(50000);
    }
}

static int make_folders(void)
{
    const struct settings_posthouse *shared = &master.configuration.shared;
    /* The lock comes before the sweep of tmp/, and the folder before the lock. */
    if (mkdir(shared->state_directory, 0755) < 0 && errno != EEXIST) {
        int r = -errno;
        log_error("%s: can not be made: %s; make it or correct state_directory", shared->state_directory,
                  text_errno(r));
        return r;
    }
    if (mkdir(shared->queue_directory, 0755) < 0 && errno != EEXIST) {
        int r = -errno;
        log_error("%s: can not be made: %s; make it or correct queue_directory", shared->queue_directory,
                  text_errno(r));
        return r;
    }
    int r = recovery_check_filesystem(shared);
    if (r < 0 || (r = lock_queue()) < 0)
        return r;
    r = folders_make(shared, master.smtpd_slots);
    return r < 0 ? r : recovery_run(&master);
}

static int open_sockets(void)
{
    int r = listen_apply(&master.listeners, &master.configuration, master.smtpd_slots);
    if (r < 0)
        return r;
    const char *run = master.configuration.shared.run_directory;
    if (chdir(run) < 0) {
        r = -errno;
        log_error("%s: can not be entered: %s", run, text_errno(r));
        return r;
    }
    for (const struct program *p = programs; p->file != NULL; p++) {
        if (p->socket == NULL)
            continue;
        r = listen_local(p->socket);
        if (r < 0) {
            log_error("%s/%s: can not listen: %s", run, p->socket, text_errno(r));
            return r;
        }
        master.local_fds[p->role] = r;
    }
    r = listen_local(SERVICE_MASTER_SOCKET);
    if (r < 0) {
        log_error("%s/%s: can not listen: %s", run, SERVICE_MASTER_SOCKET, text_errno(r));
        return r;
    }
    return control_open(&master, r);
}

static void on_stop(void *arg, int signo)
{
    log_info("%s received", strsignal(signo));
    master_stop(&master);
}

static void on_hangup(void *arg, int signo)
{
    struct buf errors;
    buf_init(&errors, 16384);
    if (master.stopping || master.reloading)
        log_info("reload not started: a stop or reload is under way");
    else if (master_reload(&master, &errors) < 0)
        log_error("reload refused, everything goes on as before: %s", buf_str(&errors));
    buf_deinit(&errors);
}

static void on_child(void *arg, int signo)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        master_child_ended(&master, pid, status);
}

static int open_loop(void)
{
    master.loop = loop_new();
    if (master.loop == NULL)
        return -ENOMEM;
    signal(SIGPIPE, SIG_IGN);
    int r;
    if ((r = loop_on_signal(master.loop, SIGTERM, on_stop, NULL)) < 0 ||
        (r = loop_on_signal(master.loop, SIGINT, on_stop, NULL)) < 0 ||
        (r = loop_on_signal(master.loop, SIGHUP, on_hangup, NULL)) < 0)
        return r;
    return loop_on_signal(master.loop, SIGCHLD, on_child, NULL);
}

static void on_tickets(void *arg)
{
    if (tickets_rotate(master.tickets) < 0)
        log_warning("no new key for TLS tickets could be made, the one there is stays");
    timer_set_ms(&master.tickets_timer, TICKETS_LIFETIME_MS);
}

/* It outlives every smtpd, so that a reload forgets nobody. */
static int prepare_limits(void)
{
    master.limits_fd = memfd_create("smtpd-limits", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (master.limits_fd >= 0)
        return 0;
    int r = -errno;
    log_error("the memory in which smtpd counts sessions can not be had: %s; nothing was started", text_errno(r));
    return r;
}

/* What smtpd's TLS needs of us: the keys of tickets, and an eye on the certificates. */
static int prepare_tls(void)
{
    int r = tickets_new(&master.tickets);
    if (r == 0)
        r = timer_init(&master.tickets_timer, master.loop, on_tickets, NULL);
    if (r == 0)
        r = timer_set_ms(&master.tickets_timer, TICKETS_LIFETIME_MS);
    if (r == 0)
        r = certificates_init(&master.certificates, &master);
    if (r == 0)
        r = certificates_watch(&master.certificates);
    if (r < 0)
        log_error("keys for TLS tickets can not be made: %s; nothing was started", text_errno(r));
    return r;
}

static void say_who_we_are(void)
{
    const struct settings_posthouse *shared = &master.configuration.shared;
    log_info("posthouse %s starting, configuration %s, queue %s", POSTHOUSE_VERSION, master.config_dir,
             shared->queue_directory);
    if (!privileges_separated(shared))
        log_warning("all programs run as user %u, without chroot: %s", (unsigned)geteuid(),
                    geteuid() == 0 ? "separate_users = no" : "not started by root");
}

static void close_all(void)
{
    struct child *c;
    ipc_server_free(master.control);
    while ((c = TAILQ_FIRST(&master.children)) != NULL) {
        TAILQ_REMOVE(&master.children, c, link);
        child_free(c);
    }
    certificates_deinit(&master.certificates);
    timer_deinit(&master.tickets_timer);
    tickets_free(master.tickets);
    listen_close(&master.listeners);
    for (int i = 0; i < ROLE_COUNT; i++)
        if (master.local_fds[i] > 0)
            close(master.local_fds[i]);
    loop_free(master.loop);
    if (master.limits_fd >= 0)
        close(master.limits_fd);
    if (master.lock_fd >= 0)
        close(master.lock_fd);
    configuration_free(&master.configuration);
}

int main(int argc, char **argv)
{
    log_open("master", "stderr", LOG_LEVEL_INFO);
    int r = parse_options(argc, argv);
    if (r > 0)
        return r - 1;
    umask(0027);
    TAILQ_INIT(&master.children);
    if (read_configuration() < 0)
        return EXIT_FAILURE;
    master.smtpd_slots = settings_workers(master.configuration.master.smtpd_workers);
    if ((r = open_log()) == 0 && (r = open_loop()) == 0 && (r = make_folders()) == 0 && (r = open_sockets()) == 0 &&
        (r = prepare_limits()) == 0 && (r = prepare_tls()) == 0) {
        say_who_we_are();
        r = master_start_children(&master);
        if (r == 0)
            r = loop_run(master.loop);
    }
    close_all();
    log_close();
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
