/* wire: batches of messages with their descriptors in and out of a SOCK_SEQPACKET socket.
 *
 * What a process says to another in one turn of its loop travels as one record: for each message a u32, its length in
 * bytes with WIRE_HAS_FD for one that brought a descriptor, then the message as the catalogue encodes it.  Descriptors
 * go along in the order of their messages.  One wake-up and two system calls so serve a whole crowd. */
#ifndef POSTHOUSE_IPC_WIRE_H
#define POSTHOUSE_IPC_WIRE_H

#include <stdbool.h>
#include <stddef.h>

#include "ipc/catalogue.h"

#define WIRE_RECORD_MAX (IPC_RECORD_MAX + 4)
#define WIRE_FULL_BYTES (48 * 1024) /* a batch of this size is not added to */
#define WIRE_FDS_MAX    32          /* in a batch */
#define WIRE_HAS_FD     0x80000000u

/* On its way out. */
struct wire_batch {
    struct buf record;
    int fds[WIRE_FDS_MAX];
    unsigned fd_count;
};

void wire_batch_init(struct wire_batch *b);
void wire_batch_deinit(struct wire_batch *b);
/* fd: duplicated, or -1.  0; -EAGAIN (full: send it first); -ENOBUFS (a message longer than IPC_RECORD_MAX), -EINVAL
 * (no such message), -EMFILE, -ENOMEM.  What is in the batch stays as it was then. */
int wire_batch_add(struct wire_batch *b, enum ipc_type type, const void *message, int fd);
/* 0, and the batch is empty; or -errno, and it is as it was. */
int wire_send(int socket, struct wire_batch *b);

/* On its way in. */
struct wire_reader {
    char *at;
    size_t left;
    int fds[WIRE_FDS_MAX];
    unsigned fd_count, fd_next;
};

/* Reads one record into data (size WIRE_RECORD_MAX + 1).  1: r goes over it; 0: the end; or -errno (-EMSGSIZE: longer
 * than a record may be).  Descriptors are close-on-exec and r's until they are handed out. */
int wire_receive(int socket, char *data, struct wire_reader *r);
/* The next message; texts point into data.  *fd is the caller's when not -1.  1; 0: there is none; -EPROTO: it makes no
 * sense; -ENOMEM. */
int wire_next(struct wire_reader *r, enum ipc_type *type, union ipc_any *message, int *fd);
/* Closes what was not handed out. */
void wire_reader_end(struct wire_reader *r);

#endif
