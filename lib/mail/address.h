/* address: mailboxes as they stand in SMTP commands (RFC 5321 section 4.1.2, RFC 6531 section 3.3).
 *
 * A parsed address is kept in one canonical text: local part quoted only where it must be, domain in lower case.  A
 * source route ("<@a,@b:c@d>") is accepted and dropped, as RFC 5321 section 4.1.1.3 advises. */
#ifndef POSTHOUSE_MAIL_ADDRESS_H
#define POSTHOUSE_MAIL_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* RFC 5321 section 4.5.3.1; a path of 256 bytes holds 254 between its brackets.  A local part may fill them: the 64
 * bytes of section 4.5.3.1.1 are what a server has to take at least, and senders who write addresses of others into
 * theirs (VERP, SRS) need more. */
enum { MAIL_DOMAIN_MAX = 255, MAIL_ADDRESS_MAX = 254 };

struct mail_address {
    char text[MAIL_ADDRESS_MAX + 1]; /* "local@domain"; "" = the null reverse-path; "postmaster" has no domain */
    size_t local_len;                /* bytes of text before the '@' */
    bool needs_utf8;                 /* local part or domain holds bytes beyond ASCII */
};

enum mail_address_result {
    MAIL_ADDRESS_SYNTAX = 1,
    MAIL_ADDRESS_NO_BRACKETS,
    MAIL_ADDRESS_NO_DOMAIN,
    MAIL_ADDRESS_BAD_DOMAIN,
    MAIL_ADDRESS_TOO_LONG,
    MAIL_ADDRESS_NEEDS_UTF8, /* beyond ASCII where that was not allowed */
};

enum {
    MAIL_ADDRESS_ALLOW_UTF8 = 1,
    MAIL_ADDRESS_ALLOW_NULL = 2,       /* "<>" */
    MAIL_ADDRESS_ALLOW_POSTMASTER = 4, /* "<postmaster>" without a domain, RFC 5321 section 4.1.1.3 */
};

/* "<path>" at the start of text; *used = its length with brackets.  0 or an enum mail_address_result. */
int mail_path_parse(const char *text, size_t len, unsigned allow, struct mail_address *out, size_t *used);
/* The whole text is one mailbox without brackets: what an admin types. */
int mail_address_parse(const char *text, size_t len, unsigned allow, struct mail_address *out);
/* What is wrong, for a reply or an error: "domain is not valid". */
const char *mail_address_problem(int result);

/* The text behind the '@'; "" when there is none. */
const char *mail_address_domain(const struct mail_address *a);

/* Appends a local part, quoted if it is not a dot-string. */
int mail_local_part_quote(const char *local, size_t len, struct buf *out);

#endif
