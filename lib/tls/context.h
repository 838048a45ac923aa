/* context: what the files of this folder share about OpenSSL's contexts.  Private to lib/tls. */
#ifndef POSTHOUSE_TLS_CONTEXT_H
#define POSTHOUSE_TLS_CONTEXT_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "tls/client.h"
#include "tls/server.h"

struct stream;

/* What both sides ask of every context. */
SSL_CTX *tls_context_new(const SSL_METHOD *method, enum tls_version min_version);

/* The first reason in OpenSSL's error queue, and empties the queue; never NULL. */
const char *tls_take_reason(void);

/* Servers and clients are counted: each stream keeps one reference. */
struct tls_server *tls_server_ref(struct tls_server *server);
SSL *tls_server_open(struct tls_server *server, bool ask_certificate);
struct tls_client *tls_client_ref(struct tls_client *client);
/* 0, -EINVAL (verification asked for and no name to verify) or -ENOMEM. */
int tls_client_open(struct tls_client *client, const struct tls_client_params *params, SSL **out);

/* NULL unless the handshake is through. */
SSL *stream_ssl(const struct stream *s);

#endif
