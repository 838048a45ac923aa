#include "io/offload.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

TAILQ_HEAD(job_list, offload_job);

struct offload {
    struct io_watch watch;
    int wake_fd;
    pthread_mutex_t lock;
    pthread_cond_t more;
    bool stopping; /* under lock, like the following */
    struct job_list queued, worked;
    size_t pending;
    unsigned threads;
    pthread_t thread[];
};

/* Whoever is woken finds the lock free: it is given back before. */
static void tell_loop(struct offload *o)
{
    uint64_t one = 1;
    ssize_t ignored = write(o->wake_fd, &one, sizeof(one));
    (void)ignored; /* fails only when the counter is already huge: the loop is awake then */
}

/* The next job to do, or NULL: it is time to end. */
static struct offload_job *take_job(struct offload *o)
{
    pthread_mutex_lock(&o->lock);
    while (TAILQ_EMPTY(&o->queued) && !o->stopping)
        pthread_cond_wait(&o->more, &o->lock);
    struct offload_job *job = o->stopping ? NULL : TAILQ_FIRST(&o->queued);
    if (job != NULL)
        TAILQ_REMOVE(&o->queued, job, link);
    pthread_mutex_unlock(&o->lock);
    return job;
}

static void give_job_back(struct offload *o, struct offload_job *job)
{
    pthread_mutex_lock(&o->lock);
    bool first = TAILQ_EMPTY(&o->worked);
    TAILQ_INSERT_TAIL(&o->worked, job, link);
    pthread_mutex_unlock(&o->lock);
    if (first)
        tell_loop(o);
}

static void pass_job_on(struct offload *o, struct offload_job *job)
{
    struct offload *next = job->next;
    job->next = NULL;
    job->work = job->next_work;
    offload_submit(next, job); /* it is the next one's from here on */
    pthread_mutex_lock(&o->lock);
    o->pending--;
    pthread_mutex_unlock(&o->lock);
}

static void *offload_thread(void *arg)
{
    struct offload *o = arg;
    struct offload_job *job;
    while ((job = take_job(o)) != NULL) {
        job->work(job);
        if (job->next != NULL)
            pass_job_on(o, job);
        else
            give_job_back(o, job);
    }
    return NULL;
}

static void offload_collect(void *arg, int ready)
{
    struct offload *o = arg;
    uint64_t count;
    ssize_t ignored = read(o->wake_fd, &count, sizeof(count));
    (void)ignored;
    struct job_list finished = TAILQ_HEAD_INITIALIZER(finished);
    pthread_mutex_lock(&o->lock);
    TAILQ_CONCAT(&finished, &o->worked, link);
    pthread_mutex_unlock(&o->lock);
    while (!TAILQ_EMPTY(&finished)) {
        struct offload_job *job = TAILQ_FIRST(&finished);
        TAILQ_REMOVE(&finished, job, link);
        pthread_mutex_lock(&o->lock);
        o->pending--;
        pthread_mutex_unlock(&o->lock);
        job->done(job);
    }
}

struct offload *offload_new(struct loop *l, unsigned threads)
{
    struct offload *o = calloc(1, sizeof(*o) + threads * sizeof(pthread_t));
    if (o == NULL)
        return NULL;
    TAILQ_INIT(&o->queued);
    TAILQ_INIT(&o->worked);
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->more, NULL);
    o->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (o->wake_fd < 0 || io_watch_init(&o->watch, l, o->wake_fd, offload_collect, o) < 0 ||
        io_watch_set(&o->watch, IO_READ) < 0) {
        offload_free(o);
        return NULL;
    }
    /* Signals belong to the loop's thread. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (o->threads < threads && pthread_create(&o->thread[o->threads], NULL, offload_thread, o) == 0)
        o->threads++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (o->threads == 0) {
        offload_free(o);
        return NULL;
    }
    return o;
}

void offload_free(struct offload *o)
{
    if (o == NULL)
        return;
    pthread_mutex_lock(&o->lock);
    o->stopping = true;
    pthread_cond_broadcast(&o->more);
    pthread_mutex_unlock(&o->lock);
    for (unsigned i = 0; i < o->threads; i++)
        pthread_join(o->thread[i], NULL);
    io_watch_deinit(&o->watch);
    if (o->wake_fd >= 0)
        close(o->wake_fd);
    pthread_cond_destroy(&o->more);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

void offload_submit(struct offload *o, struct offload_job *job)
{
    pthread_mutex_lock(&o->lock);
    o->pending++;
    TAILQ_INSERT_TAIL(&o->queued, job, link);
    pthread_mutex_unlock(&o->lock);
    pthread_cond_signal(&o->more);
}

size_t offload_pending(struct offload *o)
{
    pthread_mutex_lock(&o->lock);
    size_t pending = o->pending;
    pthread_mutex_unlock(&o->lock);
    return pending;
}
