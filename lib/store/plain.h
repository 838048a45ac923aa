/* plain: which texts may be names, passwords and notes: valid UTF-8 without control characters.  Private to lib/store.
 */
#ifndef POSTHOUSE_STORE_PLAIN_H
#define POSTHOUSE_STORE_PLAIN_H

#include <stdbool.h>
#include <stddef.h>

/* Well-formed UTF-8 (RFC 3629: no surrogates, nothing over-long) without C0, DEL and C1 controls; NUL is a control. */
bool plain_text(const char *s, size_t len);

#endif
