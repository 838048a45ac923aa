#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/encode.h"
#include "base/text.h"
#include "store/scram.h"

/* The example of RFC 7677 section 3: user "user", password "pencil". */
static void derives_what_rfc_7677_shows(void **state)
{
    struct scram_verifier v = {.iterations = 4096};
    struct buf salt, proof;
    buf_init(&salt, 64);
    buf_init(&proof, 256);
    assert_int_equal(base64_decode("W22ZaJ0SNY7soEsUEjb6gQ==", 24, &salt), 0);
    memcpy(v.salt, salt.data, salt.len);
    v.salt_len = salt.len;
    assert_int_equal(scram_derive_salted("pencil", 6, &v), 0);
    assert_int_equal(scram_format(&v, &proof), 0);
    assert_string_equal(buf_str(&proof), "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
                                         "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
                                         "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
    buf_deinit(&salt);
    buf_deinit(&proof);
}

static void verifies_the_password_and_no_other(void **state)
{
    static const struct {
        const char *password, *tried;
        int want;
    } cases[] = {
        {"secret", "secret", 1},
        {"secret", "Secret", 0},
        {"secret", "secret ", 0},
        {"secret", "", 0},
        {" a b\"\\$:,=", " a b\"\\$:,=", 1},
        {"gr\xc3\xbc\xc3\x9f dich", "gr\xc3\xbc\xc3\x9f dich", 1},
        {"gr\xc3\xbc\xc3\x9f dich", "gruss dich", 0},
        /* RFC 4013 section 3, and letters composed in two ways */
        {"I\xc2\xadX", "IX", 1},
        {"\xc2\xaa", "a", 1},
        {"IX", "\xe2\x85\xa8", 1},
        {"USER", "user", 0},
        {"gr\xc3\xbc\xc3\x9f\xc2\xa0"
         "dich",
         "gru\xcc\x88\xc3\x9f dich", 1},
        {"\xf0\x9f\x94\x91", "\xf0\x9f\x94\x91", 1}, /* not of the Unicode that SASLprep knows */
        /* no form: its bytes */
        {"\xd8\xa7"
         "1",
         "\xd8\xa7"
         "1",
         1},
        {"\xff\xfe", "\xff\xfe", 1},
        {"\xff\xfe", "\xff\xfd", 0},
        {"\xc2\xad", "\xc2\xad", 1},
        {"\xc2\xad", "", 0},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct scram_verifier v;
        assert_int_equal(scram_derive(cases[i].password, strlen(cases[i].password), SCRAM_ITERATIONS_MIN, &v), 0);
        assert_int_equal(scram_verify(&v, cases[i].tried, strlen(cases[i].tried)), cases[i].want);
    }
}

static void refuses_iterations_out_of_range(void **state)
{
    struct scram_verifier v;
    assert_int_equal(scram_derive("x", 1, SCRAM_ITERATIONS_MIN - 1, &v), -EINVAL);
    assert_int_equal(scram_derive("x", 1, SCRAM_ITERATIONS_MAX + 1u, &v), -EINVAL);
}

static void parses_only_the_one_form(void **state)
{
#define KEY "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
    static const struct {
        const char *text;
        int want;
    } cases[] = {
        {"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$" KEY ":" KEY, 0},
        {"SCRAM-SHA-1$4096:W22ZaJ0SNY7soEsUEjb6gQ==$" KEY ":" KEY, -EINVAL},
        {"SCRAM-SHA-256$0:W22ZaJ0SNY7soEsUEjb6gQ==$" KEY ":" KEY, -EINVAL},
        {"SCRAM-SHA-256$-1:W22ZaJ0SNY7soEsUEjb6gQ==$" KEY ":" KEY, -EINVAL},
        {"SCRAM-SHA-256$99999999999:W22ZaJ0SNY7soEsUEjb6gQ==$" KEY ":" KEY, -EINVAL},
        {"SCRAM-SHA-256$4096:$" KEY ":" KEY, -EINVAL},
        {"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$AAAA:" KEY, -EINVAL},
        {"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$" KEY, -EINVAL},
        {"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$" KEY ":" KEY ":", -EINVAL},
        {"SCRAM-SHA-256$4096:!!!!$" KEY ":" KEY, -EINVAL},
        {"SCRAM-SHA-256$4096", -EINVAL},
        {"", -EINVAL},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct scram_verifier v;
        struct buf again;
        buf_init(&again, 1024);
        assert_int_equal(scram_parse(cases[i].text, &v), cases[i].want);
        if (cases[i].want == 0) {
            assert_int_equal(scram_format(&v, &again), 0);
            assert_string_equal(buf_str(&again), cases[i].text);
        }
        buf_deinit(&again);
    }
}

static void decoys_are_stable_and_fit_nothing(void **state)
{
    static const unsigned char key[SCRAM_KEY_BYTES] = {7};
    struct scram_verifier a, b, c;
    assert_int_equal(scram_decoy(key, "nobody", 4096, &a), 0);
    assert_int_equal(scram_decoy(key, "nobody", 4096, &b), 0);
    assert_int_equal(scram_decoy(key, "somebody", 4096, &c), 0);
    assert_memory_equal(&a, &b, sizeof(a));
    assert_memory_not_equal(a.salt, c.salt, SCRAM_SALT_BYTES);
    assert_int_equal(a.salt_len, SCRAM_SALT_BYTES);
    assert_int_equal(scram_verify(&a, "", 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(derives_what_rfc_7677_shows),       cmocka_unit_test(verifies_the_password_and_no_other),
        cmocka_unit_test(refuses_iterations_out_of_range),   cmocka_unit_test(parses_only_the_one_form),
        cmocka_unit_test(decoys_are_stable_and_fit_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
