/* message: the content of a queue file as the signer reads it: the header at once, the body in pieces. */
#ifndef POSTHOUSE_DKIM_SIGNER_MESSAGE_H
#define POSTHOUSE_DKIM_SIGNER_MESSAGE_H

#include <stdint.h>

#include "base/buf.h"
#include "mail/domain.h"
#include "mail/header.h"

#define MESSAGE_HEADER_MAX (17 * 1024 * 1024) /* beyond what smtpd can be configured to accept */
#define MESSAGE_PIECE      65536

struct message {
    int fd; /* the caller's */
    uint64_t offset, length;
    struct buf header;                       /* all fields, without the empty line */
    uint64_t body_at;                        /* in the file */
    char from_domain[MAIL_DNS_NAME_MAX + 1]; /* lower case, A-labels; "" = none can be told */
    unsigned from_fields;
};

enum message_result {
    MESSAGE_MALFORMED = 1, /* its header is no header, or too large */
    MESSAGE_TRUNCATED,     /* the file ends before offset + length */
};

/* Reads the header.  0, enum message_result, or -errno. */
int message_init(struct message *m, int fd, uint64_t offset, uint64_t length);
void message_deinit(struct message *m);

/* Calls fn for each field.  0 or fn's error. */
int message_fields(const struct message *m, mail_field_fn *fn, void *arg);
/* Calls fn for each piece of the body.  0, MESSAGE_TRUNCATED, -errno or fn's error. */
int message_body(const struct message *m, int (*fn)(void *arg, const char *data, size_t len), void *arg);

#endif
