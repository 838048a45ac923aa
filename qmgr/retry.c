#include "qmgr/retry.h"

int64_t retry_wait_ms(unsigned attempt, int64_t min_ms, int64_t max_ms, uint64_t random)
{
    int64_t wait = min_ms;
    for (unsigned i = 1; i < attempt && wait < max_ms; i++)
        wait = wait > max_ms / 2 ? max_ms : wait * 2;
    if (wait > max_ms)
        wait = max_ms;
    int64_t spread = wait / 4;
    if (spread > 0)
        wait -= (int64_t)(random % (uint64_t)(spread + 1));
    return wait < min_ms ? min_ms : wait;
}

int64_t retry_due_s(int64_t now_ms, int64_t wait_ms, int64_t expires_s)
{
    int64_t due = (now_ms + wait_ms + 999) / 1000;
    return expires_s * 1000 > now_ms && due > expires_s ? expires_s : due;
}
