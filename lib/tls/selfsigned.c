#include "tls/selfsigned.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/net.h"
#include "base/text.h"
#include "tls/context.h"

#define ALT_NAMES_MAX    8192
#define COMMON_NAME_MAX  64 /* RFC 5280 appendix A.1, ub-common-name */
#define BACKDATE_SECONDS 3600

static void certificate_freep(X509 **certificate)
{
    X509_free(*certificate);
}

static void key_freep(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void file_closep(FILE **f)
{
    if (*f != NULL)
        fclose(*f);
}

static bool add_extension(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool added = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return added;
}

/* "DNS:mail.example.com,IP:127.0.0.1" */
static bool add_alt_names(X509 *certificate, const char *const *names, size_t count)
{
    struct buf list;
    struct net_address address;
    buf_init(&list, ALT_NAMES_MAX);
    bool ok = count > 0;
    for (size_t i = 0; i < count && ok; i++) {
        const char *kind = net_parse(names[i], 0, &address) == 0 ? "IP" : "DNS";
        ok = strpbrk(names[i], ",\n ") == NULL && buf_printf(&list, "%s%s:%s", i > 0 ? "," : "", kind, names[i]) == 0;
    }
    ok = ok && add_extension(certificate, NID_subject_alt_name, buf_str(&list));
    buf_deinit(&list);
    return ok;
}

static bool set_serial(X509 *certificate)
{
    unsigned char bytes[8];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return false;
    uint64_t serial = 0;
    for (size_t i = 0; i < sizeof(bytes); i++)
        serial = serial << 8 | bytes[i];
    return ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1) == 1;
}

static X509 *build(EVP_PKEY *key, const char *const *names, size_t count, unsigned days)
{
    _cleanup_(certificate_freep) X509 *certificate = X509_new();
    if (certificate == NULL || count == 0)
        return NULL;
    X509_NAME *subject = X509_get_subject_name(certificate);
    const char *common_name = strlen(names[0]) <= COMMON_NAME_MAX ? names[0] : "posthouse";
    bool ok =
        X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
        X509_gmtime_adj(X509_getm_notBefore(certificate), -BACKDATE_SECONDS) != NULL &&
        X509_time_adj_ex(X509_getm_notAfter(certificate), (int)days, 0, NULL) != NULL &&
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1, 0) == 1 &&
        X509_set_issuer_name(certificate, subject) == 1 && X509_set_pubkey(certificate, key) == 1 &&
        add_extension(certificate, NID_subject_key_identifier, "hash") &&
        add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE") &&
        add_extension(certificate, NID_ext_key_usage, "serverAuth") && add_alt_names(certificate, names, count) &&
        X509_sign(certificate, key, EVP_sha256()) > 0;
    return ok ? TAKE_PTR(certificate) : NULL;
}

static FILE *create(const char *path, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (f == NULL && fd >= 0)
        close(fd);
    return f;
}

static int write_error(char error[TLS_ERROR_MAX], const char *path, int err)
{
    snprintf(error, TLS_ERROR_MAX, "%s: %s", path, text_errno(err));
    return -err;
}

static int write_key(const char *path, EVP_PKEY *key, char error[TLS_ERROR_MAX])
{
    _cleanup_(file_closep) FILE *f = create(path, 0600);
    if (f == NULL)
        return write_error(error, path, errno);
    if (PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1 && fflush(f) == 0)
        return 0;
    unlink(path);
    return write_error(error, path, EIO);
}

static int write_certificate(const char *path, X509 *certificate, char error[TLS_ERROR_MAX])
{
    _cleanup_(file_closep) FILE *f = create(path, 0644);
    if (f == NULL)
        return write_error(error, path, errno);
    if (PEM_write_X509(f, certificate) == 1 && fflush(f) == 0)
        return 0;
    unlink(path);
    return write_error(error, path, EIO);
}

int tls_selfsigned_write(const char *chain_file, const char *key_file, const char *const *names, size_t name_count,
                         unsigned days, char error[TLS_ERROR_MAX])
{
    _cleanup_(key_freep) EVP_PKEY *key = EVP_EC_gen("P-256");
    _cleanup_(certificate_freep) X509 *certificate = key != NULL ? build(key, names, name_count, days) : NULL;
    if (certificate == NULL) {
        snprintf(error, TLS_ERROR_MAX, "self-signed certificate: %s", tls_take_reason());
        return -EINVAL;
    }
    int r = write_key(key_file, key, error);
    if (r < 0)
        return r;
    r = write_certificate(chain_file, certificate, error);
    if (r < 0)
        unlink(key_file);
    return r;
}
