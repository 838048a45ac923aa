#include "smtp-out/auth.h"

#include <errno.h>
#include <sasl/sasl.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/text.h"

enum { CHALLENGE_MAX = 12288, CALLBACKS = 4 };

struct auth {
    const struct route *route;
    sasl_conn_t *conn;
    sasl_secret_t *secret;
    sasl_callback_t callbacks[CALLBACKS];
    bool complete;
};

int auth_library_init(void)
{
    return sasl_client_init(NULL) == SASL_OK ? 0 : -EIO;
}

void auth_library_deinit(void)
{
    sasl_client_done();
}

static int give_name(void *context, int id, const char **result, unsigned *len)
{
    const struct auth *a = context;
    *result = a->route->user;
    if (len != NULL)
        *len = (unsigned)strlen(a->route->user);
    return SASL_OK;
}

static int give_password(sasl_conn_t *conn, void *context, int id, sasl_secret_t **secret)
{
    struct auth *a = context;
    *secret = a->secret;
    return SASL_OK;
}

/* libsasl2 keeps all callbacks as int (*)(void). */
static sasl_callback_t callback(unsigned long id, void (*fn)(void), struct auth *a)
{
    return (sasl_callback_t){.id = id, .proc = (int (*)(void))fn, .context = a};
}

static struct auth *auth_new(const struct route *route)
{
    size_t len = strlen(route->password);
    struct auth *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return NULL;
    a->route = route;
    a->secret = calloc(1, sizeof(*a->secret) + len + 1);
    if (a->secret == NULL) {
        free(a);
        return NULL;
    }
    a->secret->len = len;
    memcpy(a->secret->data, route->password, len);
    a->callbacks[0] = callback(SASL_CB_USER, (void (*)(void))give_name, a);
    a->callbacks[1] = callback(SASL_CB_AUTHNAME, (void (*)(void))give_name, a);
    a->callbacks[2] = callback(SASL_CB_PASS, (void (*)(void))give_password, a);
    a->callbacks[3] = callback(SASL_CB_LIST_END, NULL, NULL);
    return a;
}

void auth_free(struct auth *a)
{
    if (a == NULL)
        return;
    if (a->conn != NULL)
        sasl_dispose(&a->conn);
    explicit_bzero(a->secret->data, a->secret->len);
    free(a->secret);
    free(a);
}

/* Over verified TLS the password itself is safe and 9 ms of SCRAM rounds are saved; elsewhere it is the last resort. */
static const struct {
    const char *name;
    bool is_plaintext;
    unsigned rank_verified, rank_other; /* lowest first */
} mechanisms[] = {
    {"PLAIN", true, 0, 4},          {"LOGIN", true, 1, 5},        {"SCRAM-SHA-512", false, 2, 0},
    {"SCRAM-SHA-256", false, 3, 1}, {"SCRAM-SHA-1", false, 4, 2}, {"CRAM-MD5", false, 5, 3},
};

static const char *mechanism_of_rank(unsigned rank, const struct smtp_ehlo *offers, enum auth_tls tls,
                                     const struct route *route)
{
    for (size_t i = 0; i < ARRAY_LENGTH(mechanisms); i++) {
        unsigned its_rank = tls == AUTH_TLS_VERIFIED ? mechanisms[i].rank_verified : mechanisms[i].rank_other;
        bool allowed = !mechanisms[i].is_plaintext || tls != AUTH_TLS_NONE || route->plaintext_auth;
        if (its_rank == rank && allowed && smtp_ehlo_has_mechanism(offers, mechanisms[i].name))
            return mechanisms[i].name;
    }
    return NULL;
}

static int start_mechanism(struct auth *a, const char *host, const char *mechanism, struct buf *line)
{
    const char *initial = NULL, *chosen = NULL;
    unsigned len = 0;
    if (a->conn != NULL)
        sasl_dispose(&a->conn);
    if (sasl_client_new("smtp", host, NULL, NULL, a->callbacks, 0, &a->conn) != SASL_OK)
        return -ENOMEM;
    int r = sasl_client_start(a->conn, mechanism, NULL, &initial, &len, &chosen);
    if (r != SASL_OK && r != SASL_CONTINUE)
        return -EOPNOTSUPP;
    a->complete = r == SASL_OK;
    buf_printf(line, "AUTH %s", mechanism);
    if (initial != NULL && len == 0)
        buf_append_str(line, " =");
    if (initial != NULL && len > 0 && (buf_append_char(line, ' ') < 0 || base64_encode(initial, len, line) < 0))
        return -ENOMEM;
    return buf_append_str(line, "\r\n");
}

int auth_begin(const struct route *route, const char *host, const struct smtp_ehlo *offers, enum auth_tls tls,
               struct auth **out, struct buf *line)
{
    struct auth *a = auth_new(route);
    if (a == NULL)
        return -ENOMEM;
    int r = -EOPNOTSUPP;
    for (unsigned rank = 0; rank < ARRAY_LENGTH(mechanisms) && r == -EOPNOTSUPP; rank++) {
        const char *mechanism = mechanism_of_rank(rank, offers, tls, route);
        if (mechanism != NULL)
            r = start_mechanism(a, host, mechanism, line);
    }
    if (r < 0) {
        auth_free(a);
        return r;
    }
    *out = a;
    return 0;
}

int auth_step(struct auth *a, const char *challenge, struct buf *line)
{
    struct buf decoded;
    const char *response = NULL;
    unsigned len = 0;
    buf_init(&decoded, CHALLENGE_MAX);
    int r = base64_decode(challenge, strlen(challenge), &decoded);
    if (r == 0) {
        int sasl = sasl_client_step(a->conn, buf_str(&decoded), (unsigned)decoded.len, NULL, &response, &len);
        a->complete = sasl == SASL_OK;
        r = sasl == SASL_OK || sasl == SASL_CONTINUE ? 0 : -EPROTO;
    }
    buf_deinit(&decoded);
    if (r == 0 && len > 0)
        r = base64_encode(response, len, line);
    if (r == 0)
        r = buf_append_str(line, "\r\n");
    return r < 0 ? -EPROTO : 0;
}

bool auth_is_complete(const struct auth *a)
{
    return a->complete;
}
