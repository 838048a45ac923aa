#include "tls/server.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tls/context.h"
#include "tls/tickets.h"

/* Mozilla's "intermediate" list without its two DHE suites: whoever speaks TLS 1.2 speaks ECDHE, and finite-field key
 * exchange is an invitation to make us compute. */
static const char intermediate_ciphers[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

#define SESSION_LIFETIME_S 7200

struct tls_server {
    unsigned refs;
    size_t count;
    SSL_CTX **contexts; /* one per set of names, the default first */
    bool *joined;       /* it has a second certificate, with a key of another kind */
    EVP_CIPHER *ticket_cipher;
    const struct tickets *tickets;
    struct tickets *own_tickets; /* NULL = they are shared */
    uint64_t rotated_at;         /* our own; monotonic ms */
};

static int refuse_passphrase(char *text, int size, int writing, void *arg)
{
    return -1;
}

/* A key found later opens few recorded sessions. */
static void rotate_own_tickets(struct tls_server *server)
{
    if (server->own_tickets != NULL && clock_mono_ms() - server->rotated_at >= TICKETS_LIFETIME_MS &&
        tickets_rotate(server->own_tickets) == 0)
        server->rotated_at = clock_mono_ms();
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

static int protect_ticket(struct tls_server *server, struct tls_ticket_key *key, unsigned char name[16],
                          unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(server->ticket_cipher)) != 1 ||
        EVP_EncryptInit_ex(cipher, server->ticket_cipher, NULL, key->aes, iv) != 1 || set_mac_key(mac, key) != 1)
        return -1;
    memcpy(name, key->name, sizeof(key->name));
    return 1;
}

/* -1 error, 0 no such key (full handshake), 1 good, 2 good but give a fresh ticket. */
static int open_ticket(struct tls_server *server, struct tls_ticket_key *keys, size_t count, const SSL *ssl,
                       const unsigned char *name, const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    for (size_t i = 0; i < count; i++) {
        if (CRYPTO_memcmp(name, keys[i].name, sizeof(keys[i].name)) != 0)
            continue;
        if (EVP_DecryptInit_ex(cipher, server->ticket_cipher, NULL, keys[i].aes, iv) != 1 ||
            set_mac_key(mac, &keys[i]) != 1)
            return -1;
        return i == 0 && SSL_version(ssl) != TLS1_3_VERSION ? 1 : 2;
    }
    return 0;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb */
static int ticket_callback(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                           int encrypt)
{
    struct tls_server *server = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct tls_ticket_key keys[TICKET_KEYS_MAX];
    rotate_own_tickets(server);
    size_t count = tickets_read(server->tickets, keys);
    int r;
    if (!encrypt)
        r = open_ticket(server, keys, count, ssl, name, iv, cipher, mac);
    else
        r = count > 0 ? protect_ticket(server, &keys[0], name, iv, cipher, mac) : -1;
    OPENSSL_cleanse(keys, sizeof(keys));
    return r;
}

/* SSL_CTX_set_session_ticket_cb.  A client's certificate is looked at in each session: since the one before it may have
 * expired, or its authority be trusted no more, and a ticket keeps no chain to look again. */
static SSL_TICKET_RETURN judge_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t len,
                                      SSL_TICKET_STATUS status, void *arg)
{
    bool opened = status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW;
    if (!opened || SSL_SESSION_get0_peer(session) != NULL)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
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

static bool use_certificate(SSL_CTX *ctx, const struct tls_certificate *certificate, char error[TLS_ERROR_MAX])
{
    bool chain = SSL_CTX_use_certificate_chain_file(ctx, certificate->chain_file) == 1;
    if (chain && SSL_CTX_use_PrivateKey_file(ctx, certificate->key_file, SSL_FILETYPE_PEM) == 1)
        return true;
    snprintf(error, TLS_ERROR_MAX, "%s %s: %s", chain ? "private key" : "certificate",
             chain ? certificate->key_file : certificate->chain_file, tls_take_reason());
    return false;
}

/* Certificates of clients are looked at when they log in with them, not here: whoever has a strange one may still log
 * in otherwise.  What the chain is worth stays in the verify result. */
static bool know_clients(SSL_CTX *ctx, const char *ca_file)
{
    if (ca_file == NULL)
        return true;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(ca_file);
    if (names == NULL || SSL_CTX_load_verify_file(ctx, ca_file) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return false;
    }
    SSL_CTX_set_client_CA_list(ctx, names);
    return true;
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
    /* All of them are good, so the client could choose; but who audits servers wants an order.  A client that puts
     * ChaCha20 first has no AES in hardware, and gets it. */
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    /* Without a callback OpenSSL asks the terminal. */
    SSL_CTX_set_default_passwd_cb(ctx, refuse_passphrase);
    if (!use_certificate(ctx, certificate, error)) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    if (!know_clients(ctx, options->client_ca_file))
        return context_error(ctx, error, "client authorities", options->client_ca_file);
    /* Sessions live in the tickets only: several workers serve one address, and memory here is bounded that way. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"posthouse", 9);
    SSL_CTX_set_timeout(ctx, SESSION_LIFETIME_S);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_app_data(ctx, server);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_callback);
    SSL_CTX_set_session_ticket_cb(ctx, NULL, judge_ticket, NULL);
    SSL_CTX_set_tlsext_servername_callback(ctx, sni_callback);
    SSL_CTX_set_tlsext_servername_arg(ctx, server);
    return ctx;
}

static bool take_tickets(struct tls_server *server, const struct tls_server_options *options)
{
    server->tickets = options->tickets;
    if (server->tickets != NULL)
        return true;
    if (tickets_new(&server->own_tickets) < 0)
        return false;
    server->tickets = server->own_tickets;
    server->rotated_at = clock_mono_ms();
    return true;
}

static X509 *read_certificate(const char *file)
{
    BIO *in = BIO_new_file(file, "r");
    X509 *certificate = in != NULL ? PEM_read_bio_X509(in, NULL, refuse_passphrase, NULL) : NULL;
    BIO_free(in);
    ERR_clear_error();
    return certificate;
}

/* Every DNS name of a is one of b's, and there is one. */
static bool names_are_of(const X509 *a, X509 *b)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(a, NID_subject_alt_name, NULL, NULL);
    int dns = 0, found = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_DNS)
            continue;
        dns++;
        found += X509_check_host(b, (const char *)ASN1_STRING_get0_data(name->d.dNSName),
                                 (size_t)ASN1_STRING_length(name->d.dNSName), 0, NULL) == 1;
    }
    GENERAL_NAMES_free(names);
    return dns > 0 && found == dns;
}

/* A context for the same names that has no certificate with such a key yet, or NULL. */
static SSL_CTX *context_to_join(const struct tls_server *server, const char *chain_file)
{
    SSL_CTX *found = NULL;
    X509 *fresh = read_certificate(chain_file);
    for (size_t i = 0; fresh != NULL && found == NULL && i < server->count; i++) {
        X509 *first = SSL_CTX_get0_certificate(server->contexts[i]);
        bool joined = server->joined[i];
        if (!joined && EVP_PKEY_get_base_id(X509_get0_pubkey(first)) != EVP_PKEY_get_base_id(X509_get0_pubkey(fresh)) &&
            names_are_of(fresh, first)) {
            found = server->contexts[i];
            server->joined[i] = true;
        }
    }
    X509_free(fresh);
    return found;
}

static bool add_certificate(struct tls_server *server, const struct tls_certificate *certificate,
                            const struct tls_server_options *options, char error[TLS_ERROR_MAX])
{
    SSL_CTX *ctx = context_to_join(server, certificate->chain_file);
    if (ctx != NULL)
        return use_certificate(ctx, certificate, error);
    server->contexts[server->count] = server_context(server, certificate, options, error);
    if (server->contexts[server->count] == NULL)
        return false;
    server->count++;
    return true;
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
        server->joined = calloc(count > 0 ? count : 1, sizeof(*server->joined));
        server->ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    }
    if (server == NULL || server->contexts == NULL || server->joined == NULL || server->ticket_cipher == NULL ||
        count == 0 || !take_tickets(server, options)) {
        snprintf(error, TLS_ERROR_MAX, "%s", count == 0 ? "no certificate given" : "out of memory");
        tls_server_free(server);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (!add_certificate(server, &certificates[i], options, error)) {
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
    free(server->joined);
    EVP_CIPHER_free(server->ticket_cipher);
    tickets_free(server->own_tickets);
    free(server);
}

static int take_any_certificate(int good, X509_STORE_CTX *store)
{
    return 1;
}

SSL *tls_server_open(struct tls_server *server, bool ask_certificate)
{
    ERR_clear_error();
    SSL *ssl = SSL_new(server->contexts[0]);
    if (ssl == NULL)
        return NULL;
    SSL_set_accept_state(ssl);
    if (ask_certificate)
        SSL_set_verify(ssl, SSL_VERIFY_PEER, take_any_certificate);
    return ssl;
}
