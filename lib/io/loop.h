/* loop: the event loop of every daemon, a thin face on libevent's core; the only folder that includes libevent.
 *
 * One loop per process, one thread.  Whatever would block it goes to an offload (helper threads; offload.h). */
#ifndef POSTHOUSE_IO_LOOP_H
#define POSTHOUSE_IO_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct loop;

struct loop *loop_new(void); /* NULL: memory or descriptors are short */
void loop_free(struct loop *l);
/* Runs until loop_stop.  0 or -errno. */
int loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* One round of whatever is ready, waiting at most max_wait_ms for it; for tests. */
int loop_turn(struct loop *l, uint64_t max_wait_ms);

/* Room for an event of libevent inside its owner. */
struct io_event {
    _Alignas(8) char room[128];
    bool live;
};

/* A descriptor to watch.  Embedded in its owner; the owner keeps (and later closes) the descriptor, and deinits the
 * watch before closing it. */
enum { IO_READ = 1, IO_WRITE = 2 };
struct io_watch {
    struct io_event read_event, write_event;
    void (*fn)(void *arg, int ready);
    void *arg;
    int fd, wanted;
};
/* Starts with nothing wanted.  0 or -ENOMEM. */
int io_watch_init(struct io_watch *w, struct loop *l, int fd, void (*fn)(void *arg, int ready), void *arg);
void io_watch_deinit(struct io_watch *w); /* harmless on a zeroed or deinited watch */
/* wanted: any of IO_READ | IO_WRITE, 0 = pause.  Cheap when nothing changes. */
int io_watch_set(struct io_watch *w, int wanted);

/* A timer that fires once; set it again from its own function for a period. */
struct timer {
    struct io_event event;
    uint64_t due_us; /* by the monotonic clock */
    void (*fn)(void *arg);
    void *arg;
};
int timer_init(struct timer *t, struct loop *l, void (*fn)(void *arg), void *arg);
void timer_deinit(struct timer *t); /* harmless on a zeroed timer */
/* fn is called when delay_ms have passed, or up to a tick of the kernel (mostly 4 ms) later; never before. */
int timer_set_ms(struct timer *t, uint64_t delay_ms);
void timer_stop(struct timer *t);
bool timer_is_set(const struct timer *t);

/* Calls fn on the loop for a signal; at most one handler per signal number.  0 or -errno. */
int loop_on_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo), void *arg);

/* -- the end of a turn.  A turn is one round of handlers for all that was ready; what they have in common is done once,
 * behind them: the tasks first, in the order they were posted, then the stages in theirs.  What is posted or wanted
 * meanwhile waits for the next turn, which then begins at once, so that descriptors are looked at in between. */

/* A call that is due: embedded in its owner. */
struct task {
    struct loop *loop;
    void (*fn)(void *arg);
    void *arg;
    bool posted;
    TAILQ_ENTRY(task) link;
};
void task_init(struct task *t, struct loop *l, void (*fn)(void *arg), void *arg);
void task_post(struct task *t);   /* once, however often it is posted */
void task_cancel(struct task *t); /* harmless on a zeroed task, and on one that is not posted */

/* What a process gathered in a turn leaves it in this order, so that a process killed at any point has told the log
 * before the queue forgets, and the others last. */
enum turn_stage { TURN_RECORD, TURN_LOG, TURN_REMOVE, TURN_SEND, TURN_STAGES };
struct turn_end {
    struct loop *loop;
    void (*fn)(void *arg);
    void *arg;
    enum turn_stage stage;
    bool wanted;
    TAILQ_ENTRY(turn_end) link;
};
void turn_end_init(struct turn_end *e, struct loop *l, enum turn_stage stage, void (*fn)(void *arg), void *arg);
void turn_end_want(struct turn_end *e);
void turn_end_cancel(struct turn_end *e); /* as task_cancel */

/* Calls fn once, after the running handlers return: where an object frees itself. */
int loop_defer(struct loop *l, void (*fn)(void *arg), void *arg);

#endif
