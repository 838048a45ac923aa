#include "dkim/key.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/encode.h"
#include "base/text.h"

#define ZONE_STRING_MAX 255

static const char *const type_names[] = {[SIGNING_KEY_RSA] = "rsa", [SIGNING_KEY_ED25519] = "ed25519"};

static void bio_freep(BIO **bio)
{
    BIO_free_all(*bio);
}

static int explain(struct buf *why, int r, const char *path, const char *reason)
{
    buf_printf(why, "%s: %s", path, reason);
    return r;
}

const char *signing_key_type_name(enum signing_key_type type)
{
    return type_names[type];
}

static bool classify(struct signing_key *key)
{
    int id = EVP_PKEY_get_base_id(key->pkey);
    key->bits = EVP_PKEY_get_bits(key->pkey);
    key->type = id == EVP_PKEY_ED25519 ? SIGNING_KEY_ED25519 : SIGNING_KEY_RSA;
    return id == EVP_PKEY_ED25519 || id == EVP_PKEY_RSA;
}

int signing_key_generate(enum signing_key_type type, int bits, struct signing_key *out)
{
    *out = (struct signing_key){.type = type};
    if (type == SIGNING_KEY_RSA && (bits < SIGNING_KEY_RSA_BITS_MIN || bits > 8192))
        return -EINVAL;
    ERR_clear_error();
    out->pkey = type == SIGNING_KEY_RSA ? EVP_RSA_gen((unsigned)bits) : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    if (out->pkey == NULL || !classify(out)) {
        signing_key_deinit(out);
        return -EIO;
    }
    return 0;
}

void signing_key_deinit(struct signing_key *key)
{
    EVP_PKEY_free(key->pkey);
    key->pkey = NULL;
}

/* The whole file; a key is small, so whatever is longer is none. */
static int read_key_file(const char *path, char *text, size_t size, size_t *len, bool *exposed)
{
    struct stat st;
    _cleanup_(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    *exposed = st.st_mode & (S_IRWXG | S_IRWXO);
    ssize_t n = read(fd, text, size);
    if (n < 0)
        return -errno;
    *len = (size_t)n;
    return *len == size ? -EFBIG : 0;
}

static int refuse_passphrase(char *text, int size, int writing, void *arg)
{
    return -1;
}

/* By OSSL_DECODER: the signer defines a PEM_read_bio_PrivateKey of its own (dkim-signer/handle.c). */
static EVP_PKEY *decode(const char *text, size_t len)
{
    EVP_PKEY *pkey = NULL;
    const unsigned char *data = (const unsigned char *)text;
    ERR_clear_error();
    OSSL_DECODER_CTX *decoder =
        OSSL_DECODER_CTX_new_for_pkey(&pkey, "PEM", NULL, NULL, OSSL_KEYMGMT_SELECT_PRIVATE_KEY, NULL, NULL);
    if (decoder == NULL)
        return NULL;
    OSSL_DECODER_CTX_set_pem_password_cb(decoder, refuse_passphrase, NULL);
    if (OSSL_DECODER_from_data(decoder, &data, &len) != 1)
        pkey = NULL;
    OSSL_DECODER_CTX_free(decoder);
    ERR_clear_error();
    return pkey;
}

static int judge(const char *path, struct signing_key *key, struct buf *why)
{
    if (!classify(key))
        return explain(why, -EINVAL, path, "this kind of key does not sign DKIM: expected RSA or Ed25519");
    if (key->type != SIGNING_KEY_RSA || key->bits >= SIGNING_KEY_RSA_BITS_MIN)
        return 0;
    buf_printf(why, "%s: RSA key of %d bits: verifiers refuse less than %d", path, key->bits, SIGNING_KEY_RSA_BITS_MIN);
    return -EINVAL;
}

int signing_key_load(const char *path, struct signing_key *out, struct buf *why)
{
    char text[SIGNING_KEY_TEXT_MAX];
    size_t len = 0;
    *out = (struct signing_key){0};
    int r = read_key_file(path, text, sizeof(text), &len, &out->exposed);
    if (r == 0)
        out->pkey = decode(text, len);
    OPENSSL_cleanse(text, sizeof(text));
    if (r == -EINVAL)
        return explain(why, r, path, "not a regular file");
    if (r < 0)
        return explain(why, r, path, text_errno(r));
    if (out->pkey == NULL)
        return explain(why, -EINVAL, path, "no private key in PEM form without passphrase found");
    r = judge(path, out, why);
    if (r < 0)
        signing_key_deinit(out);
    return r;
}

int signing_key_pem(const struct signing_key *key, struct buf *out)
{
    _cleanup_(bio_freep) BIO *bio = BIO_new(BIO_s_secmem());
    char *text;
    ERR_clear_error();
    if (bio == NULL || PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL) != 1)
        return -EIO;
    long len = BIO_get_mem_data(bio, &text);
    return buf_append(out, text, (size_t)len);
}

static int write_whole(int fd, const struct buf *text)
{
    for (size_t at = 0; at < text->len;) {
        ssize_t n = write(fd, text->data + at, text->len - at);
        if (n < 0)
            return -errno;
        at += (size_t)n;
    }
    return fsync(fd) < 0 ? -errno : 0;
}

int signing_key_write(const struct signing_key *key, const char *path, struct buf *why)
{
    struct buf text;
    buf_init(&text, SIGNING_KEY_TEXT_MAX);
    int r = signing_key_pem(key, &text);
    _cleanup_(fd_closep) int fd = -1;
    if (r == 0 && (fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        r = -errno;
    if (r == 0 && (r = write_whole(fd, &text)) < 0)
        unlink(path);
    if (text.base != NULL)
        OPENSSL_cleanse(text.base, text.capacity);
    buf_deinit(&text);
    return r < 0 ? explain(why, r, path, text_errno(r)) : 0;
}

/* RSA: SubjectPublicKeyInfo (RFC 6376 section 3.6.1).  Ed25519: the 32 bytes of the key alone (RFC 8463 section 4.2).
 */
static int append_public(const struct signing_key *key, struct buf *out)
{
    if (key->type == SIGNING_KEY_ED25519) {
        unsigned char raw[32];
        size_t len = sizeof(raw);
        if (EVP_PKEY_get_raw_public_key(key->pkey, raw, &len) != 1)
            return -EIO;
        return base64_encode(raw, len, out);
    }
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(key->pkey, &der);
    int r = len > 0 ? base64_encode(der, (size_t)len, out) : -EIO;
    OPENSSL_free(der);
    return r;
}

int signing_key_record(const struct signing_key *key, struct buf *out)
{
    int r = buf_printf(out, "v=DKIM1; k=%s; p=", type_names[key->type]);
    return r < 0 ? r : append_public(key, out);
}

int signing_key_zone_line(const char *selector, const char *domain, const char *record, struct buf *out)
{
    int r = buf_printf(out, "%s._domainkey.%s. IN TXT (", selector, domain);
    for (size_t len = strlen(record); r == 0 && len > 0;) {
        size_t n = len < ZONE_STRING_MAX ? len : ZONE_STRING_MAX;
        r = buf_printf(out, " \"%.*s\"", (int)n, record);
        record += n;
        len -= n;
    }
    return r < 0 ? r : buf_append_str(out, " )");
}
