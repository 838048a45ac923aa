/* Keys, their DNS records and the key table. */
#include <errno.h>
#include <fcntl.h>
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

#include "base/text.h"
#include "dkim/key.h"
#include "dkim/key_table.h"

static char folder[] = "/tmp/test-dkim-XXXXXX";
static char path[128];

static char *in_folder(const char *name)
{
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const char *text, mode_t mode)
{
    int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void test_generate_write_load(void **state)
{
    static const struct {
        enum signing_key_type type;
        int bits;
        const char *name, *record;
        size_t record_len;
    } cases[] = {
        {SIGNING_KEY_RSA, 2048, "rsa.pem", "v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA", 410},
        {SIGNING_KEY_ED25519, 0, "ed.pem", "v=DKIM1; k=ed25519; p=", 66},
    };
    struct buf first, second, why;
    buf_init(&first, 4096);
    buf_init(&second, 4096);
    buf_init(&why, 4096);
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct signing_key key, again;
        struct stat st;
        buf_clear(&first);
        buf_clear(&second);
        assert_int_equal(signing_key_generate(cases[i].type, cases[i].bits, &key), 0);
        assert_int_equal(signing_key_write(&key, in_folder(cases[i].name), &why), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(signing_key_write(&key, path, &why), -EEXIST);
        assert_int_equal(signing_key_load(path, &again, &why), 0);
        assert_int_equal(again.type, cases[i].type);
        assert_false(again.exposed);
        assert_int_equal(signing_key_record(&key, &first), 0);
        assert_int_equal(signing_key_record(&again, &second), 0);
        assert_string_equal(buf_str(&first), buf_str(&second));
        assert_true(text_has_prefix(buf_str(&first), cases[i].record));
        assert_int_equal(first.len, cases[i].record_len);
        signing_key_deinit(&key);
        signing_key_deinit(&again);
    }
    struct signing_key none;
    assert_int_equal(signing_key_generate(SIGNING_KEY_RSA, 512, &none), -EINVAL);
    assert_int_equal(signing_key_generate(SIGNING_KEY_RSA, 100000, &none), -EINVAL);
    buf_deinit(&first);
    buf_deinit(&second);
    buf_deinit(&why);
}

static void test_zone_line(void **state)
{
    char record[301];
    struct buf out;
    memset(record, 'a', 300);
    record[300] = '\0';
    buf_init(&out, 4096);
    assert_int_equal(signing_key_zone_line("s1", "example.com", "v=DKIM1; p=x", &out), 0);
    assert_string_equal(buf_str(&out), "s1._domainkey.example.com. IN TXT ( \"v=DKIM1; p=x\" )");
    buf_clear(&out);
    assert_int_equal(signing_key_zone_line("s1", "example.com", record, &out), 0);
    assert_int_equal(strcspn(strchr(buf_str(&out), '"') + 1, "\""), 255);
    assert_non_null(strstr(buf_str(&out), "a\" \"aaa"));
    buf_deinit(&out);
}

static void test_bad_key_files(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", "no private key in PEM form"},
        {"rubbish\n", "no private key in PEM form"},
        {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key in PEM form"},
        /* P-256 */
        {"-----BEGIN PRIVATE KEY-----\n"
         "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n"
         "OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n"
         "1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n"
         "-----END PRIVATE KEY-----\n",
         "this kind of key does not sign DKIM: expected RSA or Ed25519"},
    };
    struct buf why;
    struct signing_key key;
    buf_init(&why, 4096);
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        put("bad.pem", cases[i].text, 0600);
        buf_clear(&why);
        assert_int_equal(signing_key_load(path, &key, &why), -EINVAL);
        assert_true(text_has_prefix(buf_str(&why), path));
        if (strstr(buf_str(&why), cases[i].want) == NULL)
            fail_msg("case %zu: %s", i, buf_str(&why));
    }
    assert_int_equal(signing_key_load("/nonexistent/key.pem", &key, &why), -ENOENT);
    assert_int_equal(signing_key_load("/tmp", &key, &why), -EINVAL);
    assert_int_equal(signing_key_load("/dev/zero", &key, &why), -EINVAL);
    buf_deinit(&why);
}

static int parse(const char *text, struct key_table *table, struct buf *errors)
{
    char *copy = strdup(text);
    buf_clear(errors);
    int r = key_table_parse("/etc/posthouse/key-table", copy, table, errors);
    free(copy);
    return r;
}

static void test_table(void **state)
{
    struct key_table table;
    struct buf errors;
    size_t count;
    buf_init(&errors, 65536);
    assert_int_equal(parse("# a comment\n"
                           "\n"
                           "  # another\n"
                           "Zebra.example s1 z.pem\r\n"
                           "example.com\ts1\t/keys/with blank.pem  \n"
                           "m\xc3\xbcller.example s1 m.pem\n"
                           "example.com s2 rel/two.pem\n"
                           "mail.example.com s3 three.pem\n"
                           "localdomain s4 four.pem",
                           &table, &errors),
                     0);
    assert_int_equal(table.count, 6);
    const struct key_table_row *rows = key_table_find(&table, "example.com", &count);
    assert_int_equal(count, 2);
    assert_string_equal(rows[0].selector, "s1");
    assert_string_equal(rows[0].path, "/keys/with blank.pem");
    assert_string_equal(rows[1].path, "/etc/posthouse/rel/two.pem");
    assert_int_equal(rows[1].line, 7);
    static const struct {
        const char *domain, *want;
    } cases[] = {
        {"example.com", "example.com"},
        {"a.b.example.com", "example.com"},
        {"mail.example.com", "mail.example.com"},
        {"x.mail.example.com", "mail.example.com"},
        {"zebra.example", "zebra.example"},
        {"xn--mller-kva.example", "xn--mller-kva.example"},
        {"example.org", NULL},
        {"notexample.com", NULL},
        {"com", NULL},
        {"localdomain", "localdomain"},
        {"host.localdomain", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        rows = key_table_find_signer(&table, cases[i].domain, &count);
        if (cases[i].want == NULL)
            assert_null(rows);
        else
            assert_string_equal(rows[0].domain, cases[i].want);
    }
    key_table_deinit(&table);
    buf_deinit(&errors);
}

static void test_table_errors(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"example.com s1\n", "/etc/posthouse/key-table:1: expected: domain selector path-to-private-key\n"},
        {"#\nexample.com\n", "/etc/posthouse/key-table:2: expected: domain selector path-to-private-key\n"},
        {"* s1 x.pem\n", "/etc/posthouse/key-table:1: the first word is no domain name\n"},
        {"exa..mple s1 x.pem\n", "/etc/posthouse/key-table:1: the first word is no domain name\n"},
        {"example.com s_1! x.pem\n", "/etc/posthouse/key-table:1: the second word is no selector: expected labels of "
                                     "letters, digits and hyphens\n"},
        {"example.com s1 a\nother.example s1 b\nEXAMPLE.com S1 c\n",
         "/etc/posthouse/key-table:3: selector S1 of example.com stands in line 1 already\n"},
        {"a.b 1 k\na.b 2 k\na.b 3 k\na.b 4 k\na.b 5 k\na.b 6 k\na.b 7 k\na.b 8 k\na.b 9 k\n",
         "/etc/posthouse/key-table:9: more than 8 keys for a.b\n"},
    };
    struct key_table table;
    struct buf errors;
    buf_init(&errors, 65536);
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        assert_int_equal(parse(cases[i].text, &table, &errors), -EINVAL);
        assert_string_equal(buf_str(&errors), cases[i].want);
        assert_null(table.rows);
    }
    buf_clear(&errors);
    assert_int_equal(key_table_load("/nonexistent/key-table", &table, &errors), -ENOENT);
    assert_string_equal(buf_str(&errors), "/nonexistent/key-table: No such file or directory\n");
    buf_deinit(&errors);
}

static void test_load_keys(void **state)
{
    struct key_table table;
    struct signing_key key;
    struct buf errors, warnings, pem;
    char name[256];
    buf_init(&errors, 65536);
    buf_init(&warnings, 65536);
    buf_init(&pem, 65536);
    assert_int_equal(signing_key_generate(SIGNING_KEY_RSA, 1024, &key), 0);
    assert_int_equal(signing_key_pem(&key, &pem), 0);
    signing_key_deinit(&key);
    put("short.pem", buf_str(&pem), 0640);
    put("key-table", "example.com s1 short.pem\n", 0644);
    assert_int_equal(key_table_load(path, &table, &errors), 0);
    assert_int_equal(key_table_load_keys(path, &table, &errors, &warnings), 0);
    snprintf(name, sizeof(name), "%s:1: %s/short.pem: others than its owner can read", path, folder);
    assert_non_null(strstr(buf_str(&warnings), name));
    snprintf(name, sizeof(name), "%s/short.pem: RSA key of 1024 bits: expected 2048 or more", folder);
    assert_non_null(strstr(buf_str(&warnings), name));
    key_table_deinit(&table);

    put("key-table", "example.com s1 short.pem\n\nexample.com s2 missing.pem\n", 0644);
    assert_int_equal(key_table_load(path, &table, &errors), 0);
    assert_int_equal(key_table_load_keys(path, &table, &errors, &warnings), -EINVAL);
    snprintf(name, sizeof(name), "%s:3: %s/missing.pem: No such file or directory\n", path, folder);
    assert_string_equal(buf_str(&errors), name);
    key_table_deinit(&table);
    buf_deinit(&errors);
    buf_deinit(&warnings);
    buf_deinit(&pem);
}

static void test_add(void **state)
{
    struct key_table table;
    struct buf why;
    size_t count;
    buf_init(&why, 65536);
    in_folder("new-table");
    assert_int_equal(key_table_add(path, "example.com", "s1", "/keys/1.pem", &why), 0);
    assert_int_equal(key_table_add(path, "example.com", "s2", "/keys/2.pem", &why), 0);
    assert_int_equal(key_table_add(path, "EXAMPLE.com", "s1", "/keys/3.pem", &why), -EEXIST);
    assert_non_null(strstr(buf_str(&why), "new-table:1: selector s1 of EXAMPLE.com is there already"));
    assert_int_equal(key_table_add(path, "bad domain", "s1", "/keys/3.pem", &why), -EINVAL);
    assert_int_equal(key_table_add(path, "example.net", "s1", "/keys/3\nx", &why), -EINVAL);
    put("new-table", "example.org s1 /keys/o.pem", 0644); /* last line not ended */
    assert_int_equal(key_table_add(path, "example.com", "s1", "/keys/1.pem", &why), 0);
    assert_int_equal(key_table_load(path, &table, &why), 0);
    assert_int_equal(table.count, 2);
    assert_string_equal(key_table_find(&table, "example.org", &count)->path, "/keys/o.pem");
    key_table_deinit(&table);
    buf_deinit(&why);
}

static int set_up(void **state)
{
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"rsa.pem", "ed.pem", "bad.pem", "short.pem", "key-table", "new-table"};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        unlink(in_folder(names[i]));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generate_write_load),
        cmocka_unit_test(test_zone_line),
        cmocka_unit_test(test_bad_key_files),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_table_errors),
        cmocka_unit_test(test_load_keys),
        cmocka_unit_test(test_add),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
