/* list: the intrusive lists of <sys/queue.h>, with the safe iterator glibc leaves out. */
#ifndef POSTHOUSE_BASE_LIST_H
#define POSTHOUSE_BASE_LIST_H

#include <sys/queue.h>

#ifndef TAILQ_FOREACH_SAFE
#define TAILQ_FOREACH_SAFE(var, head, field, next)                                                                     \
    for ((var) = TAILQ_FIRST((head)); (var) != NULL && ((next) = TAILQ_NEXT((var), field), 1); (var) = (next))
#endif

#endif
