#include "store/scram.h"

#include <errno.h>
#include <idn-free.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <stringprep.h>

#include "base/cleanup.h"
#include "base/encode.h"
#include "base/text.h"

#define SCHEME      "SCRAM-SHA-256$"
#define FIELD_BYTES 128 /* the base64 form of the longest salt, with room */

int scram_random(unsigned char *out, size_t len)
{
    return len <= INT32_MAX && RAND_bytes(out, (int)len) == 1 ? 0 : -EIO;
}

static int hmac(const unsigned char *key, const void *data, size_t len, unsigned char out[SCRAM_KEY_BYTES])
{
    unsigned n = 0;
    if (HMAC(EVP_sha256(), key, SCRAM_KEY_BYTES, data, len, out, &n) == NULL || n != SCRAM_KEY_BYTES)
        return -EIO;
    return 0;
}

/* What SASLprep makes of a password, to be given to free_prepared; NULL: it stays what it was.  0 or -EIO. */
static int prepare(const char *password, size_t len, char **out)
{
    *out = NULL;
    if (text_is_ascii(password, len) || memchr(password, '\0', len) != NULL)
        return 0;
    char *text = strndup(password, len);
    if (text == NULL)
        return -EIO;
    int r = stringprep_profile(text, out, "SASLprep", 0);
    if (r != STRINGPREP_OK)
        *out = NULL;
    OPENSSL_cleanse(text, len);
    free(text);
    return r == STRINGPREP_MALLOC_ERROR ? -EIO : 0;
}

static void free_prepared(char *prepared)
{
    if (prepared != NULL)
        OPENSSL_cleanse(prepared, strlen(prepared));
    idn_free(prepared);
}

/* RFC 5802 section 3: SaltedPassword, ClientKey, StoredKey, ServerKey. */
static int derive(const char *password, size_t len, struct scram_verifier *out)
{
    unsigned char salted[SCRAM_KEY_BYTES], client_key[SCRAM_KEY_BYTES];
    int r = -EIO;
    if (PKCS5_PBKDF2_HMAC(password, (int)len, out->salt, (int)out->salt_len, (int)out->iterations, EVP_sha256(),
                          sizeof(salted), salted) == 1)
        r = hmac(salted, "Client Key", strlen("Client Key"), client_key);
    if (r == 0)
        r = hmac(salted, "Server Key", strlen("Server Key"), out->server_key);
    if (r == 0 && EVP_Digest(client_key, sizeof(client_key), out->stored_key, NULL, EVP_sha256(), NULL) != 1)
        r = -EIO;
    OPENSSL_cleanse(salted, sizeof(salted));
    OPENSSL_cleanse(client_key, sizeof(client_key));
    return r;
}

int scram_derive_salted(const char *password, size_t len, struct scram_verifier *out)
{
    char *prepared;
    int r = prepare(password, len, &prepared);
    if (r == 0 && prepared != NULL && prepared[0] != '\0')
        r = derive(prepared, strlen(prepared), out);
    else if (r == 0)
        r = derive(password, len, out);
    free_prepared(prepared);
    return r;
}

int scram_derive(const char *password, size_t len, unsigned iterations, struct scram_verifier *out)
{
    if (iterations < SCRAM_ITERATIONS_MIN || iterations > SCRAM_ITERATIONS_MAX || len > INT32_MAX)
        return -EINVAL;
    *out = (struct scram_verifier){.iterations = iterations, .salt_len = SCRAM_SALT_BYTES};
    if (scram_random(out->salt, SCRAM_SALT_BYTES) < 0)
        return -EIO;
    return scram_derive_salted(password, len, out);
}

int scram_verify(const struct scram_verifier *v, const char *password, size_t len)
{
    struct scram_verifier got = {.iterations = v->iterations, .salt_len = v->salt_len};
    memcpy(got.salt, v->salt, sizeof(got.salt));
    if (len > INT32_MAX)
        return 0;
    int r = scram_derive_salted(password, len, &got);
    if (r == 0)
        r = CRYPTO_memcmp(got.stored_key, v->stored_key, SCRAM_KEY_BYTES) == 0;
    OPENSSL_cleanse(&got, sizeof(got));
    return r;
}

static int decoy_part(const unsigned char *key, const char *label, const char *name, unsigned char *out)
{
    struct buf text;
    buf_init(&text, 4096);
    int r = buf_printf(&text, "%s %s", label, name);
    if (r == 0)
        r = hmac(key, text.data, text.len, out);
    buf_deinit(&text);
    return r < 0 ? -EIO : 0;
}

int scram_decoy(const unsigned char key[SCRAM_KEY_BYTES], const char *name, unsigned iterations,
                struct scram_verifier *out)
{
    unsigned char salt[SCRAM_KEY_BYTES];
    *out = (struct scram_verifier){.iterations = iterations, .salt_len = SCRAM_SALT_BYTES};
    int r = decoy_part(key, "salt", name, salt);
    memcpy(out->salt, salt, SCRAM_SALT_BYTES);
    if (r == 0)
        r = decoy_part(key, "stored", name, out->stored_key);
    if (r == 0)
        r = decoy_part(key, "server", name, out->server_key);
    return r;
}

int scram_fingerprint(const unsigned char key[SCRAM_KEY_BYTES], const char *name, const char *password, size_t len,
                      const struct scram_verifier *v, unsigned char out[SCRAM_KEY_BYTES])
{
    struct buf text;
    buf_init(&text, 64 * 1024);
    int r = buf_append(&text, name, strlen(name) + 1);
    if (r == 0)
        r = buf_append(&text, v->stored_key, SCRAM_KEY_BYTES);
    if (r == 0)
        r = buf_append(&text, v->salt, v->salt_len);
    if (r == 0)
        r = buf_append(&text, password, len);
    if (r == 0)
        r = hmac(key, text.data, text.len, out);
    if (text.base != NULL)
        OPENSSL_cleanse(text.base, text.capacity);
    buf_deinit(&text);
    return r < 0 ? -EIO : 0;
}

int scram_format(const struct scram_verifier *v, struct buf *out)
{
    int r = buf_printf(out, SCHEME "%u:", v->iterations);
    if (r == 0)
        r = base64_encode(v->salt, v->salt_len, out);
    if (r == 0)
        r = buf_append_char(out, '$');
    if (r == 0)
        r = base64_encode(v->stored_key, SCRAM_KEY_BYTES, out);
    if (r == 0)
        r = buf_append_char(out, ':');
    if (r == 0)
        r = base64_encode(v->server_key, SCRAM_KEY_BYTES, out);
    return r;
}

/* Decodes the base64 field at *text that ends with `end` and steps behind it. */
static int parse_field(const char **text, char end, unsigned char *out, size_t min, size_t max, size_t *len)
{
    const char *stop = strchrnul(*text, end);
    struct buf bytes;
    if (*stop != end)
        return -EINVAL;
    buf_init(&bytes, FIELD_BYTES);
    int r = base64_decode(*text, (size_t)(stop - *text), &bytes);
    if (r == 0 && (bytes.len < min || bytes.len > max))
        r = -EINVAL;
    if (r == 0) {
        memcpy(out, bytes.data, bytes.len);
        *len = bytes.len;
    }
    buf_deinit(&bytes);
    *text = end == '\0' ? stop : stop + 1;
    return r < 0 ? -EINVAL : 0;
}

static int parse_iterations(const char **text, unsigned *out)
{
    const char *colon = strchr(*text, ':');
    uint64_t n = 0;
    _cleanup_(freep) char *digits = colon != NULL ? text_dup_n(*text, (size_t)(colon - *text)) : NULL;
    if (digits == NULL || text_parse_u64(digits, SCRAM_ITERATIONS_MAX, &n) < 0 || n == 0)
        return -EINVAL;
    *out = (unsigned)n;
    *text = colon + 1;
    return 0;
}

int scram_parse(const char *text, struct scram_verifier *out)
{
    size_t key_len = 0;
    *out = (struct scram_verifier){0};
    if (!text_has_prefix(text, SCHEME))
        return -EINVAL;
    text += strlen(SCHEME);
    int r = parse_iterations(&text, &out->iterations);
    if (r == 0)
        r = parse_field(&text, '$', out->salt, 1, SCRAM_SALT_MAX, &out->salt_len);
    if (r == 0)
        r = parse_field(&text, ':', out->stored_key, SCRAM_KEY_BYTES, SCRAM_KEY_BYTES, &key_len);
    if (r == 0)
        r = parse_field(&text, '\0', out->server_key, SCRAM_KEY_BYTES, SCRAM_KEY_BYTES, &key_len);
    return r;
}
