#include "qmgr/bucket.h"

#define MINUTE_MS 60000.0

void bucket_init(struct bucket *b, uint64_t now_ms)
{
    *b = (struct bucket){.tokens = 1, .at_ms = now_ms};
}

uint64_t bucket_wait_ms(struct bucket *b, int64_t per_minute, uint64_t now_ms)
{
    double rate = (double)per_minute / MINUTE_MS, most = rate * 1000 > 1 ? rate * 1000 : 1;
    if (per_minute <= 0)
        return 0;
    b->tokens += rate * (double)(now_ms - b->at_ms);
    b->tokens = b->tokens > most ? most : b->tokens;
    b->at_ms = now_ms;
    return b->tokens >= 1 ? 0 : (uint64_t)((1 - b->tokens) / rate) + 1;
}

void bucket_take(struct bucket *b, int64_t per_minute, double count)
{
    if (per_minute > 0)
        b->tokens -= count;
}
