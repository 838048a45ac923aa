/* write: text of others made fit for a notice: cleaned, and folded to lines of a length that people and mail systems
 * read. */
#ifndef POSTHOUSE_BOUNCE_WRITE_H
#define POSTHOUSE_BOUNCE_WRITE_H

#include <stdbool.h>

#include "base/buf.h"

/* Appends s without control characters; bytes beyond ASCII stay when utf8 is set and all of s is valid UTF-8, else each
 * becomes '?'. */
int write_clean(struct buf *out, const char *s, bool utf8);

/* Appends "first" and then the words of s (cleaned), broken at blanks into lines of at most 76 bytes where that is
 * possible, further lines behind "rest"; ends with CRLF. */
int write_folded(struct buf *out, const char *first, const char *rest, const char *s, bool utf8);

/* A header field: write_folded with the folding of RFC 5322 section 2.2.3; nothing at all for an empty value. */
int write_field(struct buf *out, const char *name, const char *value, bool utf8);
/* A field whose blanks count (an address): cleaned, and on one line.  value: at most 900 bytes. */
int write_exact(struct buf *out, const char *name, const char *value, bool utf8);

#endif
