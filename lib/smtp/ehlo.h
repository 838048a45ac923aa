/* ehlo: what a server offered in its EHLO reply (RFC 5321 section 4.1.1.1). */
#ifndef POSTHOUSE_SMTP_EHLO_H
#define POSTHOUSE_SMTP_EHLO_H

#include <stdbool.h>
#include <stdint.h>

#include "smtp/reply.h"

enum smtp_extension {
    SMTP_EXT_PIPELINING = 1 << 0,          /* RFC 2920 */
    SMTP_EXT_SIZE = 1 << 1,                /* RFC 1870 */
    SMTP_EXT_8BITMIME = 1 << 2,            /* RFC 6152 */
    SMTP_EXT_SMTPUTF8 = 1 << 3,            /* RFC 6531 */
    SMTP_EXT_STARTTLS = 1 << 4,            /* RFC 3207 */
    SMTP_EXT_AUTH = 1 << 5,                /* RFC 4954 */
    SMTP_EXT_DSN = 1 << 6,                 /* RFC 3461 */
    SMTP_EXT_CHUNKING = 1 << 7,            /* RFC 3030 */
    SMTP_EXT_BINARYMIME = 1 << 8,          /* RFC 3030 */
    SMTP_EXT_ENHANCEDSTATUSCODES = 1 << 9, /* RFC 2034 */
    SMTP_EXT_REQUIRETLS = 1 << 10,         /* RFC 8689 */
    SMTP_EXT_LIMITS = 1 << 11,             /* RFC 9422 */
    SMTP_EXT_FUTURERELEASE = 1 << 12,      /* RFC 4865 */
    SMTP_EXT_DELIVERBY = 1 << 13,          /* RFC 2852 */
    SMTP_EXT_MT_PRIORITY = 1 << 14,        /* RFC 6710 */
    SMTP_EXT_XCLIENT = 1 << 15,            /* Postfix's, for trusted proxies */
    SMTP_EXT_HELP = 1 << 16,               /* RFC 5321 section 4.1.1.8 */
};
#define SMTP_EXT_ALL ((1u << 17) - 1)

/* The extension of this EHLO keyword, 0 = none that we know. */
unsigned smtp_extension_named(const char *keyword);

struct smtp_ehlo {
    unsigned extensions; /* enum smtp_extension */
    uint64_t size_bytes; /* largest message the server takes; 0 = it did not say */
    uint64_t by_min_s;   /* the shortest time in which it promises to deliver (RFC 2852 section 3); 0 = any */
    char auth[256];      /* SASL mechanisms in capitals, parted by blanks; "" = none */
};

/* Reads a 250 reply to EHLO.  Lines that are not understood are passed over. */
void smtp_ehlo_parse(const struct smtp_reply *reply, struct smtp_ehlo *out);
bool smtp_ehlo_has_mechanism(const struct smtp_ehlo *e, const char *mechanism);

#endif
