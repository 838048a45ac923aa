#include "smtpd/auth/exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/text.h"

#define RESPONSE_MAX  16384 /* bytes, decoded */
#define CHALLENGE_MAX 32768 /* bytes, base64 */
#define BINDING_MAX   1024

void exchange_init(struct exchange *x)
{
    *x = (struct exchange){.reason = ""};
    buf_init(&x->challenge, CHALLENGE_MAX);
    buf_init(&x->binding_data, BINDING_MAX);
}

void exchange_deinit(struct exchange *x)
{
    engine_enter(&x->account);
    if (x->conn != NULL)
        sasl_dispose(&x->conn);
    engine_leave();
    buf_deinit(&x->challenge);
    buf_deinit(&x->binding_data);
    free(x->binding_name);
    explicit_bzero(x, sizeof(*x));
}

static int fail(struct exchange *x, enum ipc_auth_result result, const char *reason)
{
    x->reason = reason;
    return (int)result;
}

static int fail_login(struct exchange *x)
{
    static const char *const reasons[] = {
        [ACCOUNT_NONE] = "no account named",     [ACCOUNT_FOUND] = "wrong password",
        [ACCOUNT_UNKNOWN] = "unknown account",   [ACCOUNT_IMPOSSIBLE] = "no account can have such a name",
        [ACCOUNT_DISABLED] = "account disabled", [ACCOUNT_UNREADABLE] = "credentials database can not be read",
    };
    bool readable = x->account.state != ACCOUNT_UNREADABLE;
    return fail(x, readable ? AUTH_FAILED : AUTH_TEMPFAIL, reasons[x->account.state]);
}

static int take_account(struct exchange *x)
{
    x->credential = x->account.row.name;
    x->bulk = x->account.row.bulk;
    x->senders = x->account.row.senders;
    x->tenant = x->account.row.tenant[0] != '\0' ? x->account.row.tenant : x->account.row.name;
    return AUTH_OK;
}

/* The proof was right: of a live account? */
static int succeed(struct exchange *x)
{
    const void *user = NULL;
    if (sasl_getprop(x->conn, SASL_USERNAME, &user) != SASL_OK || user == NULL || x->account.state != ACCOUNT_FOUND ||
        strcmp(user, x->account.asked) != 0)
        return fail_login(x);
    return take_account(x);
}

static int take_challenge(struct exchange *x, const char *data, unsigned len)
{
    buf_clear(&x->challenge);
    if (len > 0 && base64_encode(data, len, &x->challenge) < 0)
        return fail(x, AUTH_TEMPFAIL, "challenge too long");
    return EXCHANGE_MORE;
}

/* What the library says, in our words.  Everything that depends on the account ends in fail_login. */
static const struct {
    int code;
    enum ipc_auth_result result;
    const char *reason; /* NULL: fail_login */
} codes[] = {
    {SASL_BADAUTH, AUTH_FAILED, NULL},
    {SASL_NOUSER, AUTH_FAILED, NULL},
    {SASL_NOVERIFY, AUTH_FAILED, NULL},
    {SASL_DISABLED, AUTH_FAILED, NULL},
    {SASL_FAIL, AUTH_FAILED, NULL},
    {SASL_NOAUTHZ, AUTH_FAILED, "may not act for another account"},
    {SASL_NOMECH, AUTH_NO_MECHANISM, "mechanism not offered"},
    {SASL_TOOWEAK, AUTH_NO_MECHANISM, "mechanism not offered without TLS"},
    {SASL_ENCRYPT, AUTH_NO_MECHANISM, "mechanism not offered without TLS"},
    {SASL_BADPROT, AUTH_MALFORMED, "not in the form of the mechanism, or bound to another channel"},
    {SASL_BADPARAM, AUTH_MALFORMED, "not in the form of the mechanism"},
    {SASL_BUFOVER, AUTH_MALFORMED, "response too long"},
};

static int conclude(struct exchange *x, int code, const char *data, unsigned len)
{
    if (code == SASL_OK)
        return succeed(x);
    if (code == SASL_CONTINUE)
        return take_challenge(x, data, len);
    for (size_t i = 0; i < ARRAY_LENGTH(codes); i++)
        if (codes[i].code == code)
            return codes[i].reason == NULL ? fail_login(x) : fail(x, codes[i].result, codes[i].reason);
    return fail(x, AUTH_TEMPFAIL, sasl_errstring(code, NULL, NULL));
}

static void wipe(struct buf *b)
{
    if (b->base != NULL)
        explicit_bzero(b->base, b->capacity);
    buf_deinit(b);
}

static int set_binding(struct exchange *x, const struct exchange_opening *o)
{
    if (o->binding_name[0] == '\0')
        return 0;
    x->binding_name = strdup(o->binding_name);
    if (x->binding_name == NULL || base64_decode(o->binding, strlen(o->binding), &x->binding_data) < 0)
        return -EINVAL;
    x->binding = (sasl_channel_binding_t){
        .name = x->binding_name, .len = x->binding_data.len, .data = (const unsigned char *)buf_str(&x->binding_data)};
    return sasl_setprop(x->conn, SASL_CHANNEL_BINDING, &x->binding) == SASL_OK ? 0 : -EINVAL;
}

/* Whose certificate it is, before the library is asked: it takes that name for granted (RFC 4422 appendix A) and looks
 * whether the client asks to act as somebody else. */
static int set_external(struct exchange *x, const struct exchange_opening *o)
{
    char name[CREDENTIAL_NAME_MAX + 1];
    int r = engine_name_of_certificate(o->certificate, o->certificate_key, o->certificate_names, name);
    if (r < 0)
        return fail(x, AUTH_TEMPFAIL, "credentials database can not be read");
    if (r == 0)
        return fail(x, AUTH_FAILED,
                    o->certificate[0] != '\0' ? "certificate of no credential" : "no certificate was shown");
    if (sasl_setprop(x->conn, SASL_AUTH_EXTERNAL, name) != SASL_OK)
        return fail(x, AUTH_TEMPFAIL, "no memory for another exchange");
    return EXCHANGE_MORE;
}

static int take_word(struct exchange *x, const char *name)
{
    engine_enter(&x->account);
    engine_find(name);
    engine_leave();
    if (x->account.state == ACCOUNT_FOUND)
        return take_account(x);
    if (x->account.state != ACCOUNT_UNKNOWN && x->account.state != ACCOUNT_IMPOSSIBLE)
        return fail_login(x);
    x->credential = name;
    return fail(x, AUTH_NOBODY, "not one of our accounts");
}

int exchange_start(struct exchange *x, const struct exchange_opening *o)
{
    struct buf initial;
    const char *out = NULL;
    unsigned out_len = 0;
    if (o->vouched)
        return take_word(x, o->initial);
    x->conn = engine_connection(o->secure);
    if (x->conn == NULL || set_binding(x, o) < 0)
        return fail(x, AUTH_TEMPFAIL, "no memory for another exchange");
    if (text_equal_nocase(o->mechanism, "EXTERNAL") && engine_offers("EXTERNAL")) {
        int r = set_external(x, o);
        if (r != EXCHANGE_MORE)
            return r;
    }
    buf_init(&initial, RESPONSE_MAX);
    int result;
    if (strcmp(o->initial, "=") != 0 && base64_decode(o->initial, strlen(o->initial), &initial) < 0) {
        result = fail(x, AUTH_MALFORMED, "initial response is not base64");
    } else {
        engine_enter(&x->account);
        int code = sasl_server_start(x->conn, o->mechanism, o->has_initial ? buf_str(&initial) : NULL,
                                     (unsigned)initial.len, &out, &out_len);
        engine_leave();
        result = conclude(x, code, out, out_len);
    }
    wipe(&initial);
    return result;
}

int exchange_step(struct exchange *x, const char *response)
{
    struct buf decoded;
    const char *out = NULL;
    unsigned out_len = 0;
    buf_init(&decoded, RESPONSE_MAX);
    int result;
    if (base64_decode(response, strlen(response), &decoded) < 0) {
        result = fail(x, AUTH_MALFORMED, "response is not base64");
    } else {
        engine_enter(&x->account);
        int code = sasl_server_step(x->conn, buf_str(&decoded), (unsigned)decoded.len, &out, &out_len);
        engine_leave();
        result = conclude(x, code, out, out_len);
    }
    wipe(&decoded);
    return result;
}
