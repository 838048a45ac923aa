/* status: enhanced mail system status codes (RFC 3463), "5.1.1". */
#ifndef POSTHOUSE_MAIL_STATUS_H
#define POSTHOUSE_MAIL_STATUS_H

#include <stddef.h>

struct mail_status {
    unsigned class;   /* 2, 4 or 5; 0 = no code */
    unsigned subject; /* 0 to 999 */
    unsigned detail;  /* 0 to 999 */
};

#define MAIL_STATUS_TEXT_MAX 12 /* "5.999.999" and its NUL */

/* The code that text begins with; it must end there or be followed by a blank.  Returns its length in bytes, 0 = none
 * (out is cleared). */
size_t mail_status_parse(const char *text, size_t len, struct mail_status *out);
/* "5.1.1"; "" for no code. */
const char *mail_status_format(const struct mail_status *s, char text[MAIL_STATUS_TEXT_MAX]);

#endif
