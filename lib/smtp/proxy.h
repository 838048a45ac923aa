/* proxy: the header that a load balancer sends before the client's first byte (PROXY protocol, versions 1 and 2, as
 * haproxy specifies it): who the client is.  Bytes in, struct out. */
#ifndef POSTHOUSE_SMTP_PROXY_H
#define POSTHOUSE_SMTP_PROXY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/net.h"

#define SMTP_PROXY_MAX 4096 /* bytes of a header that is taken, with all that version 2 may add */

enum smtp_proxy_result {
    SMTP_PROXY_MORE = 1, /* it is not complete */
    SMTP_PROXY_WRONG,    /* this is no such header */
};

struct smtp_proxy {
    bool local;                /* the balancer itself, looking whether we live: the peer is who it is */
    struct net_address client; /* unless local; len 0: it did not say */
};

/* 0: *used bytes were the header; or a result. */
int smtp_proxy_parse(const char *data, size_t len, struct smtp_proxy *out, size_t *used);

#endif
