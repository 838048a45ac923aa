#include "tls/channel.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"

static int fail(struct channel *c, const char *during)
{
    c->broken = true;
    free(c->text);
    int code = ERR_GET_REASON(ERR_peek_error());
    bool alien = code == SSL_R_WRONG_VERSION_NUMBER || code == SSL_R_HTTP_REQUEST || code == SSL_R_HTTPS_PROXY_REQUEST;
    const char *reason = tls_take_reason();
    long verify = SSL_get_verify_result(c->ssl);
    if (!SSL_is_init_finished(c->ssl) && verify != X509_V_OK && SSL_get_verify_mode(c->ssl) != SSL_VERIFY_NONE)
        c->text = text_format("%s: %s: %s", during, reason, X509_verify_cert_error_string(verify));
    else if (!SSL_is_init_finished(c->ssl) && alien)
        c->text = text_format("%s: the peer does not speak TLS (%s)", during, reason);
    else
        c->text = text_format("%s: %s", during, reason);
    return -EPROTO;
}

/* What an SSL call that returned r <= 0 means.  err is errno right after the call. */
static int judge(struct channel *c, int r, int err, const char *during)
{
    switch (SSL_get_error(c->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        return CHANNEL_WANTS_READ;
    case SSL_ERROR_WANT_WRITE:
        return CHANNEL_WANTS_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return CHANNEL_CLOSED;
    case SSL_ERROR_SYSCALL:
        c->broken = true;
        return err != 0 ? -err : CHANNEL_CLOSED;
    default:
        return fail(c, during);
    }
}

static int read_plain(struct channel *c, void *data, size_t size, size_t *n)
{
    ssize_t got = recv(c->fd, data, size, 0);
    if (got > 0)
        *n = (size_t)got;
    else if (got == 0)
        return CHANNEL_CLOSED;
    else if (errno == EAGAIN || errno == EINTR)
        return CHANNEL_WANTS_READ;
    else
        return -errno;
    return CHANNEL_MOVED;
}

int channel_read(struct channel *c, void *data, size_t size, size_t *n)
{
    *n = 0;
    if (c->ssl == NULL)
        return read_plain(c, data, size, n);
    ERR_clear_error();
    errno = 0;
    int r = SSL_read_ex(c->ssl, data, size, n);
    return r > 0 ? CHANNEL_MOVED : judge(c, r, errno, "TLS");
}

static int write_plain(struct channel *c, const void *data, size_t len, size_t *n)
{
    ssize_t put = send(c->fd, data, len, MSG_NOSIGNAL);
    if (put >= 0)
        *n = (size_t)put;
    else if (errno == EAGAIN || errno == EINTR)
        return CHANNEL_WANTS_WRITE;
    else
        return -errno;
    return CHANNEL_MOVED;
}

int channel_write(struct channel *c, const void *data, size_t len, size_t *n)
{
    *n = 0;
    if (c->ssl == NULL)
        return write_plain(c, data, len, n);
    ERR_clear_error();
    errno = 0;
    int r = SSL_write_ex(c->ssl, data, len, n);
    return r > 0 ? CHANNEL_MOVED : judge(c, r, errno, "TLS");
}

int channel_handshake(struct channel *c)
{
    ERR_clear_error();
    errno = 0;
    int r = SSL_do_handshake(c->ssl);
    return r == 1 ? CHANNEL_MOVED : judge(c, r, errno, "TLS handshake");
}

size_t channel_decrypted(const struct channel *c)
{
    return c->ssl != NULL ? (size_t)SSL_pending(c->ssl) : 0;
}

void channel_goodbye(struct channel *c)
{
    if (c->ssl != NULL && !c->broken && SSL_is_init_finished(c->ssl)) {
        ERR_clear_error();
        SSL_shutdown(c->ssl);
    }
    shutdown(c->fd, SHUT_WR);
}

void channel_deinit(struct channel *c)
{
    /* SSL_free of a connection that was not shut down takes its session for suspicious and forbids resuming it. */
    if (c->ssl != NULL && !c->broken && SSL_is_init_finished(c->ssl))
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(c->ssl);
    if (c->fd >= 0)
        close(c->fd);
    free(c->text);
    *c = (struct channel){.fd = -1};
}
