#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/text.h"
#include "store/credentials.h"

static char folder[64], path[128];

static int setup(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/posthouse-test-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/credentials.db", folder);
    return 0;
}

static int teardown(void **state)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    char name[160];
    for (size_t i = 0; i < ARRAY_LENGTH(suffixes); i++) {
        snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
        unlink(name);
    }
    return rmdir(folder);
}

static struct credentials *opened(void)
{
    struct credentials *c = NULL;
    assert_int_equal(credentials_open(path, &c), 0);
    return c;
}

static void add(struct credentials *c, const char *name, const char *password)
{
    struct scram_verifier v;
    assert_int_equal(scram_derive(password, strlen(password), SCRAM_ITERATIONS_MIN, &v), 0);
    assert_int_equal(credentials_add(c, name, "shop", "for the test", &v), 0);
}

static void keeps_what_was_added(void **state)
{
    struct credentials *c = opened();
    struct credential row;
    struct stat st;
    add(c, "App@Example.com", "pass word");
    credentials_free(c);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    c = opened();
    assert_int_equal(credentials_lookup(c, "app@example.COM", &row), 1);
    assert_string_equal(row.name, "App@Example.com");
    assert_string_equal(row.tenant, "shop");
    assert_string_equal(row.note, "for the test");
    assert_true(row.enabled);
    assert_true(row.created_s > 0 && row.created_s == row.changed_s);
    assert_int_equal(scram_verify(&row.verifier, "pass word", 9), 1);
    assert_int_equal(credentials_lookup(c, "app@example.org", &row), 0);
    credentials_free(c);
}

static void changes_one_row(void **state)
{
    struct credentials *c = opened();
    struct credential row;
    struct scram_verifier v;
    add(c, "a", "one");
    add(c, "b", "two");
    assert_int_equal(scram_derive("three", 5, SCRAM_ITERATIONS_MIN, &v), 0);
    assert_int_equal(credentials_add(c, "A", "", "", &v), -EEXIST);
    assert_int_equal(credentials_set_verifier(c, "A", &v), 0);
    assert_int_equal(credentials_set_enabled(c, "a", false), 0);
    assert_int_equal(credentials_lookup(c, "a", &row), 1);
    assert_false(row.enabled);
    assert_int_equal(scram_verify(&row.verifier, "three", 5), 1);
    assert_int_equal(credentials_lookup(c, "b", &row), 1);
    assert_true(row.enabled);
    assert_int_equal(scram_verify(&row.verifier, "two", 3), 1);
    assert_int_equal(credentials_remove(c, "a"), 0);
    assert_int_equal(credentials_remove(c, "a"), -ENOENT);
    assert_int_equal(credentials_set_enabled(c, "a", true), -ENOENT);
    assert_int_equal(credentials_set_verifier(c, "a", &v), -ENOENT);
    credentials_free(c);
}

static int append_name(const struct credential *row, void *arg)
{
    assert_int_equal(buf_printf(arg, "%s ", row->name), 0);
    return strcmp(row->name, "stop") == 0 ? 7 : 0;
}

static void lists_by_name(void **state)
{
    struct credentials *c = opened();
    struct buf names;
    buf_init(&names, 128);
    add(c, "b", "x");
    add(c, "A", "x");
    add(c, "c", "x");
    assert_int_equal(credentials_list(c, append_name, &names), 0);
    assert_string_equal(buf_str(&names), "A b c ");
    add(c, "stop", "x");
    add(c, "z", "x");
    buf_clear(&names);
    assert_int_equal(credentials_list(c, append_name, &names), 7);
    assert_string_equal(buf_str(&names), "A b c stop ");
    buf_deinit(&names);
    credentials_free(c);
}

static void tells_good_texts_from_bad(void **state)
{
    static const struct {
        const char *text;
        bool name, password;
    } cases[] = {
        {"app", true, true},
        {"app@example.com", true, true},
        {"two words", true, true},
        {" leading", false, true},
        {"trailing ", false, true},
        {"", false, false},
        {"tab\there", false, false},
        {"line\n", false, false},
        {"b\xc3\xbc"
         "cher",
         true, true},
        {"latin-1 \xfc", false, false},
        {"overlong \xc0\xaf", false, false},
        {"surrogate \xed\xa0\x80", false, false},
        {"C1 \xc2\x85", false, false},
        {"del \x7f", false, false},
        {"\xf0\x9f\x90\x8e", true, true},
        {"cut \xf0\x9f\x90", false, false},
        {"beyond \xf4\x90\x80\x80", false, false},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        assert_int_equal(credential_name_valid(cases[i].text), cases[i].name);
        assert_int_equal(credential_password_valid(cases[i].text, strlen(cases[i].text)), cases[i].password);
    }
    assert_false(credential_password_valid("a\0b", 3));
}

static void reader_does_not_write_or_create(void **state)
{
    struct credentials *c = NULL;
    struct credential row;
    assert_int_equal(credentials_open_reader(path, &c), -ENOENT);
    struct credentials *writer = opened();
    assert_int_equal(credentials_open_reader(path, &c), 0);
    add(writer, "late", "x");
    assert_int_equal(credentials_lookup(c, "late", &row), 1);
    assert_int_equal(credentials_remove(c, "late"), -EROFS);
    credentials_free(c);
    credentials_free(writer);
}

static void refuses_a_file_of_another_kind(void **state)
{
    struct credentials *c = NULL;
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 200; i++)
        fputs("this is no database\n", f);
    fclose(f);
    assert_int_equal(credentials_open(path, &c), -EUCLEAN);
    assert_int_equal(credentials_open_reader(path, &c), -EUCLEAN);
    assert_int_equal(credentials_open("/nonexistent/folder/db", &c), -ENOENT);
}

#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(keeps_what_was_added),
        WITH_FOLDER(changes_one_row),
        WITH_FOLDER(lists_by_name),
        cmocka_unit_test(tells_good_texts_from_bad),
        WITH_FOLDER(reader_does_not_write_or_create),
        WITH_FOLDER(refuses_a_file_of_another_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
