/* done: what qmgr notes of every message that has left the queue, so that a recovery does not bring it back.  Flushed
 * half a second late, by a helper thread: a note that a power cut takes away costs a second delivery, never a message.
 * Two files in journal/qmgr, written in turn from the front, hold the last few hundred thousand. */
#ifndef POSTHOUSE_QUEUE_DONE_H
#define POSTHOUSE_QUEUE_DONE_H

#include <stddef.h>
#include <stdint.h>

#include "io/loop.h"

#define DONE_FLUSH_MS 500
#define DONE_RECORDS  200000 /* of a file */
#define DONE_RECORD   40     /* bytes */

struct done;

/* queue_fd: the queue directory; stays the caller's.  0 or -errno. */
int done_new(struct loop *l, int queue_fd, struct done **out);
/* Writes what is not written yet.  The result of the last write that failed, 0 = none. */
int done_free(struct done *d);
/* Call it before the file is unlinked.  Never fails: what can not be noted costs a second delivery after a crash. */
void done_add(struct done *d, const char *id);

/* Calls fn for every note of this run of the machine (segment_boot).  0 or -errno. */
int done_read(int queue_fd, uint64_t boot, void (*fn)(void *arg, const char *id, uint64_t time_ns), void *arg);
/* The same from memory. */
void done_parse(const char *data, size_t len, uint64_t boot, void (*fn)(void *arg, const char *id, uint64_t time_ns),
                void *arg);

#endif
