/* server: the TLS side that accepts: certificates and keys, which one answers which name, and the session tickets.
 *
 * Files are read by tls_server_new and never again, so call it before privileges are dropped.  To reload, make a new
 * one and free the old: streams that use it keep it alive. */
#ifndef POSTHOUSE_TLS_SERVER_H
#define POSTHOUSE_TLS_SERVER_H

#include <stddef.h>

struct tickets;

#define TLS_ERROR_MAX 512 /* bytes an error text needs, NUL included */

struct tls_certificate {
    const char *chain_file; /* PEM: the server's certificate, then the intermediates */
    const char *key_file;   /* PEM, not encrypted; may be the same file */
};

enum tls_version { TLS_VERSION_DEFAULT, TLS_VERSION_1_2, TLS_VERSION_1_3 };

struct tls_server_options {
    enum tls_version min_version;  /* default 1.2 */
    const char *ciphers;           /* TLS 1.2 cipher list in OpenSSL's words; NULL = Mozilla's "intermediate" list */
    const struct tickets *tickets; /* shared with other processes (tickets.h); must live as long.  NULL = own keys */
    const char *client_ca_file;    /* PEM: who signs certificates of clients; NULL = nobody: they are only compared */
};

struct tls_server;

/* The first certificate answers clients that send no name or one that no certificate holds.  One for the same names
 * with a key of another kind (RSA beside ECDSA) joins the first: each client gets the one it can read.  options NULL =
 * defaults.  NULL on failure with the file and the reason in error. */
struct tls_server *tls_server_new(const struct tls_certificate *certificates, size_t count,
                                  const struct tls_server_options *options, char error[TLS_ERROR_MAX]);
void tls_server_free(struct tls_server *server);

#endif
