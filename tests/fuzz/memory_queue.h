/* memory_queue: takes the place of lib/queue/inject.c in a target, so that it needs no disk and no threads: messages
 * are written into memory, and each that is committed is checked and handed to the target.  getrandom is replaced too:
 * one input does one thing. */
#ifndef POSTHOUSE_FUZZ_MEMORY_QUEUE_H
#define POSTHOUSE_FUZZ_MEMORY_QUEUE_H

#include "queue/inject.h"

struct injector {
    struct loop *loop;
    unsigned made;    /* names the messages; 0 at the beginning of each run */
    size_t alive;     /* injections begun and neither committed nor aborted */
    size_t pending;   /* commits under way */
    uint64_t room;    /* bytes of content that can be written, then -ENOSPC */
    int commit_error; /* what commits end with */
    uint64_t free_bytes;
    /* Each commit, with what its client is told. */
    void (*committed)(void *arg, const struct injection *i, uint32_t flags, int result);
    void *arg;
};

struct injection {
    struct injector *injector;
    char id[QUEUE_ID_SIZE];
    struct envelope envelope; /* read back from the head that was written */
    struct buf head, content;
    uint32_t flags;
    void (*done)(void *arg, const char *id, int result);
    void *arg;
};

/* What holds for each message in the queue, whatever the client sent; flags are its envelope's and its content's. */
void memory_queue_check(const struct buf *content, uint32_t flags);

#endif
