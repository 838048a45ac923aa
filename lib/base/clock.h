/* clock: the tree's one source of time, so that tests can set it. */
#ifndef POSTHOUSE_BASE_CLOCK_H
#define POSTHOUSE_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds that never step back (CLOCK_MONOTONIC); for intervals. */
uint64_t clock_mono_ms(void);
/* Time of day since 1970 UTC; for what people and other programs read. */
int64_t clock_wall_us(void);
int64_t clock_wall_s(void);

/* Tests: from now on both clocks stand still at these values; clock_fake_advance_ms moves them together. */
void clock_fake_set(uint64_t mono_ms, int64_t wall_us);
void clock_fake_advance_ms(uint64_t ms);

#endif
