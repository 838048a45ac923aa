/* What the admin command asks of master: status, stop, reload. */
#include <errno.h>
#include <unistd.h>

#include "log/log.h"
#include "master/master.h"

static void answer(struct ipc_channel *to, enum ipc_order_status status, uint32_t count, const char *text)
{
    const struct ipc_order_done done = {.status = status, .count = count, .text = text};
    ipc_send(to, IPC_ORDER_DONE, &done, -1);
}

static void send_status(struct master *m, struct ipc_channel *to)
{
    struct child *c;
    uint32_t count = 0;
    TAILQ_FOREACH (c, &m->children, link) {
        const struct ipc_child_status status = {.role = c->program->role,
                                                .slot = c->slot,
                                                .pid = (uint32_t)c->pid,
                                                .state = child_state_name(c->state),
                                                .since_s = (uint64_t)c->since_s,
                                                .restarts = c->restarts};
        ipc_send(to, IPC_CHILD_STATUS, &status, -1);
        count++;
    }
    answer(to, ORDER_OK, count, m->stopping ? "stopping" : m->reloading ? "reloading" : "running");
}

static void reload(struct master *m, struct ipc_channel *from)
{
    struct buf errors;
    if (m->stopping || m->reloading) {
        answer(from, ORDER_REFUSED, 0, m->stopping ? "the suite is stopping" : "a reload is under way");
        return;
    }
    buf_init(&errors, 16384);
    if (master_reload(m, &errors) < 0) {
        log_error("reload refused, everything goes on as before: %s", buf_str(&errors));
        answer(from, ORDER_REFUSED, 0, buf_str(&errors));
    } else {
        m->reload_asker = from;
    }
    buf_deinit(&errors);
}

static void on_suite_order(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct master *m = arg;
    const struct ipc_suite_order *order = message;
    switch (order->verb) {
    case SUITE_STATUS:
        send_status(m, from);
        break;
    case SUITE_STOP:
        m->stop_asker = from;
        master_stop(m);
        break;
    case SUITE_RELOAD:
        reload(m, from);
        break;
    default:
        answer(from, ORDER_REFUSED, 0, "no such order");
    }
}

static void on_up(void *arg, struct ipc_channel *c)
{
}

static void on_down(void *arg, struct ipc_channel *c, const char *why)
{
    struct master *m = arg;
    if (m->stop_asker == c)
        m->stop_asker = NULL;
    if (m->reload_asker == c)
        m->reload_asker = NULL;
}

static bool may_be(void *arg, enum ipc_role role, uid_t uid)
{
    return role == ROLE_CTL && (uid == 0 || uid == geteuid());
}

int control_open(struct master *m, int listen_fd)
{
    static const struct ipc_handler handlers[] = {{IPC_SUITE_ORDER, on_suite_order}, {IPC_NONE, NULL}};
    const struct ipc_face face = {
        .self = {.role = ROLE_MASTER}, .handlers = handlers, .on_up = on_up, .on_down = on_down, .arg = m};
    m->control = ipc_server_new(m->loop, listen_fd, &face, may_be);
    return m->control == NULL ? -ENOMEM : 0;
}

void control_stopped(struct master *m)
{
    if (m->stop_asker != NULL)
        answer(m->stop_asker, ORDER_OK, 0, "stopped");
}

void control_reloaded(struct master *m)
{
    if (m->reload_asker != NULL)
        answer(m->reload_asker, ORDER_OK, 0, "reloaded");
    m->reload_asker = NULL;
}
