#include "ipc/channel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "ipc/channel_internal.h"
#include "ipc/wire.h"

#define CHANNEL_BACKLOG_MAX     (4 * 1024 * 1024) /* bytes queued towards one peer */
#define CHANNEL_SOCKET_BUFFER   (1024 * 1024)
#define CHANNEL_GREETING_MS     10000
#define CHANNEL_READS_PER_EVENT 16 /* records, then the others' turn */

/* A batch that waits for room in the socket. */
struct outgoing {
    struct wire_batch batch;
    size_t cost; /* what it counts in the backlog: the memory it takes, as a small record takes more than its bytes */
    TAILQ_ENTRY(outgoing) link;
};

struct ipc_channel {
    struct loop *loop;
    struct io_watch watch;
    struct timer greeting; /* serving side: until the peer said who it is */
    int socket;
    const struct ipc_face *face;
    struct channel_owner owner;
    struct ipc_identity peer;
    bool up, broken;
    char why[160];
    void *user;
    uid_t uid;
    struct wire_batch batch; /* what this turn has to say */
    struct turn_end flush;
    size_t backlog;
    TAILQ_HEAD(, outgoing) queue; /* of turns before */
};

uint64_t ipc_generation(void)
{
    static uint64_t generation;
    while (generation == 0)
        if (getrandom(&generation, sizeof(generation), 0) != (ssize_t)sizeof(generation))
            generation = (uint64_t)getpid();
    return generation;
}

static void outgoing_free(struct outgoing *o)
{
    wire_batch_deinit(&o->batch);
    free(o);
}

static void channel_free(void *arg)
{
    struct ipc_channel *c = arg;
    struct outgoing *o;
    while ((o = TAILQ_FIRST(&c->queue)) != NULL) {
        TAILQ_REMOVE(&c->queue, o, link);
        outgoing_free(o);
    }
    turn_end_cancel(&c->flush);
    wire_batch_deinit(&c->batch);
    timer_deinit(&c->greeting);
    free(c);
}

/* Tells the owner, then goes away.  Runs from the loop, never inside a handler. */
static void channel_end(void *arg)
{
    struct ipc_channel *c = arg;
    if (c->up && c->face->on_down != NULL)
        c->face->on_down(c->face->arg, c, c->why);
    c->owner.gone(c->owner.arg, c, c->up, c->why);
    channel_free(c);
}

void ipc_channel_break(struct ipc_channel *c, const char *why)
{
    if (c->broken)
        return;
    c->broken = true;
    snprintf(c->why, sizeof(c->why), "%s", why);
    turn_end_cancel(&c->flush);
    io_watch_deinit(&c->watch);
    close(c->socket);
    c->socket = -1;
    if (loop_defer(c->loop, channel_end, c) < 0)
        abort(); /* a few bytes could not be had: nothing sensible is left to do, master starts us again */
}

static void channel_break_errno(struct ipc_channel *c, const char *what, int err)
{
    char why[128];
    snprintf(why, sizeof(why), "%s: %s", what, strerrordesc_np(err < 0 ? -err : err));
    ipc_channel_break(c, why);
}

static int enqueue(struct ipc_channel *c)
{
    struct outgoing *o = calloc(1, sizeof(*o));
    if (o == NULL)
        return -ENOMEM;
    o->batch = c->batch;
    wire_batch_init(&c->batch);
    o->cost = sizeof(*o) + o->batch.record.capacity;
    TAILQ_INSERT_TAIL(&c->queue, o, link);
    c->backlog += o->cost;
    io_watch_set(&c->watch, IO_READ | IO_WRITE);
    return 0;
}

static bool is_no_room(int r)
{
    return r == -EAGAIN || r == -ENOBUFS || r == -ETOOMANYREFS;
}

/* The batch leaves, or waits its turn.  0 or -errno; then it is still there. */
static int flush_batch(struct ipc_channel *c)
{
    if (c->batch.record.len == 0)
        return 0;
    int r = TAILQ_EMPTY(&c->queue) ? wire_send(c->socket, &c->batch) : -EAGAIN;
    return is_no_room(r) ? enqueue(c) : r;
}

/* A message that was taken is not taken back: without memory to keep it the channel ends, and both sides know. */
static void end_of_turn(void *arg)
{
    struct ipc_channel *c = arg;
    int r = flush_batch(c);
    if (r < 0)
        channel_break_errno(c, "send", r);
}

int ipc_send(struct ipc_channel *c, enum ipc_type type, const void *message, int fd)
{
    if (c == NULL || c->broken)
        return -EPIPE;
    if (c->backlog + c->batch.record.len > CHANNEL_BACKLOG_MAX)
        return -EAGAIN;
    int r = wire_batch_add(&c->batch, type, message, fd);
    if (r == -EAGAIN) {
        end_of_turn(c);
        r = c->broken ? -EPIPE : wire_batch_add(&c->batch, type, message, fd);
    }
    if (r == 0)
        turn_end_want(&c->flush);
    return r;
}

void ipc_flush(struct ipc_channel *c)
{
    if (!c->broken)
        end_of_turn(c);
}

static void channel_flush(struct ipc_channel *c)
{
    struct outgoing *o;
    while ((o = TAILQ_FIRST(&c->queue)) != NULL) {
        int r = wire_send(c->socket, &o->batch);
        if (is_no_room(r))
            return;
        if (r < 0) {
            channel_break_errno(c, "send", r);
            return;
        }
        TAILQ_REMOVE(&c->queue, o, link);
        c->backlog -= o->cost;
        outgoing_free(o);
    }
    io_watch_set(&c->watch, IO_READ);
}

static void take_hello(struct ipc_channel *c, const struct ipc_hello *hello)
{
    char why[128];
    if (hello->version != IPC_VERSION) {
        snprintf(why, sizeof(why), "speaks version %u, expected %d: restart the whole suite after an upgrade",
                 hello->version, IPC_VERSION);
        ipc_channel_break(c, why);
        return;
    }
    if (hello->role >= ROLE_COUNT || !c->owner.may_be(c->owner.arg, (enum ipc_role)hello->role, c->uid)) {
        snprintf(why, sizeof(why), "user %u may not act as %s", (unsigned)c->uid, role_name(hello->role));
        ipc_channel_break(c, why);
        return;
    }
    c->peer = (struct ipc_identity){(enum ipc_role)hello->role, hello->slot, hello->pid, hello->generation};
    c->up = true;
    timer_stop(&c->greeting);
    if (c->face->on_up != NULL)
        c->face->on_up(c->face->arg, c);
}

static void dispatch(struct ipc_channel *c, enum ipc_type type, const union ipc_any *message, int *fd)
{
    const struct ipc_message *m = ipc_message(type);
    char why[128];
    if (!c->up && type == IPC_HELLO) {
        take_hello(c, &message->hello);
        return;
    }
    const struct ipc_handler *h = c->face->handlers;
    while (h->type != IPC_NONE && h->type != type)
        h++;
    bool allowed = c->up && (m->from & ROLE_BIT(c->peer.role)) && (m->to & ROLE_BIT(c->face->self.role));
    if (h->type == IPC_NONE || !allowed || (*fd >= 0 && !m->descriptor)) {
        snprintf(why, sizeof(why), "unexpected %s from %s", m->name, role_name(c->peer.role));
        ipc_channel_break(c, why);
        return;
    }
    h->fn(c->face->arg, c, message, fd);
}

/* One record; the messages in it are handled in order until one ends the channel. */
static void take_record(struct ipc_channel *c, struct wire_reader *reader)
{
    enum ipc_type type;
    union ipc_any message;
    int fd, r = 0;
    while (!c->broken && (r = wire_next(reader, &type, &message, &fd)) > 0) {
        dispatch(c, type, &message, &fd);
        ipc_decoded_free(type, &message);
        if (fd >= 0)
            close(fd);
    }
    if (!c->broken && r < 0)
        channel_break_errno(c, "a record that makes no sense", r);
    wire_reader_end(reader);
}

static void channel_receive(struct ipc_channel *c)
{
    static char data[WIRE_RECORD_MAX + 1];
    for (int i = 0; i < CHANNEL_READS_PER_EVENT && !c->broken; i++) {
        struct wire_reader reader;
        int r = wire_receive(c->socket, data, &reader);
        if (r > 0) {
            take_record(c, &reader);
            continue;
        }
        if (r == 0)
            ipc_channel_break(c, "closed by the peer");
        else if (r != -EAGAIN)
            channel_break_errno(c, "receive", r);
        return;
    }
}

static void channel_ready(void *arg, int ready)
{
    struct ipc_channel *c = arg;
    if (ready & IO_WRITE)
        channel_flush(c);
    if (!c->broken && (ready & IO_READ))
        channel_receive(c);
}

struct ipc_channel *channel_new(struct loop *l, int socket, const struct ipc_face *face,
                                const struct channel_owner *owner)
{
    struct ipc_channel *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    *c = (struct ipc_channel){.loop = l, .socket = socket, .face = face, .owner = *owner};
    TAILQ_INIT(&c->queue);
    wire_batch_init(&c->batch);
    turn_end_init(&c->flush, l, TURN_SEND, end_of_turn, c);
    int size = CHANNEL_SOCKET_BUFFER;
    setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    struct ucred cred;
    socklen_t len = sizeof(cred);
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 ||
        io_watch_init(&c->watch, l, socket, channel_ready, c) < 0) {
        free(c);
        return NULL;
    }
    c->uid = cred.uid;
    io_watch_set(&c->watch, IO_READ);
    struct ipc_hello hello = {.version = IPC_VERSION,
                              .role = face->self.role,
                              .slot = face->self.slot,
                              .pid = (uint32_t)getpid(),
                              .generation = ipc_generation()};
    ipc_send(c, IPC_HELLO, &hello, -1);
    return c;
}

static void greeting_overdue(void *arg)
{
    ipc_channel_break(arg, "did not say who it is");
}

void channel_expect_greeting(struct ipc_channel *c)
{
    if (timer_init(&c->greeting, c->loop, greeting_overdue, c) == 0)
        timer_set_ms(&c->greeting, CHANNEL_GREETING_MS);
}

static void owner_is_gone(void *arg, struct ipc_channel *c, bool was_up, const char *why)
{
}

/* Ends a channel without a word to anybody: the owner is going away itself. */
void channel_drop(struct ipc_channel *c)
{
    if (c == NULL)
        return;
    if (c->broken) { /* freed by its deferred end, which must not look for us */
        c->up = false;
        c->owner.gone = owner_is_gone;
        return;
    }
    flush_batch(c); /* what was said is said */
    io_watch_deinit(&c->watch);
    close(c->socket);
    channel_free(c);
}

bool channel_is_up(const struct ipc_channel *c)
{
    return c != NULL && c->up && !c->broken;
}

size_t ipc_channel_backlog(const struct ipc_channel *c)
{
    return c->backlog + c->batch.record.len;
}

const struct ipc_identity *ipc_channel_peer(const struct ipc_channel *c)
{
    return &c->peer;
}

void ipc_channel_set_user(struct ipc_channel *c, void *user)
{
    c->user = user;
}

void *ipc_channel_user(const struct ipc_channel *c)
{
    return c->user;
}
