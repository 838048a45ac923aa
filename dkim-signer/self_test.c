#include "dkim-signer/self_test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>

#include <opendkim/dkim.h>

#include "base/cleanup.h"
#include "dkim-signer/handle.h"

#define RECORD_MAX 4096

/* A short RSA key: it signs one message in memory, and generating it costs every start. */
#define TEST_RSA_BITS 1024

static char domain[] = "self-test.invalid", selector[] = "test";

static const char content[] = "From: Posthouse <self-test@self-test.invalid>\r\n"
                              "Subject: self-test\r\n"
                              "\r\n"
                              "Does a signature made with a key handle verify?\r\n";

static char record[RECORD_MAX]; /* what the key look-up of the verifier answers */

static DKIM_CBSTAT look_up(DKIM *dkim, DKIM_SIGINFO *signature, unsigned char *out, size_t size)
{
    int n = snprintf((char *)out, size, "%s", record);
    return n > 0 && (size_t)n < size ? DKIM_CBSTAT_CONTINUE : DKIM_CBSTAT_ERROR;
}

/* One field without its last CRLF. */
static bool verify_field(DKIM *verifier, const char *field, size_t len)
{
    return dkim_header(verifier, (unsigned char *)(uintptr_t)field, len) == DKIM_STAT_OK;
}

static bool verify_content(DKIM *verifier)
{
    const char *field = content;
    for (const char *end; (end = strstr(field, "\r\n")) != field; field = end + 2)
        if (!verify_field(verifier, field, (size_t)(end - field)))
            return false;
    const char *body = field + 2;
    return dkim_eoh(verifier) == DKIM_STAT_OK &&
           dkim_body(verifier, (unsigned char *)(uintptr_t)body, strlen(body)) == DKIM_STAT_OK &&
           dkim_eom(verifier, NULL) == DKIM_STAT_OK;
}

static bool verifies(const struct buf *signature)
{
    DKIM_STAT status;
    DKIM_LIB *library = dkim_init(NULL, NULL);
    if (library == NULL)
        return false;
    dkim_set_key_lookup(library, look_up);
    DKIM *verifier = dkim_verify(library, (const unsigned char *)"self-test", NULL, &status);
    bool good = verifier != NULL && signature->len > 2 && verify_field(verifier, signature->data, signature->len - 2) &&
                verify_content(verifier);
    if (verifier != NULL)
        dkim_free(verifier);
    dkim_close(library);
    return good;
}

/* Signs the content with the one key of the table. */
static bool signs(const struct settings_dkim_signer *settings, const struct key_table *table, bool by_handle)
{
    const bool both[] = {by_handle, by_handle};
    struct signer *signer;
    struct signer_answer answer;
    _cleanup_(fd_closep) int fd = memfd_create("self-test", MFD_CLOEXEC);
    if (fd < 0 || write(fd, content, strlen(content)) != (ssize_t)strlen(content) ||
        signer_build(settings, table, both, &signer) < 0)
        return false;
    signer_answer_init(&answer);
    struct signer_request request = {"self-test", fd, 0, strlen(content)};
    bool good = signer_sign(signer, &request, &answer) == SIGN_SIGNED && verifies(&answer.headers);
    signer_answer_deinit(&answer);
    signer_free(signer);
    return good;
}

/* Does libopendkim free a key of this type?  Handed out with nothing but the references we hold (the table's and the
 * handle's), a key that is gone when these two are given back was freed once by the library. */
static bool learn_ownership(const struct settings_dkim_signer *settings, struct key_table *table)
{
    struct signing_key *key = &table->rows[0].key;
    bool freed = false;
    handle_set_library_frees(key->type, false);
    if (handle_watch_key(key, &freed) < 0)
        return false;
    bool good = signs(settings, table, true);
    /* The handle's reference went with the signer.  Ours is the last one, unless the library took it. */
    if (freed)
        key->pkey = NULL;
    else
        handle_watch_key(key, NULL);
    handle_set_library_frees(key->type, freed);
    return good;
}

static int new_key(enum signing_key_type type, struct signing_key *key)
{
    struct buf text;
    int r = signing_key_generate(type, TEST_RSA_BITS, key);
    if (r < 0)
        return r;
    buf_init(&text, RECORD_MAX - 1);
    r = signing_key_record(key, &text);
    snprintf(record, sizeof(record), "%s", buf_str(&text));
    buf_deinit(&text);
    return r;
}

static bool handles_work(const struct settings_dkim_signer *settings, struct key_table *table)
{
    struct signing_key *key = &table->rows[0].key;
    enum signing_key_type type = key->type;
    bool good = learn_ownership(settings, table);
    /* Again with a new key and what was learned: now the library's and our references must come out even. */
    signing_key_deinit(key);
    return new_key(type, key) == 0 && good && signs(settings, table, true);
}

int self_test(const struct settings_dkim_signer *settings, bool by_handle[2], struct buf *why)
{
    for (enum signing_key_type type = SIGNING_KEY_RSA; type <= SIGNING_KEY_ED25519; type++) {
        struct key_table_row row = {.domain = domain, .selector = selector};
        struct key_table table = {&row, 1};
        int r = new_key(type, &row.key);
        by_handle[type] = r == 0 && handles_work(settings, &table);
        if (!by_handle[type] && (row.key.pkey == NULL || !signs(settings, &table, false))) {
            buf_printf(why, "self-test: libopendkim makes no %s signature that verifies", signing_key_type_name(type));
            r = -EIO;
        } else if (!by_handle[type]) {
            buf_printf(why, "%sself-test: parsed %s keys can not be handed to libopendkim: each message parses its key",
                       why->len > 0 ? "; " : "", signing_key_type_name(type));
        }
        signing_key_deinit(&row.key);
        if (r < 0)
            return r;
    }
    return 0;
}
