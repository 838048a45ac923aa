/* Helper threads: order of the start, every done on the loop's thread, the count, and an end in the middle of work. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/text.h"
#include "io/offload.h"

#define JOBS 500

struct number {
    struct offload_job job;
    int in, out, started;
};

static atomic_int starts, works;
static pthread_t loop_thread;
static int dones;

static void square(struct offload_job *job)
{
    struct number *n = (struct number *)job;
    n->started = atomic_fetch_add(&starts, 1);
    if (pthread_equal(pthread_self(), loop_thread))
        abort();
    n->out = n->in * n->in;
    atomic_fetch_add(&works, 1);
}

static void note_done(struct offload_job *job)
{
    struct number *n = (struct number *)job;
    assert_true(pthread_equal(pthread_self(), loop_thread));
    assert_int_equal(n->out, n->in * n->in);
    dones++;
}

static void submit(struct offload *o, struct number *jobs, int count)
{
    atomic_store(&starts, 0);
    atomic_store(&works, 0);
    dones = 0;
    loop_thread = pthread_self();
    for (int i = 0; i < count; i++) {
        jobs[i] = (struct number){.job = {.work = square, .done = note_done}, .in = i, .out = -1};
        offload_submit(o, &jobs[i].job);
    }
}

static void all_results_come_back(void **state)
{
    static const unsigned threads[] = {1, 2, 8};
    static struct number jobs[JOBS];
    for (size_t i = 0; i < ARRAY_LENGTH(threads); i++) {
        struct loop *l = loop_new();
        struct offload *o = offload_new(l, threads[i]);
        assert_non_null(o);
        assert_int_equal(offload_pending(o), 0);
        submit(o, jobs, JOBS);
        assert_int_equal(offload_pending(o), JOBS);
        while (offload_pending(o) > 0)
            loop_turn(l, 1000);
        assert_int_equal(dones, JOBS);
        /* One thread runs them in the order they came. */
        for (int k = 0; threads[i] == 1 && k < JOBS; k++)
            assert_int_equal(jobs[k].started, k);
        offload_free(o);
        loop_free(l);
    }
}

static struct offload *again_offload;

static void done_and_again(struct offload_job *job)
{
    if (++dones < 100)
        offload_submit(again_offload, job);
}

static void done_may_submit(void **state)
{
    struct loop *l = loop_new();
    struct number n = {.job = {.work = square, .done = done_and_again}, .in = 3};
    loop_thread = pthread_self();
    dones = 0;
    again_offload = offload_new(l, 2);
    offload_submit(again_offload, &n.job);
    while (offload_pending(again_offload) > 0)
        loop_turn(l, 1000);
    assert_int_equal(dones, 100);
    assert_int_equal(n.out, 9);
    offload_free(again_offload);
    loop_free(l);
}

static void slow_work(struct offload_job *job)
{
    struct timespec pause = {.tv_nsec = 20000000};
    nanosleep(&pause, NULL);
    square(job);
}

static void free_waits_for_running_jobs(void **state)
{
    static struct number jobs[20];
    struct loop *l = loop_new();
    struct offload *o = offload_new(l, 2);
    loop_thread = pthread_self();
    dones = 0;
    atomic_store(&starts, 0);
    atomic_store(&works, 0);
    for (size_t i = 0; i < ARRAY_LENGTH(jobs); i++) {
        jobs[i] = (struct number){.job = {.work = slow_work, .done = note_done}, .in = (int)i};
        offload_submit(o, &jobs[i].job);
    }
    offload_free(o);
    assert_int_equal(atomic_load(&starts), atomic_load(&works)); /* none is cut off in the middle */
    assert_true(atomic_load(&works) < (int)ARRAY_LENGTH(jobs));  /* and the rest never began */
    assert_int_equal(dones, 0);
    loop_free(l);
    offload_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_results_come_back),
        cmocka_unit_test(done_may_submit),
        cmocka_unit_test(free_waits_for_running_jobs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
