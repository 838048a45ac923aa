#include "mail/date.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"

/* strftime would follow the locale. */
static const char weekdays[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

const char *mail_date_format(int64_t time_s, char text[MAIL_DATE_MAX])
{
    time_t t = (time_t)time_s;
    struct tm tm;
    localtime_r(&t, &tm);
    unsigned minutes = (unsigned)(labs(tm.tm_gmtoff) / 60) % 6000;
    snprintf(text, MAIL_DATE_MAX, "%s, %d %s %d %02d:%02d:%02d %c%02u%02u", weekdays[tm.tm_wday], tm.tm_mday,
             months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec, tm.tm_gmtoff < 0 ? '-' : '+',
             minutes / 60, minutes % 60);
    return text;
}

const char *mail_message_id(const char *hostname, char text[MAIL_MESSAGE_ID_MAX])
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        random = (uint64_t)clock_wall_us();
    time_t t = (time_t)clock_wall_s();
    struct tm tm;
    gmtime_r(&t, &tm);
    snprintf(text, MAIL_MESSAGE_ID_MAX, "<%04d%02d%02d%02d%02d%02d.%016" PRIx64 "@%.255s>", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, random, hostname);
    return text;
}
