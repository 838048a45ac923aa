/* file: what is done to the queue file of a committed message: read its head, set a status in place, append to its
 * history. After the commit qmgr is the only program that writes; others get a read-only descriptor. */
#ifndef POSTHOUSE_QUEUE_FILE_H
#define POSTHOUSE_QUEUE_FILE_H

#include "queue/envelope.h"

/* Reads the head.  0, -EPROTO (not a committed queue file: garbage, torn, or shorter than it says), -errno. */
int queue_file_read(int fd, struct envelope *out);

/* Whether it is shorter than it says, or than any queue file, and so may be a file whose writer was not done. */
bool queue_file_is_short(int fd);

/* Sets one recipient's status, or the counters of the state line (attempts, warned), in place.  0 or -errno. */
int queue_file_mark(int fd, uint32_t index, enum recipient_status status);
int queue_file_mark_state(int fd, const struct envelope *e);

/* The history behind the content: one line per recipient and attempt,
 *     attempt 1763928000 341 deferred 450 4.2.1 mx.example.com[192.0.2.1]:25 mailbox busy */
struct queue_attempt {
    int64_t time_s;
    uint32_t index;       /* of the recipient */
    const char *outcome;  /* delivered, deferred, failed: no blanks */
    uint32_t code;        /* SMTP code, 0 = none */
    const char *enhanced; /* RFC 3463, "-" = none */
    const char *relay;    /* "none" = no host; no blanks */
    const char *reply;
};
#define QUEUE_HISTORY_MAX (1024 * 1024) /* bytes behind the content; later lines are not written */

/* Appends a line to text, which the caller writes with queue_file_append once per round.  0, -ENOBUFS, -ENOMEM. */
int queue_attempt_format(const struct queue_attempt *a, struct buf *text);
/* 0; -EFBIG (history full: not written, which loses no mail); -errno. */
int queue_file_append(int fd, const struct envelope *e, const struct buf *text);
/* Calls fn for every whole line, oldest first; a torn last line is ignored.  Texts are valid during the call.  0 or
 * -errno. */
int queue_file_history(int fd, const struct envelope *e, void (*fn)(void *arg, const struct queue_attempt *a),
                       void *arg);
/* The same from memory. */
void queue_history_parse(char *text, size_t len, void (*fn)(void *arg, const struct queue_attempt *a), void *arg);

#endif
