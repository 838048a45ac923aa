/* recover: after a crash of the machine, brings back what the journals promise and the folders have lost; in every case
 * hands the segments over empty.  Runs before anything else of the suite, as the only program in the queue. */
#ifndef POSTHOUSE_QUEUE_RECOVER_H
#define POSTHOUSE_QUEUE_RECOVER_H

#include <stdbool.h>
#include <stddef.h>

struct queue_recovery {
    bool replayed;   /* the journals were compared with the folders */
    size_t segments; /* that had something to say */
    size_t records;  /* of messages, in them */
    size_t whole;    /* stand in the queue as they should */
    size_t done;     /* had left the queue */
    size_t removed;  /* of these, files whose removal was lost */
    size_t restored; /* written again: they were missing … */
    size_t mended;   /* … or short or wrong */
};

/* queue_fd: the queue directory, readable; the caller may read and write all that qmgr may.  0; -errno: the segments
 * are as they were and it can be tried again, but nothing must be started before; *step tells at what (static text). */
int queue_recover(int queue_fd, struct queue_recovery *out, const char **step);

#endif
