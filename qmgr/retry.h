/* retry: when the next attempt is due.  Pure. */
#ifndef POSTHOUSE_QMGR_RETRY_H
#define POSTHOUSE_QMGR_RETRY_H

#include <stdint.h>

/* Wait after the attempt-th failed attempt (1 = the first): min doubled with each attempt up to max, then shortened by
 * up to a quarter, so that what failed together does not come back together.  random: any number. */
int64_t retry_wait_ms(unsigned attempt, int64_t min_ms, int64_t max_ms, uint64_t random);

/* When the message is due again, wall-clock seconds: now (milliseconds) + wait, but not later than the end of its
 * lifetime. */
int64_t retry_due_s(int64_t now_ms, int64_t wait_ms, int64_t expires_s);

#endif
