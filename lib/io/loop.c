#include "io/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>

#include "base/list.h"

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

struct loop {
    struct event_base *base;
    struct event *deferred_event;
    TAILQ_HEAD(, loop_signal) signals;
    TAILQ_HEAD(, loop_deferred) deferred;
};

static void run_deferred(evutil_socket_t fd, short what, void *arg)
{
    struct loop *l = arg;
    struct loop_deferred *d;
    while ((d = TAILQ_FIRST(&l->deferred)) != NULL) {
        TAILQ_REMOVE(&l->deferred, d, link);
        d->fn(d->arg);
        free(d);
    }
}

struct loop *loop_new(void)
{
    struct loop *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return NULL;
    TAILQ_INIT(&l->signals);
    TAILQ_INIT(&l->deferred);
    struct event_config *config = event_config_new();
    if (config != NULL) {
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
        event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
        l->base = event_base_new_with_config(config);
        event_config_free(config);
    }
    if (l->base != NULL)
        l->deferred_event = event_new(l->base, -1, 0, run_deferred, l);
    if (l->deferred_event == NULL) {
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
    run_deferred(-1, 0, l);
    event_free(l->deferred_event);
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
    return event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY) < 0 ? -EIO : 0;
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

int io_watch_init(struct io_watch *w, struct loop *l, int fd, void (*fn)(void *arg, int ready), void *arg)
{
    *w = (struct io_watch){.fn = fn, .arg = arg, .fd = fd};
    w->read_event = event_new(l->base, fd, EV_READ | EV_PERSIST, watch_fired, w);
    w->write_event = event_new(l->base, fd, EV_WRITE | EV_PERSIST, watch_fired, w);
    if (w->read_event == NULL || w->write_event == NULL) {
        io_watch_deinit(w);
        return -ENOMEM;
    }
    return 0;
}

void io_watch_deinit(struct io_watch *w)
{
    if (w->read_event != NULL)
        event_free(w->read_event);
    if (w->write_event != NULL)
        event_free(w->write_event);
    *w = (struct io_watch){.fd = -1};
}

static int watch_switch(struct event *event, bool on, bool was_on)
{
    if (on == was_on)
        return 0;
    return (on ? event_add(event, NULL) : event_del(event)) < 0 ? -ENOMEM : 0;
}

int io_watch_set(struct io_watch *w, int wanted)
{
    int r = watch_switch(w->read_event, wanted & IO_READ, w->wanted & IO_READ);
    if (r == 0)
        r = watch_switch(w->write_event, wanted & IO_WRITE, w->wanted & IO_WRITE);
    if (r == 0)
        w->wanted = wanted;
    return r;
}

static void timer_fired(evutil_socket_t fd, short what, void *arg)
{
    struct timer *t = arg;
    t->fn(t->arg);
}

int timer_init(struct timer *t, struct loop *l, void (*fn)(void *arg), void *arg)
{
    *t = (struct timer){.fn = fn, .arg = arg};
    t->event = evtimer_new(l->base, timer_fired, t);
    return t->event == NULL ? -ENOMEM : 0;
}

void timer_deinit(struct timer *t)
{
    if (t->event != NULL)
        event_free(t->event);
    t->event = NULL;
}

int timer_set_ms(struct timer *t, uint64_t delay_ms)
{
    struct timeval delay = {.tv_sec = (time_t)(delay_ms / 1000), .tv_usec = (suseconds_t)(delay_ms % 1000 * 1000)};
    return evtimer_add(t->event, &delay) < 0 ? -ENOMEM : 0;
}

void timer_stop(struct timer *t)
{
    if (t->event != NULL)
        evtimer_del(t->event);
}

bool timer_is_set(const struct timer *t)
{
    return t->event != NULL && evtimer_pending(t->event, NULL);
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
    event_active(l->deferred_event, EV_TIMEOUT, 0);
    return 0;
}
