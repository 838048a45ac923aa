#include "dkim-signer/signer.h"

#include <errno.h>
#include <stdio.h>
#include <sys/types.h>

#include <opendkim/dkim.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "dkim-signer/arena.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "dkim-signer/handle.h"
#include "dkim-signer/message.h"
#include "dkim-signer/self_test.h"

#define HEADERS_MAX 65536
#define TEXT_MAX    4096

static const char field_name[] = "DKIM-Signature: ";

struct signer {
    DKIM_LIB *library;
    const struct key_table *table;
    char **secrets; /* one per row of the table: what dkim_sign is given for its key */
    dkim_canon_t body_canonicalization;
    struct arena arena;
};

/* One message being signed. */
struct signing {
    struct signer *signer;
    const struct key_table_row *rows;
    size_t count;
    DKIM *handles[KEY_TABLE_PER_DOMAIN_MAX];
    struct signer_answer *answer;
};

/* --- libopendkim's memory ----------------------------------------------------------------------------------------- */

/* What belongs to the library as a whole comes without closure. */
static void *library_malloc(void *closure, size_t n)
{
    return closure != NULL ? arena_alloc(closure, n) : malloc(n);
}

static void library_free(void *closure, void *p)
{
    if (closure == NULL)
        free(p);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

/* libopendkim wants the address of a NULL-terminated array, and the size of a pointer as its length. */
static int set_names(DKIM_LIB *library, dkim_opts_t option, const struct conf_list *names)
{
    const unsigned char **array = calloc(names->count + 1, sizeof(*array));
    if (array == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < names->count; i++)
        array[i] = (const unsigned char *)names->items[i];
    DKIM_STAT status = dkim_options(library, DKIM_OP_SETOPT, option, array, sizeof(char **));
    free(array);
    return status == DKIM_STAT_OK ? 0 : -EINVAL;
}

static int open_library(struct signer *s, const struct settings_dkim_signer *settings)
{
    static char from[] = "From";
    char *only_from[] = {from};
    struct conf_list least = {only_from, 1};
    s->library = dkim_init(library_malloc, library_free);
    if (s->library == NULL)
        return -ENOMEM;
    int r =
        set_names(s->library, DKIM_OPTS_SIGNHDRS, settings->sign_headers.count > 0 ? &settings->sign_headers : &least);
    if (r == 0 && settings->oversign_headers.count > 0)
        r = set_names(s->library, DKIM_OPTS_OVERSIGNHDRS, &settings->oversign_headers);
    return r;
}

static char *secret_of(const struct signing_key *key, bool by_handle)
{
    char handle[HANDLE_TEXT_MAX];
    if (by_handle)
        return handle_add(key, handle) == 0 ? strdup(handle) : NULL;
    struct buf pem;
    buf_init(&pem, SIGNING_KEY_TEXT_MAX);
    char *text = signing_key_pem(key, &pem) == 0 ? strdup(buf_str(&pem)) : NULL;
    if (pem.base != NULL)
        OPENSSL_cleanse(pem.base, pem.capacity);
    buf_deinit(&pem);
    return text;
}

static int name_secrets(struct signer *s, const bool by_handle[])
{
    s->secrets = calloc(s->table->count + 1, sizeof(*s->secrets));
    for (size_t i = 0; s->secrets != NULL && i < s->table->count; i++) {
        const struct signing_key *key = &s->table->rows[i].key;
        s->secrets[i] = secret_of(key, by_handle[key->type]);
        if (s->secrets[i] == NULL)
            return -ENOMEM;
    }
    return s->secrets != NULL ? 0 : -ENOMEM;
}

int signer_build(const struct settings_dkim_signer *settings, const struct key_table *table, const bool by_handle[],
                 struct signer **out)
{
    struct signer *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return -ENOMEM;
    s->table = table;
    s->body_canonicalization =
        settings->canonicalization == CANONICALIZATION_RELAXED_SIMPLE ? DKIM_CANON_SIMPLE : DKIM_CANON_RELAXED;
    arena_init(&s->arena);
    int r = open_library(s, settings);
    if (r == 0)
        r = name_secrets(s, by_handle);
    if (r < 0)
        signer_free(s);
    else
        *out = s;
    return r;
}

int signer_new(const struct settings_dkim_signer *settings, const struct key_table *table, struct signer **out,
               struct buf *why)
{
    bool by_handle[2];
    int r = self_test(settings, by_handle, why);
    if (r < 0)
        return r;
    r = signer_build(settings, table, by_handle, out);
    if (r < 0)
        buf_printf(why, "libopendkim can not be opened: %s", text_errno(r));
    return r;
}

void signer_free(struct signer *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; s->secrets != NULL && i < s->table->count; i++) {
        if (s->secrets[i] != NULL)
            OPENSSL_cleanse(s->secrets[i], strlen(s->secrets[i]));
        free(s->secrets[i]);
    }
    free(s->secrets);
    handle_clear();
    if (s->library != NULL)
        dkim_close(s->library);
    arena_deinit(&s->arena);
    free(s);
}

void signer_answer_init(struct signer_answer *a)
{
    buf_init(&a->headers, HEADERS_MAX);
    buf_init(&a->keys, TEXT_MAX);
    buf_init(&a->reason, TEXT_MAX);
}

void signer_answer_deinit(struct signer_answer *a)
{
    buf_deinit(&a->headers);
    buf_deinit(&a->keys);
    buf_deinit(&a->reason);
}

/* --- one message -------------------------------------------------------------------------------------------------- */

/* -EBADMSG: libopendkim does not take this message, now or later; -EIO: anything else. */
static int explain(struct signing *g, size_t i, const char *doing, DKIM_STAT status)
{
    const char *detail = g->handles[i] != NULL ? dkim_geterror(g->handles[i]) : NULL;
    buf_clear(&g->answer->reason);
    buf_printf(&g->answer->reason, "%s@%s: %s: %s", g->rows[i].selector, g->rows[i].domain, doing,
               detail != NULL && detail[0] != '\0' ? detail : dkim_getresultstr(status));
    return status == DKIM_STAT_SYNTAX ? -EBADMSG : -EIO;
}

static int begin(struct signing *g, const char *queue_id)
{
    struct signer *s = g->signer;
    for (size_t i = 0; i < g->count; i++) {
        const struct key_table_row *row = &g->rows[i];
        DKIM_STAT status = DKIM_STAT_OK;
        g->handles[i] = dkim_sign(s->library, (const unsigned char *)queue_id, &s->arena,
                                  (dkim_sigkey_t)s->secrets[row - s->table->rows], (const unsigned char *)row->selector,
                                  (const unsigned char *)row->domain, DKIM_CANON_RELAXED, s->body_canonicalization,
                                  row->key.type == SIGNING_KEY_ED25519 ? DKIM_SIGN_ED25519SHA256 : DKIM_SIGN_RSASHA256,
                                  -1, &status);
        if (g->handles[i] == NULL)
            return explain(g, i, "dkim_sign", status);
    }
    return 0;
}

/* Field by field: dkim_chunk damages headers of more than 64 KiB. */
static int feed_field(void *arg, const struct mail_field *field)
{
    struct signing *g = arg;
    size_t len = (size_t)(field->value + field->value_len - field->raw); /* without the last line end */
    for (size_t i = 0; i < g->count; i++) {
        DKIM_STAT status = dkim_header(g->handles[i], (unsigned char *)(uintptr_t)field->raw, len);
        if (status != DKIM_STAT_OK)
            return explain(g, i, "header", status);
    }
    return 0;
}

static int end_header(struct signing *g)
{
    for (size_t i = 0; i < g->count; i++) {
        DKIM_STAT status = dkim_eoh(g->handles[i]);
        if (status != DKIM_STAT_OK)
            return explain(g, i, "end of header", status);
    }
    return 0;
}

static int feed_body(void *arg, const char *data, size_t len)
{
    struct signing *g = arg;
    for (size_t i = 0; i < g->count; i++) {
        DKIM_STAT status = dkim_body(g->handles[i], (unsigned char *)(uintptr_t)data, len);
        if (status != DKIM_STAT_OK)
            return explain(g, i, "body", status);
    }
    return 0;
}

static int finish(struct signing *g)
{
    for (size_t i = 0; i < g->count; i++) {
        unsigned char *value;
        size_t len;
        DKIM_STAT status = dkim_eom(g->handles[i], NULL);
        if (status == DKIM_STAT_OK)
            status = dkim_getsighdr_d(g->handles[i], strlen(field_name), &value, &len);
        if (status != DKIM_STAT_OK)
            return explain(g, i, "signature", status);
        int r = buf_printf(&g->answer->headers, "%s%.*s\r\n", field_name, (int)len, (const char *)value);
        if (r == 0)
            r = buf_printf(&g->answer->keys, "%s%s@%s", i > 0 ? "," : "", g->rows[i].selector, g->rows[i].domain);
        if (r < 0)
            return r;
    }
    return 0;
}

static enum ipc_sign_status conclude(struct signer_answer *answer, enum ipc_sign_status status, const char *reason)
{
    buf_clear(&answer->headers);
    buf_clear(&answer->keys);
    if (answer->reason.len == 0)
        buf_append_str(&answer->reason, reason);
    return status;
}

static enum ipc_sign_status sign_message(struct signing *g, const struct message *m, const char *queue_id)
{
    int r = begin(g, queue_id);
    if (r == 0)
        r = message_fields(m, feed_field, g);
    if (r == 0)
        r = end_header(g);
    if (r == 0)
        r = message_body(m, feed_body, g);
    if (r == 0)
        r = finish(g);
    for (size_t i = 0; i < g->count; i++)
        if (g->handles[i] != NULL)
            dkim_free(g->handles[i]);
    arena_reset(&g->signer->arena);
    if (r == 0)
        return SIGN_SIGNED;
    return conclude(g->answer, r == -EBADMSG ? SIGN_NO_KEY : SIGN_FAILED,
                    r > 0 ? "the file became shorter while it was read" : text_errno(r));
}

/* Trouble with the message itself: waiting would not mend it. */
static const char *unsignable(const struct message *m)
{
    if (m->from_fields == 0)
        return "no From field";
    if (m->from_fields > 1)
        return "more than one From field (RFC 5322 section 3.6)";
    return m->from_domain[0] == '\0' ? "no domain in the From field" : NULL;
}

enum ipc_sign_status signer_sign(struct signer *s, const struct signer_request *request, struct signer_answer *answer)
{
    struct message m;
    struct signing g = {.signer = s, .answer = answer};
    enum ipc_sign_status status;
    buf_clear(&answer->headers);
    buf_clear(&answer->keys);
    buf_clear(&answer->reason);
    int r = message_init(&m, request->fd, request->content_offset, request->content_length);
    const char *trouble = r == 0 ? unsignable(&m) : NULL;
    if (trouble == NULL && r == 0)
        g.rows = key_table_find_signer(s->table, m.from_domain, &g.count);
    if (r == MESSAGE_MALFORMED)
        status = conclude(answer, SIGN_NO_KEY, "its header is malformed");
    else if (r != 0)
        status = conclude(answer, SIGN_FAILED, r > 0 ? "the file is shorter than announced" : text_errno(r));
    else if (trouble != NULL)
        status = conclude(answer, SIGN_NO_KEY, trouble);
    else if (g.count == 0)
        status = conclude(answer, SIGN_NO_KEY, "no key for the domain of its From field");
    else
        status = sign_message(&g, &m, request->queue_id);
    message_deinit(&m);
    return status;
}
