/* line: takes command lines out of what a client sent.  Only CRLF ends a line (RFC 5321 section 2.3.8). */
#ifndef POSTHOUSE_SMTP_LINE_H
#define POSTHOUSE_SMTP_LINE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum {
    /* RFC 5321 section 4.5.3.1.4 says 512; the extensions add SIZE 26, BODY 17, SMTPUTF8 10, AUTH 500, RET and ENVID
     * 117, NOTIFY and ORCPT 529. */
    SMTP_COMMAND_LINE_MAX = 2048,
    SMTP_AUTH_LINE_MAX = 12288, /* RFC 4954 section 4 */
};

enum smtp_line_result {
    SMTP_LINE_MORE = 1, /* no whole line yet */
    SMTP_LINE_BARE_CR,  /* these three: the line up to and with the offending byte is gone */
    SMTP_LINE_BARE_LF,
    SMTP_LINE_NUL,
    SMTP_LINE_TOO_LONG, /* the whole line is gone */
};

struct smtp_line_reader {
    struct buf line; /* the last line taken */
    bool skipping;   /* inside a line that is too long */
};

void smtp_line_reader_init(struct smtp_line_reader *reader);
void smtp_line_reader_deinit(struct smtp_line_reader *reader);

/* Between lines: gives the memory of the last one back. */
void smtp_line_reader_rest(struct smtp_line_reader *reader);

/* The next line of at most max bytes with its CRLF; lf_ends: an LF alone ends it too, else it is an offence.  0: *line
 * is its text, NUL-terminated, the caller's to write in until the next call; nothing of it stays in the memory of in
 * (it may be a password).  Else an enum smtp_line_result or -ENOMEM. */
int smtp_line_take(struct smtp_line_reader *reader, struct buf *in, size_t max, bool lf_ends, char **line, size_t *len);

#endif
