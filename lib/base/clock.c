#include "base/clock.h"

#include <stdbool.h>
#include <time.h>

static bool faked;
static uint64_t fake_mono_ms;
static int64_t fake_wall_us;

uint64_t clock_mono_ms(void)
{
    if (faked)
        return fake_mono_ms;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int64_t clock_wall_us(void)
{
    if (faked)
        return fake_wall_us;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_wall_s(void)
{
    return clock_wall_us() / 1000000;
}

void clock_fake_set(uint64_t mono_ms, int64_t wall_us)
{
    faked = true;
    fake_mono_ms = mono_ms;
    fake_wall_us = wall_us;
}

void clock_fake_advance_ms(uint64_t ms)
{
    fake_mono_ms += ms;
    fake_wall_us += (int64_t)ms * 1000;
}
