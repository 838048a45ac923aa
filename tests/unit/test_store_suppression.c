#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "store/suppression.h"

static char folder[64], path[128], empty[128];

static int setup(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/posthouse-test-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/suppression.db", folder);
    snprintf(empty, sizeof(empty), "%s/empty", folder);
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
    rmdir(empty);
    return rmdir(folder);
}

static struct suppression *writer(void)
{
    struct suppression *s = NULL;
    assert_int_equal(suppression_open_writer(path, &s), 0);
    return s;
}

static void add(struct suppression *s, const char *address, const char *scope, const char *reply)
{
    struct suppression_row row = {.reason = "hard-bounce", .code = 550, .enhanced = "5.1.1", .added_by = "bounce"};
    snprintf(row.address, sizeof(row.address), "%s", address);
    snprintf(row.scope, sizeof(row.scope), "%s", scope);
    snprintf(row.reply, sizeof(row.reply), "%s", reply);
    assert_int_equal(suppression_add(s, &row), 0);
}

static void normalises_addresses(void **state)
{
    static const struct {
        const char *address, *want; /* NULL: refused */
    } cases[] = {
        {"User@Example.COM", "user@example.com"},
        {"user@example.com.", "user@example.com"},
        {"a@b@c.test", "a@b@c.test"},
        {"\"a b\"@c.test", "\"a b\"@c.test"},
        {"j\xc3\xbcrgen@B\xc3\xbc"
         "cher.test",
         "j\xc3\xbcrgen@b\xc3\xbc"
         "cher.test"},
        {"user@[IPv6:2001:DB8::1]", "user@[ipv6:2001:db8::1]"},
        {"a b@c.test", NULL},
        {"user", NULL},
        {"@example.com", NULL},
        {"user@", NULL},
        {"user@.", NULL},
        {"user@exa\nmple.com", NULL},
        {"\xff@example.com", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char got[SUPPRESSION_ADDRESS_MAX + 1];
        int r = suppression_normalise(cases[i].address, got);
        assert_int_equal(r, cases[i].want == NULL ? -EINVAL : 0);
        if (r == 0)
            assert_string_equal(got, cases[i].want);
    }
    char longest[SUPPRESSION_ADDRESS_MAX + 3], got[SUPPRESSION_ADDRESS_MAX + 1];
    memset(longest, 'a', sizeof(longest));
    longest[1] = '@';
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(suppression_normalise(longest, got), -EINVAL);
}

static void finds_by_address_and_scope(void **state)
{
    struct suppression *s = writer();
    add(s, "all@example.com", "", "for all");
    add(s, "own@example.com", "shop", "for shop");
    add(s, "both@example.com", "", "for all");
    add(s, "both@example.com", "shop", "for shop");
    static const struct {
        const char *address, *tenant, *want; /* reply; NULL: not found */
    } cases[] = {
        {"ALL@Example.com", "shop", "for all"},
        {"all@example.com", "", "for all"},
        {"own@example.com", "shop", "for shop"},
        {"own@example.com", "other", NULL},
        {"own@example.com", "", NULL},
        {"both@example.com", "shop", "for shop"},
        {"both@example.com", "other", "for all"},
        {"none@example.com", "shop", NULL},
        {"not an address", "shop", NULL},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct suppression_row row;
        assert_int_equal(suppression_lookup(s, cases[i].address, cases[i].tenant, &row), cases[i].want != NULL);
        if (cases[i].want != NULL)
            assert_string_equal(row.reply, cases[i].want);
    }
    suppression_free(s);
}

static void keeps_since_and_takes_the_rest(void **state)
{
    struct suppression *s = writer();
    struct suppression_row row;
    clock_fake_set(1000, 1000 * 1000000ll);
    add(s, "a@b.test", "", "first");
    clock_fake_advance_ms(60000);
    add(s, "A@B.test", "", "second\r\nline");
    assert_int_equal(suppression_lookup(s, "a@b.test", "", &row), 1);
    assert_int_equal(row.since_s, 1000);
    assert_string_equal(row.reply, "second??line");
    assert_string_equal(row.enhanced, "5.1.1");
    assert_int_equal(row.code, 550);
    assert_int_equal(suppression_remove(s, "A@b.TEST", ""), 0);
    assert_int_equal(suppression_remove(s, "a@b.test", ""), -ENOENT);
    assert_int_equal(suppression_remove(s, "nobody", ""), -EINVAL);
    suppression_free(s);
}

static void forgets_what_expired(void **state)
{
    struct suppression *s = writer();
    struct suppression_row row = {.address = "a@b.test", .reason = "manual"}, got;
    clock_fake_set(1000, 1000 * 1000000ll);
    row.expires_s = 1060;
    assert_int_equal(suppression_add(s, &row), 0);
    add(s, "stays@b.test", "", "");
    assert_int_equal(suppression_lookup(s, "a@b.test", "", &got), 1);
    assert_int_equal(suppression_expire(s), 0);
    clock_fake_advance_ms(60000);
    assert_int_equal(suppression_lookup(s, "a@b.test", "", &got), 0);
    assert_int_equal(suppression_expire(s), 1);
    assert_int_equal(suppression_lookup(s, "stays@b.test", "", &got), 1);
    suppression_free(s);
}

static int append_address(const struct suppression_row *row, void *arg)
{
    return buf_printf(arg, "%s%s ", row->address, row->scope);
}

static void lists_page_by_page(void **state)
{
    struct suppression *s = writer();
    struct suppression_cursor cursor = {0};
    struct buf got;
    buf_init(&got, 256);
    static const char *const addresses[] = {"e@x.test", "b@x.test", "d@x.test", "a@x.test", "c@x.test"};
    for (size_t i = 0; i < ARRAY_LENGTH(addresses); i++)
        add(s, addresses[i], "", "");
    add(s, "b@x.test", "shop", "");
    assert_int_equal(suppression_list(s, &cursor, 2, append_address, &got), 2);
    assert_string_equal(buf_str(&got), "a@x.test b@x.test ");
    assert_int_equal(suppression_list(s, &cursor, 3, append_address, &got), 3);
    assert_int_equal(suppression_list(s, &cursor, 3, append_address, &got), 1);
    assert_string_equal(buf_str(&got), "a@x.test b@x.test b@x.testshop c@x.test d@x.test e@x.test ");
    assert_int_equal(suppression_list(s, &cursor, 3, append_address, &got), 0);
    buf_deinit(&got);
    suppression_free(s);
}

static void notices_a_list_that_appears(void **state)
{
    struct suppression *reader = NULL;
    struct suppression_row row;
    clock_fake_set(1000, 1000 * 1000000ll);
    assert_int_equal(suppression_open_reader(path, &reader), 0);
    assert_int_equal(suppression_lookup(reader, "a@b.test", "", &row), 0);
    struct suppression *s = writer();
    add(s, "a@b.test", "", "");
    clock_fake_advance_ms(1500);
    assert_int_equal(suppression_lookup(reader, "a@b.test", "", &row), 1);
    add(s, "b@b.test", "", "");
    assert_int_equal(suppression_lookup(reader, "b@b.test", "", &row), 1);
    suppression_free(s);
    suppression_free(reader);
}

static int wait_status(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 200;
}

/* A process of another user that may only read the files, in a root folder of its own when it can. */
static int reader_process(int ready_fd, int go_fd)
{
    struct suppression *s = NULL;
    struct suppression_row row;
    char c = 0;
    if (geteuid() == 0 && (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0))
        return 1;
    if (suppression_open_reader(path, &s) < 0 || suppression_lookup(s, "before@x.test", "", &row) != 1)
        return 2;
    if (write(ready_fd, "r", 1) != 1 || read(go_fd, &c, 1) != 1)
        return 3;
    if (suppression_lookup(s, "address-1999@x.test", "", &row) != 1)
        return 4;
    if (suppression_remove(s, "before@x.test", "") != -EROFS)
        return 5;
    for (int i = 0; i < 2000; i++) {
        char address[64];
        snprintf(address, sizeof(address), "address-%d@x.test", i);
        if (suppression_lookup(s, address, "", &row) != 1)
            return 6;
    }
    suppression_free(s);
    return 0;
}

static pid_t fork_reader(int ready[2], int go[2])
{
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(reader_process(ready[1], go[0]));
    close(ready[1]); /* so that a reader that fails ends our read */
    return pid;
}

static void other_users_read_while_it_is_written(void **state)
{
    int ready[2], go[2];
    char c;
    assert_int_equal(chmod(folder, 0755), 0);
    struct suppression *s = writer();
    add(s, "before@x.test", "", "");
    assert_int_equal(chmod(path, 0644), 0);
    suppression_free(s); /* the reader meets the files as a stopped suite leaves them */
    s = NULL;
    char name[160];
    snprintf(name, sizeof(name), "%s-shm", path);
    assert_int_equal(chmod(name, 0644), 0);
    snprintf(name, sizeof(name), "%s-wal", path);
    assert_int_equal(chmod(name, 0644), 0);
    pid_t pid = fork_reader(ready, go);
    assert_int_equal(read(ready[0], &c, 1), 1);
    s = writer();
    for (int i = 0; i < 2000; i++) {
        char address[64];
        snprintf(address, sizeof(address), "address-%d@x.test", i);
        add(s, address, "", "550 no such user");
    }
    assert_int_equal(write(go[1], "g", 1), 1);
    assert_int_equal(wait_status(pid), 0);
    suppression_free(s);
    close(ready[0]);
    close(go[0]);
    close(go[1]);
}

/* Reads on from an empty root folder. */
static int chrooted_process(int ready_fd, int go_fd)
{
    struct suppression *s = NULL;
    struct suppression_row row;
    char c = 0;
    if (suppression_open_reader(path, &s) < 0 || chroot(empty) < 0 || chdir("/") < 0 ||
        setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
        return 1;
    if (write(ready_fd, "r", 1) != 1 || read(go_fd, &c, 1) != 1)
        return 2;
    return suppression_lookup(s, "after@x.test", "", &row) == 1 ? 0 : 3;
}

static void goes_on_reading_after_a_chroot(void **state)
{
    int ready[2], go[2];
    char c;
    if (geteuid() != 0)
        skip();
    assert_int_equal(mkdir(empty, 0755), 0);
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    suppression_free(writer()); /* exists, nobody writes yet */
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(chrooted_process(ready[1], go[0]));
    assert_int_equal(read(ready[0], &c, 1), 1);
    struct suppression *s = writer();
    add(s, "after@x.test", "", "");
    assert_int_equal(write(go[1], "g", 1), 1);
    assert_int_equal(wait_status(pid), 0);
    suppression_free(s);
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(go[i]);
    }
}

#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normalises_addresses),
        WITH_FOLDER(finds_by_address_and_scope),
        WITH_FOLDER(other_users_read_while_it_is_written),
        WITH_FOLDER(goes_on_reading_after_a_chroot),
        WITH_FOLDER(lists_page_by_page),
        WITH_FOLDER(keeps_since_and_takes_the_rest),
        WITH_FOLDER(forgets_what_expired),
        WITH_FOLDER(notices_a_list_that_appears),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
