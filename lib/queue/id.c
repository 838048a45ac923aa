#include "queue/id.h"

#include <string.h>

#include "base/clock.h"

static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#define TIME_CHARS 11
#define SHARE_US   32 /* all values of the last character of time: queue_id_folder */

static unsigned own_share;

void queue_id_set_share(unsigned share)
{
    own_share = share % QUEUE_ID_SHARES;
}

/* The first microsecond of our share that is not before this one. */
static int64_t into_share(int64_t us)
{
    int64_t whole = SHARE_US * QUEUE_ID_SHARES, begin = us - us % whole + own_share * SHARE_US;
    if (us < begin)
        return begin;
    return us < begin + SHARE_US ? us : begin + whole;
}

void queue_id_new(unsigned writer, char id[QUEUE_ID_SIZE])
{
    static int64_t last_us;
    int64_t us = into_share(clock_wall_us());
    if (us <= last_us)
        us = into_share(last_us + 1);
    last_us = us;
    uint64_t value = (uint64_t)us;
    for (int i = TIME_CHARS - 1; i >= 0; i--, value >>= 5)
        id[i] = digits[value & 31];
    id[TIME_CHARS] = digits[writer >> 5 & 31];
    id[TIME_CHARS + 1] = digits[writer & 31];
    id[QUEUE_ID_LEN] = '\0';
}

bool queue_id_valid(const char *id)
{
    return strlen(id) == QUEUE_ID_LEN && strspn(id, digits) == QUEUE_ID_LEN;
}

int64_t queue_id_time_us(const char *id)
{
    uint64_t value = 0;
    for (int i = 0; i < TIME_CHARS; i++) {
        const char *d = strchr(digits, id[i]);
        value = value << 5 | (uint64_t)(d != NULL && *d != '\0' ? d - digits : 0);
    }
    return (int64_t)value;
}

char queue_id_folder(const char *id)
{
    return id[TIME_CHARS - 1];
}
