/* posthouse-bounce: tells senders what became of their mail, and remembers the addresses that failed for good.
 *
 * user     posthouse-bounce, groups posthouse-inject and posthouse-suppression; root folder: run_directory
 * opens    tmp/ and new/ of the queue (to create in), the suppression list (to write), the counts of usage (to write)
 * peers    qmgr (BOUNCE comes, BOUNCED and SUBMITTED go) */
#include <errno.h>
#include <stdlib.h>

#include "base/text.h"
#include "log/log.h"
#include "bounce/office.h"
#include "service/service.h"

/* Each is a commit under way: enough to keep a disk busy, few enough to be no load. */
#define COMMIT_THREADS 4

static struct {
    struct settings_bounce settings;
    bool settings_loaded;
    struct injector *injector;
    struct suppression *suppression;
    struct usage *usage;
    struct office *office;
    struct ipc_client *qmgr;
} bounce;

static void on_bounce(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    office_take(bounce.office, message, fd);
}

static const struct ipc_handler handlers[] = {
    {IPC_BOUNCE, on_bounce},
    {IPC_NONE, NULL},
};

static void on_up(void *arg, struct ipc_channel *c)
{
    log_debug("connected to qmgr, pid %u", ipc_channel_peer(c)->pid);
}

/* The client says so itself and connects again; qmgr repeats what was not answered. */
static void on_down(void *arg, struct ipc_channel *c, const char *why)
{
}

static struct ipc_channel *qmgr_channel(void *arg)
{
    return bounce.qmgr != NULL ? ipc_client_channel(bounce.qmgr) : NULL;
}

static void on_idle(void *arg)
{
    struct service *s = arg;
    if (service_draining(s))
        service_finished(s);
}

static int load_settings(struct service *s)
{
    struct buf errors;
    buf_init(&errors, 65536);
    int r = conf_load(&settings_bounce_schema, s->config_dir, &bounce.settings, &errors);
    bounce.settings_loaded = r == 0;
    if (r < 0)
        log_error("%s", buf_str(&errors));
    buf_deinit(&errors);
    return r;
}

static void journal_trouble(void *arg, const char *what, int err)
{
    log_warning("journal: %s: %s; notices are flushed one by one meanwhile", what, text_errno(err));
}

static int open_usage(struct service *s)
{
    char *path = text_format("%s/usage", s->shared.state_directory);
    int r = path != NULL ? usage_open(path, &bounce.usage) : -ENOMEM;
    if (r < 0)
        log_error("%s/usage: %s", s->shared.state_directory, text_errno(r));
    free(path);
    return r;
}

static int prepare(struct service *s)
{
    int r = load_settings(s);
    if (r < 0)
        return r;
    r = injector_new(s->loop, s->shared.queue_directory, QUEUE_WRITER_BOUNCE + s->slot, COMMIT_THREADS,
                     &bounce.injector);
    if (r < 0) {
        log_error("queue_directory = %s: can not be used to add messages: %s", s->shared.queue_directory,
                  text_errno(r));
        return r;
    }
    r = injector_use_journal(bounce.injector, (uint64_t)s->shared.journal_segment_size, journal_trouble, NULL);
    if (r < 0) {
        log_error("queue_directory = %s: journal of bounce: %s", s->shared.queue_directory, text_errno(r));
        return r;
    }
    r = suppression_open_writer(s->shared.suppression_database, &bounce.suppression);
    if (r < 0)
        log_error("suppression_database = %s: can not be opened for writing: %s", s->shared.suppression_database,
                  text_errno(r));
    return r == 0 ? open_usage(s) : r;
}

static int start(struct service *s)
{
    const struct office_setup setup = {.loop = s->loop,
                                       .settings = &bounce.settings,
                                       .hostname = s->shared.hostname,
                                       .injector = bounce.injector,
                                       .suppression = bounce.suppression,
                                       .usage = bounce.usage,
                                       .channel = qmgr_channel,
                                       .idle = on_idle,
                                       .arg = s};
    const struct ipc_face face = {.self = s->self, .handlers = handlers, .on_up = on_up, .on_down = on_down, .arg = s};
    bounce.office = office_new(&setup);
    if (bounce.office != NULL)
        bounce.qmgr = ipc_client_new(s->loop, SERVICE_QMGR_SOCKET, ROLE_QMGR, &face);
    if (bounce.qmgr == NULL) {
        log_error("not started: %s", text_errno(ENOMEM));
        return -ENOMEM;
    }
    return 0;
}

static void drain(struct service *s)
{
    office_close(bounce.office);
    if (office_reports(bounce.office) == 0)
        service_finished(s);
}

static void stop(struct service *s)
{
    if (bounce.qmgr != NULL)
        ipc_client_free(bounce.qmgr);
    bounce.qmgr = NULL;
    office_free(bounce.office);
    if (bounce.injector != NULL)
        injector_free(bounce.injector);
    if (bounce.suppression != NULL)
        suppression_free(bounce.suppression);
    usage_close(bounce.usage);
    if (bounce.settings_loaded)
        conf_free(&settings_bounce_schema, &bounce.settings);
}

static struct service service = {.role = ROLE_BOUNCE, .prepare = prepare, .start = start, .drain = drain, .stop = stop};

int main(int argc, char **argv)
{
    return service_main(&service, argc, argv);
}
