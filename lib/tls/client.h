/* client: the TLS side that connects: trust anchors, verification and the sessions to resume. */
#ifndef POSTHOUSE_TLS_CLIENT_H
#define POSTHOUSE_TLS_CLIENT_H

#include <stddef.h>

#include "tls/server.h"

struct tls_client;

struct tls_client_options {
    const char *ca_file;          /* PEM; NULL = the system's trust anchors */
    enum tls_version min_version; /* default 1.2 */
    size_t session_limit;         /* sessions kept for resumption, over all hosts; 0 = 1000 */
};

/* Reads the trust anchors now: call before chroot.  options NULL = defaults.  NULL on failure with the reason in error.
 */
struct tls_client *tls_client_new(const struct tls_client_options *options, char error[TLS_ERROR_MAX]);
void tls_client_free(struct tls_client *client);

enum tls_verify {
    TLS_VERIFY_NONE,     /* go on whatever the certificate says; stream_tls_info tells whether it was good */
    TLS_VERIFY_REQUIRED, /* fail the handshake unless chain and name are good */
};

struct tls_client_params {
    const char *server_name; /* SNI; NULL = send none (address literals) */
    enum tls_verify verify;
    /* The certificate must be for any of these host names (a leading dot: any name below that domain); none:
     * server_name. */
    const char *const *names;
    size_t name_count;
    /* Sessions are resumed among connections with equal session_key ("mx.example.com:25") and equal verification. NULL
     * = no resumption. */
    const char *session_key;
};

#endif
