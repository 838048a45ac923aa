/* data: the content between DATA and its final dot (RFC 5321 sections 4.1.1.4 and 4.5.2), both directions, in any
 * chunking.
 *
 * Only <CRLF>.<CRLF> ends the content.  A bare CR or LF never begins a line and never ends the content; the decoder
 * notes it and the server refuses the message when its real end has come, so that no two servers see two different
 * messages. */
#ifndef POSTHOUSE_SMTP_DATA_H
#define POSTHOUSE_SMTP_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct smtp_data_decoder {
    int state;
    size_t line_len;     /* of the line being read, without its line end */
    size_t longest_line; /* bytes, without the line end */
    uint64_t bytes;      /* of decoded content */
    bool has_8bit;
    bool has_leading_dots; /* a content line begins with '.': sending it needs dot-stuffing */
    bool has_bare_cr, has_bare_lf, has_nul;
};

enum smtp_data_result {
    SMTP_DATA_MORE = 1, /* all bytes were used, the end has not come */
};

/* Receives a span of decoded content; 0, or an error that smtp_data_decode passes up. */
typedef int smtp_data_sink(void *arg, const char *data, size_t len);

void smtp_data_decoder_init(struct smtp_data_decoder *d);
/* Decodes data; *used says how many bytes of it belong to the content (all, unless the end came).  0 (the content has
 * ended), SMTP_DATA_MORE, or what sink returned other than 0. */
int smtp_data_decode(struct smtp_data_decoder *d, const char *data, size_t len, smtp_data_sink *sink, void *arg,
                     size_t *used);

struct smtp_data_encoder {
    bool inside_line; /* bytes since the last CRLF */
    bool after_cr;
};

/* Content of BDAT chunks (RFC 3030), which has no dots to undo and no end of its own: looks at it as the decoder would.
 */
void smtp_data_look(struct smtp_data_decoder *d, const char *data, size_t len);
/* Behind the last chunk: a CR may stand alone there.  Whether the last line is ended by CRLF, or there is none. */
bool smtp_data_look_end(struct smtp_data_decoder *d);

void smtp_data_encoder_init(struct smtp_data_encoder *e);
/* Appends content with leading dots doubled.  0, -ENOBUFS (out has no room for 2 * len; nothing was appended) or
 * -ENOMEM. */
int smtp_data_encode(struct smtp_data_encoder *e, const char *data, size_t len, struct buf *out);
/* Appends the end of data, ending the last line first if its CRLF is missing. */
int smtp_data_encode_end(struct smtp_data_encoder *e, struct buf *out);

#endif
