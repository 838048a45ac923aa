/* logs: the files of a log and the one before its last rotation, read line by line, and read on when more was written.
 */
#ifndef POSTHOUSE_CTL_LOGS_H
#define POSTHOUSE_CTL_LOGS_H

#include <stdbool.h>
#include <stdio.h>

#define LOGS_FILES 4 /* a rotation while we read makes one more */

struct logs {
    char *path;
    FILE *files[LOGS_FILES]; /* oldest first */
    size_t count;
};

/* "PATH.1" and PATH.  false: neither is there, or can be read, which is said. */
bool logs_open(struct logs *l, const char *path);
/* Calls fn for every whole line since the last call; fn may cut the line up. */
void logs_read(struct logs *l, void (*fn)(void *arg, char *line), void *arg);
void logs_close(struct logs *l);

#endif
