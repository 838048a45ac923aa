/* libopendkim has no way to be given a parsed key: it parses the PEM text anew for every message, and a fresh RSA
 * object also computes its Montgomery and blinding values anew.  Together that is three quarters of the time of a
 * signature (606 instead of 2,450 a second and core, RSA-2048).
 *
 * libopendkim calls PEM_read_bio_PrivateKey through the dynamic linker, which looks in the program first.  So the
 * program defines a function of that name here: for a text that is one of our handles it returns the key parsed at the
 * start; for any other it calls the function of libcrypto.  signer.c proves at each start that a signature made this
 * way verifies, and hands out real PEM texts if not (another linking, another libopendkim): slower, and still right. */
#include "dkim-signer/handle.h"

#include <dlfcn.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* Must begin with five hyphens (libopendkim takes it for PEM then) and must not begin with "MII". */
#define HANDLE_PREFIX "-----HANDLE "
#define HANDLE_SUFFIX "-----"

static struct {
    EVP_PKEY **keys;
    size_t count;
} handles;

static bool library_frees[] = {[SIGNING_KEY_RSA] = true, [SIGNING_KEY_ED25519] = false};

int handle_add(const struct signing_key *key, char text[HANDLE_TEXT_MAX])
{
    EVP_PKEY **more = realloc(handles.keys, (handles.count + 1) * sizeof(*more));
    if (more == NULL)
        return -ENOMEM;
    handles.keys = more;
    EVP_PKEY_up_ref(key->pkey);
    handles.keys[handles.count] = key->pkey;
    snprintf(text, HANDLE_TEXT_MAX, HANDLE_PREFIX "%zu" HANDLE_SUFFIX, handles.count++);
    return 0;
}

void handle_clear(void)
{
    for (size_t i = 0; i < handles.count; i++)
        EVP_PKEY_free(handles.keys[i]);
    free(handles.keys);
    handles.keys = NULL;
    handles.count = 0;
}

void handle_set_library_frees(enum signing_key_type type, bool frees)
{
    library_frees[type] = frees;
}

static void watched_key_freed(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
    if (ptr != NULL)
        *(bool *)ptr = true;
}

int handle_watch_key(struct signing_key *key, bool *freed)
{
    static int index = -1;
    if (index < 0)
        index = CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_EVP_PKEY, 0, NULL, NULL, NULL, watched_key_freed);
    if (freed != NULL)
        *freed = false;
    return index >= 0 && EVP_PKEY_set_ex_data(key->pkey, index, freed) == 1 ? 0 : -ENOMEM;
}

/* The key a text stands for, NULL for any other text. */
static EVP_PKEY *find(const char *text, size_t len)
{
    char number[HANDLE_TEXT_MAX];
    uint64_t i;
    size_t before = strlen(HANDLE_PREFIX), around = before + strlen(HANDLE_SUFFIX);
    while (len > 0 && text[len - 1] == '\0')
        len--;
    if (len <= around || len >= HANDLE_TEXT_MAX || memcmp(text, HANDLE_PREFIX, before) != 0)
        return NULL;
    snprintf(number, sizeof(number), "%.*s", (int)(len - around), text + before);
    if (handles.count == 0 || text_parse_u64(number, handles.count - 1, &i) < 0)
        return NULL;
    return handles.keys[i];
}

EVP_PKEY *PEM_read_bio_PrivateKey(BIO *bio, EVP_PKEY **place, pem_password_cb *callback, void *arg)
{
    char *text = NULL;
    long len = BIO_method_type(bio) == BIO_TYPE_MEM ? BIO_get_mem_data(bio, &text) : 0;
    EVP_PKEY *key = len > 0 ? find(text, (size_t)len) : NULL;
    if (key == NULL) {
        __typeof__(&PEM_read_bio_PrivateKey) real = dlsym(RTLD_NEXT, "PEM_read_bio_PrivateKey");
        return real != NULL ? real(bio, place, callback, arg) : NULL;
    }
    if (library_frees[EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? SIGNING_KEY_ED25519 : SIGNING_KEY_RSA])
        EVP_PKEY_up_ref(key);
    if (place != NULL)
        *place = key;
    return key;
}
