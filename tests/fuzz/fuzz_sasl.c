/* Logins: whatever a client answers, it is let in as somebody only if it sent that account's password, or the proof
 * that it knows it.
 *
 * Input: a byte of choices, then the client's responses, one a line (before them the mechanism, if the choices leave it
 * open).  Unless the choices say that they are base64 already, they are encoded here, and the byte 1 stands for the
 * server's nonce, the byte 2 for the right proof of the first account. */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/text.h"
#include "log/log.h"
#include "smtpd/auth/exchange.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MECHANISM = 7, INITIAL = 8, TLS = 16, BOUND = 32, RAW = 64, CERTIFIED = 128 };
enum { NONCE = 1, PROOF = 2, RESPONSES_MAX = 4, SAID_MAX = 65536 };

static const struct engine_options options = {.mechanisms = "SCRAM-SHA-256 PLAIN LOGIN EXTERNAL",
                                              .realm = "",
                                              .hostname = "mail.example.test",
                                              .iterations = SCRAM_ITERATIONS_MIN,
                                              .verdict_ttl_ms = 60000,
                                              .verdicts_max = 100};

static const char *const mechanisms[] = {"PLAIN",         "LOGIN",   "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS",
                                         "scram-sha-256", "EXTERNAL"};

/* The certificate of the second account, whose key is nobody's; with a binding instead one whose names are of an
 * account that is disabled. */
#define CERTIFICATE "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define STRANGE_KEY "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"

static struct {
    const char *name, *password;
    bool enabled;
    unsigned char client_key[SCRAM_KEY_BYTES], stored_key[SCRAM_KEY_BYTES];
} accounts[] = {
    {"joe@app.test", "pass word", true},
    {"eve", "x", true},
    {"off", "secret", false},
};

/* What was said. */
struct talk {
    char *mechanism;
    struct buf sent[RESPONSES_MAX]; /* decoded */
    struct buf server_first;        /* the first challenge, decoded */
    unsigned responses, challenges;
};

static bool hmac(const unsigned char *key, const void *data, size_t len, unsigned char out[SCRAM_KEY_BYTES])
{
    return HMAC(EVP_sha256(), key, SCRAM_KEY_BYTES, data, len, out, NULL) != NULL;
}

static int add_account(struct credentials *db, size_t n)
{
    const char *password = accounts[n].password;
    unsigned char salted[SCRAM_KEY_BYTES];
    struct scram_verifier v;
    int r = scram_derive(password, strlen(password), SCRAM_ITERATIONS_MIN, &v);
    if (r == 0)
        r = credentials_add(db, accounts[n].name, "", "", &v);
    if (r == 0)
        r = credentials_set_enabled(db, accounts[n].name, accounts[n].enabled);
    memcpy(accounts[n].stored_key, v.stored_key, sizeof(v.stored_key));
    if (r < 0 || PKCS5_PBKDF2_HMAC(password, (int)strlen(password), v.salt, (int)v.salt_len, SCRAM_ITERATIONS_MIN,
                                   EVP_sha256(), sizeof(salted), salted) != 1)
        return -1;
    return hmac(salted, "Client Key", strlen("Client Key"), accounts[n].client_key) ? 0 : -1;
}

static void prepare(void)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    char folder[] = "/tmp/posthouse-fuzz-XXXXXX", path[64], name[80];
    struct credentials *admin, *reader;
    const char *missing;
    log_open("auth", "/dev/null", LOG_LEVEL_DEBUG);
    if (mkdtemp(folder) == NULL)
        abort();
    snprintf(path, sizeof(path), "%s/credentials.db", folder);
    if (credentials_open(path, &admin) < 0)
        abort();
    for (size_t i = 0; i < ARRAY_LENGTH(accounts); i++)
        if (add_account(admin, i) < 0)
            abort();
    if (credentials_add_certificate(admin, accounts[1].name, CERTIFICATE) < 0)
        abort();
    credentials_free(admin);
    if (credentials_open_reader(path, &reader) < 0 || engine_init(&options, reader, &missing) < 0)
        abort();
    for (size_t i = 0; i < ARRAY_LENGTH(suffixes); i++) {
        snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
        unlink(name);
    }
    rmdir(folder);
}

/* RFC 5802 section 3: client-first-message-bare "," server-first-message "," client-final-message-without-proof */
static void auth_message(const struct talk *t, const char *final, size_t len, struct buf *out)
{
    const char *bare = strchr(buf_str(&t->sent[0]), ',');
    bare = bare != NULL ? strchr(bare + 1, ',') : NULL;
    buf_append_str(out, bare != NULL ? bare + 1 : "");
    buf_append_char(out, ',');
    buf_append(out, buf_str(&t->server_first), t->server_first.len);
    buf_append_char(out, ',');
    buf_append(out, final, len);
}

static void proof_of(const struct talk *t, size_t account, const char *final, size_t len, struct buf *base64)
{
    unsigned char proof[SCRAM_KEY_BYTES];
    struct buf message;
    buf_init(&message, 65536);
    auth_message(t, final, len, &message);
    if (!hmac(accounts[account].stored_key, message.data, message.len, proof))
        abort();
    for (size_t i = 0; i < sizeof(proof); i++)
        proof[i] ^= accounts[account].client_key[i];
    base64_encode(proof, sizeof(proof), base64);
    buf_deinit(&message);
}

/* The value of r= in the first challenge. */
static void append_nonce(const struct talk *t, struct buf *out)
{
    const char *nonce = buf_str(&t->server_first);
    if (strncmp(nonce, "r=", 2) == 0)
        buf_append(out, nonce + 2, strcspn(nonce + 2, ","));
}

static void expand(const struct talk *t, const char *line, size_t len, struct buf *out)
{
    for (size_t i = 0; i < len; i++) {
        size_t proofless = out->len > 3 && strncmp(out->data + out->len - 3, ",p=", 3) == 0 ? out->len - 3 : out->len;
        struct buf text;
        buf_init(&text, 256);
        if (line[i] == NONCE)
            append_nonce(t, &text);
        else if (line[i] == PROOF)
            proof_of(t, 0, buf_str(out), proofless, &text);
        else
            buf_append_char(&text, line[i]);
        buf_append(out, buf_str(&text), text.len);
        buf_deinit(&text);
    }
}

/* A line of the input as the client would send it; what it says is kept in t->sent. */
static char *next_response(struct talk *t, bool raw, const char *line, size_t len)
{
    struct buf *said = &t->sent[t->responses++], wire;
    if (raw) {
        char *text = text_dup_n(line, len);
        base64_decode(text, strlen(text), said);
        return text;
    }
    expand(t, line, len, said);
    buf_init(&wire, 2 * SAID_MAX);
    if (base64_encode(buf_str(said), said->len, &wire) < 0)
        abort();
    char *text = strdup(buf_str(&wire));
    buf_deinit(&wire);
    return text;
}

static void hear(struct talk *t, const struct exchange *x)
{
    /* The empty one only asks for the first response. */
    if (x->challenge.len > 0 && t->challenges++ == 0 &&
        base64_decode(buf_str(&x->challenge), x->challenge.len, &t->server_first) < 0)
        abort();
}

static const char *take_line(const char **at, const char *end, size_t *len)
{
    const char *line = *at, *stop = memchr(line, '\n', (size_t)(end - line));
    *len = stop != NULL ? (size_t)(stop - line) : (size_t)(end - line);
    *at = stop != NULL ? stop + 1 : end;
    return line;
}

/* -- what must have been said -- */

static bool is_name(const char *said, size_t len, const char *name)
{
    return len == strlen(name) && text_equal_nocase_n(said, name, len);
}

static bool is_password(const struct buf *said, size_t offset, const char *password)
{
    size_t len = strlen(password);
    return said->len == offset + len && memcmp(said->data + offset, password, len) == 0;
}

static bool plain_was_right(const struct talk *t, size_t account)
{
    const struct buf *said = &t->sent[t->responses - 1];
    const char *authzid = buf_str(said), *name = memchr(authzid, '\0', said->len);
    const char *password = name != NULL ? memchr(name + 1, '\0', said->len - (size_t)(name + 1 - authzid)) : NULL;
    return password != NULL && is_name(name + 1, (size_t)(password - name - 1), accounts[account].name) &&
           (authzid[0] == '\0' || is_name(authzid, (size_t)(name - authzid), accounts[account].name)) &&
           is_password(said, (size_t)(password + 1 - authzid), accounts[account].password);
}

static bool login_was_right(const struct talk *t, size_t account)
{
    const struct buf *name = t->responses >= 2 ? &t->sent[t->responses - 2] : NULL;
    return name != NULL && is_name(buf_str(name), name->len, accounts[account].name) &&
           is_password(&t->sent[t->responses - 1], 0, accounts[account].password);
}

/* The last response is the empty one behind the server's own proof. */
static bool scram_was_right(const struct talk *t, size_t account)
{
    const struct buf *final = &t->sent[t->responses - (t->challenges > 1 ? 2 : 1)];
    const char *at = buf_str(final);
    bool right = false;
    while (!right && (at = strstr(at, ",p=")) != NULL) {
        struct buf proof;
        buf_init(&proof, 256);
        proof_of(t, account, buf_str(final), (size_t)(at - buf_str(final)), &proof);
        at += 3;
        right = strncmp(at, buf_str(&proof), proof.len) == 0;
        buf_deinit(&proof);
    }
    return right;
}

static bool was_right(const struct talk *t, unsigned choices, const char *credential)
{
    if (text_equal_nocase(t->mechanism, "EXTERNAL"))
        return strcmp(credential, accounts[1].name) == 0 && (choices & (CERTIFIED | BOUND)) == CERTIFIED;
    for (size_t i = 0; i < ARRAY_LENGTH(accounts); i++) {
        if (strcmp(accounts[i].name, credential) != 0)
            continue;
        if (!accounts[i].enabled)
            return false;
        if (text_equal_nocase(t->mechanism, "PLAIN"))
            return plain_was_right(t, i);
        return text_equal_nocase(t->mechanism, "LOGIN") ? login_was_right(t, i) : scram_was_right(t, i);
    }
    return false;
}

/* -- one login -- */

static int converse(struct talk *t, struct exchange *x, unsigned choices, const char *at, const char *end)
{
    size_t len;
    char *initial = NULL;
    bool certified = choices & CERTIFIED, strange = certified && (choices & BOUND);
    if (choices & INITIAL) {
        const char *line = take_line(&at, end, &len);
        initial = next_response(t, choices & RAW, line, len);
    }
    const struct exchange_opening o = {.mechanism = t->mechanism,
                                       .has_initial = initial != NULL,
                                       .initial = initial != NULL ? initial : "",
                                       .secure = choices & TLS,
                                       .binding_name = choices & BOUND ? "tls-exporter" : "",
                                       .binding = choices & BOUND ? "Y2hhbm5lbA==" : "",
                                       .certificate = certified && !strange ? CERTIFICATE : "",
                                       .certificate_key = certified ? STRANGE_KEY : "",
                                       .certificate_names = strange ? "nobody@app.test\noff\n" : ""};
    int result = exchange_start(x, &o);
    free(initial);
    while (result == EXCHANGE_MORE && t->responses < RESPONSES_MAX) {
        hear(t, x);
        const char *line = take_line(&at, end, &len);
        char *response = next_response(t, choices & RAW, line, len);
        result = exchange_step(x, response);
        free(response);
    }
    return result;
}

static int log_in(unsigned choices, const char *at, const char *end)
{
    struct talk t = {0};
    struct exchange x;
    size_t len;
    for (int i = 0; i < RESPONSES_MAX; i++)
        buf_init(&t.sent[i], SAID_MAX);
    buf_init(&t.server_first, 65536);
    if ((choices & MECHANISM) < ARRAY_LENGTH(mechanisms)) {
        t.mechanism = strdup(mechanisms[choices & MECHANISM]);
    } else {
        const char *line = take_line(&at, end, &len);
        t.mechanism = text_dup_n(line, len < 31 ? len : 31); /* smtpd's room */
    }
    exchange_init(&x);
    int result = converse(&t, &x, choices, at, end);
    if (result == AUTH_OK && !was_right(&t, choices, x.credential)) {
        fprintf(stderr, "%s lets in %s, who did not show the password\n", t.mechanism, x.credential);
        abort();
    }
    if ((result != AUTH_OK && result != EXCHANGE_MORE && x.reason[0] == '\0') || result > AUTH_NO_MECHANISM)
        abort();
    exchange_deinit(&x);
    for (int i = 0; i < RESPONSES_MAX; i++)
        buf_deinit(&t.sent[i]);
    buf_deinit(&t.server_first);
    free(t.mechanism);
    return result;
}

/* Else nothing above would mean a thing. */
static void check_good_logins(void)
{
    static const struct {
        unsigned choices;
        const char *responses;
        size_t len;
    } good[] = {
        {0 | INITIAL | TLS, "\0joe@app.test\0pass word", 23},
        {1 | TLS, "eve\nx\n", 6},
        {2 | TLS | INITIAL, "n,,n=joe@app.test,r=abcdef\nc=biws,r=\1,p=\2\n\n", 43},
        {5 | TLS | CERTIFIED, "\n", 1},
        {5 | TLS | CERTIFIED | INITIAL, "eve", 3},
        {2, "n,,n=joe@app.test,r=abcdef\nc=biws,r=\1,p=\2\n\n", 43},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++)
        if (log_in(good[i].choices, good[i].responses, good[i].responses + good[i].len) != AUTH_OK)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool prepared;
    clock_fake_set(1000, INT64_C(1763928001000000));
    if (!prepared) {
        prepared = true;
        prepare();
        check_good_logins();
    }
    if (size > 0)
        log_in(data[0], (const char *)data + 1, (const char *)data + size);
    return 0;
}
