/* The folders of the queue, where files stand in them, and the lock. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
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

#include "base/text.h"
#include "queue/folder.h"

static char queue[96];

static int setup(void **state)
{
    char folder[] = "/tmp/posthouse-test-XXXXXX";
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(queue, sizeof(queue), "%s/queue", folder);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *where)
{
    return remove(path);
}

static int teardown(void **state)
{
    *strrchr(queue, '/') = '\0';
    return nftw(queue, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct stat look(const char *name)
{
    char path[256];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s", queue, name);
    if (lstat(path, &st) < 0)
        fail_msg("%s: %s", name, text_errno(errno));
    return st;
}

static void put(const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", queue, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static bool there(const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", queue, name);
    return access(path, F_OK) == 0;
}

static void assert_layout(const struct queue_owners *o)
{
    static const char *const names[] = {"new",      "new/0",     "new/Z",        "deferred",     "hold",
                                        "corrupt",  "journal",   "tmp",          "tmp/0",        "tmp/2",
                                        "tmp/1000", "journal/0", "journal/1000", "journal/qmgr", "tmp/qmgr"};
    static const mode_t modes[] = {0710,  03703, 03703, 0700,  0700,  0700, 0700, 0710,
                                   02700, 02700, 02700, 02750, 02750, 0700, 0700};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        struct stat st = look(names[i]);
        assert_true(S_ISDIR(st.st_mode));
        assert_int_equal(st.st_mode & 07777, modes[i]);
        if (o == NULL)
            continue;
        const char *below = strchr(names[i], '/');
        bool writers = below != NULL && !text_has_prefix(names[i], "new") && strcmp(below, "/qmgr") != 0;
        uid_t owner = !writers ? o->qmgr : strcmp(below, "/1000") == 0 ? o->bounce : o->smtpd;
        bool for_writers = strcmp(names[i], "new") == 0 || strcmp(names[i], "tmp") == 0;
        assert_int_equal(st.st_uid, owner);
        assert_int_equal(st.st_gid, for_writers ? o->inject_group : o->qmgr_group);
    }
    assert_false(there("new/I"));
    assert_false(there("tmp/3"));
}

static void folders_as_the_caller(void **state)
{
    const char *where = NULL;
    assert_int_equal(queue_make_folders(queue, 3, NULL, &where), 0);
    assert_layout(NULL);
    /* A second start finds everything, puts modes right, and sweeps only tmp/ - of all writers there ever were. */
    char path[256];
    snprintf(path, sizeof(path), "%s/hold", queue);
    assert_int_equal(chmod(path, 0755), 0);
    snprintf(path, sizeof(path), "%s/tmp/9", queue);
    assert_int_equal(mkdir(path, 0700), 0);
    put("tmp/0/1P8X2K7Q3M400");
    put("tmp/9/1P8X2K7Q3M409");
    put("tmp/1000/1P8X2K7Q3M4Z8");
    put("tmp/stray-file");
    put("new/0/1P8X2K7Q3M000");
    put("hold/1P8X2K7Q3M401");
    put("corrupt/1P8X2K7Q3M402");
    assert_int_equal(queue_make_folders(queue, 3, NULL, &where), 0);
    assert_int_equal(look("hold").st_mode & 07777, 0700);
    assert_false(there("tmp/0/1P8X2K7Q3M400"));
    assert_false(there("tmp/9/1P8X2K7Q3M409"));
    assert_false(there("tmp/1000/1P8X2K7Q3M4Z8"));
    assert_true(there("new/0/1P8X2K7Q3M000"));
    assert_true(there("hold/1P8X2K7Q3M401"));
    assert_true(there("corrupt/1P8X2K7Q3M402"));
}

static void folders_of_several_users(void **state)
{
    static const struct queue_owners owners = {
        .qmgr = 60001, .qmgr_group = 60011, .smtpd = 60002, .bounce = 60003, .inject_group = 60012};
    const char *where = NULL;
    if (getuid() != 0)
        skip();
    assert_int_equal(queue_make_folders(queue, 3, &owners, &where), 0);
    assert_layout(&owners);
}

static void folders_that_can_not_be(void **state)
{
    const char *where = NULL;
    assert_int_equal(queue_make_folders("/nonexistent/queue", 1, NULL, &where), -ENOENT);
    assert_string_equal(where, "/nonexistent/queue");
    assert_int_equal(mkdir(queue, 0755), 0);
    put("deferred"); /* a file where a folder belongs */
    assert_int_equal(queue_make_folders(queue, 1, NULL, &where), -ENOTDIR);
    assert_string_equal(where, "deferred");
    char path[256];
    snprintf(path, sizeof(path), "%s/deferred", queue);
    unlink(path);
    assert_int_equal(symlink("/tmp", path), 0); /* or a link to elsewhere */
    assert_true(queue_make_folders(queue, 1, NULL, &where) < 0);
    assert_string_equal(where, "deferred");
}

static void paths(void **state)
{
    static const char id[] = "1P8X2K7Q3M40A";
    char path[QUEUE_PATH_MAX], back[QUEUE_ID_SIZE];
    int64_t due;
    queue_path(QUEUE_NEW, id, 0, path);
    assert_string_equal(path, "new/4/1P8X2K7Q3M40A");
    queue_path(QUEUE_HOLD, id, 0, path);
    assert_string_equal(path, "hold/1P8X2K7Q3M40A");
    queue_path(QUEUE_CORRUPT, id, 0, path);
    assert_string_equal(path, "corrupt/1P8X2K7Q3M40A");
    queue_path(QUEUE_DEFERRED, id, 1763928599, path);
    assert_string_equal(path, "deferred/2939880/1P8X2K7Q3M40A.1763928599");
    assert_int_equal(queue_parse_deferred_name(strrchr(path, '/') + 1, back, &due), 0);
    assert_string_equal(back, id);
    assert_int_equal(due, 1763928599);
    queue_path(QUEUE_DEFERRED, id, INT64_MAX, path);
    assert_true(strlen(path) < QUEUE_PATH_MAX - 1);
    assert_int_equal(queue_parse_deferred_name(strrchr(path, '/') + 1, back, &due), 0);
    assert_true(due == INT64_MAX);
}

static void deferred_names(void **state)
{
    static const char *const bad[] = {
        "",
        "1P8X2K7Q3M40A",
        "1P8X2K7Q3M40A.",
        "1P8X2K7Q3M40A.x",
        "1P8X2K7Q3M40A.-5",
        "1P8X2K7Q3M40A.5 ",
        "1P8X2K7Q3M40A.9223372036854775808",
        "1P8X2K7Q3M40a.5",
        "1P8X2K7Q3M40AB.5",
        "1P8X2K7Q3M4.5555",
        ".5",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        char id[QUEUE_ID_SIZE];
        int64_t due;
        if (queue_parse_deferred_name(bad[i], id, &due) != -EINVAL)
            fail_msg("%s was taken", bad[i]);
    }
}

static void lock_excludes(void **state)
{
    pid_t pid = -1;
    assert_int_equal(queue_lock(queue, &pid), -ENOENT);
    assert_int_equal(mkdir(queue, 0755), 0);
    int fd = queue_lock(queue, &pid);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(queue_lock(queue, &pid), -EWOULDBLOCK); /* not even twice by one process */
    assert_int_equal(pid, getpid());
    close(fd);
    fd = queue_lock(queue, &pid);
    assert_true(fd >= 0);
    close(fd);
    /* Whoever dies gives it back. */
    pid_t child = fork();
    if (child == 0)
        _exit(queue_lock(queue, &pid) >= 0 ? 0 : 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    fd = queue_lock(queue, &pid);
    assert_true(fd >= 0);
    close(fd);
}

static void free_space(void **state)
{
    uint64_t bytes = 0, inodes = 0;
    int fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(queue_free_space(fd, &bytes, &inodes), 0);
    assert_true(bytes > 0 && inodes > 0);
    close(fd);
    assert_int_equal(queue_free_space(-1, &bytes, &inodes), -EBADF);
}

#define LIVE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIVE(folders_as_the_caller),  LIVE(folders_of_several_users),   LIVE(folders_that_can_not_be),
        cmocka_unit_test(paths),      cmocka_unit_test(deferred_names), LIVE(lock_excludes),
        cmocka_unit_test(free_space),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
