/* whole: reads and writes that are not done until every byte is. */
#ifndef POSTHOUSE_BASE_WHOLE_H
#define POSTHOUSE_BASE_WHOLE_H

#include <stddef.h>
#include <stdint.h>

/* 0 or -errno; -EIO when the system takes nothing more without an error.  What was written before stays written. */
int whole_write(int fd, const void *data, size_t len);
int whole_write_at(int fd, const void *data, size_t len, uint64_t offset);
/* 0, -EPROTO (the file ends before that) or -errno. */
int whole_read_at(int fd, void *data, size_t len, uint64_t offset);

#endif
