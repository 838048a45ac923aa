#include "mail/date.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static bool number(const char **text, size_t digits, int min, int max, char behind, int *out)
{
    *out = 0;
    for (size_t i = 0; i < digits; i++, (*text)++) {
        if (**text < '0' || **text > '9')
            return false;
        *out = *out * 10 + (**text - '0');
    }
    if (behind != '\0' && *(*text)++ != behind)
        return false;
    return *out >= min && *out <= max;
}

/* "Z", "+hh:mm" or "-hh:mm" to the end. */
static bool offset(const char *text, int *seconds)
{
    int sign = *text == '-' ? -1 : 1, hours, minutes;
    *seconds = 0;
    if ((text[0] == 'Z' || text[0] == 'z') && text[1] == '\0')
        return true;
    if (*text != '+' && *text != '-')
        return false;
    text++;
    if (!number(&text, 2, 0, 23, ':', &hours) || !number(&text, 2, 0, 59, '\0', &minutes) || *text != '\0')
        return false;
    *seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

int mail_date_time_parse(const char *text, int64_t *time_s)
{
    struct tm tm = {0};
    int year, month, east;
    if (!number(&text, 4, 1970, 9999, '-', &year) || !number(&text, 2, 1, 12, '-', &month) ||
        !number(&text, 2, 1, 31, '\0', &tm.tm_mday) || (*text != 'T' && *text != 't'))
        return -1;
    text++;
    if (!number(&text, 2, 0, 23, ':', &tm.tm_hour) || !number(&text, 2, 0, 59, ':', &tm.tm_min) ||
        !number(&text, 2, 0, 60, '\0', &tm.tm_sec))
        return -1;
    if (*text == '.') {
        size_t digits = strspn(text + 1, "0123456789");
        if (digits == 0)
            return -1;
        text += 1 + digits;
    }
    if (!offset(text, &east))
        return -1;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    const int day = tm.tm_mday;
    *time_s = (int64_t)timegm(&tm) - east;
    return tm.tm_mday == day ? 0 : -1; /* the 31st of a month of 30 days is no day */
}

const char *mail_date_time_format(int64_t time_s, char text[MAIL_DATE_MAX])
{
    time_t t = (time_t)time_s;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(text, MAIL_DATE_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm);
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
