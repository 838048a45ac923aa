/* filesystem: what the queue may expect of the disk below it. */
#ifndef POSTHOUSE_QUEUE_FILESYSTEM_H
#define POSTHOUSE_QUEUE_FILESYSTEM_H

enum queue_filesystem {
    FILESYSTEM_FINE,
    FILESYSTEM_NO_JOURNAL, /* a crash may leave folders that do not fit each other: files can get lost in a rename */
    FILESYSTEM_MEMORY,     /* gone with the power */
    FILESYSTEM_NETWORK,    /* another machine's: when a flush is over is its secret */
};

/* Looks at the file system of a folder; *name is what it is called.  A kind or -errno. */
int queue_filesystem_check(const char *path, const char **name);

#endif
