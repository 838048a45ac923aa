#include "qmgr/message.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "log/log.h"
#include "qmgr/qmgr.h"
#include "qmgr/walk.h"

#define OUT_OF_MEMORY_WAIT_MS 5000

struct message *message_find(struct qmgr *q, const char *id)
{
    struct message *m;
    HASH_FIND(hh, q->messages, id, QUEUE_ID_LEN, m);
    return m;
}

struct message *message_add(struct qmgr *q, const char *id, enum queue_state state, int64_t due_s)
{
    if (message_find(q, id) != NULL)
        return NULL;
    struct message *m = calloc(1, sizeof(*m));
    if (m == NULL) {
        log_error("%s: out of memory, the message waits in the queue for the next scan", id);
        return NULL;
    }
    memcpy(m->id, id, QUEUE_ID_LEN);
    m->state = (uint8_t)state;
    m->due_s = m->path_due_s = due_s;
    m->phase = MESSAGE_HELD; /* in no list yet */
    HASH_ADD_KEYPTR(hh, q->messages, m->id, QUEUE_ID_LEN, m);
    return m;
}

static void leave_lists(struct qmgr *q, struct message *m)
{
    if (m->phase == MESSAGE_READY)
        fair_remove(&m->turn);
    if (m->timed)
        timetable_remove(&q->timetable, m);
    if (m->timed && m->phase == MESSAGE_HELD)
        q->held_timed--;
    m->timed = false;
    m->phase = MESSAGE_HELD;
}

void message_ready(struct qmgr *q, struct message *m)
{
    if (m->phase == MESSAGE_READY || m->phase == MESSAGE_ACTIVE)
        return;
    leave_lists(q, m);
    if (fair_push(&q->ready, &m->turn, q->tenants.by_number[m->tenant], (enum lane)m->lane) < 0) {
        message_retry(q, m, OUT_OF_MEMORY_WAIT_MS);
        return;
    }
    m->phase = MESSAGE_READY;
    qmgr_wake(q);
}

void message_forget(struct qmgr *q, struct message *m)
{
    leave_lists(q, m);
    walk_forgotten(q, m);
    HASH_DELETE(hh, q->messages, m);
    free(m);
}

const char *message_state_name(const struct message *m)
{
    if (message_is_held(m))
        return "hold";
    switch (m->phase) {
    case MESSAGE_READY:
        return "incoming";
    case MESSAGE_ACTIVE:
        return "active";
    default:
        return "deferred";
    }
}

void message_file(const struct message *m, char path[QUEUE_PATH_MAX])
{
    queue_path((enum queue_state)m->state, m->id, m->path_due_s, path);
}

/* The folder of a slice of due time exists while something is in it. */
static void make_slice(struct qmgr *q, int64_t due_s)
{
    char path[QUEUE_PATH_MAX];
    snprintf(path, sizeof(path), "deferred/%" PRId64, due_s / QUEUE_SLICE_S);
    mkdirat(q->queue_fd, path, 0700);
}

static void drop_slice(struct qmgr *q, int64_t due_s)
{
    char path[QUEUE_PATH_MAX];
    snprintf(path, sizeof(path), "deferred/%" PRId64, due_s / QUEUE_SLICE_S);
    unlinkat(q->queue_fd, path, AT_REMOVEDIR); /* fails while it is not empty, as it should */
}

int message_move(struct qmgr *q, struct message *m, enum queue_state state, int64_t due_s)
{
    char from[QUEUE_PATH_MAX], to[QUEUE_PATH_MAX];
    message_file(m, from);
    queue_path(state, m->id, due_s, to);
    if (strcmp(from, to) != 0) {
        if (state == QUEUE_DEFERRED)
            make_slice(q, due_s);
        if (renameat(q->queue_fd, from, q->queue_fd, to) < 0)
            return -errno;
        if (m->state == QUEUE_DEFERRED)
            drop_slice(q, m->path_due_s);
    }
    m->state = (uint8_t)state;
    m->due_s = m->path_due_s = due_s;
    return 0;
}

static void enter_timetable(struct qmgr *q, struct message *m)
{
    leave_lists(q, m);
    if (timetable_add(&q->timetable, m) < 0) {
        log_message(LOG_LEVEL_ERROR, m->id, "out of memory for the timetable, the message waits for the next scan");
        message_forget(q, m);
        return;
    }
    m->phase = MESSAGE_DEFERRED;
    m->timed = true;
    qmgr_wake(q);
}

void message_hold(struct qmgr *q, struct message *m, int64_t look_s)
{
    leave_lists(q, m);
    m->due_s = look_s;
    /* Without memory for that it merely waits for longer than it should. */
    m->timed = look_s > 0 && timetable_add(&q->timetable, m) == 0;
    q->held_timed += m->timed;
    qmgr_wake(q);
}

bool message_is_held(const struct message *m)
{
    return m->phase == MESSAGE_HELD || (m->state == QUEUE_HOLD && !m->forced);
}

void message_defer(struct qmgr *q, struct message *m, int64_t due_s, int64_t look_s)
{
    int r = message_move(q, m, QUEUE_DEFERRED, due_s);
    if (r < 0)
        log_message(LOG_LEVEL_WARNING, m->id, "can not be moved to deferred/: %s, it waits where it is", text_errno(r));
    m->due_s = look_s > 0 && look_s < due_s ? look_s : due_s;
    m->forced = false;
    enter_timetable(q, m);
}

void message_retry(struct qmgr *q, struct message *m, int64_t wait_ms)
{
    m->due_s = clock_wall_s() + (wait_ms + 999) / 1000;
    enter_timetable(q, m);
}
