/* interpose: LD_PRELOAD takes the place of libc's file-system and socket calls and asks before and after each one.  The
 * two preloads of this folder, killat and record, are what is asked.  The calls themselves are made by syscall(2),
 * which needs no dlsym and so works from the first call of any library on, sanitizers' included. */
#ifndef POSTHOUSE_POWERCUT_INTERPOSE_H
#define POSTHOUSE_POWERCUT_INTERPOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum call_kind {
    CALL_CREATE, /* open with O_CREAT */
    CALL_WRITE,
    CALL_TRUNCATE,
    CALL_ALLOCATE,
    CALL_RENAME,
    CALL_LINK,
    CALL_UNLINK,
    CALL_MKDIR,
    CALL_RMDIR,
    CALL_FSYNC,
    CALL_FDATASYNC,
    CALL_SYNCFS,
    CALL_SEND, /* to a socket */
};

struct call {
    const char *name; /* "pwrite" */
    enum call_kind kind;
    int fd;            /* the file, or the folder that path begins at */
    const char *path;  /* NULL: none */
    int fd2;           /* the same for the new name */
    const char *path2; /* NULL: none */
    const void *data;  /* CALL_WRITE, CALL_SEND */
    size_t len;        /* call_begin may make it smaller: less is written */
    int64_t offset;    /* CALL_WRITE: -1 = where the descriptor stands; CALL_TRUNCATE: the new length */
    int flags;
    long result; /* call_end: -errno when it failed */
    void *note;  /* from call_begin to call_end */
};

/* In the thread of the call.  true: call_end is wanted. */
bool call_begin(struct call *c);
void call_end(struct call *c);

/* The absolute path of name at folder fd (AT_FDCWD too), name NULL: of fd itself.  false: there is none. */
bool call_path(int fd, const char *name, char *path, size_t size);

#endif
