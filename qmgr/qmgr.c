/* The life of the process: settings, the queue folder, timers, and who may say what. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "log/log.h"
#include "qmgr/qmgr.h"
#include "qmgr/walk.h"
#include "queue/done.h"

#define FDS_NOT_FOR_MESSAGES 256
#define SECOND_MS            1000

static struct qmgr qmgr = {.queue_fd = -1, .lock_fd = -1};

void qmgr_wake(struct qmgr *q)
{
    task_post(&q->wake);
}

uint64_t qmgr_job_number(struct qmgr *q)
{
    return ++q->next_job;
}

/* Does what can be done, then sleeps until the next message is due. */
static void on_wake(void *arg)
{
    struct qmgr *q = arg;
    if (service_draining(q->service)) {
        if (worker_jobs(q) == 0)
            service_finished(q->service);
        return;
    }
    if (q->settled)
        intake_activate(q);
    site_schedule(q);
    struct message *next = timetable_first(&q->timetable);
    if (q->settled && intake_can_activate(q))
        qmgr_wake(q);
    else if (next != NULL) {
        int64_t wait_ms = next->due_s * 1000 - clock_wall_us() / 1000;
        timer_set_ms(&q->wake_timer, wait_ms < 1 ? 1 : wait_ms > 60000 ? 60000 : (uint64_t)wait_ms);
    }
}

static void on_second(void *arg)
{
    struct qmgr *q = arg;
    sign_check_waiting(q);
    route_ask_waiting(q);
    timer_set_ms(&q->second_timer, SECOND_MS);
}

/* One row per kind of peer. */
static void on_up(void *arg, struct ipc_channel *c)
{
    struct qmgr *q = arg;
    const struct ipc_identity *peer = ipc_channel_peer(c);
    if (peer->role == ROLE_SMTP_OUT)
        worker_up(q, c);
    else if (peer->role == ROLE_DKIM_SIGNER)
        signer_up(q, c);
    else if (peer->role == ROLE_BOUNCE)
        q->bouncer = c;
}

static void on_down(void *arg, struct ipc_channel *c, const char *why)
{
    struct qmgr *q = arg;
    const struct ipc_identity *peer = ipc_channel_peer(c);
    if (peer->role == ROLE_SMTP_OUT)
        worker_down(q, c);
    else if (peer->role == ROLE_DKIM_SIGNER)
        signer_down(q, c);
    else if (q->bouncer == c)
        notice_bouncer_down(q);
    else if (peer->role == ROLE_SMTPD)
        route_asker_down(q, c);
    else if (peer->role == ROLE_CTL)
        walk_channel_down(q, c);
    if (peer->role != ROLE_CTL)
        log_debug("ipc: %s %u is gone: %s", role_name(peer->role), peer->slot, why);
}

static const struct ipc_handler handlers[] = {
    {IPC_SUBMITTED, intake_submitted},       {IPC_CHECK_DOMAIN, route_check},  {IPC_KEYS, signer_keys},
    {IPC_SIGNATURE, sign_answered},          {IPC_CAPACITY, worker_capacity},  {IPC_INFLIGHT, worker_inflight},
    {IPC_INFLIGHT_END, worker_inflight_end}, {IPC_ROUTED, route_answered},     {IPC_RESULT, worker_result},
    {IPC_DELIVER_DONE, worker_done},         {IPC_BOUNCED, notice_answered},   {IPC_QUEUE_LIST, orders_list},
    {IPC_QUEUE_SHOW, orders_show},           {IPC_QUEUE_ORDER, orders_change}, {IPC_QUEUE_STATUS, orders_status},
    {IPC_RULE_ORDER, rules_order},           {IPC_RULE_LIST, rules_list},      {IPC_NONE, NULL},
};

static int load_settings(struct service *s)
{
    struct buf errors;
    buf_init(&errors, 65536);
    int r = conf_load(&settings_qmgr_schema, s->config_dir, &qmgr.settings, &errors);
    if (r < 0)
        log_error("%s", buf_str(&errors));
    buf_deinit(&errors);
    return r;
}

/* Every message that is worked on keeps its file open, twice: to write, and to hand out. */
static void set_active_limit(struct qmgr *q)
{
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    q->active_max = (size_t)q->settings.active_messages_max;
    if (limit.rlim_cur != RLIM_INFINITY && 2 * q->active_max + FDS_NOT_FOR_MESSAGES > limit.rlim_cur) {
        q->active_max =
            (limit.rlim_cur > 2 * FDS_NOT_FOR_MESSAGES ? limit.rlim_cur - FDS_NOT_FOR_MESSAGES : limit.rlim_cur / 2) /
            2;
        log_warning("qmgr.conf: active_messages_max: only %zu, as this process may have %llu files open", q->active_max,
                    (unsigned long long)limit.rlim_cur);
    }
}

static int prepare(struct service *s)
{
    struct qmgr *q = &qmgr;
    q->service = s;
    fair_init(&q->ready);
    fair_init(&q->unsigned_rounds);
    TAILQ_INIT(&q->signing_rounds);
    TAILQ_INIT(&q->workers);
    TAILQ_INIT(&q->signers);
    TAILQ_INIT(&q->sites.turn);
    TAILQ_INIT(&q->walks);
    record_init(q);
    int r = load_settings(s);
    if (r < 0)
        return r;
    if ((r = tenants_init(&q->tenants, &q->settings)) < 0) {
        log_error("tenants: %s", text_errno(r));
        return r;
    }
    set_active_limit(q);
    q->lock_fd = service_take_fd(s, "lock");
    q->queue_fd = open(s->shared.queue_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (q->queue_fd < 0) {
        r = -errno;
        log_error("%s: the queue can not be opened: %s", s->shared.queue_directory, text_errno(r));
    }
    return r;
}

static void on_replaced(void *arg, int signo)
{
    log_info("replaced: ending at once, deliveries in flight report to the next qmgr");
    service_finished(arg);
}

static int start_timers(struct qmgr *q, struct loop *l)
{
    int r;
    task_init(&q->wake, l, on_wake, q);
    if ((r = timer_init(&q->wake_timer, l, on_wake, q)) < 0 ||
        (r = timer_init(&q->scan_timer, l, intake_scan_new, q)) < 0 ||
        (r = timer_init(&q->second_timer, l, on_second, q)) < 0 ||
        (r = timer_init(&q->walk_timer, l, walk_go_on, q)) < 0 ||
        (r = timer_init(&q->settle_timer, l, worker_settled, q)) < 0)
        return r;
    timer_set_ms(&q->scan_timer, (uint64_t)q->settings.scan_interval_ms);
    timer_set_ms(&q->second_timer, SECOND_MS);
    return 0;
}

static int start(struct service *s)
{
    struct qmgr *q = &qmgr;
    umask(0077);
    /* Numbers of this process, that no earlier one gave out and no question still carries. */
    q->next_job = ipc_generation() << 24;
    q->no_signer_since_ms = clock_mono_ms();
    int r = done_new(s->loop, q->queue_fd, &q->done);
    if (r < 0) {
        log_error("queue: journal/qmgr can not be written: %s", text_errno(r));
        return r;
    }
    if ((r = start_timers(q, s->loop)) < 0 || (r = loop_on_signal(s->loop, SIGUSR1, on_replaced, s)) < 0 ||
        (r = rules_start(q)) < 0 || (r = intake_start(q)) < 0)
        return r;
    int fd = service_take_fd(s, "serve");
    if (fd < 0) {
        log_error("no socket to serve: posthouse-qmgr is started by posthouse-master");
        return -EBADF;
    }
    const struct ipc_face face = {.self = s->self, .handlers = handlers, .on_up = on_up, .on_down = on_down, .arg = q};
    q->server = ipc_server_new(s->loop, fd, &face, service_may_be);
    return q->server != NULL ? 0 : -ENOMEM;
}

static void drain(struct service *s)
{
    qmgr_wake(&qmgr);
}

static void stop(struct service *s)
{
    struct qmgr *q = &qmgr;
    struct message *m, *next;
    ipc_server_free(q->server);
    walk_free_all(q);
    HASH_ITER (hh, q->messages, m, next) {
        if (m->round != NULL) {
            round_end(m->round);
        }
        message_forget(q, m);
    }
    record_deinit(q);
    worker_free_all(q);
    sign_free_all(q);
    notice_free_all(q);
    route_free_all(q);
    site_free_all(q);
    rules_free(q);
    fair_deinit(&q->ready);
    fair_deinit(&q->unsigned_rounds);
    tenants_deinit(&q->tenants);
    timetable_deinit(&q->timetable);
    task_cancel(&q->wake);
    timer_deinit(&q->wake_timer);
    timer_deinit(&q->scan_timer);
    timer_deinit(&q->walk_timer);
    timer_deinit(&q->second_timer);
    timer_deinit(&q->settle_timer);
    if (done_free(q->done) < 0)
        log_warning("queue: journal/qmgr could not be written: after a power cut messages may be delivered again");
    if (q->queue_fd >= 0)
        close(q->queue_fd);
    if (q->lock_fd >= 0)
        close(q->lock_fd);
    conf_free(&settings_qmgr_schema, &q->settings);
}

struct service *qmgr_service(void)
{
    static struct service service = {
        .role = ROLE_QMGR, .prepare = prepare, .start = start, .drain = drain, .stop = stop};
    return &service;
}
