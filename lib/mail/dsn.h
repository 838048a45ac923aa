/* dsn: the delivery status notification parameters of an envelope (RFC 3461), as text and as flags. */
#ifndef POSTHOUSE_MAIL_DSN_H
#define POSTHOUSE_MAIL_DSN_H

#include <stddef.h>

#include "base/buf.h"

/* NOTIFY; 0 = the client did not say, which means FAILURE and, at the server's choice, DELAY (section 4.1). */
enum mail_dsn_notify {
    MAIL_DSN_NOTIFY_NEVER = 1,
    MAIL_DSN_NOTIFY_SUCCESS = 2,
    MAIL_DSN_NOTIFY_FAILURE = 4,
    MAIL_DSN_NOTIFY_DELAY = 8,
};

enum mail_dsn_ret {
    MAIL_DSN_RET_UNSET,
    MAIL_DSN_RET_FULL,
    MAIL_DSN_RET_HDRS,
};

enum {
    MAIL_DSN_ENVID_MAX = 100, /* bytes in xtext form, section 4.4 */
    MAIL_DSN_ORCPT_MAX = 500, /* bytes in xtext form with address type, section 4.2 */
};

/* Text is not NUL-terminated.  0 or -EINVAL. */
int mail_dsn_notify_parse(const char *text, size_t len, unsigned *notify);
int mail_dsn_ret_parse(const char *text, size_t len, enum mail_dsn_ret *ret);
/* Valid xtext of printable characters, short enough. */
int mail_dsn_envid_check(const char *text, size_t len);
/* addr-type ";" xtext, or utf-8-addr-xtext / utf-8-addr-unitext (RFC 6533 section 3) for the type utf-8. */
int mail_dsn_orcpt_check(const char *text, size_t len);

/* "SUCCESS,DELAY"; "" for 0. */
int mail_dsn_notify_format(unsigned notify, struct buf *out);
/* "FULL", "HDRS" or "". */
const char *mail_dsn_ret_format(enum mail_dsn_ret ret);

#endif
