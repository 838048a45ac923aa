/* header: walks the header of a message (RFC 5322 section 2.2) as its bytes arrive, in any chunking.
 *
 * Every complete field is handed to a function; the walker knows nothing of what fields mean.  Lines end in CRLF (a
 * bare LF is taken too, for files that people edited). */
#ifndef POSTHOUSE_MAIL_HEADER_H
#define POSTHOUSE_MAIL_HEADER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct mail_field {
    const char *raw; /* the whole field: name, colon, value, folding and last line end */
    size_t raw_len;
    size_t name_len;   /* the name is raw[0..name_len) */
    const char *value; /* behind the colon, without the last line end; still folded */
    size_t value_len;
};

bool mail_field_is(const struct mail_field *f, const char *name);

/* 0, or a negative error that mail_header_feed passes up. */
typedef int mail_field_fn(void *arg, const struct mail_field *field);

struct mail_header_walker {
    struct buf field; /* the field being read; its limit is the field limit */
    size_t total, total_limit;
    bool at_line_start; /* the next byte begins a line */
    bool ended;
    mail_field_fn *fn;
    void *arg;
};

enum mail_header_result {
    MAIL_HEADER_ENDED = 1, /* the empty line came; the body begins at *used */
    MAIL_HEADER_MALFORMED, /* a line that is neither a field, nor its continuation, nor empty; it stands in field */
    MAIL_HEADER_TOO_LARGE, /* a field or the whole header is beyond its limit */
};

/* Limits in bytes: of one field, and of all. */
void mail_header_init(struct mail_header_walker *w, size_t field_limit, size_t total_limit, mail_field_fn *fn,
                      void *arg);
void mail_header_deinit(struct mail_header_walker *w);

/* 0 (all bytes are used, the header goes on), an enum mail_header_result, -ENOMEM or fn's error.  After anything but 0
 * the walker is done. */
int mail_header_feed(struct mail_header_walker *w, const char *data, size_t len, size_t *used);
/* The message ended inside its header: hands on the last field.  Results as above; 0 = well. */
int mail_header_finish(struct mail_header_walker *w);

/* Appends value on one line: line ends of foldings dropped (RFC 5322 section 2.2.3), blanks at both ends trimmed. */
int mail_header_unfold(const char *value, size_t len, struct buf *out);

#endif
