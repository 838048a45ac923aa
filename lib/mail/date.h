/* date: RFC 5322 section 3.3 date-time and message identifiers. */
#ifndef POSTHOUSE_MAIL_DATE_H
#define POSTHOUSE_MAIL_DATE_H

#include <stdint.h>

#define MAIL_DATE_MAX       40
#define MAIL_MESSAGE_ID_MAX 320

/* "Mon, 23 Nov 2026 20:24:19 +0000" in the process's time zone (tzset before chroot). */
const char *mail_date_format(int64_t time_s, char text[MAIL_DATE_MAX]);

/* RFC 3339 date-time, "2026-11-23T20:24:19Z" or with an offset; fractions of a second are dropped.  0 or -1. */
int mail_date_time_parse(const char *text, int64_t *time_s);
/* "2026-11-23T20:24:19Z". */
const char *mail_date_time_format(int64_t time_s, char text[MAIL_DATE_MAX]);

/* "<20261123202419.0123456789abcdef@hostname>": unique by its 64 random bits. */
const char *mail_message_id(const char *hostname, char text[MAIL_MESSAGE_ID_MAX]);

#endif
