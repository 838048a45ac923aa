/* inject: how a message gets into the queue: create, stream, commit, announce.  Used by smtpd and bounce alike.
 *
 * The promise: when an injection's done function gets 0, the message is durable on disk and stands in queue/new under
 * its id; in every other case nothing of it is visible to anybody.  How that is achieved is nobody else's business. */
#ifndef POSTHOUSE_QUEUE_INJECT_H
#define POSTHOUSE_QUEUE_INJECT_H

#include "io/loop.h"
#include "queue/envelope.h"

struct injector;
struct injection;

/* writer: this process's number among all writers of the queue (its slot; bounce adds QUEUE_WRITER_BOUNCE).  Opens the
 * folders it needs, so call it before chroot.  0 or -errno. */
int injector_new(struct loop *l, const char *queue_directory, unsigned writer, unsigned threads, struct injector **out);
void injector_free(struct injector *q);
/* Commits go through a journal of this writer from now on (docs/QUEUE.md); call it before chroot, after injector_new.
 * segment_size 0: none, and what an earlier process left is given back.  trouble hears of what the journal could not
 * do; commits then go on without it.  0 or -errno. */
int injector_use_journal(struct injector *q, uint64_t segment_size,
                         void (*trouble)(void *arg, const char *what, int err), void *arg);
/* Commits under way: what a drain waits for. */
size_t injector_pending(const struct injector *q);
/* Free bytes and inodes below the queue.  0 or -errno. */
int injector_free_space(const struct injector *q, uint64_t *bytes, uint64_t *inodes);

/* Draws a queue id into e->id, creates the file and writes the head.  The envelope is read during this call only.  0;
 * -ENOSPC, -EDQUOT, … : the client is told to come back. */
int injection_begin(struct injector *q, struct envelope *e, struct injection **out);
const char *injection_id(const struct injection *i);
/* Content as it will go out on the wire, in any portions (CRLF, not dot-stuffed, last line ended).  After an error the
 * only thing to do is injection_abort. */
int injection_write(struct injection *i, const void *data, size_t len);
uint64_t injection_length(const struct injection *i);
/* Makes it durable and visible, off the loop; then done is called on the loop with 0 or -errno, and the injection is
 * gone. flags: enum envelope_flag bits that were learned from the content, added to the envelope's. */
void injection_commit(struct injection *i, uint32_t flags, void (*done)(void *arg, const char *id, int result),
                      void *arg);
/* Forgets it, without a trace. */
void injection_abort(struct injection *i);

#endif
