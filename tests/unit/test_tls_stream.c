/* Streams over socket pairs: plain text, TLS, and what ends them. */
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
#include <unistd.h>

#include <cmocka.h>

#include "base/net.h"
#include "base/text.h"
#include "tls/client.h"
#include "tls/selfsigned.h"
#include "tls/stream.h"
#include "tls/tickets.h"

#define SMALL 4096

static struct loop *loop;
static char folder[] = "/tmp/test-tls-XXXXXX";
static char first_chain[64], first_key[64], second_chain[64], second_key[64];
static struct tls_server *server;
static struct tls_client *trusting, *strange;

/* One side of a connection and what happened to it. */
struct side {
    struct stream *stream;
    struct buf got;
    unsigned inputs, drains;
    bool connected, secure, ended, consumes;
    enum stream_end_reason reason;
    int error;
    char text[256];
    size_t to_send; /* more bytes to write whenever the output drains */
    size_t sent;
    struct side *free_on_input, *free_on_end;
};

static unsigned char pattern(size_t i)
{
    return (unsigned char)(i * 7 + i / 251);
}

static void feed(struct side *s)
{
    while (s->to_send > 0 && stream_writable_bytes(s->stream) > 0) {
        unsigned char chunk[1000];
        size_t n = stream_writable_bytes(s->stream);
        n = n < sizeof(chunk) ? n : sizeof(chunk);
        n = n < s->to_send ? n : s->to_send;
        for (size_t i = 0; i < n; i++)
            chunk[i] = pattern(s->sent + i);
        assert_int_equal(stream_write(s->stream, chunk, n), 0);
        s->sent += n;
        s->to_send -= n;
    }
}

static void side_connected(void *arg)
{
    ((struct side *)arg)->connected = true;
}

static void side_input(void *arg)
{
    struct side *s = arg;
    s->inputs++;
    if (s->consumes) {
        struct buf *in = stream_input(s->stream);
        assert_int_equal(buf_append(&s->got, in->data, in->len), 0);
        buf_consume(in, in->len);
    }
    if (s->free_on_input != NULL) {
        stream_free(s->stream);
        s->stream = NULL;
    }
}

static void side_drained(void *arg)
{
    struct side *s = arg;
    s->drains++;
    feed(s);
}

static void side_secure(void *arg)
{
    ((struct side *)arg)->secure = true;
}

static void side_end(void *arg, const struct stream_end *end)
{
    struct side *s = arg;
    assert_false(s->ended);
    s->ended = true;
    s->reason = end->reason;
    s->error = end->error;
    snprintf(s->text, sizeof(s->text), "%s", end->text);
    if (s->free_on_end != NULL) {
        stream_free(s->stream);
        s->stream = NULL;
    }
}

static const struct stream_ops side_ops = {side_connected, side_input, side_drained, side_secure, side_end};

static void side_open(struct side *s, int fd, size_t limit)
{
    *s = (struct side){.consumes = true};
    buf_init(&s->got, 64 << 20);
    s->stream = stream_new(loop, fd, &side_ops, s, limit, limit);
    assert_non_null(s->stream);
}

static void side_close(struct side *s)
{
    stream_free(s->stream);
    buf_deinit(&s->got);
}

static void open_pair(struct side *a, struct side *b, size_t limit)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    side_open(a, fds[0], limit);
    side_open(b, fds[1], limit);
}

static void turn(unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++)
        loop_turn(loop, 2);
}

#define TURN_UNTIL(condition)                                                                                          \
    do {                                                                                                               \
        for (int i_ = 0; i_ < 20000 && !(condition); i_++)                                                             \
            loop_turn(loop, 20);                                                                                       \
        assert_true(condition);                                                                                        \
    } while (0)

static void secure_pair_with(struct side *a, struct side *b, struct tls_client *client, struct tls_client_params params)
{
    assert_int_equal(stream_start_tls_server(a->stream, server, false), 0);
    assert_int_equal(stream_start_tls_client(b->stream, client, &params), 0);
    TURN_UNTIL((a->secure || a->ended) && (b->secure || b->ended));
}

static void secure_pair(struct side *a, struct side *b)
{
    secure_pair_with(a, b, trusting,
                     (struct tls_client_params){.server_name = "mail.example.com", .verify = TLS_VERIFY_REQUIRED});
    assert_true(a->secure && b->secure);
}

static void assert_pattern(const struct side *s, size_t len)
{
    assert_int_equal(s->got.len, len);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s->got.data[i] != pattern(i))
            fail_msg("byte %zu differs", i);
}

/* --- plain text -----------------------------------------------------------------------------------------------------
 */

static void test_plain_text(void **state)
{
    struct side a, b;
    open_pair(&a, &b, SMALL);
    assert_int_equal(stream_write_str(a.stream, "220 hello\r\n"), 0);
    assert_int_equal(stream_printf(a.stream, "%d more\r\n", 250), 0);
    TURN_UNTIL(b.got.len == 21);
    assert_string_equal(buf_str(&b.got), "220 hello\r\n250 more\r\n");
    assert_int_equal(b.inputs, 1); /* corked into one write */
    assert_string_equal(stream_tls_text(a.stream), "");
    assert_false(stream_is_secure(a.stream));
    side_close(&a);
    TURN_UNTIL(b.ended);
    assert_int_equal(b.reason, STREAM_END_PEER);
    assert_int_equal(stream_write_str(b.stream, "x"), -EPIPE);
    side_close(&b);
}

static void test_output_is_bounded(void **state)
{
    struct side a, b;
    char big[SMALL + 1] = {0};
    open_pair(&a, &b, SMALL);
    assert_int_equal(stream_write(a.stream, big, sizeof(big)), -ENOBUFS);
    assert_int_equal(stream_writable_bytes(a.stream), SMALL);
    assert_int_equal(stream_write(a.stream, big, SMALL), 0);
    assert_int_equal(stream_write(a.stream, big, 1), -ENOBUFS);
    assert_int_equal(stream_pending_output(a.stream), SMALL);
    TURN_UNTIL(b.got.len == SMALL && a.drains == 1);
    side_close(&a);
    side_close(&b);
}

static void test_input_limit_presses_back(void **state)
{
    struct side a, b;
    open_pair(&a, &b, SMALL);
    b.consumes = false;
    a.to_send = 2 << 20;
    feed(&a);
    turn(200);
    assert_int_equal(stream_input(b.stream)->len, SMALL);
    assert_true(a.to_send > 0);
    b.consumes = true;
    side_input(&b);
    stream_resume_input(b.stream);
    TURN_UNTIL(b.got.len == 2 << 20);
    assert_pattern(&b, 2 << 20);
    side_close(&a);
    side_close(&b);
}

static void test_pause_and_resume(void **state)
{
    struct side a, b;
    open_pair(&a, &b, SMALL);
    b.consumes = false;
    stream_write_str(a.stream, "one");
    TURN_UNTIL(b.inputs == 1);
    stream_pause_input(b.stream);
    stream_write_str(a.stream, "two");
    turn(10);
    assert_int_equal(b.inputs, 1);
    b.consumes = true;
    stream_resume_input(b.stream);
    assert_int_equal(b.inputs, 1); /* never from inside */
    TURN_UNTIL(b.got.len == 6);
    assert_string_equal(buf_str(&b.got), "onetwo");
    side_close(&a);
    side_close(&b);
}

/* An owner that could not go on for want of room in its output: it was never paused. */
static void test_resume_announces_what_was_left(void **state)
{
    struct side a, b;
    open_pair(&a, &b, SMALL);
    b.consumes = false;
    stream_write_str(a.stream, "line\r\n");
    TURN_UNTIL(b.inputs == 1);
    turn(5);
    assert_int_equal(b.inputs, 1);
    stream_resume_input(b.stream);
    TURN_UNTIL(b.inputs == 2);
    turn(5);
    assert_int_equal(b.inputs, 2);
    side_close(&a);
    side_close(&b);
}

static void test_end_waits_for_paused_input(void **state)
{
    struct side a, b;
    open_pair(&a, &b, SMALL);
    stream_pause_input(b.stream);
    stream_write_str(a.stream, "last words");
    stream_close_after_flush(a.stream);
    turn(10);
    assert_false(b.ended);
    stream_resume_input(b.stream);
    TURN_UNTIL(b.ended);
    assert_string_equal(buf_str(&b.got), "last words");
    side_close(&a);
    side_close(&b);
}

static void test_time_outs(void **state)
{
    struct side a, b;
    open_pair(&a, &b, SMALL);
    stream_set_timeout_ms(a.stream, 60);
    stream_set_deadline_ms(b.stream, 200);
    for (int i = 0; i < 8; i++) { /* moving bytes put the time-out off */
        stream_write_str(b.stream, "x");
        usleep(20000);
        turn(2);
    }
    assert_false(a.ended);
    TURN_UNTIL(a.ended && b.ended);
    assert_int_equal(a.reason, STREAM_END_TIMED_OUT);
    assert_int_equal(b.reason, STREAM_END_DEADLINE);
    side_close(&a);
    side_close(&b);
}

static void test_close_after_flush(void **state)
{
    struct side a, b;
    open_pair(&a, &b, SMALL);
    stream_write_str(a.stream, "221 bye\r\n");
    stream_close_after_flush(a.stream);
    assert_int_equal(stream_write_str(a.stream, "too late"), -EPIPE);
    stream_write_str(b.stream, "ignored");
    TURN_UNTIL(b.ended);
    assert_string_equal(buf_str(&b.got), "221 bye\r\n");
    assert_false(a.ended);
    side_close(&b);
    TURN_UNTIL(a.ended);
    assert_int_equal(a.reason, STREAM_END_CLOSED);
    assert_int_equal(a.inputs, 0);
    side_close(&a);
}

static void close_at_once(bool secure)
{
    struct side a, b;
    open_pair(&a, &b, SMALL);
    if (secure)
        secure_pair(&a, &b);
    stream_write_str(a.stream, "421 go\r\n");
    stream_close_at_once(a.stream);
    turn(1);
    assert_true(a.ended); /* although the peer has not closed */
    assert_int_equal(a.reason, STREAM_END_CLOSED);
    side_close(&a);
    TURN_UNTIL(b.ended);
    assert_string_equal(buf_str(&b.got), "421 go\r\n");
    assert_int_equal(b.reason, STREAM_END_PEER);
    side_close(&b);
}

static void test_close_at_once(void **state)
{
    close_at_once(false);
    close_at_once(true);
}

/* What the socket does not take is not waited for, nor is a handshake. */
static void test_close_at_once_with_a_deaf_peer(void **state)
{
    struct side a;
    int fds[2];
    for (int handshake = 0; handshake < 2; handshake++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        side_open(&a, fds[0], 4 << 20);
        if (handshake) {
            assert_int_equal(stream_start_tls_server(a.stream, server, false), 0);
            turn(1);
        }
        a.to_send = 4 << 20;
        feed(&a);
        turn(3);
        assert_true(stream_pending_output(a.stream) > 0);
        stream_close_at_once(a.stream);
        turn(1);
        assert_true(a.ended);
        assert_int_equal(a.reason, STREAM_END_CLOSED);
        side_close(&a);
        close(fds[1]);
    }
}

/* A peer that reads a little now and then moves something, and yet is let go; one that reads all is not. */
static void test_output_limit(void **state)
{
    struct side a;
    int fds[2];
    char bytes[4096];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    side_open(&a, fds[0], 4 << 20);
    stream_set_output_limit_ms(a.stream, 150);
    stream_write_str(a.stream, "220 hello\r\n");
    turn(2);
    usleep(200000);
    turn(2);
    assert_false(a.ended);
    a.to_send = 4 << 20;
    feed(&a);
    for (int i = 0; i < 200 && !a.ended; i++) {
        turn(1);
        usleep(10000);
        assert_true(read(fds[1], bytes, sizeof(bytes)) > 0);
    }
    assert_true(a.ended);
    assert_int_equal(a.reason, STREAM_END_TIMED_OUT);
    assert_string_equal(a.text, "the peer does not read what is sent to it");
    side_close(&a);
    close(fds[1]);
}

static void test_linger_is_bounded(void **state)
{
    struct side a;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    side_open(&a, fds[0], SMALL);
    stream_close_after_flush(a.stream);
    TURN_UNTIL(a.ended);
    assert_int_equal(a.reason, STREAM_END_CLOSED);
    side_close(&a);
    close(fds[1]);
}

static void test_last_reply_before_reset_is_heard(void **state)
{
    struct side a;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    side_open(&a, fds[0], SMALL);
    assert_int_equal(write(fds[1], "421 go\r\n", 8), 8);
    close(fds[1]);
    stream_write_str(a.stream, "MAIL FROM:<>\r\n");
    TURN_UNTIL(a.ended);
    assert_string_equal(buf_str(&a.got), "421 go\r\n");
    side_close(&a);
}

static void test_free_inside_callbacks(void **state)
{
    struct side a, b;
    open_pair(&a, &b, SMALL);
    b.free_on_input = &b;
    a.free_on_end = &a;
    stream_write_str(a.stream, "x");
    TURN_UNTIL(b.stream == NULL && a.stream == NULL);
    assert_true(a.ended);
    assert_false(b.ended);
    side_close(&a);
    side_close(&b);
}

static int listen_on_loopback(struct net_address *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(net_parse("127.0.0.1", 0, address), 0);
    assert_int_equal(bind(fd, &address->any, address->len), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, &address->any, &address->len), 0);
    return fd;
}

static void test_connect(void **state)
{
    struct net_address address, source;
    int listener = listen_on_loopback(&address);
    struct side a = {.consumes = true};
    assert_int_equal(net_parse("127.0.0.9", 0, &source), 0);
    assert_int_equal(stream_connect(loop, &address, &source, &side_ops, &a, SMALL, SMALL, &a.stream), 0);
    assert_int_equal(stream_write_str(a.stream, "early"), 0);
    assert_false(a.connected);
    TURN_UNTIL(a.connected);
    struct net_address peer = {.len = sizeof(peer.storage)};
    int fd = accept(listener, &peer.any, &peer.len);
    char text[NET_TEXT_MAX], got[8] = "";
    assert_string_equal(net_format_host(&peer, text), "127.0.0.9");
    turn(3);
    assert_int_equal(read(fd, got, sizeof(got)), 5);
    close(fd);
    side_close(&a);

    close(listener); /* and now nobody listens there */
    a = (struct side){0};
    assert_int_equal(stream_connect(loop, &address, NULL, &side_ops, &a, SMALL, SMALL, &a.stream), 0);
    TURN_UNTIL(a.ended);
    assert_int_equal(a.reason, STREAM_END_CONNECT_FAILED);
    assert_int_equal(a.error, ECONNREFUSED);
    assert_false(a.connected);
    side_close(&a);
}

/* --- TLS ------------------------------------------------------------------------------------------------------------
 */

static void test_handshake(void **state)
{
    struct side a, b;
    struct stream_tls_info info;
    open_pair(&a, &b, SMALL);
    secure_pair(&a, &b);
    assert_string_equal(stream_tls_text(b.stream), "TLSv1.3/TLS_AES_256_GCM_SHA384");
    stream_tls_info(b.stream, &info);
    assert_true(info.verified);
    assert_string_equal(info.version, "TLSv1.3");
    assert_string_equal(info.verify_error, "");
    assert_string_equal(info.peer_name, "mail.example.com");
    stream_tls_info(a.stream, &info);
    assert_string_equal(info.peer_name, "mail.example.com");
    assert_int_equal(stream_start_tls_server(a.stream, server, false), -EALREADY);
    stream_write_str(a.stream, "250 secure\r\n");
    stream_write_str(b.stream, "EHLO me\r\n");
    TURN_UNTIL(a.got.len == 9 && b.got.len == 12);
    stream_close_after_flush(b.stream);
    TURN_UNTIL(a.ended);
    assert_int_equal(a.reason, STREAM_END_PEER);
    side_close(&a);
    side_close(&b);
}

static void test_large_transfers_both_ways(void **state)
{
    static const size_t limits[] = {100, SMALL, 100000};
    for (size_t i = 0; i < ARRAY_LENGTH(limits); i++) {
        struct side a, b;
        open_pair(&a, &b, limits[i]);
        secure_pair(&a, &b);
        a.to_send = limits[i] < 1000 ? 100000 : 3 << 20;
        b.to_send = a.to_send / 2;
        size_t want = a.to_send;
        feed(&a);
        feed(&b);
        TURN_UNTIL(b.got.len == want && a.got.len == want / 2);
        assert_pattern(&b, want);
        assert_pattern(&a, want / 2);
        side_close(&a);
        side_close(&b);
    }
}

/* A peer that stops reading and one whose decrypted bytes wait inside OpenSSL while the input is full. */
static void test_decrypted_bytes_wait_for_room(void **state)
{
    struct side a, b;
    open_pair(&a, &b, SMALL);
    secure_pair(&a, &b);
    b.consumes = false;
    a.to_send = SMALL;
    feed(&a);
    TURN_UNTIL(stream_input(b.stream)->len == SMALL);
    a.to_send = SMALL;
    feed(&a);
    turn(20);
    b.consumes = true;
    side_input(&b);
    stream_resume_input(b.stream);
    TURN_UNTIL(b.got.len == 2 * SMALL);
    assert_pattern(&b, 2 * SMALL);
    side_close(&a);
    side_close(&b);
}

static void test_plain_text_before_starttls_is_discarded(void **state)
{
    struct side a, b;
    open_pair(&a, &b, SMALL);
    a.consumes = false;
    /* What an attacker slipped in behind STARTTLS, in the same segment. */
    stream_write_str(b.stream, "STARTTLS\r\nMAIL FROM:<evil@example.com>\r\n");
    TURN_UNTIL(a.inputs == 1);
    a.consumes = true;
    stream_write_str(a.stream, "220 go ahead\r\n");
    assert_int_equal(stream_start_tls_server(a.stream, server, false), 0);
    stream_write_str(a.stream, "250 only under TLS\r\n"); /* waits for the handshake */
    TURN_UNTIL(b.got.len > 0);
    assert_string_equal(buf_str(&b.got), "220 go ahead\r\n");
    struct tls_client_params params = {.server_name = "mail.example.com", .verify = TLS_VERIFY_REQUIRED};
    assert_int_equal(stream_start_tls_client(b.stream, trusting, &params), 0);
    stream_write_str(b.stream, "EHLO again\r\n");
    TURN_UNTIL(a.got.len > 0 && b.got.len == 34);
    assert_string_equal(buf_str(&a.got), "EHLO again\r\n");
    side_close(&a);
    side_close(&b);
}

static void test_end_without_close_notify(void **state)
{
    struct side a, b;
    open_pair(&a, &b, SMALL);
    secure_pair(&a, &b);
    shutdown(stream_fd(b.stream), SHUT_RDWR);
    TURN_UNTIL(a.ended);
    assert_int_equal(a.reason, STREAM_END_PEER);
    side_close(&a);
    side_close(&b);
}

static void test_handshake_failures(void **state)
{
    static const struct {
        const char *bytes;
        bool closes;
        const char *want;
    } cases[] = {
        {"EHLO plain.example\r\n", false, "TLS handshake: the peer does not speak TLS ("},
        {"GET / HTTP/1.1\r\n\r\n", false, "TLS handshake: the peer does not speak TLS ("},
        {"", true, "TLS handshake: connection closed by peer"},
        {"\x16\x03\x01\x02\x10", true, "TLS handshake: connection closed by peer"},
        {"\x16\x03", true, "TLS handshake: connection closed by peer"},
        {"\x16\x03\x01\xff\xff", false, "TLS handshake: "},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct side a;
        int fds[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        side_open(&a, fds[0], SMALL);
        assert_int_equal(stream_start_tls_server(a.stream, server, false), 0);
        assert_int_equal(write(fds[1], cases[i].bytes, strlen(cases[i].bytes)), strlen(cases[i].bytes));
        if (cases[i].closes)
            close(fds[1]);
        TURN_UNTIL(a.ended);
        assert_int_equal(a.reason, STREAM_END_TLS_FAILED);
        assert_true(text_has_prefix(a.text, cases[i].want));
        assert_false(stream_is_secure(a.stream));
        side_close(&a);
        if (!cases[i].closes)
            close(fds[1]);
    }
}

static void test_handshake_time_out(void **state)
{
    struct side a;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    side_open(&a, fds[0], SMALL);
    stream_set_timeout_ms(a.stream, 30);
    assert_int_equal(stream_start_tls_server(a.stream, server, false), 0);
    TURN_UNTIL(a.ended);
    assert_int_equal(a.reason, STREAM_END_TIMED_OUT);
    side_close(&a);
    close(fds[1]);
}

static void test_verification(void **state)
{
    static const char *const good[] = {"other.example.com", "mail.example.com"};
    static const char *const bad[] = {"other.example.com"};
    static const char *const address[] = {"127.0.0.1"};
    const struct {
        struct tls_client *client;
        struct tls_client_params params;
        bool secure, verified;
    } cases[] = {
        {trusting, {"mail.example.com", TLS_VERIFY_REQUIRED}, true, true},
        {trusting, {NULL, TLS_VERIFY_REQUIRED, good, 2}, true, true},
        {trusting, {NULL, TLS_VERIFY_REQUIRED, address, 1}, true, true},
        {trusting, {"mail.example.com", TLS_VERIFY_REQUIRED, bad, 1}, false, false},
        {trusting, {"wrong.example.net", TLS_VERIFY_REQUIRED}, false, false},
        {strange, {"mail.example.com", TLS_VERIFY_REQUIRED}, false, false},
        {strange, {"mail.example.com", TLS_VERIFY_NONE}, true, false},
        {trusting, {"wrong.example.net", TLS_VERIFY_NONE}, true, false},
        {trusting, {"mail.example.com", TLS_VERIFY_NONE}, true, true},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct side a, b;
        struct stream_tls_info info;
        open_pair(&a, &b, SMALL);
        secure_pair_with(&a, &b, cases[i].client, cases[i].params);
        stream_tls_info(b.stream, &info);
        if (b.secure != cases[i].secure || info.verified != cases[i].verified)
            fail_msg("case %zu: secure %d, verified %d (%s)", i, b.secure, info.verified, b.text);
        if (!b.secure)
            assert_non_null(strstr(b.text, "certificate verify failed: "));
        else if (!info.verified)
            assert_string_not_equal(info.verify_error, "");
        side_close(&a);
        side_close(&b);
    }
    struct side a, b;
    open_pair(&a, &b, SMALL);
    struct tls_client_params nameless = {.verify = TLS_VERIFY_REQUIRED};
    assert_int_equal(stream_start_tls_client(b.stream, trusting, &nameless), -EINVAL);
    side_close(&a);
    side_close(&b);
}

static void test_sni_picks_the_certificate(void **state)
{
    static const struct {
        const char *name, *want;
    } cases[] = {
        {"mail.example.com", "mail.example.com"},     {"second.example.net", "second.example.net"},
        {"SECOND.example.net", "second.example.net"}, {"x.wild.example.net", "second.example.net"},
        {"nobody.example.org", "mail.example.com"},   {NULL, "mail.example.com"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct side a, b;
        struct stream_tls_info info;
        open_pair(&a, &b, SMALL);
        secure_pair_with(&a, &b, strange, (struct tls_client_params){.server_name = cases[i].name});
        stream_tls_info(b.stream, &info);
        assert_string_equal(info.peer_name, cases[i].want);
        side_close(&a);
        side_close(&b);
    }
}

/* One connection with a session key: was it resumed? */
static bool connect_once(struct tls_client *client, enum tls_verify verify, const char *session_key)
{
    struct side a, b;
    struct stream_tls_info info;
    open_pair(&a, &b, SMALL);
    secure_pair_with(
        &a, &b, client,
        (struct tls_client_params){.server_name = "mail.example.com", .verify = verify, .session_key = session_key});
    assert_true(a.secure && b.secure);
    stream_write_str(a.stream, "220 hi\r\n");
    TURN_UNTIL(b.got.len == 8);
    stream_tls_info(b.stream, &info);
    assert_true(info.verified);
    side_close(&b);
    side_close(&a);
    return info.resumed;
}

static void test_sessions_are_resumed(void **state)
{
    static const enum tls_version newest[] = {TLS_VERSION_1_2, TLS_VERSION_1_3};
    char error[TLS_ERROR_MAX];
    for (size_t i = 0; i < ARRAY_LENGTH(newest); i++) {
        struct tls_client *client = tls_client_new(
            &(struct tls_client_options){.ca_file = first_chain, .min_version = newest[i], .session_limit = 1}, error);
        assert_non_null(client);
        assert_false(connect_once(client, TLS_VERIFY_REQUIRED, "a:25"));
        assert_true(connect_once(client, TLS_VERIFY_REQUIRED, "a:25"));
        assert_true(connect_once(client, TLS_VERIFY_REQUIRED, "a:25"));
        assert_false(connect_once(client, TLS_VERIFY_NONE, "a:25")); /* not verified alike */
        assert_false(connect_once(client, TLS_VERIFY_REQUIRED, "b:25"));
        assert_false(connect_once(client, TLS_VERIFY_REQUIRED, "a:25")); /* the limit of one dropped it */
        assert_false(connect_once(client, TLS_VERIFY_REQUIRED, NULL));
        tls_client_free(client);
    }
}

static struct tls_server *server_with(struct tickets *tickets)
{
    char error[TLS_ERROR_MAX];
    struct tls_certificate certificate = {first_chain, first_key};
    struct tls_server_options options = {.tickets = tickets};
    return tls_server_new(&certificate, 1, &options, error);
}

/* Two processes that map the keys of a third, as smtpd's do. */
static void test_tickets_are_shared_between_servers(void **state)
{
    char error[TLS_ERROR_MAX];
    struct tickets *master, *mapped[2];
    struct tls_server *usual = server, *servers[2];
    struct tls_client *client = tls_client_new(&(struct tls_client_options){.ca_file = first_chain}, error);
    assert_int_equal(tickets_new(&master), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(tickets_map(tickets_fd(master), &mapped[i]), 0);
        servers[i] = server_with(mapped[i]);
        assert_non_null(servers[i]);
    }
    server = servers[0];
    assert_false(connect_once(client, TLS_VERIFY_REQUIRED, "a:25"));
    server = servers[1];
    assert_true(connect_once(client, TLS_VERIFY_REQUIRED, "a:25"));
    assert_int_equal(tickets_rotate(master), 0);
    assert_true(
        connect_once(client, TLS_VERIFY_REQUIRED, "a:25")); /* by the key before, and gets a ticket by the new */
    assert_int_equal(tickets_rotate(master), 0);
    server = servers[0];
    assert_true(connect_once(client, TLS_VERIFY_REQUIRED, "a:25"));
    assert_int_equal(tickets_rotate(master), 0);
    assert_int_equal(tickets_rotate(master), 0);
    assert_false(connect_once(client, TLS_VERIFY_REQUIRED, "a:25"));
    server = usual;
    for (size_t i = 0; i < 2; i++) {
        tls_server_free(servers[i]);
        tickets_free(mapped[i]);
    }
    tickets_free(master);
    tls_client_free(client);
}

static void test_tickets_are_not_written_by_readers(void **state)
{
    struct tickets *master, *foreign = NULL;
    assert_int_equal(tickets_new(&master), 0);
    assert_true(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, tickets_fd(master), 0) == MAP_FAILED);
    assert_int_equal(ftruncate(tickets_fd(master), 0), -1);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(tickets_map(fd, &foreign), -EINVAL);
    close(fd);
    tickets_free(master);
}

static void test_server_outlives_reload(void **state)
{
    struct side a, b;
    char error[TLS_ERROR_MAX];
    struct tls_certificate certificate = {first_chain, first_key};
    struct tls_server *usual = server;
    server = tls_server_new(&certificate, 1, NULL, error);
    open_pair(&a, &b, SMALL);
    assert_int_equal(stream_start_tls_server(a.stream, server, false), 0);
    tls_server_free(server);
    server = usual;
    struct tls_client_params params = {.server_name = "mail.example.com", .verify = TLS_VERIFY_REQUIRED};
    assert_int_equal(stream_start_tls_client(b.stream, trusting, &params), 0);
    TURN_UNTIL(a.secure && b.secure);
    side_close(&a);
    side_close(&b);
}

static void test_errors_name_the_file(void **state)
{
    char error[TLS_ERROR_MAX];
    const struct {
        struct tls_certificate certificate;
        const char *want;
    } cases[] = {
        {{"/nonexistent/cert.pem", first_key}, "certificate /nonexistent/cert.pem: No such file or directory"},
        {{first_chain, "/nonexistent/key.pem"}, "private key /nonexistent/key.pem: No such file or directory"},
        {{first_chain, second_key}, "key values mismatch"},
        {{first_key, first_key}, "no start line"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        assert_null(tls_server_new(&cases[i].certificate, 1, NULL, error));
        if (strstr(error, cases[i].want) == NULL)
            fail_msg("case %zu: \"%s\"", i, error);
    }
    assert_null(tls_server_new(NULL, 0, NULL, error));
    assert_string_equal(error, "no certificate given");
    assert_null(tls_client_new(&(struct tls_client_options){.ca_file = "/nonexistent/ca.pem"}, error));
    assert_string_equal(error, "trust anchors /nonexistent/ca.pem: No such file or directory");
}

static void test_selfsigned_files(void **state)
{
    char error[TLS_ERROR_MAX];
    struct stat st;
    static const char *const names[] = {"x.example"};
    assert_int_equal(stat(first_key, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(tls_selfsigned_write(first_chain, first_key, names, 1, 10, error), -EEXIST);
    assert_non_null(strstr(error, "File exists"));
    char lone[96];
    snprintf(lone, sizeof(lone), "%s/lone.key", folder);
    assert_int_equal(tls_selfsigned_write("/nonexistent/c.pem", lone, names, 1, 10, error), -ENOENT);
    assert_int_equal(access(lone, F_OK), -1);
    assert_true(tls_selfsigned_write("/nonexistent/c.pem", lone, names, 0, 10, error) < 0);
    static const char *const forged[] = {"a.example,DNS:b.example"};
    assert_true(tls_selfsigned_write("/nonexistent/c.pem", lone, forged, 1, 10, error) < 0);
}

static int set_up(void **state)
{
    static const char *const first[] = {"mail.example.com", "127.0.0.1"};
    static const char *const second[] = {"second.example.net", "*.wild.example.net"};
    char error[TLS_ERROR_MAX];
    signal(SIGPIPE, SIG_IGN);
    loop = loop_new();
    if (loop == NULL || mkdtemp(folder) == NULL)
        return -1;
    snprintf(first_chain, sizeof(first_chain), "%s/first.pem", folder);
    snprintf(first_key, sizeof(first_key), "%s/first.key", folder);
    snprintf(second_chain, sizeof(second_chain), "%s/second.pem", folder);
    snprintf(second_key, sizeof(second_key), "%s/second.key", folder);
    if (tls_selfsigned_write(first_chain, first_key, first, 2, 30, error) < 0 ||
        tls_selfsigned_write(second_chain, second_key, second, 2, 30, error) < 0)
        return -1;
    struct tls_certificate certificates[] = {{first_chain, first_key}, {second_chain, second_key}};
    server = tls_server_new(certificates, 2, NULL, error);
    trusting = tls_client_new(&(struct tls_client_options){.ca_file = first_chain}, error);
    strange = tls_client_new(NULL, error);
    return server != NULL && trusting != NULL && strange != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    unlink(first_chain);
    unlink(first_key);
    unlink(second_chain);
    unlink(second_key);
    rmdir(folder);
    tls_server_free(server);
    tls_client_free(trusting);
    tls_client_free(strange);
    loop_free(loop);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_text),
        cmocka_unit_test(test_output_is_bounded),
        cmocka_unit_test(test_input_limit_presses_back),
        cmocka_unit_test(test_pause_and_resume),
        cmocka_unit_test(test_resume_announces_what_was_left),
        cmocka_unit_test(test_end_waits_for_paused_input),
        cmocka_unit_test(test_time_outs),
        cmocka_unit_test(test_close_after_flush),
        cmocka_unit_test(test_close_at_once),
        cmocka_unit_test(test_close_at_once_with_a_deaf_peer),
        cmocka_unit_test(test_output_limit),
        cmocka_unit_test(test_linger_is_bounded),
        cmocka_unit_test(test_last_reply_before_reset_is_heard),
        cmocka_unit_test(test_free_inside_callbacks),
        cmocka_unit_test(test_connect),
        cmocka_unit_test(test_handshake),
        cmocka_unit_test(test_large_transfers_both_ways),
        cmocka_unit_test(test_decrypted_bytes_wait_for_room),
        cmocka_unit_test(test_plain_text_before_starttls_is_discarded),
        cmocka_unit_test(test_end_without_close_notify),
        cmocka_unit_test(test_handshake_failures),
        cmocka_unit_test(test_handshake_time_out),
        cmocka_unit_test(test_verification),
        cmocka_unit_test(test_sni_picks_the_certificate),
        cmocka_unit_test(test_sessions_are_resumed),
        cmocka_unit_test(test_tickets_are_shared_between_servers),
        cmocka_unit_test(test_tickets_are_not_written_by_readers),
        cmocka_unit_test(test_server_outlives_reload),
        cmocka_unit_test(test_errors_name_the_file),
        cmocka_unit_test(test_selfsigned_files),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
