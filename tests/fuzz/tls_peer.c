#include "tls_peer.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tls/selfsigned.h"

static SSL_CTX *plain, *with_certificate;

static void make_clients(const char *chain, const char *key)
{
    plain = SSL_CTX_new(TLS_client_method());
    with_certificate = SSL_CTX_new(TLS_client_method());
    if (plain == NULL || with_certificate == NULL || SSL_CTX_use_certificate_chain_file(with_certificate, chain) != 1 ||
        SSL_CTX_use_PrivateKey_file(with_certificate, key, SSL_FILETYPE_PEM) != 1)
        abort();
}

struct tls_server *tls_peer_server(const char *folder)
{
    static const char *const names[] = {"mail.example.test"};
    char chain[128], key[128], error[TLS_ERROR_MAX];
    snprintf(chain, sizeof(chain), "%s/chain.pem", folder);
    snprintf(key, sizeof(key), "%s/key.pem", folder);
    const struct tls_certificate certificate = {chain, key};
    if (tls_selfsigned_write(chain, key, names, 1, 1000, error) < 0)
        abort();
    make_clients(chain, key);
    struct tls_server *server = tls_server_new(&certificate, 1, NULL, error);
    if (server == NULL || unlink(chain) < 0 || unlink(key) < 0)
        abort();
    return server;
}

SSL *tls_peer_open(int fd, bool certificate)
{
    SSL *ssl = SSL_new(certificate ? with_certificate : plain);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1)
        abort();
    SSL_set_connect_state(ssl);
    SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return ssl;
}

ssize_t tls_peer_read(SSL *ssl, void *data, size_t size)
{
    size_t n;
    ERR_clear_error();
    return SSL_read_ex(ssl, data, size, &n) == 1 ? (ssize_t)n : -1;
}

ssize_t tls_peer_write(SSL *ssl, const void *data, size_t len)
{
    size_t n;
    ERR_clear_error();
    return SSL_write_ex(ssl, data, len, &n) == 1 ? (ssize_t)n : -1;
}
