#include "tls/server.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tls/context.h"

/* Mozilla's "intermediate" list without its two DHE suites: whoever speaks TLS 1.2 speaks ECDHE, and finite-field key
 * exchange is an invitation to make us compute. */
static const char intermediate_ciphers[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

#define SESSION_LIFETIME_S     7200
#define TICKET_KEY_LIFETIME_MS (12ULL * 3600 * 1000)
#define TICKET_KEYS_MAX        4

struct tls_server {
    unsigned refs;
    size_t count;
    SSL_CTX **contexts; /* one per certificate, the default first */
    EVP_CIPHER *ticket_cipher;
    struct tls_ticket_key ticket_keys[TICKET_KEYS_MAX]; /* newest first */
    size_t ticket_key_count;
    bool rotates;        /* the keys are our own */
    uint64_t rotated_at; /* monotonic ms */
};

static int refuse_passphrase(char *text, int size, int writing, void *arg)
{
    return -1;
}

/* Own keys are replaced twice a day, so that a key found later opens few recorded sessions. */
static void rotate_ticket_keys(struct tls_server *server)
{
    if (!server->rotates ||
        (server->ticket_key_count > 0 && clock_mono_ms() - server->rotated_at < TICKET_KEY_LIFETIME_MS))
        return;
    struct tls_ticket_key fresh;
    if (RAND_bytes((unsigned char *)&fresh, sizeof(fresh)) != 1)
        return;
    server->ticket_keys[1] = server->ticket_keys[0];
    server->ticket_keys[0] = fresh;
    server->ticket_key_count = server->ticket_key_count == 0 ? 1 : 2;
    server->rotated_at = clock_mono_ms();
    OPENSSL_cleanse(&fresh, sizeof(fresh));
}

static int set_mac_key(EVP_MAC_CTX *mac, struct tls_ticket_key *key)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->hmac, sizeof(key->hmac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, params);
}

static int protect_ticket(struct tls_server *server, unsigned char name[16], unsigned char *iv, EVP_CIPHER_CTX *cipher,
                          EVP_MAC_CTX *mac)
{
    rotate_ticket_keys(server);
    struct tls_ticket_key *key = &server->ticket_keys[0];
    if (server->ticket_key_count == 0 || RAND_bytes(iv, EVP_CIPHER_get_iv_length(server->ticket_cipher)) != 1 ||
        EVP_EncryptInit_ex(cipher, server->ticket_cipher, NULL, key->aes, iv) != 1 || set_mac_key(mac, key) != 1)
        return -1;
    memcpy(name, key->name, sizeof(key->name));
    return 1;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb: -1 error, 0 no such key (full handshake), 1 good, 2 good but give a fresh
 * ticket. */
static int ticket_callback(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                           int encrypt)
{
    struct tls_server *server = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    if (encrypt)
        return protect_ticket(server, name, iv, cipher, mac);
    for (size_t i = 0; i < server->ticket_key_count; i++) {
        struct tls_ticket_key *key = &server->ticket_keys[i];
        if (CRYPTO_memcmp(name, key->name, sizeof(key->name)) != 0)
            continue;
        if (EVP_DecryptInit_ex(cipher, server->ticket_cipher, NULL, key->aes, iv) != 1 || set_mac_key(mac, key) != 1)
            return -1;
        return i == 0 && SSL_version(ssl) != TLS1_3_VERSION ? 1 : 2;
    }
    return 0;
}

static int sni_callback(SSL *ssl, int *alert, void *arg)
{
    struct tls_server *server = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    for (size_t i = 0; name != NULL && i < server->count; i++) {
        X509 *certificate = SSL_CTX_get0_certificate(server->contexts[i]);
        if (X509_check_host(certificate, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1) {
            SSL_set_SSL_CTX(ssl, server->contexts[i]);
            break;
        }
    }
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *context_error(SSL_CTX *ctx, char error[TLS_ERROR_MAX], const char *what, const char *file)
{
    snprintf(error, TLS_ERROR_MAX, "%s %s: %s", what, file, tls_take_reason());
    SSL_CTX_free(ctx);
    return NULL;
}

static SSL_CTX *server_context(struct tls_server *server, const struct tls_certificate *certificate,
                               const struct tls_server_options *options, char error[TLS_ERROR_MAX])
{
    SSL_CTX *ctx = tls_context_new(TLS_server_method(), options->min_version);
    if (ctx == NULL)
        return context_error(NULL, error, "TLS", "context");
    const char *ciphers = options->ciphers != NULL ? options->ciphers : intermediate_ciphers;
    if (SSL_CTX_set_cipher_list(ctx, ciphers) != 1)
        return context_error(ctx, error, "cipher list", ciphers);
    /* Without a callback OpenSSL asks the terminal. */
    SSL_CTX_set_default_passwd_cb(ctx, refuse_passphrase);
    if (SSL_CTX_use_certificate_chain_file(ctx, certificate->chain_file) != 1)
        return context_error(ctx, error, "certificate", certificate->chain_file);
    if (SSL_CTX_use_PrivateKey_file(ctx, certificate->key_file, SSL_FILETYPE_PEM) != 1)
        return context_error(ctx, error, "private key", certificate->key_file);
    /* Sessions live in the tickets only: several workers serve one address, and memory here is bounded that way. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"posthouse", 9);
    SSL_CTX_set_timeout(ctx, SESSION_LIFETIME_S);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_app_data(ctx, server);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_callback);
    SSL_CTX_set_tlsext_servername_callback(ctx, sni_callback);
    SSL_CTX_set_tlsext_servername_arg(ctx, server);
    return ctx;
}

static void take_ticket_keys(struct tls_server *server, const struct tls_server_options *options)
{
    server->rotates = options->ticket_keys == NULL;
    size_t n = options->ticket_key_count < TICKET_KEYS_MAX ? options->ticket_key_count : TICKET_KEYS_MAX;
    for (size_t i = 0; !server->rotates && i < n; i++)
        server->ticket_keys[server->ticket_key_count++] = options->ticket_keys[i];
    rotate_ticket_keys(server);
}

struct tls_server *tls_server_new(const struct tls_certificate *certificates, size_t count,
                                  const struct tls_server_options *options, char error[TLS_ERROR_MAX])
{
    static const struct tls_server_options defaults;
    if (options == NULL)
        options = &defaults;
    struct tls_server *server = calloc(1, sizeof(*server));
    if (server != NULL) {
        server->refs = 1;
        server->contexts = calloc(count > 0 ? count : 1, sizeof(*server->contexts));
        server->ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    }
    if (server == NULL || server->contexts == NULL || server->ticket_cipher == NULL || count == 0) {
        snprintf(error, TLS_ERROR_MAX, "%s", count == 0 ? "no certificate given" : "out of memory");
        tls_server_free(server);
        return NULL;
    }
    take_ticket_keys(server, options);
    for (; server->count < count; server->count++) {
        server->contexts[server->count] = server_context(server, &certificates[server->count], options, error);
        if (server->contexts[server->count] == NULL) {
            tls_server_free(server);
            return NULL;
        }
    }
    return server;
}

struct tls_server *tls_server_ref(struct tls_server *server)
{
    server->refs++;
    return server;
}

void tls_server_free(struct tls_server *server)
{
    if (server == NULL || --server->refs > 0)
        return;
    for (size_t i = 0; i < server->count; i++)
        SSL_CTX_free(server->contexts[i]);
    free(server->contexts);
    EVP_CIPHER_free(server->ticket_cipher);
    OPENSSL_cleanse(server->ticket_keys, sizeof(server->ticket_keys));
    free(server);
}

SSL *tls_server_open(struct tls_server *server)
{
    ERR_clear_error();
    SSL *ssl = SSL_new(server->contexts[0]);
    if (ssl != NULL)
        SSL_set_accept_state(ssl);
    return ssl;
}
