/* The daemon's message handlers over a real channel: what smtpd sends and gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/text.h"
#include "smtpd/auth/engine.h"
#include "ipc/channel.h"
#include "log/log.h"
#include "smtpd/auth/session.h"

static char folder[64], path[128], socket_path[128], throttle_path[128];
static struct loop *loop;
static struct auth *auth;
static struct throttle *throttle;
static struct ipc_server *server;
static struct ipc_client *client;
static struct credentials *admin;

/* The last answer. */
static struct {
    unsigned done, more;
    uint64_t session;
    uint32_t result;
    char credential[64], tenant[64];
} got;

static void on_done(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    const struct ipc_auth_done *m = message;
    got.done++;
    got.session = m->session;
    got.result = m->result;
    snprintf(got.credential, sizeof(got.credential), "%s", m->credential);
    snprintf(got.tenant, sizeof(got.tenant), "%s", m->tenant);
}

static void on_more(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    got.more++;
}

static const struct ipc_handler client_handlers[] = {
    {IPC_AUTH_DONE, on_done}, {IPC_AUTH_CONTINUE, on_more}, {IPC_NONE, NULL}};

static unsigned ups, downs;

static void on_up(void *arg, struct ipc_channel *c)
{
    ups++;
}

static void on_down(void *arg, struct ipc_channel *c, const char *why)
{
    downs++;
}

static bool anybody(void *arg, enum ipc_role role, uid_t uid)
{
    return role == ROLE_SMTPD;
}

static const struct engine_options options = {.mechanisms = "SCRAM-SHA-256 PLAIN LOGIN",
                                              .realm = "",
                                              .hostname = "mail.example.test",
                                              .iterations = SCRAM_ITERATIONS_MIN,
                                              .verdict_ttl_ms = 60000,
                                              .verdicts_max = 100};

static const struct auth_limits limits = {.step_timeout_ms = 200, .sessions_max = 3};
static const struct throttle_limits throttle_limits = {
    .free_failures = 1, .delay_ms = 150, .delay_max_ms = 60000, .forget_ms = 600000, .failures_per_minute = 4};

static int listening(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%.100s", socket_path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

static int setup_engine(void **state)
{
    struct credentials *reader = NULL;
    struct scram_verifier v;
    const char *missing;
    log_open("test", "stderr", LOG_LEVEL_ERROR);
    snprintf(folder, sizeof(folder), "/tmp/posthouse-test-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/credentials.db", folder);
    snprintf(socket_path, sizeof(socket_path), "%s/auth.sock", folder);
    snprintf(throttle_path, sizeof(throttle_path), "%s/failed-logins", folder);
    assert_int_equal(credentials_open(path, &admin), 0);
    assert_int_equal(scram_derive("secret", 6, SCRAM_ITERATIONS_MIN, &v), 0);
    assert_int_equal(credentials_add(admin, "app", "shop", "", &v), 0);
    assert_int_equal(credentials_open_reader(path, &reader), 0);
    return engine_init(&options, reader, &missing);
}

static int teardown_engine(void **state)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    char name[160];
    engine_deinit();
    credentials_free(admin);
    for (size_t i = 0; i < ARRAY_LENGTH(suffixes); i++) {
        snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
        unlink(name);
    }
    return rmdir(folder);
}

static void turn_until(const unsigned *counter, unsigned value, uint64_t at_most_ms)
{
    uint64_t end = clock_mono_ms() + at_most_ms;
    while (*counter < value && clock_mono_ms() < end)
        loop_turn(loop, 20);
}

static int setup(void **state)
{
    static struct ipc_face server_face, client_face;
    loop = loop_new();
    assert_int_equal(throttle_open(throttle_path, &throttle_limits, &throttle), 0);
    auth = auth_new(loop, &limits, throttle);
    assert_non_null(auth);
    server_face = (struct ipc_face){.self = {.role = ROLE_AUTH},
                                    .handlers = auth_handlers,
                                    .on_up = auth_on_up,
                                    .on_down = auth_on_down,
                                    .arg = auth};
    client_face = (struct ipc_face){
        .self = {.role = ROLE_SMTPD}, .handlers = client_handlers, .on_up = on_up, .on_down = on_down};
    server = ipc_server_new(loop, listening(), &server_face, anybody);
    client = ipc_client_new(loop, socket_path, ROLE_AUTH, &client_face);
    ups = downs = 0;
    memset(&got, 0, sizeof(got));
    turn_until(&ups, 1, 2000);
    assert_int_equal(ups, 1);
    return 0;
}

static int teardown(void **state)
{
    ipc_client_free(client);
    loop_turn(loop, 10);
    ipc_server_free(server);
    auth_free(auth);
    throttle_close(throttle);
    loop_free(loop);
    return unlink(socket_path) + unlink(throttle_path);
}

static void start_plain(uint64_t session, const char *password, const char *address)
{
    struct buf message, text;
    buf_init(&message, 512);
    buf_init(&text, 512);
    buf_append(&message, "\0app\0", 5);
    buf_append_str(&message, password);
    base64_encode(message.data, message.len, &text);
    const struct ipc_auth_start m = {.session = session,
                                     .mechanism = "PLAIN",
                                     .has_initial = 1,
                                     .initial = buf_str(&text),
                                     .client_address = address,
                                     .secure = 1};
    assert_int_equal(ipc_send(ipc_client_channel(client), IPC_AUTH_START, &m, -1), 0);
    buf_deinit(&message);
    buf_deinit(&text);
}

static void start_login(uint64_t session)
{
    const struct ipc_auth_start m = {
        .session = session, .mechanism = "LOGIN", .client_address = "192.0.2.1", .secure = 1};
    assert_int_equal(ipc_send(ipc_client_channel(client), IPC_AUTH_START, &m, -1), 0);
}

static void step(uint64_t session, const char *response)
{
    const struct ipc_auth_step m = {.session = session, .response = response};
    assert_int_equal(ipc_send(ipc_client_channel(client), IPC_AUTH_STEP, &m, -1), 0);
}

static void right_password(void **state)
{
    start_plain(7, "secret", "192.0.2.1");
    turn_until(&got.done, 1, 10000);
    assert_int_equal(got.session, 7);
    assert_int_equal(got.result, AUTH_OK);
    assert_string_equal(got.credential, "app");
    assert_string_equal(got.tenant, "shop");
}

static void login_step_by_step(void **state)
{
    start_login(8);
    turn_until(&got.more, 1, 2000);
    step(8, "YXBw");
    turn_until(&got.more, 2, 2000);
    step(8, "c2VjcmV0");
    turn_until(&got.done, 1, 10000);
    assert_int_equal(got.result, AUTH_OK);
    step(8, "c2VjcmV0"); /* over: ignored */
    loop_turn(loop, 20);
    assert_int_equal(downs, 0);
}

static void failures_are_answered_later_and_later(void **state)
{
    start_plain(1, "wrong", "192.0.2.1");
    turn_until(&got.done, 1, 10000);
    assert_int_equal(got.result, AUTH_FAILED);
    assert_string_equal(got.credential, "");
    uint64_t began = clock_mono_ms();
    start_plain(2, "wrong", "192.0.2.1");
    turn_until(&got.done, 2, 10000);
    assert_int_equal(got.result, AUTH_FAILED);
    assert_true(clock_mono_ms() - began >= throttle_limits.delay_ms);
}

static void a_right_password_is_never_delayed(void **state)
{
    for (int i = 0; i < 20; i++)
        throttle_failed(throttle, "192.0.2.77", "app");
    start_plain(1, "wrong", "192.0.2.1"); /* waits a minute for its answer */
    start_plain(2, "secret", "192.0.2.1");
    turn_until(&got.done, 1, 10000);
    assert_int_equal(got.session, 2);
    assert_int_equal(got.result, AUTH_OK);
}

static void too_many_failures_are_not_heard(void **state)
{
    for (unsigned i = 0; i < throttle_limits.failures_per_minute; i++) {
        start_plain(i, "wrong", "192.0.2.9");
        turn_until(&got.done, i + 1, 10000);
        assert_int_equal(got.result, AUTH_FAILED);
    }
    start_plain(99, "secret", "192.0.2.9");
    turn_until(&got.done, throttle_limits.failures_per_minute + 1, 10000);
    assert_int_equal(got.result, AUTH_TEMPFAIL);
    start_plain(100, "secret", "192.0.2.10");
    turn_until(&got.done, throttle_limits.failures_per_minute + 2, 10000);
    assert_int_equal(got.result, AUTH_OK);
}

static void silent_clients_are_dropped(void **state)
{
    start_login(5);
    turn_until(&got.done, 1, 10000);
    assert_int_equal(got.more, 1);
    assert_int_equal(got.result, AUTH_TEMPFAIL);
}

static void sessions_are_bounded(void **state)
{
    for (unsigned i = 0; i < limits.sessions_max; i++)
        start_login(i);
    start_login(50);
    turn_until(&got.done, 1, 10000);
    assert_int_equal(got.session, 50);
    assert_int_equal(got.result, AUTH_TEMPFAIL);
}

static void cancelled_sessions_are_not_answered(void **state)
{
    const struct ipc_auth_cancel cancel = {.session = 5};
    start_login(5);
    turn_until(&got.more, 1, 2000);
    assert_int_equal(ipc_send(ipc_client_channel(client), IPC_AUTH_CANCEL, &cancel, -1), 0);
    turn_until(&got.done, 1, 400);
    assert_int_equal(got.done, 0);
    start_plain(5, "secret", "192.0.2.1"); /* the number is free again */
    turn_until(&got.done, 1, 10000);
    assert_int_equal(got.result, AUTH_OK);
    assert_int_equal(downs, 0);
}

static void a_peer_that_breaks_the_rules_is_cut_off(void **state)
{
    start_login(5);
    turn_until(&got.more, 1, 2000);
    start_login(5);
    turn_until(&downs, 1, 2000);
    assert_int_equal(downs, 1);
    turn_until(&ups, 2, 3000);
    start_plain(5, "secret", "192.0.2.1");
    turn_until(&got.done, 1, 10000);
    assert_int_equal(got.result, AUTH_OK);
}

static void ends_with_sessions_under_way(void **state)
{
    start_login(1);
    start_plain(2, "wrong", "192.0.2.1");
    start_plain(3, "wrong", "192.0.2.1");
    loop_turn(loop, 5);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(right_password),
        TEST(login_step_by_step),
        TEST(failures_are_answered_later_and_later),
        TEST(a_right_password_is_never_delayed),
        TEST(too_many_failures_are_not_heard),
        TEST(silent_clients_are_dropped),
        TEST(sessions_are_bounded),
        TEST(cancelled_sessions_are_not_answered),
        TEST(a_peer_that_breaks_the_rules_is_cut_off),
        TEST(ends_with_sessions_under_way),
    };
    return cmocka_run_group_tests(tests, setup_engine, teardown_engine);
}
