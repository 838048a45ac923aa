/* intake: how qmgr learns of messages.  At start it reads the names in the whole queue, opening nothing; afterwards
 * smtpd and bounce announce what they commit, and a scan of new/ now and then finds what nobody announced. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "log/log.h"
#include "qmgr/qmgr.h"

#define ACTIVATE_PER_TURN 200 /* rounds begun before the loop sees to others again */

/* Calls fn for every name in a folder of the queue that does not begin with a dot.  0 or -errno. */
static int each_name(struct qmgr *q, const char *path, void (*fn)(struct qmgr *q, const char *folder, const char *name))
{
    int fd = openat(q->queue_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        int r = -errno;
        if (fd >= 0)
            close(fd);
        return r;
    }
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.')
            fn(q, path, e->d_name);
    closedir(dir);
    return 0;
}

static void found_stranger(const char *folder, const char *name)
{
    log_warning("queue: %s/%s: not a name of ours, ignoring it", folder, name);
}

static void found_new(struct qmgr *q, const char *folder, const char *name)
{
    if (!queue_id_valid(name)) {
        found_stranger(folder, name);
        return;
    }
    struct message *m = message_add(q, name, QUEUE_NEW, 0);
    if (m != NULL)
        message_ready(q, m);
}

static void found_deferred(struct qmgr *q, const char *folder, const char *name)
{
    char id[QUEUE_ID_SIZE];
    int64_t due_s;
    if (queue_parse_deferred_name(name, id, &due_s) < 0) {
        found_stranger(folder, name);
        return;
    }
    struct message *m = message_add(q, id, QUEUE_DEFERRED, due_s);
    if (m == NULL)
        return;
    m->rule = q->rules.list.count > 0 ? RULE_NOT_KNOWN : 0;
    /* Its sender may have to be told of the delay before that; the id knows when it came. */
    int64_t warning_s = (queue_id_time_us(id) / 1000 + q->settings.delay_warning_ms) / 1000 + 1;
    if (q->settings.delay_warning_ms > 0 && warning_s > clock_wall_s() && warning_s < due_s)
        m->due_s = warning_s;
    if (timetable_add(&q->timetable, m) < 0)
        return;
    m->phase = MESSAGE_DEFERRED;
    m->timed = true;
}

/* When a message on hold that nobody opened yet may have to be warned of or given up; the id knows when it came. */
static int64_t first_look_s(const struct qmgr *q, const char *id)
{
    const struct settings_qmgr *s = &q->settings;
    int64_t after_ms = s->lifetime_ms;
    if (s->bounce_lifetime_ms > 0 && (after_ms == 0 || s->bounce_lifetime_ms < after_ms))
        after_ms = s->bounce_lifetime_ms;
    if (s->delay_warning_ms > 0 && (after_ms == 0 || s->delay_warning_ms < after_ms))
        after_ms = s->delay_warning_ms;
    return after_ms > 0 ? (queue_id_time_us(id) / 1000 + after_ms) / 1000 + 1 : 0;
}

static void found_held(struct qmgr *q, const char *folder, const char *name)
{
    struct message *m;
    if (!queue_id_valid(name))
        found_stranger(folder, name);
    else if ((m = message_add(q, name, QUEUE_HOLD, 0)) != NULL)
        message_hold(q, m, first_look_s(q, name));
}

static void found_below(struct qmgr *q, const char *folder, const char *name,
                        void (*fn)(struct qmgr *q, const char *folder, const char *name))
{
    char path[300];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int r = each_name(q, path, fn);
    if (r < 0)
        log_error("queue: %s can not be read: %s, its messages wait", path, text_errno(r));
}

static void found_new_folder(struct qmgr *q, const char *folder, const char *name)
{
    found_below(q, folder, name, found_new);
}

static void found_slice(struct qmgr *q, const char *folder, const char *name)
{
    found_below(q, folder, name, found_deferred);
}

int intake_start(struct qmgr *q)
{
    uint64_t began = clock_mono_ms();
    int r;
    if ((r = each_name(q, "new", found_new_folder)) < 0 || (r = each_name(q, "deferred", found_slice)) < 0 ||
        (r = each_name(q, "hold", found_held)) < 0) {
        log_error("queue: can not be read: %s", text_errno(r));
        return r;
    }
    log_info("queue read in %llu ms: new=%zu, deferred=%zu, in all=%u", (unsigned long long)(clock_mono_ms() - began),
             q->ready.count, q->timetable.count - q->held_timed, HASH_COUNT(q->messages));
    return 0;
}

void intake_scan_new(void *arg)
{
    struct qmgr *q = arg;
    record_remove_all(q); /* or they would be found */
    int r = each_name(q, "new", found_new_folder);
    if (r < 0)
        log_error("queue: new can not be read: %s, will retry", text_errno(r));
    route_expire(q);
    site_expire(q);
    timer_set_ms(&q->scan_timer, (uint64_t)q->settings.scan_interval_ms);
}

void intake_submitted(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct qmgr *q = arg;
    const struct ipc_submitted *submitted = message;
    if (!queue_id_valid(submitted->queue_id)) {
        ipc_channel_break(from, "SUBMITTED names no queue id");
        return;
    }
    /* Of a message that a scan found first, and that is delivered by now: its file goes at the end of this turn. */
    if (record_is_removing(q, submitted->queue_id))
        return;
    struct message *m = message_add(q, submitted->queue_id, QUEUE_NEW, 0);
    if (m == NULL)
        return;
    m->heard = true;
    const struct tenant *tenant = tenant_get(&q->tenants, &q->settings, submitted->tenant);
    m->tenant = tenant->number;
    m->lane =
        submitted->lane == 1 || (submitted->lane == 0 && tenant->lane == LANE_BULK) ? LANE_BULK : LANE_TRANSACTIONAL;
    message_ready(q, m);
}

/* Bulk leaves a fifth of the machine to transactional mail, and nobody takes more than half of it while others wait. */
static bool may_begin(void *arg, const struct fair_share *share)
{
    const struct qmgr *q = arg;
    size_t limit = share->key.lane == LANE_BULK ? q->active_max / 5 * 4 : q->active_max;
    bool greedy = share->key.tenant->active >= q->active_max / 2 && HASH_COUNT(q->ready.shares) > 1;
    return q->active_count < limit && q->active_recipients < (size_t)q->settings.active_recipients_max && !greedy;
}

static struct message *next_ready(struct qmgr *q)
{
    struct fair_item *item = fair_next(&q->ready, may_begin, q);
    return item != NULL ? (struct message *)((char *)item - offsetof(struct message, turn)) : NULL;
}

bool intake_can_activate(struct qmgr *q)
{
    return next_ready(q) != NULL;
}

void intake_activate(struct qmgr *q)
{
    struct message *m;
    int64_t now = clock_wall_s();
    while ((m = timetable_first(&q->timetable)) != NULL && m->due_s <= now)
        message_ready(q, m);
    for (int i = 0; i < ACTIVATE_PER_TURN && (m = next_ready(q)) != NULL; i++)
        round_begin(q, m);
}
