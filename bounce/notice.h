/* notice: the delivery status notification as a message (RFC 3462's successor RFC 6522, RFC 3464; RFC 6533 where an
 * address is beyond ASCII).  Three parts: for people (explain.c), for programs (report.c), and the original.  Pure. */
#ifndef POSTHOUSE_BOUNCE_NOTICE_H
#define POSTHOUSE_BOUNCE_NOTICE_H

#include "base/buf.h"
#include "bounce/original.h"
#include "bounce/owed.h"

#define NOTICE_ENVID_MAX 101 /* decoded, with its NUL: shorter than its xtext form */

struct notice {
    const struct ipc_bounce *about;
    const struct owed *owed;
    const struct original *original; /* len 0: there is none to return */
    const char *id;                  /* queue id of the notice */
    const char *hostname;
    const char *from; /* bare address */
    int64_t now_s;
};

/* Bytes that a notice needs at most beside the original it returns. */
#define NOTICE_OVERHEAD_MAX (1024 * 1024)

/* Appends the message (CRLF, last line ended) and tells what its envelope needs (enum envelope_flag bits).  0,
 * -ENOBUFS, -ENOMEM. */
int notice_compose(const struct notice *n, struct buf *out, uint32_t *flags);

/* Whether addresses in it are beyond ASCII: its parts then are those of RFC 6533. */
bool notice_is_utf8(const struct notice *n);

/* A number that is the same whenever the same recipients of the same message fail in the same way: it makes the
 * Message-ID, so that whoever gets a notice twice (we died between commit and answer) can see that it is one. */
uint64_t notice_fingerprint(const struct ipc_bounce *b);

/* The parts, without their MIME header. */
int explain_write(const struct notice *n, struct buf *out);
int report_write(const struct notice *n, struct buf *out);

#endif
