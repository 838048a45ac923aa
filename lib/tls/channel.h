/* channel: one non-blocking socket to read and write, in plain text or TLS, with one kind of answer for both.  Private
 * to lib/tls. */
#ifndef POSTHOUSE_TLS_CHANNEL_H
#define POSTHOUSE_TLS_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "tls/context.h"

struct channel {
    int fd;
    SSL *ssl;    /* NULL = plain text */
    bool broken; /* TLS failed for good: nothing more may be sent through ssl */
    char *text;  /* why, once a call returned -EPROTO */
};

/* What reading, writing and the handshake answer; negative: -errno of the socket, or -EPROTO (TLS, see text). */
enum channel_answer { CHANNEL_MOVED, CHANNEL_WANTS_READ, CHANNEL_WANTS_WRITE, CHANNEL_CLOSED };

int channel_read(struct channel *c, void *data, size_t size, size_t *n);
int channel_write(struct channel *c, const void *data, size_t len, size_t *n);
int channel_handshake(struct channel *c);
/* Bytes already decrypted: they can be read although the socket stays silent. */
size_t channel_decrypted(const struct channel *c);
/* Tells the peer that no more comes; never waits. */
void channel_goodbye(struct channel *c);
/* Frees the TLS side and closes the socket. */
void channel_deinit(struct channel *c);

#endif
