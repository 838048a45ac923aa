#include "smtpd/auth/engine.h"

#include <errno.h>
#include <sasl/saslplug.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "log/log.h"

#define PLUGIN_NAME    "posthouse"
#define SERVICE_NAME   "smtp"
#define TLS_STRENGTH   128    /* bits: what every TLS version that we accept has at least */
#define LINE_BYTES_MAX 12288  /* RFC 4954 section 4 */
#define NOBODY         "\x01" /* no account can be called so */

static struct {
    const struct engine_options *options;
    struct credentials *db;
    struct verdict_cache *verdicts;
    unsigned char decoy_key[SCRAM_KEY_BYTES];
    struct account *current;
    bool started;
} engine;

/* Unknown names and disabled accounts show the client what a live one shows, and cost the same. */
static int disguise(struct account *a)
{
    struct scram_verifier decoy;
    unsigned iterations = a->state == ACCOUNT_DISABLED ? a->row.verifier.iterations : engine.options->iterations;
    char folded[sizeof(a->asked)];
    snprintf(folded, sizeof(folded), "%s", a->asked);
    text_lower(folded);
    if (scram_decoy(engine.decoy_key, folded, iterations, &decoy) < 0)
        return -EIO;
    if (a->state == ACCOUNT_DISABLED) {
        decoy.salt_len = a->row.verifier.salt_len;
        memcpy(decoy.salt, a->row.verifier.salt, sizeof(decoy.salt));
    } else {
        a->row = (struct credential){0};
    }
    a->row.verifier = decoy;
    return 0;
}

/* Can an account be called so, once the realm is added? */
static bool is_possible(const char *name, size_t len, const char *realm)
{
    char text[CREDENTIAL_NAME_MAX + 1];
    size_t realm_len = realm != NULL && memchr(name, '@', len) == NULL ? 1 + strlen(realm) : 0;
    if (len + realm_len > CREDENTIAL_NAME_MAX || memchr(name, '\0', len) != NULL)
        return false;
    memcpy(text, name, len);
    text[len] = '\0';
    return credential_name_valid(text);
}

/* Comes before whatever the library does with a name of a client.  Where it dislikes one, it loses memory: in 2.1.28
 * the name itself if that is longer than 1024 bytes, LOGIN's password if the name is empty or has as many blanks before
 * it as letters.  It does not see such names. */
static int take_name(sasl_conn_t *conn, void *context, const char *in, unsigned in_len, unsigned flags,
                     const char *realm, char *out, unsigned out_max, unsigned *out_len)
{
    bool possible = is_possible(in, in_len, realm);
    *out_len = possible ? in_len : (unsigned)strlen(NOBODY);
    if (*out_len >= out_max)
        return SASL_BUFOVER;
    memcpy(out, possible ? in : NOBODY, *out_len);
    out[*out_len] = '\0';
    return SASL_OK;
}

/* Fills the current account.  The library asks several times in one exchange; the first answer stands.  A failure is
 * told by the state: another code than these two would make LOGIN lose the password. */
static int look_up(const char *name, size_t len)
{
    struct account *a = engine.current;
    if (a == NULL)
        return SASL_NOUSER;
    if (a->state != ACCOUNT_NONE && strlen(a->asked) == len && memcmp(a->asked, name, len) == 0)
        return a->state == ACCOUNT_UNREADABLE ? SASL_NOUSER : SASL_OK;
    bool possible = is_possible(name, len, NULL);
    snprintf(a->asked, sizeof(a->asked), "%.*s", possible ? (int)len : 0, name);
    int r = possible ? credentials_lookup(engine.db, a->asked, &a->row) : 0;
    a->state = r < 0            ? ACCOUNT_UNREADABLE
               : !possible      ? ACCOUNT_IMPOSSIBLE
               : r == 0         ? ACCOUNT_UNKNOWN
               : a->row.enabled ? ACCOUNT_FOUND
                                : ACCOUNT_DISABLED;
    if (r < 0)
        log_error("credentials database can not be read: %s; logins fail for now, clients are told to try later",
                  text_errno(r));
    else if (a->state != ACCOUNT_FOUND && disguise(a) < 0)
        a->state = ACCOUNT_UNREADABLE;
    return a->state == ACCOUNT_UNREADABLE ? SASL_NOUSER : SASL_OK;
}

/* SCRAM asks for *authPassword with flags 0; the authorisation identity is looked up once more, with no property asked
 * for, and must only exist. */
static int plugin_lookup(void *context, sasl_server_params_t *sparams, unsigned flags, const char *user, unsigned len)
{
    struct buf secret;
    int r = look_up(user, len);
    if (r != SASL_OK || (flags & SASL_AUXPROP_AUTHZID))
        return r;
    buf_init(&secret, 1024);
    r = scram_format(&engine.current->row.verifier, &secret) < 0 ? SASL_NOMEM : SASL_OK;
    const struct propval *p = sparams->utils->prop_get(sparams->propctx);
    for (; r == SASL_OK && p != NULL && p->name != NULL; p++)
        if (strcmp(p->name, "*authPassword") == 0 && p->values == NULL)
            r = sparams->utils->prop_set(sparams->propctx, p->name, secret.data, (int)secret.len);
    buf_deinit(&secret);
    return r;
}

static int plugin_init(const sasl_utils_t *utils, int max_version, int *out_version, sasl_auxprop_plug_t **out,
                       const char *name)
{
    static char plugin_name[] = PLUGIN_NAME;
    static sasl_auxprop_plug_t plugin = {.auxprop_lookup = plugin_lookup, .name = plugin_name};
    *out_version = SASL_AUXPROP_PLUG_VERSION;
    *out = &plugin;
    return SASL_OK;
}

/* PLAIN and LOGIN.  An answer other than SASL_OK makes the library ask the plugin for a plain password, which it never
 * has. */
static int check_password(sasl_conn_t *conn, void *context, const char *user, const char *pass, unsigned passlen,
                          struct propctx *propctx)
{
    struct account *a = engine.current;
    /* A NUL is in no password, and HMAC takes "x" and "x\0" for the same key. */
    if (look_up(user, strlen(user)) != SASL_OK || passlen > CREDENTIAL_PASSWORD_MAX ||
        memchr(pass, '\0', passlen) != NULL)
        return SASL_BADAUTH;
    if (a->state == ACCOUNT_FOUND && verdict_known(engine.verdicts, &a->row, pass, passlen))
        return SASL_OK;
    int r = scram_verify(&a->row.verifier, pass, passlen);
    if (r != 1 || a->state != ACCOUNT_FOUND)
        return r < 0 ? SASL_FAIL : SASL_BADAUTH;
    verdict_remember(engine.verdicts, &a->row, pass, passlen);
    return SASL_OK;
}

static int get_option(void *context, const char *plugin, const char *option, const char **result, unsigned *len)
{
    const struct {
        const char *name, *value;
    } answers[] = {
        {"auxprop_plugin", PLUGIN_NAME}, {"pwcheck_method", "auxprop"}, {"mech_list", engine.options->mechanisms}};
    for (size_t i = 0; i < ARRAY_LENGTH(answers); i++) {
        if (strcmp(option, answers[i].name) != 0)
            continue;
        *result = answers[i].value;
        if (len != NULL)
            *len = (unsigned)strlen(answers[i].value);
        return SASL_OK;
    }
    return SASL_FAIL;
}

/* The library tells wrong passwords and other people's trouble at every level; what matters we log ourselves. */
static int take_log(void *context, int level, const char *message)
{
    log_debug("sasl: %s", message);
    return SASL_OK;
}

typedef int callback_fn(void);
static const sasl_callback_t callbacks[] = {
    {SASL_CB_GETOPT, (callback_fn *)(void *)get_option, NULL},
    {SASL_CB_LOG, (callback_fn *)(void *)take_log, NULL},
    {SASL_CB_CANON_USER, (callback_fn *)(void *)take_name, NULL},
    {SASL_CB_SERVER_USERDB_CHECKPASS, (callback_fn *)(void *)check_password, NULL},
    {SASL_CB_LIST_END, NULL, NULL},
};

/* -- memory for the library, each piece with room for one NUL more.  sasl_seterror of 2.1.28 puts one behind a message
 * that fills its buffer, and SCRAM's messages hold what the client sent: once that buffer has grown to 600 bytes, the
 * byte belongs to the heap. */

static void *allocate(size_t bytes)
{
    return bytes < SIZE_MAX ? calloc(1, bytes + 1) : NULL;
}

static void *allocate_array(size_t count, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : allocate(bytes);
}

static void *reallocate(void *old, size_t bytes)
{
    char *new = bytes < SIZE_MAX ? realloc(old, bytes + 1) : NULL;
    if (new != NULL)
        new[bytes] = '\0';
    return new;
}

/* The first wanted mechanism that the library did not load, or NULL. */
static const char *missing_mechanism(const char *wanted)
{
    static char name[64];
    const char **loaded = sasl_global_listmech();
    while (*wanted != '\0') {
        size_t len = strcspn(wanted, " ");
        snprintf(name, sizeof(name), "%.*s", (int)len, wanted);
        bool found = false;
        for (size_t i = 0; loaded != NULL && loaded[i] != NULL; i++)
            found = found || strcmp(loaded[i], name) == 0;
        if (!found)
            return name;
        wanted += len + strspn(wanted + len, " ");
    }
    return NULL;
}

int engine_init(const struct engine_options *options, struct credentials *db, const char **missing)
{
    engine.options = options;
    engine.db = db;
    *missing = NULL;
    int r = -ENOMEM;
    if (scram_random(engine.decoy_key, sizeof(engine.decoy_key)) < 0 ||
        (engine.verdicts = verdict_cache_new(options->verdict_ttl_ms, options->verdicts_max)) == NULL)
        goto fail;
    r = -EIO;
    sasl_set_alloc(allocate, allocate_array, reallocate, free);
    char no_configuration[] = "/nonexistent"; /* of the library's own */
    if (sasl_set_path(SASL_PATH_TYPE_CONFIG, no_configuration) != SASL_OK ||
        sasl_auxprop_add_plugin(PLUGIN_NAME, plugin_init) != SASL_OK ||
        sasl_server_init(callbacks, PLUGIN_NAME) != SASL_OK)
        goto fail;
    engine.started = true;
    *missing = missing_mechanism(options->mechanisms);
    if (*missing == NULL)
        return 0;
    r = -ENOENT;
fail:
    engine_deinit();
    return r;
}

void engine_deinit(void)
{
    if (engine.started)
        sasl_server_done();
    verdict_cache_free(engine.verdicts);
    credentials_free(engine.db);
    explicit_bzero(&engine, sizeof(engine));
}

void engine_enter(struct account *a)
{
    engine.current = a;
}

void engine_leave(void)
{
    engine.current = NULL;
}

bool engine_offers(const char *mechanism)
{
    const char *at = engine.options->mechanisms;
    size_t len;
    for (at += strspn(at, " "); (len = strcspn(at, " ")) > 0; at += len + strspn(at + len, " "))
        if (strlen(mechanism) == len && text_equal_nocase_n(at, mechanism, len))
            return true;
    return false;
}

void engine_find(const char *name)
{
    char whole[CREDENTIAL_NAME_MAX + 1];
    const char *realm = engine.options->realm;
    bool bare = realm[0] != '\0' && strchr(name, '@') == NULL;
    int len = snprintf(whole, sizeof(whole), "%s%s%s", name, bare ? "@" : "", bare ? realm : "");
    look_up((size_t)len < sizeof(whole) ? whole : "", (size_t)len < sizeof(whole) ? (size_t)len : 0);
}

/* The first of the names, one a line, that is a credential's. */
static int look_up_names(const char *names, struct credential *row)
{
    int r = 0;
    while (*names != '\0' && r == 0) {
        char name[CREDENTIAL_NAME_MAX + 1];
        size_t len = strcspn(names, "\n");
        if (len <= CREDENTIAL_NAME_MAX) {
            memcpy(name, names, len);
            name[len] = '\0';
            r = credentials_lookup(engine.db, name, row);
        }
        names += len + strspn(names + len, "\n");
    }
    return r;
}

int engine_name_of_certificate(const char *certificate, const char *key, const char *names,
                               char name[CREDENTIAL_NAME_MAX + 1])
{
    struct credential row;
    int r = certificate[0] != '\0' ? credentials_lookup_certificate(engine.db, certificate, &row) : 0;
    if (r == 0 && key[0] != '\0')
        r = credentials_lookup_certificate(engine.db, key, &row);
    if (r == 0)
        r = look_up_names(names, &row);
    if (r == 1)
        memcpy(name, row.name, sizeof(row.name));
    if (r < 0)
        log_error("credentials database can not be read: %s; logins fail for now, clients are told to try later",
                  text_errno(r));
    return r;
}

sasl_conn_t *engine_connection(bool secure)
{
    const sasl_security_properties_t properties = {
        .max_ssf = 0, /* no security layer of SASL's own: TLS is there for that */
        .maxbufsize = LINE_BYTES_MAX,
        .security_flags = SASL_SEC_NOANONYMOUS | (secure ? 0 : SASL_SEC_NOPLAINTEXT),
    };
    const sasl_ssf_t strength = secure ? TLS_STRENGTH : 0;
    const char *realm = engine.options->realm[0] != '\0' ? engine.options->realm : NULL;
    sasl_conn_t *conn = NULL;
    if (sasl_server_new(SERVICE_NAME, engine.options->hostname, realm, NULL, NULL, NULL, 0, &conn) != SASL_OK)
        return NULL;
    if (sasl_setprop(conn, SASL_SEC_PROPS, &properties) != SASL_OK ||
        sasl_setprop(conn, SASL_SSF_EXTERNAL, &strength) != SASL_OK)
        sasl_dispose(&conn);
    return conn;
}
