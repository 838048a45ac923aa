#include "tls/client.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/net.h"
#include "base/text.h"
#include "tls/context.h"

#define SESSION_LIMIT_DEFAULT 1000
#define SESSIONS_PER_HOST     4
#define SESSION_KEY_MAX       4096

/* Where the distributions keep all trust anchors in one file.  A file is read now; the default folder of OpenSSL is
 * only looked into while a chain is verified, which is too late after chroot. */
static const char *const system_ca_files[] = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
};

/* The sessions of one host under one way of verifying it. */
struct host_sessions {
    char *key;
    unsigned count;
    SSL_SESSION *sessions[SESSIONS_PER_HOST]; /* oldest first */
    UT_hash_handle hh;
    TAILQ_ENTRY(host_sessions) age;
};

struct tls_client {
    unsigned refs;
    SSL_CTX *ctx;
    size_t session_limit, session_count;
    struct host_sessions *hosts;
    TAILQ_HEAD(, host_sessions) by_age; /* oldest first */
};

static int key_index = -1; /* where an SSL keeps its session key */

static void key_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    free(ptr);
}

static void host_free(struct tls_client *client, struct host_sessions *host)
{
    for (unsigned i = 0; i < host->count; i++)
        SSL_SESSION_free(host->sessions[i]);
    client->session_count -= host->count;
    HASH_DEL(client->hosts, host);
    TAILQ_REMOVE(&client->by_age, host, age);
    free(host->key);
    free(host);
}

static struct host_sessions *host_find(struct tls_client *client, const char *key)
{
    struct host_sessions *host;
    HASH_FIND_STR(client->hosts, key, host);
    return host;
}

static struct host_sessions *host_add(struct tls_client *client, const char *key)
{
    struct host_sessions *host = calloc(1, sizeof(*host));
    char *copy = strdup(key);
    if (host == NULL || copy == NULL) {
        free(host);
        free(copy);
        return NULL;
    }
    host->key = copy;
    HASH_ADD_KEYPTR(hh, client->hosts, host->key, strlen(host->key), host);
    TAILQ_INSERT_TAIL(&client->by_age, host, age);
    return host;
}

static void host_drop_oldest(struct tls_client *client, struct host_sessions *host)
{
    SSL_SESSION_free(host->sessions[0]);
    host->count--;
    client->session_count--;
    memmove(host->sessions, host->sessions + 1, host->count * sizeof(host->sessions[0]));
}

/* SSL_CTX_sess_set_new_cb; with TLS 1.3 it is called when a ticket comes, some time after the handshake.  1 = we keep
 * it. */
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_client *client = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const char *key = SSL_get_ex_data(ssl, key_index);
    if (key == NULL || client == NULL)
        return 0;
    struct host_sessions *host = host_find(client, key);
    if (host == NULL)
        host = host_add(client, key);
    if (host == NULL)
        return 0;
    if (host->count == SESSIONS_PER_HOST)
        host_drop_oldest(client, host);
    host->sessions[host->count++] = session;
    client->session_count++;
    TAILQ_REMOVE(&client->by_age, host, age);
    TAILQ_INSERT_TAIL(&client->by_age, host, age);
    while (client->session_count > client->session_limit && TAILQ_FIRST(&client->by_age) != host)
        host_free(client, TAILQ_FIRST(&client->by_age));
    return 1;
}

/* The newest session, or NULL.  A TLS 1.3 ticket is used once (RFC 8446 appendix C.4); a TLS 1.2 session stays, since
 * its server need not hand out another. */
static void resume_session(struct tls_client *client, const char *key, SSL *ssl)
{
    struct host_sessions *host = host_find(client, key);
    if (host == NULL)
        return;
    SSL_SESSION *session = host->sessions[host->count - 1];
    SSL_set_session(ssl, session);
    if (SSL_SESSION_is_resumable(session) && SSL_SESSION_get_protocol_version(session) != TLS1_3_VERSION)
        return;
    SSL_SESSION_free(session);
    host->count--;
    client->session_count--;
    if (host->count == 0)
        host_free(client, host);
}

static int load_anchors(SSL_CTX *ctx, const char *ca_file, char error[TLS_ERROR_MAX])
{
    for (size_t i = 0; ca_file == NULL && i < ARRAY_LENGTH(system_ca_files); i++)
        if (access(system_ca_files[i], R_OK) == 0)
            ca_file = system_ca_files[i];
    /* No anchors at all is no error here: nothing verifies then, and whoever requires it is told so per connection. */
    int r = ca_file != NULL ? SSL_CTX_load_verify_file(ctx, ca_file) : SSL_CTX_set_default_verify_paths(ctx);
    if (r == 1)
        return 0;
    snprintf(error, TLS_ERROR_MAX, "trust anchors %s: %s", ca_file != NULL ? ca_file : "(default)", tls_take_reason());
    return -EINVAL;
}

struct tls_client *tls_client_new(const struct tls_client_options *options, char error[TLS_ERROR_MAX])
{
    static const struct tls_client_options defaults;
    if (options == NULL)
        options = &defaults;
    if (key_index < 0)
        key_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, key_free);
    struct tls_client *client = calloc(1, sizeof(*client));
    if (client != NULL)
        client->ctx = tls_context_new(TLS_client_method(), options->min_version);
    if (client == NULL || client->ctx == NULL || key_index < 0) {
        snprintf(error, TLS_ERROR_MAX, "TLS context: %s", client == NULL ? "out of memory" : tls_take_reason());
        free(client);
        return NULL;
    }
    client->refs = 1;
    client->session_limit = options->session_limit > 0 ? options->session_limit : SESSION_LIMIT_DEFAULT;
    TAILQ_INIT(&client->by_age);
    SSL_CTX_set_app_data(client->ctx, client);
    SSL_CTX_set_session_cache_mode(client->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client->ctx, keep_session);
    if (load_anchors(client->ctx, options->ca_file, error) < 0) {
        tls_client_free(client);
        return NULL;
    }
    return client;
}

struct tls_client *tls_client_ref(struct tls_client *client)
{
    client->refs++;
    return client;
}

void tls_client_free(struct tls_client *client)
{
    if (client == NULL || --client->refs > 0)
        return;
    while (!TAILQ_EMPTY(&client->by_age))
        host_free(client, TAILQ_FIRST(&client->by_age));
    SSL_CTX_free(client->ctx);
    free(client);
}

static int expect_name(SSL *ssl, const char *name)
{
    struct net_address address;
    if (net_parse(name, 0, &address) == 0) {
        char text[NET_TEXT_MAX];
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), net_format_host(&address, text));
    }
    return SSL_add1_host(ssl, name);
}

static int expect_names(SSL *ssl, const struct tls_client_params *params)
{
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    for (size_t i = 0; i < params->name_count; i++)
        if (expect_name(ssl, params->names[i]) != 1)
            return -ENOMEM;
    if (params->name_count == 0 && params->server_name != NULL && expect_name(ssl, params->server_name) != 1)
        return -ENOMEM;
    return 0;
}

/* A resumed session is not verified again: so only connections that verify alike may share sessions. */
static char *session_key(const struct tls_client_params *params)
{
    struct buf key;
    buf_init(&key, SESSION_KEY_MAX);
    int r = buf_printf(&key, "%d %s %s", params->verify, params->session_key,
                       params->server_name != NULL ? params->server_name : "");
    for (size_t i = 0; r == 0 && i < params->name_count; i++)
        r = buf_printf(&key, " %s", params->names[i]);
    char *text = r == 0 ? strdup(buf_str(&key)) : NULL;
    buf_deinit(&key);
    return text;
}

static void offer_session(struct tls_client *client, const struct tls_client_params *params, SSL *ssl)
{
    if (params->session_key == NULL)
        return;
    char *key = session_key(params);
    if (key == NULL || SSL_set_ex_data(ssl, key_index, key) != 1) {
        free(key);
        return;
    }
    resume_session(client, key, ssl);
}

int tls_client_open(struct tls_client *client, const struct tls_client_params *params, SSL **out)
{
    if (params->verify == TLS_VERIFY_REQUIRED && params->name_count == 0 && params->server_name == NULL)
        return -EINVAL;
    ERR_clear_error();
    SSL *ssl = SSL_new(client->ctx);
    if (ssl == NULL)
        return -ENOMEM;
    SSL_set_connect_state(ssl);
    /* Where any certificate will do, a weak key still beats plain text (RFC 7435). */
    if (params->verify == TLS_VERIFY_NONE)
        SSL_set_security_level(ssl, 0);
    SSL_set_verify(ssl, params->verify == TLS_VERIFY_REQUIRED ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (expect_names(ssl, params) < 0 ||
        (params->server_name != NULL && SSL_set_tlsext_host_name(ssl, params->server_name) != 1)) {
        SSL_free(ssl);
        return -ENOMEM;
    }
    offer_session(client, params, ssl);
    *out = ssl;
    return 0;
}
