/* journal: what makes a crowd of messages durable with one flush.  A writer has a folder of segments, files full of
 * zeros, in which each group of messages is written behind the last one: no block is allocated, no size changes, so one
 * fdatasync is one write to the disk.  The queue files themselves are written back by the kernel when it likes; a
 * checkpoint (syncfs) makes sure of them before a segment is used again.  docs/QUEUE.md tells the protocol.
 *
 * The committer's thread calls journal_append, one group after the other; the keeper's calls journal_care, which makes
 * segments ready and takes checkpoints.  Everything else is called by the loop's thread. */
#ifndef POSTHOUSE_QUEUE_JOURNAL_H
#define POSTHOUSE_QUEUE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JOURNAL_SEGMENTS      4            /* at most; two until that is too few */
#define JOURNAL_MESSAGE_MAX   (256 * 1024) /* bytes of a queue file; a larger one is flushed by itself */
#define JOURNAL_GROUP_MAX     256          /* messages that share a flush */
#define JOURNAL_CHECKPOINT_MS 30000 /* age of the oldest record: the kernel writes old files back by then anyway */

struct journal;

/* folder_fd: readable, the writer's own; stays the caller's.  segment_size 0: no new segments, what an earlier writer
 * left is given back.  NULL: out of memory. */
struct journal *journal_new(int folder_fd, uint64_t segment_size);
void journal_free(struct journal *j);

struct journal_entry {
    const char *id;
    const char *data; /* the whole queue file; NULL = this id was refused after all */
    uint32_t length;
};
/* How far a segment is written: where a group ends. */
struct journal_mark {
    unsigned segment; /* below JOURNAL_SEGMENTS */
    uint64_t generation, end;
};

/* Writes the group and flushes it.  0 and *mark; -EAGAIN: no segment is ready or the group does not fit, flush the
 * files instead; other -errno: neither written nor trusted any more, flush the files instead. */
int journal_append(struct journal *j, const struct journal_entry *entries, size_t count, struct journal_mark *mark);
/* What was appended up to there stands under its name: the next checkpoint covers it.  By any thread, in order. */
void journal_settle(struct journal *j, const struct journal_mark *mark);

/* Whether a segment is ready. */
bool journal_ready(struct journal *j);
/* From now on segments are made, not only taken over; whoever has messages says so. */
void journal_want(struct journal *j);
/* Whether journal_care has something to do. */
bool journal_needs_care(struct journal *j);
/* Takes over what an earlier process left, makes segments, takes a checkpoint: may take seconds.  0 or -errno; *step
 * tells at what (static text). */
int journal_care(struct journal *j, const char **step);
/* Tells a journal_care that runs to come to an end. */
void journal_hurry(struct journal *j);

#endif
