/* domain: domain names and address literals of mail (RFC 5321 section 4.1.2), and their form for DNS (RFC 5891). */
#ifndef POSTHOUSE_MAIL_DOMAIN_H
#define POSTHOUSE_MAIL_DOMAIN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/net.h"

#define MAIL_DNS_NAME_MAX 253 /* bytes of a name in its text form, without the last dot */

bool mail_utf8_is_valid(const char *s, size_t len);

/* Labels of letters, digits, hyphens inside, and UTF-8; 1 to 63 bytes each when ASCII; no dot at the end. */
bool mail_domain_is_valid(const char *domain, size_t len);
/* "[192.0.2.1]" or "[IPv6:2001:db8::1]". */
bool mail_domain_is_literal(const char *domain, size_t len);
/* The address a literal names, with port 0.  0 or -EINVAL. */
int mail_literal_parse(const char *literal, size_t len, struct net_address *out);

/* The name to ask DNS for, in lower case, labels beyond ASCII as A-labels.  0 or -EINVAL (no valid name). */
int mail_domain_to_ascii(const char *domain, char out[MAIL_DNS_NAME_MAX + 1]);

#endif
