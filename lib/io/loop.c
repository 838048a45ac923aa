#include "io/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/list.h"

_Static_assert(sizeof(struct event) <= sizeof(((struct io_event *)NULL)->room), "an event fits into its owner");

struct loop_signal {
    struct event *event;
    void (*fn)(void *arg, int signo);
    void *arg;
    TAILQ_ENTRY(loop_signal) link;
};

struct loop_deferred {
    void (*fn)(void *arg);
    void *arg;
    TAILQ_ENTRY(loop_deferred) link;
};

TAILQ_HEAD(deferred_list, loop_deferred);

struct loop {
    struct event_base *base;
    struct event *end_event; /* behind the handlers of this turn */
    bool end_is_due;
    TAILQ_HEAD(, loop_signal) signals;
    TAILQ_HEAD(, task) tasks;
    size_t task_count;
    struct deferred_list deferred;
    TAILQ_HEAD(, turn_end) ends[TURN_STAGES];
};

static void run_tasks(struct loop *l)
{
    for (size_t left = l->task_count; left > 0 && !TAILQ_EMPTY(&l->tasks); left--) {
        struct task *t = TAILQ_FIRST(&l->tasks);
        task_cancel(t);
        t->fn(t->arg);
    }
}

static void run_deferred(struct loop *l)
{
    struct loop_deferred *d;
    struct deferred_list list = TAILQ_HEAD_INITIALIZER(list);
    TAILQ_CONCAT(&list, &l->deferred, link);
    while ((d = TAILQ_FIRST(&list)) != NULL) {
        TAILQ_REMOVE(&list, d, link);
        d->fn(d->arg);
        free(d);
    }
}

static void run_stages(struct loop *l)
{
    struct turn_end *e;
    for (int stage = 0; stage < TURN_STAGES; stage++) {
        while ((e = TAILQ_FIRST(&l->ends[stage])) != NULL) {
            turn_end_cancel(e);
            e->fn(e->arg);
        }
    }
}

static bool has_more(const struct loop *l)
{
    bool more = !TAILQ_EMPTY(&l->tasks) || !TAILQ_EMPTY(&l->deferred);
    for (int stage = 0; stage < TURN_STAGES; stage++)
        more |= !TAILQ_EMPTY(&l->ends[stage]);
    return more;
}

static void end_turn(evutil_socket_t fd, short what, void *arg)
{
    struct loop *l = arg;
    const struct timeval at_once = {0};
    l->end_is_due = true; /* what comes meanwhile is for the next turn */
    run_tasks(l);
    run_deferred(l);
    run_stages(l);
    l->end_is_due = has_more(l);
    if (l->end_is_due)
        event_add(l->end_event, &at_once);
}

static void want_end(struct loop *l)
{
    if (l->end_is_due)
        return;
    l->end_is_due = true;
    event_active(l->end_event, EV_TIMEOUT, 0);
}

struct loop *loop_new(void)
{
    struct loop *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return NULL;
    TAILQ_INIT(&l->signals);
    TAILQ_INIT(&l->tasks);
    TAILQ_INIT(&l->deferred);
    for (int stage = 0; stage < TURN_STAGES; stage++)
        TAILQ_INIT(&l->ends[stage]);
    struct event_config *config = event_config_new();
    if (config != NULL) {
        /* Without PRECISE_TIMER a timer costs no system call.  The clock then moves by the kernel's ticks: see
         * timer_fired. */
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
        l->base = event_base_new_with_config(config);
        event_config_free(config);
    }
    if (l->base != NULL)
        l->end_event = event_new(l->base, -1, 0, end_turn, l);
    if (l->end_event == NULL) {
        if (l->base != NULL)
            event_base_free(l->base);
        free(l);
        return NULL;
    }
    return l;
}

void loop_free(struct loop *l)
{
    if (l == NULL)
        return;
    while (!TAILQ_EMPTY(&l->deferred))
        run_deferred(l);
    event_free(l->end_event);
    struct loop_signal *s, *next;
    TAILQ_FOREACH_SAFE (s, &l->signals, link, next) {
        event_free(s->event);
        free(s);
    }
    event_base_free(l->base);
    free(l);
}

int loop_run(struct loop *l)
{
    int r = event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY);
    /* loop_stop left what the last turn gathered. */
    if (l->end_is_due)
        end_turn(-1, 0, l);
    return r < 0 ? -EIO : 0;
}

void loop_stop(struct loop *l)
{
    event_base_loopbreak(l->base);
}

static void turn_over(evutil_socket_t fd, short what, void *arg)
{
}

int loop_turn(struct loop *l, uint64_t max_wait_ms)
{
    struct timeval wait = {.tv_sec = (time_t)(max_wait_ms / 1000), .tv_usec = (suseconds_t)(max_wait_ms % 1000 * 1000)};
    struct event *limit = evtimer_new(l->base, turn_over, NULL);
    if (limit == NULL)
        return -ENOMEM;
    evtimer_add(limit, &wait);
    int r = event_base_loop(l->base, EVLOOP_ONCE);
    event_free(limit);
    return r < 0 ? -EIO : 0;
}

static void watch_fired(evutil_socket_t fd, short what, void *arg)
{
    struct io_watch *w = arg;
    w->fn(w->arg, (what & EV_READ ? IO_READ : 0) | (what & EV_WRITE ? IO_WRITE : 0));
}

static struct event *event_of(struct io_event *e)
{
    return (struct event *)e->room;
}

static int event_begin(struct io_event *e, struct loop *l, int fd, short what, event_callback_fn fn, void *arg)
{
    e->live = event_assign(event_of(e), l->base, fd, what, fn, arg) == 0;
    return e->live ? 0 : -ENOMEM;
}

static void event_end(struct io_event *e)
{
    if (e->live)
        event_del(event_of(e));
    e->live = false;
}

int io_watch_init(struct io_watch *w, struct loop *l, int fd, void (*fn)(void *arg, int ready), void *arg)
{
    *w = (struct io_watch){.fn = fn, .arg = arg, .fd = fd};
    if (event_begin(&w->read_event, l, fd, EV_READ | EV_PERSIST, watch_fired, w) < 0 ||
        event_begin(&w->write_event, l, fd, EV_WRITE | EV_PERSIST, watch_fired, w) < 0) {
        io_watch_deinit(w);
        return -ENOMEM;
    }
    return 0;
}

void io_watch_deinit(struct io_watch *w)
{
    event_end(&w->read_event);
    event_end(&w->write_event);
    w->fd = -1;
    w->wanted = 0;
}

static int watch_switch(struct io_event *e, bool on, bool was_on)
{
    if (on == was_on)
        return 0;
    return (on ? event_add(event_of(e), NULL) : event_del(event_of(e))) < 0 ? -ENOMEM : 0;
}

int io_watch_set(struct io_watch *w, int wanted)
{
    int r = watch_switch(&w->read_event, wanted & IO_READ, w->wanted & IO_READ);
    if (r == 0)
        r = watch_switch(&w->write_event, wanted & IO_WRITE, w->wanted & IO_WRITE);
    if (r == 0)
        w->wanted = wanted;
    return r;
}

/* Not clock.h's, which tests set: libevent does not follow that. */
static uint64_t precise_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int timer_add(struct timer *t, uint64_t delay_us)
{
    const struct timeval delay = {.tv_sec = (time_t)(delay_us / 1000000), .tv_usec = (suseconds_t)(delay_us % 1000000)};
    return event_add(event_of(&t->event), &delay) < 0 ? -ENOMEM : 0;
}

/* Late by a tick at most, but never early: a timer that was set between two ticks comes before its time, and waits on.
 */
static void timer_fired(evutil_socket_t fd, short what, void *arg)
{
    struct timer *t = arg;
    uint64_t now_us = precise_us();
    if (now_us >= t->due_us || timer_add(t, t->due_us - now_us) < 0)
        t->fn(t->arg);
}

int timer_init(struct timer *t, struct loop *l, void (*fn)(void *arg), void *arg)
{
    *t = (struct timer){.fn = fn, .arg = arg};
    return event_begin(&t->event, l, -1, 0, timer_fired, t);
}

void timer_deinit(struct timer *t)
{
    event_end(&t->event);
}

int timer_set_ms(struct timer *t, uint64_t delay_ms)
{
    if (!t->event.live)
        return -ENOMEM;
    t->due_us = precise_us() + delay_ms * 1000;
    return timer_add(t, delay_ms * 1000);
}

void timer_stop(struct timer *t)
{
    if (t->event.live)
        event_del(event_of(&t->event));
}

bool timer_is_set(const struct timer *t)
{
    return t->event.live && event_pending((const struct event *)t->event.room, EV_TIMEOUT, NULL);
}

static void signal_fired(evutil_socket_t signo, short what, void *arg)
{
    struct loop_signal *s = arg;
    s->fn(s->arg, (int)signo);
}

int loop_on_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo), void *arg)
{
    struct loop_signal *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return -ENOMEM;
    s->fn = fn;
    s->arg = arg;
    s->event = evsignal_new(l->base, signo, signal_fired, s);
    if (s->event == NULL || evsignal_add(s->event, NULL) < 0) {
        if (s->event != NULL)
            event_free(s->event);
        free(s);
        return -ENOMEM;
    }
    TAILQ_INSERT_TAIL(&l->signals, s, link);
    return 0;
}

int loop_defer(struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct loop_deferred *d = malloc(sizeof(*d));
    if (d == NULL)
        return -ENOMEM;
    *d = (struct loop_deferred){.fn = fn, .arg = arg};
    TAILQ_INSERT_TAIL(&l->deferred, d, link);
    want_end(l);
    return 0;
}

void task_init(struct task *t, struct loop *l, void (*fn)(void *arg), void *arg)
{
    *t = (struct task){.loop = l, .fn = fn, .arg = arg};
}

void task_post(struct task *t)
{
    if (t->posted)
        return;
    t->posted = true;
    t->loop->task_count++;
    TAILQ_INSERT_TAIL(&t->loop->tasks, t, link);
    want_end(t->loop);
}

void task_cancel(struct task *t)
{
    if (!t->posted)
        return;
    t->posted = false;
    t->loop->task_count--;
    TAILQ_REMOVE(&t->loop->tasks, t, link);
}

void turn_end_init(struct turn_end *e, struct loop *l, enum turn_stage stage, void (*fn)(void *arg), void *arg)
{
    *e = (struct turn_end){.loop = l, .stage = stage, .fn = fn, .arg = arg};
}

void turn_end_want(struct turn_end *e)
{
    if (e->wanted)
        return;
    e->wanted = true;
    TAILQ_INSERT_TAIL(&e->loop->ends[e->stage], e, link);
    want_end(e->loop);
}

void turn_end_cancel(struct turn_end *e)
{
    if (!e->wanted)
        return;
    e->wanted = false;
    TAILQ_REMOVE(&e->loop->ends[e->stage], e, link);
}
