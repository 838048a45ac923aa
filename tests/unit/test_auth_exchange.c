/* Exchanges against a real database, with libsasl's client side for SCRAM. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/encode.h"
#include "base/text.h"
#include "log/log.h"
#include "smtpd/auth/exchange.h"

static char folder[64], path[128];
static struct credentials *admin;

static struct engine_options options = {.mechanisms = "SCRAM-SHA-256 PLAIN LOGIN",
                                        .realm = "",
                                        .hostname = "mail.example.test",
                                        .iterations = SCRAM_ITERATIONS_MIN,
                                        .verdict_ttl_ms = 60000,
                                        .verdicts_max = 100};

static void add(const char *name, const char *tenant, const char *password)
{
    struct scram_verifier v;
    assert_int_equal(scram_derive(password, strlen(password), SCRAM_ITERATIONS_MIN, &v), 0);
    assert_int_equal(credentials_add(admin, name, tenant, "", &v), 0);
}

/* One whose row can not be read. */
static void add_broken(const char *name)
{
    struct scram_verifier v = {.iterations = SCRAM_ITERATIONS_MIN};
    assert_int_equal(credentials_add(admin, name, "", "", &v), 0);
}

static int setup(void **state)
{
    struct credentials *reader = NULL;
    const char *missing;
    snprintf(folder, sizeof(folder), "/tmp/posthouse-test-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/credentials.db", folder);
    assert_int_equal(credentials_open(path, &admin), 0);
    add("App@Example.test", "shop", "right horse, battery");
    add("plainname", "", " \"quoted\" = $,: ");
    add("off", "", "secret");
    add_broken("broken");
    assert_int_equal(credentials_set_enabled(admin, "off", false), 0);
    assert_int_equal(credentials_open_reader(path, &reader), 0);
    assert_int_equal(engine_init(&options, reader, &missing), 0);
    return sasl_client_init(NULL) == SASL_OK ? 0 : -1;
}

static int teardown(void **state)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    char name[160];
    engine_deinit();
    sasl_client_done();
    credentials_free(admin);
    for (size_t i = 0; i < ARRAY_LENGTH(suffixes); i++) {
        snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
        unlink(name);
    }
    return rmdir(folder);
}

static const char *base64(const void *data, size_t len)
{
    static struct buf text;
    buf_deinit(&text);
    buf_init(&text, 65536);
    assert_int_equal(base64_encode(data, len, &text), 0);
    return buf_str(&text);
}

struct login {
    const char *authzid, *name, *password;
    int want;
    const char *credential, *tenant; /* when ok */
    const char *reason;              /* when not */
};

static const struct login logins[] = {
    {"", "App@Example.test", "right horse, battery", AUTH_OK, "App@Example.test", "shop", NULL},
    {"", "app@example.TEST", "right horse, battery", AUTH_OK, "App@Example.test", "shop", NULL},
    {"", "plainname", " \"quoted\" = $,: ", AUTH_OK, "plainname", "plainname", NULL},
    {"plainname", "plainname", " \"quoted\" = $,: ", AUTH_OK, "plainname", "plainname", NULL},
    {"", "plainname", "\"quoted\" = $,:", AUTH_FAILED, NULL, NULL, "wrong password"},
    {"", "App@Example.test", "right horse, batterz", AUTH_FAILED, NULL, NULL, "wrong password"},
    {"", "nobody@example.test", "right horse, battery", AUTH_FAILED, NULL, NULL, "unknown account"},
    {"", "off", "secret", AUTH_FAILED, NULL, NULL, "account disabled"},
    {"", "off", "other", AUTH_FAILED, NULL, NULL, "account disabled"},
    {"", "broken", "secret", AUTH_TEMPFAIL, NULL, NULL, "credentials database can not be read"},
};

#define IMPOSSIBLE   AUTH_FAILED, NULL, NULL, "no account can have such a name"
#define FIFTY        "fifty bytes fifty bytes fifty bytes fifty bytes 50"
#define HUNDRED      FIFTY FIFTY
#define FIVE_HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED
#define PASSWORD     " \"quoted\" = $,: "

/* The library loses memory about some of them. */
static const struct login impossible[] = {
    {"", "", PASSWORD, IMPOSSIBLE},
    {"", " ", PASSWORD, IMPOSSIBLE},
    {"", " \t ", PASSWORD, IMPOSSIBLE},
    {"", " plainname", PASSWORD, IMPOSSIBLE},
    {"", "plainname ", PASSWORD, IMPOSSIBLE},
    {"", "\tplainname", PASSWORD, IMPOSSIBLE},
    {"", "plainname\r\n", PASSWORD, IMPOSSIBLE},
    {"", "         plainname", PASSWORD, IMPOSSIBLE},
    {"", "plain\x7fname", PASSWORD, IMPOSSIBLE},
    {"", "\x01", PASSWORD, IMPOSSIBLE},
    {"", "\xff", PASSWORD, IMPOSSIBLE},
    {"", HUNDRED HUNDRED FIFTY "256 ..", PASSWORD, IMPOSSIBLE},
    {"", FIVE_HUNDRED FIVE_HUNDRED, PASSWORD, IMPOSSIBLE},
};

static const struct login too_long_for_login = {"", FIVE_HUNDRED FIVE_HUNDRED FIFTY, PASSWORD, IMPOSSIBLE};

static void check(const struct login *l, const struct exchange *x, int got)
{
    if (got != l->want)
        print_message("account %s: got %d, reason \"%s\"\n", l->name, got, x->reason);
    assert_int_equal(got, l->want);
    if (l->want == AUTH_OK) {
        assert_string_equal(x->credential, l->credential);
        assert_string_equal(x->tenant, l->tenant);
    } else {
        assert_string_equal(x->reason, l->reason);
    }
}

static int plain(struct exchange *x, const struct login *l, bool tls)
{
    struct buf message;
    buf_init(&message, 4096);
    buf_append(&message, l->authzid, strlen(l->authzid) + 1);
    buf_append(&message, l->name, strlen(l->name) + 1);
    buf_append_str(&message, l->password);
    const struct exchange_opening o = {.mechanism = "PLAIN",
                                       .has_initial = true,
                                       .initial = base64(message.data, message.len),
                                       .secure = tls,
                                       .binding_name = "",
                                       .binding = ""};
    buf_deinit(&message);
    return exchange_start(x, &o);
}

static void check_plain(const struct login *l)
{
    struct exchange x;
    exchange_init(&x);
    check(l, &x, plain(&x, l, true));
    exchange_deinit(&x);
}

static void plain_with_initial_response(void **state)
{
    for (int round = 0; round < 2; round++) /* the second time out of the cache */
        for (size_t i = 0; i < ARRAY_LENGTH(logins); i++)
            check_plain(&logins[i]);
}

static void plain_for_another_account(void **state)
{
    static const char *const others[] = {"plainname", "nobody", " App@Example.test", FIVE_HUNDRED FIVE_HUNDRED HUNDRED};
    for (size_t i = 0; i < ARRAY_LENGTH(others); i++) {
        const struct login l = {others[i], "App@Example.test", "right horse, battery", 0, NULL, NULL, NULL};
        struct exchange x;
        exchange_init(&x);
        assert_int_equal(plain(&x, &l, true), AUTH_FAILED);
        exchange_deinit(&x);
    }
}

static void check_login(const struct login *l)
{
    const struct exchange_opening o = {
        .mechanism = "LOGIN", .initial = "", .secure = true, .binding_name = "", .binding = ""};
    struct exchange x;
    exchange_init(&x);
    assert_int_equal(exchange_start(&x, &o), EXCHANGE_MORE);
    assert_int_equal(exchange_step(&x, base64(l->name, strlen(l->name))), EXCHANGE_MORE);
    check(l, &x, exchange_step(&x, base64(l->password, strlen(l->password))));
    exchange_deinit(&x);
}

static void login_in_two_steps(void **state)
{
    for (size_t i = 0; i < ARRAY_LENGTH(logins); i++)
        if (logins[i].authzid[0] == '\0')
            check_login(&logins[i]);
}

static void names_that_no_account_can_have(void **state)
{
    for (size_t i = 0; i < ARRAY_LENGTH(impossible); i++) {
        check_plain(&impossible[i]);
        check_login(&impossible[i]);
    }
    check_plain(&too_long_for_login);
}

static void a_name_that_ends_early(void **state)
{
    static const char name[] = "plainname\0 and more";
    const struct exchange_opening o = {
        .mechanism = "LOGIN", .has_initial = true, .initial = "", .secure = true, .binding_name = "", .binding = ""};
    static const struct login l = {"", "plainname", PASSWORD, IMPOSSIBLE};
    struct exchange x;
    exchange_init(&x);
    assert_int_equal(exchange_start(&x, &o), EXCHANGE_MORE);
    assert_int_equal(exchange_step(&x, base64(name, sizeof(name) - 1)), EXCHANGE_MORE);
    check(&l, &x, exchange_step(&x, base64(PASSWORD, strlen(PASSWORD))));
    exchange_deinit(&x);
}

static void the_realm_is_part_of_the_name(void **state)
{
    static const struct login with_realm[] = {
        {"", "App", "right horse, battery", AUTH_OK, "App@Example.test", "shop", NULL},
        {"App", "App", "right horse, battery", AUTH_OK, "App@Example.test", "shop", NULL},
        {"", "App@Example.test", "right horse, battery", AUTH_OK, "App@Example.test", "shop", NULL},
        {"", "plainname", PASSWORD, AUTH_FAILED, NULL, NULL, "unknown account"},
        {"", HUNDRED HUNDRED "40 bytes 40 bytes 40 bytes 40 bytes 40 by", PASSWORD, AUTH_FAILED, NULL, NULL,
         "unknown account"},
        {"", HUNDRED HUNDRED "50 bytes 50 bytes 50 bytes 50 bytes 50 bytes 50 b", PASSWORD, IMPOSSIBLE},
        {"", " ", PASSWORD, IMPOSSIBLE},
    };
    options.realm = "Example.test";
    for (size_t i = 0; i < ARRAY_LENGTH(with_realm); i++) {
        check_plain(&with_realm[i]);
        if (with_realm[i].authzid[0] == '\0')
            check_login(&with_realm[i]);
    }
    options.realm = "";
}

/* -- SCRAM by the library's client -- */

static const struct login *client_login;

static int client_text(void *context, int id, const char **result, unsigned *len)
{
    *result = id == SASL_CB_AUTHNAME ? client_login->name : client_login->authzid;
    if (len != NULL)
        *len = (unsigned)strlen(*result);
    return SASL_OK;
}

static int client_secret(sasl_conn_t *conn, void *context, int id, sasl_secret_t **out)
{
    static union {
        sasl_secret_t secret;
        char room[1024];
    } place;
    place.secret.len = strlen(client_login->password);
    memcpy(place.secret.data, client_login->password, place.secret.len);
    *out = &place.secret;
    return SASL_OK;
}

typedef int callback_fn(void);
static const sasl_callback_t client_callbacks[] = {
    {SASL_CB_AUTHNAME, (callback_fn *)(void *)client_text, NULL},
    {SASL_CB_USER, (callback_fn *)(void *)client_text, NULL},
    {SASL_CB_PASS, (callback_fn *)(void *)client_secret, NULL},
    {SASL_CB_LIST_END, NULL, NULL},
};

struct scram_case {
    const char *client_mechanism, *server_mechanism;
    const char *client_binding, *server_binding;
};

static void bind_client(sasl_conn_t *conn, sasl_channel_binding_t *cb, const char *data)
{
    if (data == NULL)
        return;
    *cb = (sasl_channel_binding_t){
        .name = "tls-exporter", .critical = 1, .len = strlen(data), .data = (const unsigned char *)data};
    assert_int_equal(sasl_setprop(conn, SASL_CHANNEL_BINDING, cb), SASL_OK);
}

static int scram_rounds(struct exchange *x, sasl_conn_t *client, int answer)
{
    while (answer == EXCHANGE_MORE) {
        struct buf challenge;
        const char *out = NULL;
        unsigned out_len = 0;
        buf_init(&challenge, 4096);
        assert_int_equal(base64_decode(x->challenge.data, x->challenge.len, &challenge), 0);
        int r = sasl_client_step(client, buf_str(&challenge), (unsigned)challenge.len, NULL, &out, &out_len);
        assert_true(r == SASL_OK || r == SASL_CONTINUE);
        answer = exchange_step(x, base64(out != NULL ? out : "", out_len));
        buf_deinit(&challenge);
    }
    return answer;
}

static int scram(struct exchange *x, const struct login *l, const struct scram_case *c)
{
    sasl_conn_t *client = NULL;
    sasl_channel_binding_t cb;
    const char *out = NULL, *mechanism = NULL;
    unsigned out_len = 0;
    client_login = l;
    assert_int_equal(sasl_client_new("smtp", "mail.example.test", NULL, NULL, client_callbacks, 0, &client), SASL_OK);
    bind_client(client, &cb, c->client_binding);
    int r = sasl_client_start(client, c->client_mechanism, NULL, &out, &out_len, &mechanism);
    assert_int_equal(r, SASL_CONTINUE);
    char *initial = strdup(base64(out, out_len));
    char *binding = strdup(c->server_binding != NULL ? base64(c->server_binding, strlen(c->server_binding)) : "");
    const struct exchange_opening o = {.mechanism = c->server_mechanism,
                                       .has_initial = true,
                                       .initial = initial,
                                       .secure = true,
                                       .binding_name = c->server_binding != NULL ? "tls-exporter" : "",
                                       .binding = binding};
    int answer = scram_rounds(x, client, exchange_start(x, &o));
    free(initial);
    free(binding);
    sasl_dispose(&client);
    return answer;
}

static void scram_with_stored_keys(void **state)
{
    static const struct scram_case c = {"SCRAM-SHA-256", "SCRAM-SHA-256", NULL, NULL};
    for (size_t i = 0; i < ARRAY_LENGTH(logins); i++) {
        struct exchange x;
        exchange_init(&x);
        check(&logins[i], &x, scram(&x, &logins[i], &c));
        exchange_deinit(&x);
    }
}

static void scram_plus_binds_the_channel(void **state)
{
    static const struct {
        struct scram_case c;
        int want;
    } cases[] = {
        {{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256-PLUS", "the channel", "the channel"}, AUTH_OK},
        {{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256-PLUS", "another one", "the channel"}, AUTH_MALFORMED},
        {{"SCRAM-SHA-256", "SCRAM-SHA-256", NULL, "the channel"}, AUTH_OK},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct exchange x;
        exchange_init(&x);
        int got = scram(&x, &logins[0], &cases[i].c);
        if (got != cases[i].want)
            print_message("case %zu: got %d, reason \"%s\"\n", i, got, x.reason);
        assert_int_equal(got, cases[i].want);
        exchange_deinit(&x);
    }
}

static void bad_openings(void **state)
{
    static const struct {
        struct exchange_opening o;
        int want;
    } cases[] = {
        {{"NTLM", false, "", true, "", ""}, AUTH_NO_MECHANISM},
        {{"ANONYMOUS", true, "eA==", true, "", ""}, AUTH_NO_MECHANISM},
        {{"", false, "", true, "", ""}, AUTH_NO_MECHANISM},
        {{"CRAM-MD5", false, "", true, "", ""}, AUTH_NO_MECHANISM},
        {{"EXTERNAL", true, "=", true, "", ""}, AUTH_NO_MECHANISM},
        {{"PLAIN", false, "", false, "", ""}, AUTH_NO_MECHANISM},
        {{"LOGIN", false, "", false, "", ""}, AUTH_NO_MECHANISM},
        {{"plain", true, "AGEAYg==", true, "", ""}, AUTH_FAILED},
        {{"PLAIN", true, "!", true, "", ""}, AUTH_MALFORMED},
        {{"PLAIN", true, "=", true, "", ""}, AUTH_MALFORMED},
        {{"PLAIN", true, "YQ==", true, "", ""}, AUTH_MALFORMED},
        {{"SCRAM-SHA-256", true, "YQ==", true, "", ""}, AUTH_MALFORMED},
        {{"SCRAM-SHA-256", false, "", true, "", ""}, EXCHANGE_MORE},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct exchange x;
        exchange_init(&x);
        int got = exchange_start(&x, &cases[i].o);
        if (got != cases[i].want)
            print_message("case %zu %s: got %d, reason \"%s\"\n", i, cases[i].o.mechanism, got, x.reason);
        assert_int_equal(got, cases[i].want);
        exchange_deinit(&x);
    }
}

static void check_vouched(const struct login *l)
{
    const struct exchange_opening o = {
        .mechanism = "XCLIENT", .has_initial = true, .initial = l->name, .vouched = true};
    struct exchange x;
    exchange_init(&x);
    check(l, &x, exchange_start(&x, &o));
    if (l->want == AUTH_NOBODY)
        assert_string_equal(x.credential, l->name);
    exchange_deinit(&x);
}

static void the_word_of_a_proxy(void **state)
{
    static const struct login words[] = {
        {"", "app@example.TEST", "", AUTH_OK, "App@Example.test", "shop", NULL},
        {"", "plainname", "", AUTH_OK, "plainname", "plainname", NULL},
        {"", "nobody", "", AUTH_NOBODY, NULL, NULL, "not one of our accounts"},
        {"", " ", "", AUTH_NOBODY, NULL, NULL, "not one of our accounts"},
        {"", "off", "", AUTH_FAILED, NULL, NULL, "account disabled"},
        {"", "broken", "", AUTH_TEMPFAIL, NULL, NULL, "credentials database can not be read"},
    };
    static const struct login with_realm = {"", "App", "", AUTH_OK, "App@Example.test", "shop", NULL};
    for (size_t i = 0; i < ARRAY_LENGTH(words); i++)
        check_vouched(&words[i]);
    options.realm = "Example.test";
    check_vouched(&with_realm);
    options.realm = "";
}

/* The library tells what it expected, which is what the client sent before: it has room for each length of it. */
static void scram_refusals_of_each_length(void **state)
{
    static const char wrong[] = "c=biws,r=abc,p=AAAA";
    log_open("auth", "/dev/null", LOG_LEVEL_DEBUG);
    for (int n = 1; n <= 1200; n++) {
        char first[1400];
        struct exchange x;
        int len = snprintf(first, sizeof(first), "n,a=%0*d,n=plainname,r=abc", n, 0);
        exchange_init(&x);
        const struct exchange_opening o = {.mechanism = "SCRAM-SHA-256",
                                           .has_initial = true,
                                           .initial = base64(first, (size_t)len),
                                           .secure = true,
                                           .binding_name = "",
                                           .binding = ""};
        assert_int_equal(exchange_start(&x, &o), EXCHANGE_MORE);
        assert_int_equal(exchange_step(&x, base64(wrong, strlen(wrong))), AUTH_MALFORMED);
        exchange_deinit(&x);
    }
}

/* What a client sees before its proof must not tell an unknown name from a known one. */
static void scram_shows_unknown_names_a_salt(void **state)
{
    static const char *const names[] = {"n,,n=plainname,r=abc", "n,,n=nobody,r=abc", "n,,n=off,r=abc",
                                        "n,,n= plainname,r=abc", "n,,n=   ,r=abc"};
    size_t lengths[ARRAY_LENGTH(names)];
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        char first[128] = "";
        for (int round = 0; round < 2; round++) {
            struct exchange x;
            struct buf challenge;
            exchange_init(&x);
            buf_init(&challenge, 4096);
            const struct exchange_opening o = {"SCRAM-SHA-256", true, base64(names[i], strlen(names[i])), true, "", ""};
            assert_int_equal(exchange_start(&x, &o), EXCHANGE_MORE);
            assert_int_equal(base64_decode(x.challenge.data, x.challenge.len, &challenge), 0);
            const char *salt = strstr(buf_str(&challenge), ",s=");
            assert_non_null(salt);
            if (round == 0)
                snprintf(first, sizeof(first), "%s", salt);
            assert_string_equal(first, salt);
            lengths[i] = challenge.len;
            buf_deinit(&challenge);
            exchange_deinit(&x);
        }
        assert_int_equal(lengths[i], lengths[0]);
    }
}

static void a_changed_password_counts_at_once(void **state)
{
    struct scram_verifier v;
    struct login l = {"", "changing", "old", AUTH_OK, "changing", "changing", "wrong password"};
    struct exchange x;
    add("changing", "", "old");
    exchange_init(&x);
    check(&l, &x, plain(&x, &l, true));
    exchange_deinit(&x);
    assert_int_equal(scram_derive("new", 3, SCRAM_ITERATIONS_MIN, &v), 0);
    assert_int_equal(credentials_set_verifier(admin, "changing", &v), 0);
    l.want = AUTH_FAILED;
    exchange_init(&x);
    check(&l, &x, plain(&x, &l, true));
    exchange_deinit(&x);
    l.password = "new";
    l.want = AUTH_OK;
    exchange_init(&x);
    check(&l, &x, plain(&x, &l, true));
    exchange_deinit(&x);
    base64("", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_with_initial_response),
        cmocka_unit_test(plain_for_another_account),
        cmocka_unit_test(login_in_two_steps),
        cmocka_unit_test(names_that_no_account_can_have),
        cmocka_unit_test(a_name_that_ends_early),
        cmocka_unit_test(the_realm_is_part_of_the_name),
        cmocka_unit_test(scram_with_stored_keys),
        cmocka_unit_test(scram_plus_binds_the_channel),
        cmocka_unit_test(bad_openings),
        cmocka_unit_test(the_word_of_a_proxy),
        cmocka_unit_test(scram_refusals_of_each_length),
        cmocka_unit_test(scram_shows_unknown_names_a_salt),
        cmocka_unit_test(a_changed_password_counts_at_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
