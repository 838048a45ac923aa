/* The loop: watches, timers, signals and deferred calls. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/text.h"
#include "io/loop.h"

static struct loop *loop;
static char story[64]; /* what happened, one letter each */

static void tell(char letter)
{
    size_t n = strlen(story);
    assert_true(n + 1 < sizeof(story));
    story[n] = letter;
}

static int setup(void **state)
{
    memset(story, 0, sizeof(story));
    loop = loop_new();
    return loop == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    loop_free(loop);
    return 0;
}

static void turn_for(uint64_t ms)
{
    uint64_t end = clock_mono_ms() + ms;
    do {
        assert_int_equal(loop_turn(loop, 5), 0);
    } while (clock_mono_ms() < end);
}

static void tell_arg(void *arg)
{
    tell(*(char *)arg);
}

static char names[] = "abcdef";

static void timers_fire_once_in_order(void **state)
{
    struct timer t[3];
    static const uint64_t delays[] = {60, 10, 30};
    uint64_t begin = clock_mono_ms();
    for (size_t i = 0; i < ARRAY_LENGTH(t); i++) {
        assert_int_equal(timer_init(&t[i], loop, tell_arg, &names[i]), 0);
        assert_false(timer_is_set(&t[i]));
        assert_int_equal(timer_set_ms(&t[i], delays[i]), 0);
        assert_true(timer_is_set(&t[i]));
    }
    while (strlen(story) < 3)
        loop_turn(loop, 100);
    assert_in_range(clock_mono_ms() - begin, 60, 5000);
    turn_for(30);
    assert_string_equal(story, "bca");
    for (size_t i = 0; i < ARRAY_LENGTH(t); i++) {
        assert_false(timer_is_set(&t[i]));
        timer_deinit(&t[i]);
        timer_deinit(&t[i]);
    }
}

static void timers_stop_and_move(void **state)
{
    struct timer a, b, zero = {0};
    assert_int_equal(timer_init(&a, loop, tell_arg, &names[0]), 0);
    assert_int_equal(timer_init(&b, loop, tell_arg, &names[1]), 0);
    timer_set_ms(&a, 5);
    timer_stop(&a);
    timer_stop(&a);
    timer_set_ms(&b, 100000);
    timer_set_ms(&b, 5); /* the last word counts */
    timer_stop(&zero);
    timer_deinit(&zero);
    assert_false(timer_is_set(&zero));
    turn_for(40);
    assert_string_equal(story, "b");
    timer_set_ms(&a, 5);
    timer_deinit(&a);
    timer_deinit(&b);
    turn_for(20);
    assert_string_equal(story, "b");
}

struct end {
    struct io_watch watch;
    int fd, seen;
    bool deinit_at_once;
};

static void note_ready(void *arg, int ready)
{
    struct end *e = arg;
    e->seen |= ready;
    char c;
    if (ready & IO_READ && recv(e->fd, &c, 1, MSG_DONTWAIT) == 1)
        tell(c);
    if (e->deinit_at_once)
        io_watch_deinit(&e->watch);
}

static void watches(void **state)
{
    int pair[2];
    struct end e = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    e.fd = pair[0];
    io_watch_deinit(&e.watch); /* harmless while zeroed */
    assert_int_equal(io_watch_init(&e.watch, loop, e.fd, note_ready, &e), 0);
    assert_int_equal(write(pair[1], "xy", 2), 2);
    turn_for(20);
    assert_int_equal(e.seen, 0); /* nothing wanted yet */
    assert_int_equal(io_watch_set(&e.watch, IO_READ), 0);
    turn_for(20);
    assert_string_equal(story, "xy");
    assert_int_equal(e.seen, IO_READ);
    assert_int_equal(io_watch_set(&e.watch, IO_READ | IO_WRITE), 0);
    turn_for(10);
    assert_int_equal(e.seen, IO_READ | IO_WRITE);
    assert_int_equal(io_watch_set(&e.watch, 0), 0);
    e.seen = 0;
    assert_int_equal(write(pair[1], "z", 1), 1);
    turn_for(20);
    assert_int_equal(e.seen, 0);
    /* A handler may end its own watch while both directions are ready. */
    e.deinit_at_once = true;
    assert_int_equal(io_watch_set(&e.watch, IO_READ | IO_WRITE), 0);
    turn_for(20);
    assert_true(e.seen == IO_READ || e.seen == IO_WRITE);
    close(pair[0]);
    close(pair[1]);
}

static void defer_again(void *arg)
{
    tell('1');
    loop_defer(loop, tell_arg, &names[2]);
}

static void timer_that_defers(void *arg)
{
    tell('(');
    loop_defer(loop, tell_arg, &names[0]);
    loop_defer(loop, defer_again, NULL);
    tell(')');
}

static void deferred_calls(void **state)
{
    struct timer t;
    assert_int_equal(timer_init(&t, loop, timer_that_defers, NULL), 0);
    timer_set_ms(&t, 1);
    turn_for(30);
    assert_string_equal(story, "()a1c");
    timer_deinit(&t);
    /* What is left when the loop goes is still called: objects free themselves there. */
    loop_defer(loop, tell_arg, &names[5]);
    loop_free(loop);
    loop = NULL;
    assert_string_equal(story, "()a1cf");
}

static void on_signal(void *arg, int signo)
{
    tell(signo == SIGUSR1 ? '1' : '2');
    if (signo == SIGUSR2)
        loop_stop(loop);
}

static void signals_and_stop(void **state)
{
    assert_int_equal(loop_on_signal(loop, SIGUSR1, on_signal, NULL), 0);
    assert_int_equal(loop_on_signal(loop, SIGUSR2, on_signal, NULL), 0);
    raise(SIGUSR1);
    turn_for(10);
    assert_string_equal(story, "1");
    raise(SIGUSR2);
    assert_int_equal(loop_run(loop), 0);
    assert_string_equal(story, "12");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(timers_fire_once_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(timers_stop_and_move, setup, teardown),
        cmocka_unit_test_setup_teardown(watches, setup, teardown),
        cmocka_unit_test_setup_teardown(deferred_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(signals_and_stop, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
