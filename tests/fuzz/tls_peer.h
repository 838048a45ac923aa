/* tls_peer: TLS for a target that plays the client of one of our servers. */
#ifndef POSTHOUSE_FUZZ_TLS_PEER_H
#define POSTHOUSE_FUZZ_TLS_PEER_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "tls/server.h"

/* A server with a certificate of its own, made by way of files in folder that are gone afterwards. */
struct tls_server *tls_peer_server(const char *folder);

/* The client's side over fd, which does not block; nothing is verified.  The handshake begins with the first read.
 * certificate: it shows one when asked, the server's own. */
SSL *tls_peer_open(int fd, bool certificate);
/* As recv and send: bytes, or -1 when there is nothing to do now or any more. */
ssize_t tls_peer_read(SSL *ssl, void *data, size_t size);
ssize_t tls_peer_write(SSL *ssl, const void *data, size_t len);

#endif
