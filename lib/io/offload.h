/* offload: helper threads for what would block the loop (fsync, password hashing, SQLite writes).
 *
 * A job's work function runs in a helper thread and may touch only the job; its done function runs on the loop
 * afterwards. Jobs start in the order they were submitted. */
#ifndef POSTHOUSE_IO_OFFLOAD_H
#define POSTHOUSE_IO_OFFLOAD_H

#include <stddef.h>

#include "base/list.h"
#include "io/loop.h"

struct offload;

struct offload_job {
    void (*work)(struct offload_job *job); /* in a helper thread */
    void (*done)(struct offload_job *job); /* on the loop; may free the job */
    TAILQ_ENTRY(offload_job) link;
    /* Set by work: the job goes on to these threads with that work, and is done when they are. */
    struct offload *next;
    void (*next_work)(struct offload_job *job);
};

/* NULL when threads, memory or descriptors are short. */
struct offload *offload_new(struct loop *l, unsigned threads);
/* Waits for the running jobs, drops those not started without calling done. */
void offload_free(struct offload *o);
void offload_submit(struct offload *o, struct offload_job *job);
/* Jobs submitted whose done function did not run yet: what a caller bounds. */
size_t offload_pending(struct offload *o);

#endif
