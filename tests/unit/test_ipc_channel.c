/* Server, client and blocking client over real sockets, with peers that keep the rules and peers that break them. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "ipc/channel.h"
#include "ipc/wire.h"
#include "log/log.h"

static char folder[64], path[96], log_path[96];
static struct loop *loop;

/* One side of the conversation, and what it saw. */
struct side {
    struct ipc_channel *channel; /* the one that came up last, NULL when down */
    int ups, downs, messages;
    char last[64], why[160];
    int fd;
};
static struct side qmgr, smtpd;

static void on_up(void *arg, struct ipc_channel *c)
{
    struct side *s = arg;
    s->channel = c;
    s->ups++;
    ipc_channel_set_user(c, s);
}

static void on_down(void *arg, struct ipc_channel *c, const char *why)
{
    struct side *s = arg;
    assert_ptr_equal(ipc_channel_user(c), s);
    s->channel = NULL;
    s->downs++;
    snprintf(s->why, sizeof(s->why), "%s", why);
}

static void on_submitted(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    const struct ipc_submitted *m = message;
    struct side *s = arg;
    s->messages++;
    snprintf(s->last, sizeof(s->last), "%s", m->queue_id);
}

static void on_queue_show(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct ipc_queue_item item = {.queue_id = ((const struct ipc_queue_show *)message)->queue_id, .size = 7};
    struct ipc_order_done done = {.status = ORDER_OK, .text = "shown"};
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(ipc_send(from, IPC_QUEUE_ITEM, &item, null), 0);
    close(null);
    assert_int_equal(ipc_send(from, IPC_ORDER_DONE, &done, -1), 0);
}

static void on_sign(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct side *s = arg;
    s->messages++;
    s->fd = TAKE_FD(*fd);
}

static const struct ipc_handler qmgr_handlers[] = {
    {IPC_SUBMITTED, on_submitted},
    {IPC_QUEUE_SHOW, on_queue_show},
    {IPC_NONE},
};
static const struct ipc_handler client_handlers[] = {{IPC_SIGN, on_sign}, {IPC_NONE}};

static bool anybody;

static bool may_be(void *arg, enum ipc_role role, uid_t uid)
{
    assert_ptr_equal(arg, &qmgr);
    return anybody && uid == getuid() && role != ROLE_MASTER;
}

static struct ipc_face qmgr_face = {.self = {.role = ROLE_QMGR, .slot = 0},
                                    .handlers = qmgr_handlers,
                                    .on_up = on_up,
                                    .on_down = on_down,
                                    .arg = &qmgr};
static struct ipc_face smtpd_face = {.self = {.role = ROLE_SMTPD, .slot = 3},
                                     .handlers = client_handlers,
                                     .on_up = on_up,
                                     .on_down = on_down,
                                     .arg = &smtpd};

static int setup(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/posthouse-test-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/s", folder);
    snprintf(log_path, sizeof(log_path), "%s/log", folder);
    qmgr = smtpd = (struct side){.fd = -1};
    anybody = true;
    loop = loop_new();
    return loop == NULL ? -1 : log_open("test", log_path, LOG_LEVEL_INFO);
}

static int teardown(void **state)
{
    loop_free(loop);
    log_close();
    unlink(path);
    unlink(log_path);
    return rmdir(folder);
}

static int listen_here(void)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    assert_int_equal(listen(fd, 100), 0);
    return fd;
}

static int connect_here(void)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    return fd;
}

/* Turns the loop until the condition holds; false when it does not within five seconds. */
#define WAIT_FOR(condition)                                                                                            \
    ({                                                                                                                 \
        uint64_t end_ = clock_mono_ms() + 5000;                                                                        \
        while (!(condition) && clock_mono_ms() < end_)                                                                 \
            loop_turn(loop, 20);                                                                                       \
        if (!(condition))                                                                                              \
            fail_msg("waited in vain for %s", #condition);                                                             \
    })

static bool log_has(const char *text)
{
    static char content[65536];
    FILE *f = fopen(log_path, "r");
    content[fread(content, 1, sizeof(content) - 1, f)] = '\0';
    fclose(f);
    return strstr(content, text) != NULL;
}

static int open_descriptors(void)
{
    int count = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d) != NULL)
        count++;
    closedir(d);
    return count;
}

static void greeting_and_messages(void **state)
{
    struct ipc_server *server = ipc_server_new(loop, listen_here(), &qmgr_face, may_be);
    struct ipc_client *client = ipc_client_new(loop, path, ROLE_QMGR, &smtpd_face);
    assert_null(ipc_client_channel(client));
    WAIT_FOR(qmgr.ups == 1 && smtpd.ups == 1);
    const struct ipc_identity *who = ipc_channel_peer(qmgr.channel);
    assert_int_equal(who->role, ROLE_SMTPD);
    assert_int_equal(who->slot, 3);
    assert_int_equal(who->pid, getpid());
    assert_true(who->generation == ipc_generation() && who->generation != 0);
    assert_int_equal(ipc_channel_peer(smtpd.channel)->role, ROLE_QMGR);
    assert_ptr_equal(ipc_client_channel(client), smtpd.channel);
    struct ipc_submitted m = {"1P8X2K7Q3M40A"};
    for (int i = 0; i < 1000; i++) /* more than one turn reads */
        assert_int_equal(ipc_send(ipc_client_channel(client), IPC_SUBMITTED, &m, -1), 0);
    WAIT_FOR(qmgr.messages == 1000);
    assert_string_equal(qmgr.last, "1P8X2K7Q3M40A");
    assert_int_equal(ipc_send(NULL, IPC_SUBMITTED, &m, -1), -EPIPE);
    ipc_client_free(client);
    ipc_client_free(NULL);
    WAIT_FOR(qmgr.downs == 1);
    assert_string_equal(qmgr.why, "closed by the peer");
    ipc_server_free(server);
    ipc_server_free(NULL);
}

static void descriptors_travel(void **state)
{
    int before = open_descriptors(), pipe_fds[2];
    struct ipc_face signer_face = smtpd_face;
    signer_face.self.role = ROLE_DKIM_SIGNER;
    struct ipc_server *server = ipc_server_new(loop, listen_here(), &qmgr_face, may_be);
    struct ipc_client *client = ipc_client_new(loop, path, ROLE_QMGR, &signer_face);
    WAIT_FOR(qmgr.ups == 1 && smtpd.ups == 1);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    struct ipc_sign sign = {.job = 1, .queue_id = "x"};
    assert_int_equal(ipc_send(qmgr.channel, IPC_SIGN, &sign, pipe_fds[1]), 0);
    close(pipe_fds[1]);
    WAIT_FOR(smtpd.messages == 1);
    assert_true(smtpd.fd >= 0);
    assert_true(fcntl(smtpd.fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(smtpd.fd, "k", 1), 1);
    char c = 0;
    assert_int_equal(read(pipe_fds[0], &c, 1), 1);
    assert_int_equal(c, 'k');
    close(smtpd.fd);
    close(pipe_fds[0]);
    /* Without one the handler sees -1. */
    assert_int_equal(ipc_send(qmgr.channel, IPC_SIGN, &sign, -1), 0);
    WAIT_FOR(smtpd.messages == 2);
    assert_int_equal(smtpd.fd, -1);
    ipc_client_free(client);
    ipc_server_free(server);
    assert_int_equal(open_descriptors(), before);
}

/* What a raw peer sends after its greeting, and what the server logs or calls it. */
static void send_raw(int fd, enum ipc_type type, const void *message, int passed, int copies)
{
    struct buf record;
    buf_init(&record, WIRE_RECORD_MAX);
    if (message != NULL) {
        assert_int_equal(buf_append(&record, "\0\0\0\0", 4), 0);
        assert_int_equal(ipc_encode(type, message, &record), 0);
        uint32_t word = (uint32_t)(record.len - 4) | (copies > 0 ? WIRE_HAS_FD : 0);
        for (int i = 0; i < 4; i++)
            record.data[i] = (char)(word >> 8 * i);
    }
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(2 * WIRE_FDS_MAX * sizeof(int))];
    } control = {0};
    struct iovec part = {record.data, record.len};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    if (copies > 0) {
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE((size_t)copies * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)copies * sizeof(int));
        for (int i = 0; i < copies; i++)
            memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &passed, sizeof(int));
    }
    assert_true(sendmsg(fd, &m, MSG_NOSIGNAL) >= 0);
    buf_deinit(&record);
}

static void greet_raw(int fd, uint32_t role, uint32_t version)
{
    struct ipc_hello hello = {.version = version, .role = role, .pid = 1};
    send_raw(fd, IPC_HELLO, &hello, -1, 0);
}

static void wrong_greetings_are_refused(void **state)
{
    static const struct {
        uint32_t role, version;
        bool anybody;
        const char *want;
    } cases[] = {
        {ROLE_SMTPD, IPC_VERSION + 1, true, "speaks version "},
        {ROLE_SMTPD, 0, true, "speaks version 0, expected "},
        {ROLE_SMTPD, IPC_VERSION, false, "may not act as smtpd"},
        {ROLE_MASTER, IPC_VERSION, true, "may not act as master"},
        {ROLE_COUNT, IPC_VERSION, true, "may not act as ?"},
        {77, IPC_VERSION, true, "may not act as ?"},
        {UINT32_MAX, IPC_VERSION, true, "may not act as ?"},
    };
    struct ipc_server *server = ipc_server_new(loop, listen_here(), &qmgr_face, may_be);
    int before = open_descriptors();
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        anybody = cases[i].anybody;
        assert_int_equal(truncate(log_path, 0), 0);
        int fd = connect_here();
        greet_raw(fd, cases[i].role, cases[i].version);
        WAIT_FOR(log_has("ipc: a process was refused: "));
        if (!log_has(cases[i].want))
            fail_msg("no line says: %s", cases[i].want);
        close(fd);
    }
    assert_int_equal(qmgr.ups, 0);
    assert_int_equal(qmgr.downs, 0);
    assert_int_equal(open_descriptors(), before);
    ipc_server_free(server);
}

struct mischief {
    const char *want; /* why the channel ended */
    void (*act)(int fd);
    bool greet;
};

static void speak_first(int fd)
{
    struct ipc_submitted m = {"x"};
    send_raw(fd, IPC_SUBMITTED, &m, -1, 0);
}

static void greet_twice(int fd)
{
    greet_raw(fd, ROLE_SMTPD, IPC_VERSION);
}

static void speak_for_another(int fd)
{
    struct ipc_queue_show m = {"x"}; /* only the admin command may ask that */
    send_raw(fd, IPC_QUEUE_SHOW, &m, -1, 0);
}

static void send_what_nobody_handles(int fd)
{
    struct ipc_auth_start m = {0};
    send_raw(fd, IPC_AUTH_START, &m, -1, 0);
}

static void send_garbage(int fd)
{
    assert_int_equal(send(fd, "garbage", 7, MSG_NOSIGNAL), 7);
}

/* A message that claims more than the record has. */
static void send_half(int fd)
{
    assert_int_equal(send(fd, "\x40\0\0\0half", 8, MSG_NOSIGNAL), 8);
}

static void promise_a_descriptor(int fd)
{
    char frame[] = "\x04\0\0\x80\1\0\0\0";
    assert_int_equal(send(fd, frame, 8, MSG_NOSIGNAL), 8);
}

static void send_too_much(int fd)
{
    static char huge[WIRE_RECORD_MAX + 1];
    int size = 1024 * 1024;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    assert_int_equal(send(fd, huge, sizeof(huge), MSG_NOSIGNAL), (ssize_t)sizeof(huge));
}

static void pass_a_descriptor(int fd)
{
    struct ipc_submitted m = {"x"};
    send_raw(fd, IPC_SUBMITTED, &m, fd, 1);
}

static void pass_many_descriptors(int fd)
{
    struct ipc_submitted m = {"x"};
    send_raw(fd, IPC_SUBMITTED, &m, fd, 2 * WIRE_FDS_MAX);
}

static void pass_one_with_nothing(int fd)
{
    send_raw(fd, IPC_NONE, NULL, fd, 1);
}

static void rule_breakers_lose_their_channel(void **state)
{
    static const struct mischief cases[] = {
        {"unexpected SUBMITTED from ?", speak_first, false},
        {"unexpected HELLO from smtpd", greet_twice, true},
        {"unexpected QUEUE_SHOW from smtpd", speak_for_another, true},
        {"unexpected AUTH_START from smtpd", send_what_nobody_handles, true},
        {"a record that makes no sense: Protocol error", send_garbage, true},
        {"a record that makes no sense: Protocol error", send_garbage, false},
        {"a record that makes no sense: Protocol error", send_half, true},
        {"a record that makes no sense: Protocol error", promise_a_descriptor, true},
        {"receive: Message too long", send_too_much, true},
        {"unexpected SUBMITTED from smtpd", pass_a_descriptor, true},
        {"receive: Message too long", pass_many_descriptors, true},
        {"closed by the peer", pass_one_with_nothing, true},
        {"closed by the peer", pass_one_with_nothing, false},
    };
    struct ipc_server *server = ipc_server_new(loop, listen_here(), &qmgr_face, may_be);
    int before = open_descriptors();
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        qmgr = (struct side){.fd = -1};
        assert_int_equal(truncate(log_path, 0), 0);
        int fd = connect_here();
        if (cases[i].greet) {
            greet_raw(fd, ROLE_SMTPD, IPC_VERSION);
            WAIT_FOR(qmgr.ups == 1);
        }
        cases[i].act(fd);
        if (cases[i].greet) {
            WAIT_FOR(qmgr.downs == 1);
            assert_string_equal(qmgr.why, cases[i].want);
        } else {
            WAIT_FOR(log_has("was refused"));
            assert_true(log_has(cases[i].want));
        }
        assert_int_equal(qmgr.messages, 0);
        close(fd);
        if (open_descriptors() != before)
            fail_msg("case %zu leaves a descriptor open", i);
    }
    /* And the server serves on. */
    struct ipc_client *client = ipc_client_new(loop, path, ROLE_QMGR, &smtpd_face);
    WAIT_FOR(smtpd.ups == 1);
    ipc_client_free(client);
    ipc_server_free(server);
}

static void client_comes_back(void **state)
{
    int listen_fd = -1;
    struct ipc_client *client = ipc_client_new(loop, path, ROLE_QMGR, &smtpd_face); /* nobody there yet */
    for (int i = 0; i < 5; i++)
        loop_turn(loop, 20);
    assert_int_equal(smtpd.ups, 0);
    for (int round = 1; round <= 3; round++) {
        listen_fd = listen_here();
        struct ipc_server *server = ipc_server_new(loop, listen_fd, &qmgr_face, may_be);
        WAIT_FOR(smtpd.ups == round && qmgr.ups == round);
        assert_non_null(ipc_client_channel(client));
        ipc_server_free(server);
        WAIT_FOR(smtpd.downs == round);
        assert_null(ipc_client_channel(client));
    }
    assert_true(log_has("ipc: connection to qmgr lost (closed by the peer), connecting again"));
    /* Whoever serves there must be who we meant. */
    struct ipc_face stranger = qmgr_face;
    stranger.self.role = ROLE_AUTH;
    struct ipc_server *server = ipc_server_new(loop, listen_here(), &stranger, may_be);
    WAIT_FOR(qmgr.ups >= 4);
    assert_int_equal(smtpd.ups, 3);
    ipc_client_free(client);
    ipc_server_free(server);
}

/* A peer that does not read: sends queue up to a bound, then say so; when it reads again everything arrives in order.
 */
static void back_pressure(void **state)
{
    struct ipc_server *server = ipc_server_new(loop, listen_here(), &qmgr_face, may_be);
    int fd = connect_here();
    greet_raw(fd, ROLE_DKIM_SIGNER, IPC_VERSION);
    WAIT_FOR(qmgr.ups == 1);
    uint64_t sent = 0;
    size_t deepest = 0;
    int r = 0, before = open_descriptors();
    while (r == 0 && sent < 1000000) {
        struct ipc_sign sign = {.job = sent, .queue_id = "1P8X2K7Q3M40A"};
        r = ipc_send(qmgr.channel, IPC_SIGN, &sign, -1);
        sent += r == 0;
        deepest = ipc_channel_backlog(qmgr.channel);
    }
    assert_int_equal(r, -EAGAIN);
    assert_in_range(deepest, 1024 * 1024, 8 * 1024 * 1024);
    assert_in_range(sent, 1000, 100000);
    assert_non_null(qmgr.channel); /* it is not dropped for that */
    static char data[WIRE_RECORD_MAX + 1];
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (uint64_t next = 0; next < sent;) {
        struct wire_reader reader;
        loop_turn(loop, 0);
        while (wire_receive(fd, data, &reader) > 0) {
            enum ipc_type type;
            union ipc_any m;
            int none;
            while (wire_next(&reader, &type, &m, &none) > 0) {
                if (type == IPC_SIGN) {
                    assert_true(m.sign.job == next);
                    next++;
                }
                ipc_decoded_free(type, &m);
            }
            assert_int_equal(reader.left, 0);
        }
    }
    assert_int_equal(ipc_channel_backlog(qmgr.channel), 0);
    struct ipc_sign sign = {0};
    assert_int_equal(ipc_send(qmgr.channel, IPC_SIGN, &sign, -1), 0);
    assert_int_equal(open_descriptors(), before);
    /* Too long for a record: refused, and the channel lives. */
    static char text[IPC_RECORD_MAX + 1];
    memset(text, 'x', sizeof(text) - 1);
    sign.sender = text;
    assert_int_equal(ipc_send(qmgr.channel, IPC_SIGN, &sign, -1), -ENOBUFS);
    assert_non_null(qmgr.channel);
    close(fd);
    WAIT_FOR(qmgr.downs == 1);
    ipc_server_free(server);
}

/* Descriptors that wait in the queue are copies, and go with the channel. */
static void queued_descriptors(void **state)
{
    struct ipc_server *server = ipc_server_new(loop, listen_here(), &qmgr_face, may_be);
    int fd = connect_here(), null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    greet_raw(fd, ROLE_DKIM_SIGNER, IPC_VERSION);
    WAIT_FOR(qmgr.ups == 1);
    static char headers[50000];
    memset(headers, 'h', sizeof(headers) - 1);
    struct ipc_sign sign = {.sender = headers};
    int before = open_descriptors();
    for (int waiting = before; waiting == before; waiting = open_descriptors()) {
        assert_int_equal(ipc_send(qmgr.channel, IPC_SIGN, &sign, null), 0);
        loop_turn(loop, 0);
    }
    before = open_descriptors();
    for (int i = 0; i < 10; i++)
        assert_int_equal(ipc_send(qmgr.channel, IPC_SIGN, &sign, null), 0);
    assert_int_equal(open_descriptors(), before + 10);
    ipc_channel_break(qmgr.channel, "enough");
    assert_int_equal(ipc_send(qmgr.channel, IPC_SIGN, &sign, null), -EPIPE);
    WAIT_FOR(qmgr.downs == 1);
    assert_string_equal(qmgr.why, "enough");
    assert_true(open_descriptors() < before);
    close(fd);
    close(null);
    ipc_server_free(server);
}

/* No descriptor left for a new connection: the server rests instead of spinning, and takes it when there is one. */
static void short_of_descriptors(void **state)
{
    struct rlimit before, limit;
    struct ipc_server *server = ipc_server_new(loop, listen_here(), &qmgr_face, may_be);
    int fd = connect_here(), highest = dup(fd), turns = 0;
    close(highest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = (struct rlimit){.rlim_cur = (rlim_t)highest, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (uint64_t end = clock_mono_ms() + 250; clock_mono_ms() < end; turns++)
        loop_turn(loop, 250);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_in_range(turns, 1, 20);
    greet_raw(fd, ROLE_SMTPD, IPC_VERSION);
    WAIT_FOR(qmgr.ups == 1);
    close(fd);
    WAIT_FOR(qmgr.downs == 1);
    ipc_server_free(server);
}

/* An owner that goes away while its channel is already broken. */
static void break_then_free(void **state)
{
    struct ipc_server *server = ipc_server_new(loop, listen_here(), &qmgr_face, may_be);
    struct ipc_client *client = ipc_client_new(loop, path, ROLE_QMGR, &smtpd_face);
    WAIT_FOR(qmgr.ups == 1 && smtpd.ups == 1);
    ipc_channel_break(smtpd.channel, "first");
    ipc_channel_break(smtpd.channel, "second");
    ipc_client_free(client);
    ipc_channel_break(qmgr.channel, "third");
    ipc_server_free(server);
    for (int i = 0; i < 3; i++)
        loop_turn(loop, 5);
    assert_int_equal(smtpd.downs, 0);
    assert_int_equal(qmgr.downs, 0);
}

static void *ask(void *arg)
{
    const struct ipc_identity self = {.role = ROLE_CTL};
    struct ipc_queue_show show = {"1P8X2K7Q3M40A"};
    struct ipc_sync *s = NULL;
    enum ipc_type type;
    union ipc_any answer;
    int fd = -1, *result = arg;
    *result = ipc_sync_open(path, &self, 5000, &s);
    if (*result < 0)
        return NULL;
    *result = 1;
    if (ipc_sync_send(s, IPC_QUEUE_SHOW, &show) == 0 && ipc_sync_receive(s, &type, &answer, &fd) == 0 &&
        type == IPC_QUEUE_ITEM && strcmp(answer.queue_item.queue_id, show.queue_id) == 0 && fd >= 0 && close(fd) == 0 &&
        ipc_sync_receive(s, &type, &answer, &fd) == 0 && type == IPC_ORDER_DONE && fd == -1 &&
        strcmp(answer.order_done.text, "shown") == 0)
        *result = 2;
    ipc_sync_close(s);
    return NULL;
}

static void blocking_client(void **state)
{
    struct ipc_server *server = ipc_server_new(loop, listen_here(), &qmgr_face, may_be);
    int result = 0;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, ask, &result), 0);
    WAIT_FOR(qmgr.downs == 1);
    pthread_join(thread, NULL);
    assert_int_equal(result, 2);
    ipc_server_free(server);
    /* Nobody serves any more; then nobody answers. */
    const struct ipc_identity self = {.role = ROLE_CTL};
    struct ipc_sync *s = NULL;
    assert_int_equal(ipc_sync_open(path, &self, 100, &s), -ECONNREFUSED);
    unlink(path);
    assert_int_equal(ipc_sync_open(path, &self, 100, &s), -ENOENT);
    int mute = listen_here();
    assert_int_equal(ipc_sync_open(path, &self, 100, &s), -ETIMEDOUT);
    assert_null(s);
    close(mute);
    ipc_sync_close(NULL);
    char longest[200];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(ipc_sync_open(longest, &self, 100, &s), -ENAMETOOLONG);
}

#define LIVE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIVE(greeting_and_messages),
        LIVE(descriptors_travel),
        LIVE(wrong_greetings_are_refused),
        LIVE(rule_breakers_lose_their_channel),
        LIVE(client_comes_back),
        LIVE(back_pressure),
        LIVE(queued_descriptors),
        LIVE(short_of_descriptors),
        LIVE(break_then_free),
        LIVE(blocking_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
