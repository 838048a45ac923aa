#include "master/recovery.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "log/log.h"
#include "queue/filesystem.h"

int recovery_check_filesystem(const struct settings_posthouse *shared)
{
    const char *name;
    const char *queue = shared->queue_directory;
    int kind = queue_filesystem_check(queue, &name);
    switch (kind) {
    case FILESYSTEM_NETWORK:
        if (!shared->queue_on_network_filesystem) {
            log_error("%s is on a file system of another machine (%s), whose flushes nobody here can vouch for; move "
                      "queue_directory to a local disk, or set queue_on_network_filesystem = yes; nothing was started",
                      queue, name);
            return -EMEDIUMTYPE;
        }
        log_warning("%s is on a file system of another machine (%s): a message may be lost in a crash", queue, name);
        return 0;
    case FILESYSTEM_NO_JOURNAL:
        log_warning(
            "%s is on %s: slower, and a power cut in the wrong moment may cost messages; a journalled ext4, XFS "
            "or btrfs does better",
            queue, name);
        return 0;
    case FILESYSTEM_MEMORY:
        log_warning("%s is on %s, in memory: its messages do not survive the machine", queue, name);
        return 0;
    default:
        if (kind < 0)
            log_error("%s: %s", queue, text_errno(kind));
        return kind < 0 ? kind : 0;
    }
}

static void __attribute__((noreturn)) become(const struct master *m, const char *path)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    execl(path, "posthouse-recover", "-c", m->config_dir, (char *)NULL);
    log_error("%s: can not be executed: %s; is program_directory right?", path, text_errno(errno));
    _exit(127);
}

int recovery_run(const struct master *m)
{
    _cleanup_(freep) char *path = text_format("%s/posthouse-recover", m->configuration.shared.program_directory);
    if (path == NULL)
        return -ENOMEM;
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        become(m, path);
    while (pid > 0 && waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            break;
    if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    log_error("the queue could not be recovered, nothing was started");
    return -EIO;
}
