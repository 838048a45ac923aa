/* Opens the queue as root, gives its privileges up to qmgr's user, recovers, ends. */
#include "recover/recover.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "log/log.h"
#include "queue/recover.h"

static struct {
    struct timer timer;
    int queue_fd;
} recover = {.queue_fd = -1};

static int prepare(struct service *s)
{
    recover.queue_fd = open(s->shared.queue_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (recover.queue_fd >= 0)
        return 0;
    int r = -errno;
    log_error("%s: the queue can not be opened: %s", s->shared.queue_directory, text_errno(r));
    return r;
}

static void say_what_was_found(const struct queue_recovery *found, uint64_t took_ms)
{
    enum log_level level = found->restored + found->mended > 0 ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO;
    if (!found->replayed || found->segments == 0)
        return;
    log_message(level, NULL,
                "recovered in %llu ms: journal records=%zu, whole=%zu, delivered before=%zu (%zu files removed), "
                "written again: missing=%zu, damaged=%zu",
                (unsigned long long)took_ms, found->records, found->whole, found->done, found->removed, found->restored,
                found->mended);
}

static void run(void *arg)
{
    struct service *s = arg;
    struct queue_recovery found;
    const char *step;
    uint64_t began = clock_mono_ms();
    int r = queue_recover(recover.queue_fd, &found, &step);
    if (r < 0) {
        log_error("%s: recovery failed at: %s: %s; nothing is lost, and nothing is started before it succeeds",
                  s->shared.queue_directory, step, text_errno(r));
        service_failed(s);
        return;
    }
    say_what_was_found(&found, clock_mono_ms() - began);
    service_finished(s);
}

static int start(struct service *s)
{
    umask(0077);
    int r = timer_init(&recover.timer, s->loop, run, s);
    return r == 0 ? timer_set_ms(&recover.timer, 0) : r;
}

static void stop(struct service *s)
{
    timer_deinit(&recover.timer);
    if (recover.queue_fd >= 0)
        close(recover.queue_fd);
}

struct service *recover_service(void)
{
    static struct service service = {.role = ROLE_QMGR, .prepare = prepare, .start = start, .stop = stop};
    return &service;
}
