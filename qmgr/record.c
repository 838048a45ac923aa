/* Writing down what became of messages, once a turn of the loop.  The order is what crashes are about: the file knows
 * before the log tells, and the log has told before the file goes (docs/QUEUE.md). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "log/log.h"
#include "qmgr/qmgr.h"
#include "queue/done.h"

struct removal {
    char id[QUEUE_ID_SIZE], path[QUEUE_PATH_MAX];
    UT_hash_handle hh;
};

static void unwritten(struct round *r)
{
    struct qmgr *q = r->qmgr;
    if (r->unwritten)
        return;
    r->unwritten = true;
    TAILQ_INSERT_TAIL(&q->unwritten, r, unwritten_link);
    turn_end_want(&q->record_end);
}

/* 0 or -errno; a failure was logged. */
static int open_to_write(struct round *r)
{
    char path[QUEUE_PATH_MAX];
    if (r->write_fd >= 0)
        return 0;
    message_file(r->message, path);
    r->write_fd = openat(r->qmgr->queue_fd, path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (r->write_fd >= 0)
        return 0;
    int err = -errno;
    log_message(LOG_LEVEL_ERROR, r->message->id, "%s can not be written: %s; a crash now would repeat what was done",
                path, text_errno(err));
    return err;
}

static void write_status(struct round *r, size_t number)
{
    const struct envelope_recipient *rcpt = &r->envelope.recipients[number];
    int err = open_to_write(r) == 0 ? queue_file_mark(r->write_fd, rcpt->index, rcpt->status) : 0;
    if (err < 0)
        log_message(LOG_LEVEL_ERROR, r->message->id,
                    "status of <%s> can not be written: %s; a crash now would repeat it", rcpt->address,
                    text_errno(err));
}

void record_status(struct round *r, size_t number, enum recipient_status status)
{
    r->envelope.recipients[number].status = status;
    if (r->changed_count == r->changed_capacity) {
        size_t capacity = r->changed_capacity > 0 ? r->changed_capacity * 2 : 4;
        uint32_t *grown = realloc(r->changed, capacity * sizeof(*grown));
        if (grown == NULL) {
            write_status(r, number);
            return;
        }
        r->changed = grown;
        r->changed_capacity = capacity;
    }
    r->changed[r->changed_count++] = (uint32_t)number;
    unwritten(r);
}

void record_state(struct round *r)
{
    r->state_changed = true;
    unwritten(r);
}

static void write_history(struct round *r)
{
    int err =
        r->history.len > 0 && open_to_write(r) == 0 ? queue_file_append(r->write_fd, &r->envelope, &r->history) : 0;
    if (err < 0 && err != -EFBIG)
        log_message(LOG_LEVEL_WARNING, r->message->id, "its history can not be written: %s, ignoring", text_errno(err));
    buf_clear(&r->history);
}

void record_attempt(struct round *r, const struct queue_attempt *a)
{
    if (queue_attempt_format(a, &r->history) < 0) {
        write_history(r);
        queue_attempt_format(a, &r->history);
    }
    unwritten(r);
}

void record_write(struct round *r)
{
    if (!r->unwritten)
        return;
    for (size_t i = 0; i < r->changed_count; i++)
        write_status(r, r->changed[i]);
    if (r->state_changed && open_to_write(r) == 0)
        queue_file_mark_state(r->write_fd, &r->envelope);
    write_history(r);
    record_forget(r);
}

void record_forget(struct round *r)
{
    if (!r->unwritten)
        return;
    TAILQ_REMOVE(&r->qmgr->unwritten, r, unwritten_link);
    r->unwritten = r->state_changed = false;
    r->changed_count = 0;
    buf_clear(&r->history);
}

static void write_all(void *arg)
{
    struct qmgr *q = arg;
    struct round *r;
    while ((r = TAILQ_FIRST(&q->unwritten)) != NULL)
        record_write(r);
}

static void remove_file(struct qmgr *q, const struct removal *f)
{
    done_add(q->done, f->id);
    if (unlinkat(q->queue_fd, f->path, 0) < 0 && errno != ENOENT)
        log_message(LOG_LEVEL_ERROR, f->id, "%s can not be removed: %s; every recipient in it is settled", f->path,
                    text_errno(errno));
    log_message(LOG_LEVEL_INFO, f->id, "removed");
}

static void remove_all(void *arg)
{
    struct qmgr *q = arg;
    struct removal *f, *next;
    HASH_ITER (hh, q->removals, f, next) {
        HASH_DEL(q->removals, f);
        remove_file(q, f);
        free(f);
    }
}

void record_remove(struct qmgr *q, const struct message *m)
{
    struct removal *f = calloc(1, sizeof(*f)), now = {0};
    struct removal *to = f != NULL ? f : &now;
    memcpy(to->id, m->id, sizeof(to->id));
    message_file(m, to->path);
    if (f == NULL) {
        log_flush();
        remove_file(q, &now);
        return;
    }
    HASH_ADD_KEYPTR(hh, q->removals, f->id, QUEUE_ID_LEN, f);
    turn_end_want(&q->remove_end);
}

void record_remove_all(struct qmgr *q)
{
    if (q->removals == NULL)
        return;
    log_flush();
    remove_all(q);
}

bool record_is_removing(const struct qmgr *q, const char *id)
{
    const struct removal *f;
    HASH_FIND(hh, q->removals, id, QUEUE_ID_LEN, f);
    return f != NULL;
}

void record_init(struct qmgr *q)
{
    TAILQ_INIT(&q->unwritten);
    turn_end_init(&q->record_end, q->service->loop, TURN_RECORD, write_all, q);
    turn_end_init(&q->remove_end, q->service->loop, TURN_REMOVE, remove_all, q);
}

void record_deinit(struct qmgr *q)
{
    write_all(q);
    record_remove_all(q);
    turn_end_cancel(&q->record_end);
    turn_end_cancel(&q->remove_end);
}
