/* cleanup: the tree's one idiom for giving things back at the end of a scope.
 *
 *     _cleanup_(fd_closep) int fd = -1;
 *     _cleanup_(freep) char *name = NULL;
 */
#ifndef POSTHOUSE_BASE_CLEANUP_H
#define POSTHOUSE_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

static inline void freep(void *p)
{
    free(*(void **)p);
}

static inline void fd_closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* Takes the value out of a cleaned-up variable: the caller owns it from here on. */
#define TAKE_FD(fd)                                                                                                    \
    ({                                                                                                                 \
        int taken_ = (fd);                                                                                             \
        (fd) = -1;                                                                                                     \
        taken_;                                                                                                        \
    })
#define TAKE_PTR(p)                                                                                                    \
    ({                                                                                                                 \
        __typeof__(p) taken_ = (p);                                                                                    \
        (p) = NULL;                                                                                                    \
        taken_;                                                                                                        \
    })

#endif
