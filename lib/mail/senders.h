/* senders: the addresses that somebody may send as, as an admin writes them.
 *
 *     app@example.com     this address
 *     example.com         every address of this domain
 *     .example.com        every address of its subdomains
 *     *                   every address
 *
 * Words with blanks between; the case of letters does not matter, local parts included, and a domain may be written in
 * UTF-8 or as A-labels. */
#ifndef POSTHOUSE_MAIL_SENDERS_H
#define POSTHOUSE_MAIL_SENDERS_H

#include <stdbool.h>

#include "mail/address.h"

/* The first word that is none of the above is copied to wrong.  0 or -EINVAL. */
int mail_senders_check(const char *senders, char *wrong, size_t wrong_size);

/* "" allows every address. */
bool mail_senders_allow(const char *senders, const struct mail_address *a);

#endif
