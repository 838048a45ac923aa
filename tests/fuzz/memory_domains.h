/* memory_domains: takes the place of smtpd/domains.c in a target: what is asked is answered at the end of the turn, by
 * the first letter of the domain:
 *
 *     g = it takes no mail   t = nobody knows now   s = never answered   w = qmgr goes away before it answers
 *     a = qmgr is away when asked   k = known already
 *
 * and every other takes mail. */
#ifndef POSTHOUSE_FUZZ_MEMORY_DOMAINS_H
#define POSTHOUSE_FUZZ_MEMORY_DOMAINS_H

#include "io/loop.h"
#include "smtpd/domains.h"

struct domains {
    struct loop *loop;
    size_t alive; /* questions neither answered nor cancelled */
};

#endif
