#include "tls/identity.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/encode.h"
#include "tls/context.h"

static X509 *certificate_of(const struct stream *s)
{
    const SSL *ssl = stream_ssl(s);
    return ssl != NULL ? SSL_get0_peer_certificate(ssl) : NULL;
}

bool tls_has_identity(const struct stream *s)
{
    return certificate_of(s) != NULL;
}

static int write_fingerprint(const unsigned char digest[SHA256_DIGEST_LENGTH], char out[TLS_FINGERPRINT_MAX])
{
    struct buf hex;
    buf_init(&hex, TLS_FINGERPRINT_MAX);
    int r = hex_encode(digest, SHA256_DIGEST_LENGTH, &hex);
    if (r == 0)
        memcpy(out, buf_str(&hex), hex.len + 1);
    buf_deinit(&hex);
    return r;
}

int tls_identity(const struct stream *s, struct tls_identity *out)
{
    unsigned char digest[EVP_MAX_MD_SIZE], *key = NULL;
    unsigned len = 0;
    X509 *certificate = certificate_of(s);
    if (certificate == NULL)
        return -ENOENT;
    if (X509_digest(certificate, EVP_sha256(), digest, &len) != 1 || write_fingerprint(digest, out->certificate) < 0)
        return -EIO;
    int key_len = i2d_PUBKEY(X509_get0_pubkey(certificate), &key);
    bool hashed = key_len > 0 && EVP_Digest(key, (size_t)key_len, digest, &len, EVP_sha256(), NULL) == 1;
    OPENSSL_free(key);
    if (!hashed || write_fingerprint(digest, out->key) < 0)
        return -EIO;
    out->verified = SSL_get_verify_result(stream_ssl(s)) == X509_V_OK;
    return 0;
}

static int add_name(const ASN1_STRING *name, struct buf *out)
{
    unsigned char *utf8 = NULL;
    int len = ASN1_STRING_to_UTF8(&utf8, name), r = 0;
    bool plain = len > 0;
    for (int i = 0; i < len; i++)
        plain = plain && utf8[i] >= ' ' && utf8[i] != 127;
    if (plain && out->len > 0)
        r = buf_append_char(out, '\n');
    if (plain && r == 0)
        r = buf_append(out, utf8, (size_t)len);
    OPENSSL_free(utf8);
    return r;
}

int tls_identity_names(const struct stream *s, struct buf *out)
{
    X509 *certificate = certificate_of(s);
    if (certificate == NULL)
        return -ENOENT;
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    int r = 0;
    for (int i = 0; r == 0 && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_EMAIL)
            r = add_name(name->d.rfc822Name, out);
    }
    GENERAL_NAMES_free(names);
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    return r == 0 && at >= 0 ? add_name(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), out) : r;
}

bool tls_has_exporter(const struct stream *s)
{
    SSL *ssl = stream_ssl(s);
    return ssl != NULL && (SSL_version(ssl) >= TLS1_3_VERSION || SSL_get_extms_support(ssl) == 1);
}

int tls_exporter(const struct stream *s, unsigned char out[TLS_EXPORTER_BYTES])
{
    static const char label[] = "EXPORTER-Channel-Binding";
    if (!tls_has_exporter(s))
        return -ENOTSUP;
    /* Section 2: the context is there and empty. */
    return SSL_export_keying_material(stream_ssl(s), out, TLS_EXPORTER_BYTES, label, sizeof(label) - 1,
                                      (const unsigned char *)"", 0, 1) == 1
               ? 0
               : -ENOTSUP;
}
