/* The real dkim-signer process, asked over its socket by a stand-in for qmgr; as root also with separate users. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"
#include "dkim/key_table.h"
#include "ipc/channel.h"

static const char content[] = "From: a@example.com\r\nSubject: x\r\n\r\nbody\r\n";

static char folder[] = "/tmp/test-dkim-process-XXXXXX";
static struct loop *loop;
static struct ipc_server *server;
static struct ipc_channel *signer;
static unsigned answers, keys;
static uint64_t failed_job;
static pid_t running; /* the signer, 0 = none */
static struct {
    uint64_t job;
    uint32_t status;
    char headers[8192], keys[256], reason[256];
} last;

static void on_signature(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    const struct ipc_signature *s = message;
    last.job = s->job;
    last.status = s->status;
    snprintf(last.headers, sizeof(last.headers), "%s", s->headers);
    snprintf(last.keys, sizeof(last.keys), "%s", s->keys);
    snprintf(last.reason, sizeof(last.reason), "%s", s->reason);
    if (s->status == SIGN_FAILED)
        failed_job = s->job;
    answers++;
}

static void on_keys(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    keys = ((const struct ipc_keys *)message)->keys;
}

static const struct ipc_handler handlers[] = {{IPC_KEYS, on_keys}, {IPC_SIGNATURE, on_signature}, {IPC_NONE}};

static void on_up(void *arg, struct ipc_channel *c)
{
    signer = c;
}

static void on_down(void *arg, struct ipc_channel *c, const char *why)
{
    signer = NULL;
}

static const struct ipc_face face = {
    .self = {.role = ROLE_QMGR}, .handlers = handlers, .on_up = on_up, .on_down = on_down};

static bool anybody(void *arg, enum ipc_role role, uid_t uid)
{
    return true;
}

#define TURN_UNTIL(condition)                                                                                          \
    do {                                                                                                               \
        for (int i_ = 0; i_ < 3000 && !(condition); i_++)                                                              \
            loop_turn(loop, 10);                                                                                       \
        assert_true(condition);                                                                                        \
    } while (0)

static void put(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void drop(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    unlink(path);
}

static void configure(const char *separate_users)
{
    char text[512];
    snprintf(text, sizeof(text),
             "state_directory = %s\nlog = stderr\nseparate_users = %s\nsmtpd_user = 65531\nauth_user = 65532\n"
             "qmgr_user = 0\ndkim_signer_user = 65533\nsmtp_out_user = 65534\nbounce_user = 65530\n"
             "inject_group = 65531\nsuppression_group = 65530\n",
             folder, separate_users);
    put("posthouse.conf", text);
}

static pid_t start_signer(void)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execl(DKIM_SIGNER, "posthouse-dkim-signer", "-c", folder, (char *)NULL);
        _exit(127);
    }
    running = pid;
    return pid;
}

static int exit_status(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    running = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void ask(uint64_t job, uint64_t length)
{
    static const struct ipc_address recipients[] = {{"b@example.net"}};
    int fd = memfd_create("message", MFD_CLOEXEC);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    struct ipc_sign sign = {.job = job,
                            .queue_id = "0000000000001",
                            .content_offset = 0,
                            .content_length = length,
                            .sender = "a@example.com",
                            .recipients = recipients,
                            .recipients_count = 1};
    assert_int_equal(ipc_send(signer, IPC_SIGN, &sign, fd), 0);
    close(fd);
}

static void add_key(enum signing_key_type type, const char *selector, const char *name)
{
    struct signing_key key;
    struct buf why;
    char path[128], table[128];
    buf_init(&why, 4096);
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    snprintf(table, sizeof(table), "%s/key-table", folder);
    assert_int_equal(signing_key_generate(type, 2048, &key), 0);
    assert_int_equal(signing_key_write(&key, path, &why), 0);
    assert_int_equal(key_table_add(table, "example.com", selector, name, &why), 0);
    signing_key_deinit(&key);
    buf_deinit(&why);
}

static void converse(void)
{
    pid_t pid = start_signer();
    TURN_UNTIL(signer != NULL);
    TURN_UNTIL(keys == 2);
    answers = 0;
    ask(7, strlen(content));
    TURN_UNTIL(answers == 1);
    assert_int_equal(last.job, 7);
    assert_int_equal(last.status, SIGN_SIGNED);
    assert_string_equal(last.keys, "r@example.com,e@example.com");
    assert_true(text_has_prefix(last.headers, "DKIM-Signature: v=1; a=rsa-sha256;"));
    ask(8, 1000000); /* longer than the file */
    for (uint64_t i = 0; i < 50; i++)
        ask(100 + i, strlen(content));
    TURN_UNTIL(answers == 52);
    assert_int_equal(failed_job, 8);
    assert_int_equal(last.job, 149);
    /* a SIGN without its descriptor ends that channel, not the process, which comes back by itself */
    struct ipc_sign broken = {.job = 9, .queue_id = "x", .sender = ""};
    struct ipc_channel *before = signer;
    assert_int_equal(ipc_send(before, IPC_SIGN, &broken, -1), 0);
    TURN_UNTIL(signer == NULL);
    TURN_UNTIL(signer != NULL);
    assert_int_equal(kill(pid, SIGTERM), 0);
    TURN_UNTIL(signer == NULL);
    assert_int_equal(exit_status(pid), 0);
}

static void test_signs_over_its_socket(void **state)
{
    configure("no");
    converse();
}

static void test_signs_confined(void **state)
{
    if (geteuid() != 0)
        skip();
    configure("yes");
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* there is no /proc where it is confined */
    converse();
    unsetenv("ASAN_OPTIONS");
}

static void test_without_table_nothing_is_signed(void **state)
{
    char table[128], aside[128];
    snprintf(table, sizeof(table), "%s/key-table", folder);
    snprintf(aside, sizeof(aside), "%s/aside", folder);
    assert_int_equal(rename(table, aside), 0);
    configure("no");
    pid_t pid = start_signer();
    TURN_UNTIL(signer != NULL);
    TURN_UNTIL(keys == 0);
    answers = 0;
    ask(1, strlen(content));
    TURN_UNTIL(answers == 1);
    assert_int_equal(last.status, SIGN_NO_KEY);
    assert_string_equal(last.headers, "");
    assert_string_equal(last.keys, "none");
    kill(pid, SIGTERM);
    assert_int_equal(exit_status(pid), 0);
    TURN_UNTIL(signer == NULL);
    assert_int_equal(rename(aside, table), 0);
}

static void test_bad_configuration_ends_it(void **state)
{
    static const struct {
        const char *name, *text;
    } cases[] = {
        {"dkim-signer.conf", "key_table = /nonexistent/key-table\n"},
        {"dkim-signer.conf", "canonicalization = simple/simple\n"},
        {"dkim-signer.conf", "sign_headers = From Sub.*ject\n"},
        {"key-table", "example.com s1 missing.pem\n"},
        {"key-table", "example.com\n"},
    };
    configure("no");
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        put(cases[i].name, cases[i].text);
        assert_int_equal(exit_status(start_signer()), EXIT_FAILURE);
        drop(cases[i].name);
    }
}

static int set_up(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    loop = loop_new();
    if (loop == NULL || mkdtemp(folder) == NULL || chmod(folder, 0755) < 0)
        return -1;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/run", folder);
    mkdir(address.sun_path, 0755);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/run/qmgr.sock", folder);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || chmod(address.sun_path, 0666) < 0 ||
        listen(fd, 8) < 0)
        return -1;
    server = ipc_server_new(loop, fd, &face, anybody);
    add_key(SIGNING_KEY_RSA, "r", "r.pem");
    add_key(SIGNING_KEY_ED25519, "e", "e.pem");
    return server != NULL ? 0 : -1;
}

/* A test that failed half-way leaves its signer behind. */
static int end_signer(void **state)
{
    if (running > 0) {
        kill(running, SIGKILL);
        exit_status(running);
    }
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"posthouse.conf", "key-table", "r.pem", "e.pem", "run/qmgr.sock"};
    char run[128];
    ipc_server_free(server);
    loop_free(loop);
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        drop(names[i]);
    snprintf(run, sizeof(run), "%s/run", folder);
    rmdir(run);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_signs_over_its_socket, end_signer),
        cmocka_unit_test_teardown(test_signs_confined, end_signer),
        cmocka_unit_test_teardown(test_without_table_nothing_is_signed, end_signer),
        cmocka_unit_test_teardown(test_bad_configuration_ends_it, end_signer),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
