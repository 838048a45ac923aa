/* reply: SMTP replies (RFC 5321 section 4.2), written by a server and read by a client. */
#ifndef POSTHOUSE_SMTP_REPLY_H
#define POSTHOUSE_SMTP_REPLY_H

#include <stdbool.h>

#include "base/buf.h"
#include "mail/status.h"

enum {
    SMTP_REPLY_LINE_MAX = 4096, /* RFC 5321 says 512; some servers explain themselves at length */
    SMTP_REPLY_LINES_MAX = 256,
    SMTP_REPLY_TEXT_MAX = 16384, /* text of all lines together */
    SMTP_REPLY_OUT_LINE_MAX = 510,
};

/* Server side: appends one reply.  text may have several lines, parted by '\n'; each is prefixed with the code and,
 * when enhanced is not "", with the enhanced status code (RFC 2034).  Lines longer than 510 bytes are cut; control
 * bytes become
 * '?', so that remote text cannot forge a reply.  0, -ENOBUFS or -ENOMEM. */
int smtp_reply_format(struct buf *out, unsigned code, const char *enhanced, const char *text);

/* Client side. */
struct smtp_reply {
    unsigned code;             /* 200 to 599 */
    struct mail_status status; /* enhanced code of the first line that has one; class 0 = none */
    struct buf text;           /* the lines without reply code (enhanced code included), parted by '\n' */
    unsigned lines;
    bool partial; /* a multi-line reply is still being read */
};

enum smtp_reply_result {
    SMTP_REPLY_MORE = 1,  /* call again when more bytes came */
    SMTP_REPLY_MALFORMED, /* not a reply, or without end: the connection is of no more use */
};

void smtp_reply_init(struct smtp_reply *r);
void smtp_reply_deinit(struct smtp_reply *r);

/* Takes the next reply from the front of in: 0 (a whole reply is in r), an enum smtp_reply_result, or -ENOMEM.  A new
 * reply overwrites the last one.  Lines may end in CRLF or LF.  Text beyond SMTP_REPLY_TEXT_MAX is dropped, its lines
 * still count. */
int smtp_reply_take(struct smtp_reply *r, struct buf *in);

/* The whole reply on one line for logs and reports: "550 5.1.1 no such user; see https://...". */
int smtp_reply_flatten(const struct smtp_reply *r, struct buf *out);

#endif
