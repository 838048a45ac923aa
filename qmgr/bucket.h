/* bucket: a token bucket.  So much a minute flows in, evenly and by the millisecond; it holds what flows in within a
 * second, one at least.  More may be taken than is in it: then it has to fill from below nothing. */
#ifndef POSTHOUSE_QMGR_BUCKET_H
#define POSTHOUSE_QMGR_BUCKET_H

#include <stdint.h>

struct bucket {
    double tokens;
    uint64_t at_ms; /* when they were counted */
};

/* Begins with one. */
void bucket_init(struct bucket *b, uint64_t now_ms);
/* 0 = there is one, or no limit (per_minute 0); else milliseconds until there is. */
uint64_t bucket_wait_ms(struct bucket *b, int64_t per_minute, uint64_t now_ms);
void bucket_take(struct bucket *b, int64_t per_minute, double count);

#endif
