#include "tls/context.h"

#include <openssl/err.h>

#include "base/text.h"

static const int protocol_version[] = {
    [TLS_VERSION_DEFAULT] = TLS1_2_VERSION,
    [TLS_VERSION_1_2] = TLS1_2_VERSION,
    [TLS_VERSION_1_3] = TLS1_3_VERSION,
};

SSL_CTX *tls_context_new(const SSL_METHOD *method, enum tls_version min_version)
{
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (ctx == NULL)
        return NULL;
    if (SSL_CTX_set_min_proto_version(ctx, protocol_version[min_version]) != 1 ||
        SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") != 1) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    /* SMTP says itself where a command, a reply and a message end, so a peer that closes without close_notify (many do)
     * cannot truncate anything: it counts as closing. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    return ctx;
}

const char *tls_take_reason(void)
{
    unsigned long e = ERR_get_error();
    ERR_clear_error();
    if (e == 0)
        return "unknown error";
    if (ERR_SYSTEM_ERROR(e))
        return text_errno(ERR_GET_REASON(e));
    const char *reason = ERR_reason_error_string(e);
    return reason != NULL ? reason : "unknown error";
}
