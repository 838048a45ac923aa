/* trace: the Received field put on top of each message (RFC 5321 section 4.4). */
#ifndef POSTHOUSE_SMTPD_TRACE_H
#define POSTHOUSE_SMTPD_TRACE_H

#include "base/buf.h"
#include "base/net.h"

#define TRACE_MAX 4096

struct trace_facts {
    const char *helo;
    const struct net_address *peer;
    const char *tls; /* "TLSv1.3/TLS_AES_256_GCM_SHA384", "" = plain text */
    const char *hostname;
    const char *protocol;
    const char *queue_id;
    const char *only_recipient; /* NULL: several, who must not learn of each other */
    int64_t time_s;
};

/* Appends the field with its CRLF.  0, -ENOBUFS or -ENOMEM. */
int trace_format(const struct trace_facts *facts, struct buf *out);

#endif
