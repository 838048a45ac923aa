#include "tls/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/clock.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "tls/channel.h"

#define INPUT_CHUNK_BYTES 16383 /* with buf's NUL a round allocation, and a whole TLS record bar one byte */
#define ROUNDS_PER_EVENT  8     /* then the other streams have their turn */
#define WRITES_PER_ROUND  16
#define LINGER_MS         2000

#define RECORD_HEADER_BYTES 5 /* type, version, length of the rest (RFC 8446 section 5.1) */

/* CONNECTING → PLAIN → (GOING_SECURE → HANDSHAKE → SECURE) → LINGERING → OVER; any may end OVER. */
enum phase { CONNECTING, PLAIN, GOING_SECURE, HANDSHAKE, SECURE, LINGERING, OVER };

struct stream {
    struct channel channel;
    const struct stream_ops *ops;
    void *arg;
    struct buf input, output;
    size_t plain_left; /* GOING_SECURE: bytes of output that still belong in front of the handshake */
    enum phase phase;
    bool running;  /* an event is being handled: callbacks may run, and what is queued is sent afterwards */
    bool freed;    /* by a callback */
    bool readable; /* the socket may have more */
    bool writable; /* the socket may take more */
    int read_wants, write_wants, handshake_wants; /* which readiness the next attempt needs: IO_READ or IO_WRITE */
    bool paused, peer_closed, closing;
    bool hurried;    /* closing waits for nobody */
    bool announce;   /* bytes came that on_input was not called for */
    bool announcing; /* on_input is running */
    bool went;       /* bytes left that on_drained was not called for */
    int write_error; /* sending failed; the peer's last words are still read */
    struct io_watch watch;
    struct task soon;
    struct timer clock;
    uint64_t timeout_ms, moved_at_ms, deadline_at_ms, clock_at_ms;
    uint64_t output_limit_ms, blocked_at_ms; /* since when the socket has not taken all; 0 = it has */
    SSL *handshaker;  /* client, GOING_SECURE: becomes the channel's when the plain text has left */
    int hello_wanted; /* server: bytes of the client's first record that were waited for */
    bool asks_certificate;
    struct tls_server *server;
    struct tls_client *client;
    char *peer_name;
    char tls_text[96];
};

/* --- life --------------------------------------------------------------------------------------------------------- */

static void destroy(struct stream *s)
{
    io_watch_deinit(&s->watch);
    task_cancel(&s->soon);
    timer_deinit(&s->clock);
    SSL_free(s->handshaker);
    channel_deinit(&s->channel);
    free(s->peer_name);
    tls_server_free(s->server);
    tls_client_free(s->client);
    buf_deinit(&s->input);
    buf_deinit(&s->output);
    free(s);
}

static bool over(const struct stream *s)
{
    return s->freed || s->phase == OVER;
}

static void end(struct stream *s, enum stream_end_reason reason, int error, const char *text)
{
    if (over(s))
        return;
    s->phase = OVER;
    io_watch_set(&s->watch, 0);
    task_cancel(&s->soon);
    timer_stop(&s->clock);
    buf_clear(&s->output);
    s->ops->on_end(s->arg, &(struct stream_end){reason, error, text});
}

/* A failed read, write or handshake: r as channel.h defines it. */
static void end_by(struct stream *s, int r)
{
    if (r == -EPROTO)
        end(s, STREAM_END_TLS_FAILED, 0, s->channel.text != NULL ? s->channel.text : "TLS failed");
    else
        end(s, STREAM_END_RESET, -r, text_errno(-r));
}

static bool to_announce(const struct stream *s)
{
    return s->announce && !s->paused && !s->closing && s->input.len > 0 && !over(s);
}

static void announce(struct stream *s)
{
    if (!to_announce(s))
        return;
    s->announce = false;
    s->announcing = true;
    if (s->ops->on_input != NULL)
        s->ops->on_input(s->arg);
    s->announcing = false;
}

/* --- time --------------------------------------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a == 0 ? b : b == 0 ? a : a < b ? a : b;
}

static uint64_t next_alarm(const struct stream *s)
{
    uint64_t silent = s->timeout_ms > 0 ? s->moved_at_ms + s->timeout_ms : 0;
    uint64_t blocked = s->output_limit_ms > 0 && s->blocked_at_ms > 0 ? s->blocked_at_ms + s->output_limit_ms : 0;
    return earlier(earlier(silent, blocked), s->deadline_at_ms);
}

/* The timer is only ever moved forward here; when it fires too early it is set again for the rest.  So a busy stream
 * costs no timer operations. */
static void set_clock(struct stream *s)
{
    uint64_t at = next_alarm(s), now = clock_mono_ms();
    if (at == 0 || s->phase == OVER || (timer_is_set(&s->clock) && s->clock_at_ms <= at))
        return;
    s->clock_at_ms = at;
    timer_set_ms(&s->clock, at > now ? at - now : 0);
}

static void check_clock(struct stream *s)
{
    uint64_t now = clock_mono_ms();
    if (s->deadline_at_ms > 0 && now >= s->deadline_at_ms) {
        if (s->phase == LINGERING)
            end(s, STREAM_END_CLOSED, 0, "closed");
        else
            end(s, STREAM_END_DEADLINE, ETIMEDOUT, "time limit reached");
    } else if (s->timeout_ms > 0 && now >= s->moved_at_ms + s->timeout_ms) {
        end(s, STREAM_END_TIMED_OUT, ETIMEDOUT,
            s->phase == CONNECTING ? "connection attempt timed out" : "connection timed out");
    } else if (s->output_limit_ms > 0 && s->blocked_at_ms > 0 && now >= s->blocked_at_ms + s->output_limit_ms) {
        end(s, STREAM_END_TIMED_OUT, ETIMEDOUT, "the peer does not read what is sent to it");
    }
}

/* --- one event ---------------------------------------------------------------------------------------------------- */

static void finish_connect(struct stream *s)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (!s->writable)
        return;
    if (getsockopt(s->channel.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error != 0) {
        end(s, STREAM_END_CONNECT_FAILED, error, text_errno(error));
        return;
    }
    s->phase = PLAIN;
    s->moved_at_ms = clock_mono_ms();
    if (s->ops->on_connected != NULL)
        s->ops->on_connected(s->arg);
}

static void go_secure(struct stream *s)
{
    if (over(s) || s->phase != GOING_SECURE || s->plain_left > 0)
        return;
    s->channel.ssl = TAKE_PTR(s->handshaker);
    s->phase = HANDSHAKE;
}

/* The name to show for the peer: who it says it is, or whom it asked for. */
static char *peer_name(SSL *ssl)
{
    char name[256];
    const char *sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (SSL_is_server(ssl))
        return sni != NULL ? strdup(sni) : NULL;
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    if (certificate == NULL ||
        X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof(name)) < 0)
        return NULL;
    return strdup(name);
}

static void finish_handshake(struct stream *s)
{
    s->phase = SECURE;
    s->moved_at_ms = clock_mono_ms();
    s->read_wants = IO_READ;
    s->write_wants = IO_WRITE;
    s->readable = true; /* data may have come in the same segment as the last flight */
    snprintf(s->tls_text, sizeof(s->tls_text), "%s/%s", SSL_get_version(s->channel.ssl),
             SSL_get_cipher_name(s->channel.ssl));
    s->peer_name = peer_name(s->channel.ssl);
    if (s->ops->on_secure != NULL)
        s->ops->on_secure(s->arg);
}

/* Whether the client's first record is there as a whole.  A handshake that has begun takes forty kilobytes, and clients
 * that never say anything, or only half of it, shall not have them. */
static bool hello_is_here(struct stream *s)
{
    unsigned char head[RECORD_HEADER_BYTES];
    int have = 0;
    ssize_t n = recv(s->channel.fd, head, sizeof(head), MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        s->readable = false;
        return false;
    }
    if (n <= 0 || head[0] != SSL3_RT_HANDSHAKE)
        return true; /* OpenSSL says what is wrong */
    int wanted = RECORD_HEADER_BYTES + (n == sizeof(head) ? head[3] << 8 | head[4] : 0);
    if (wanted > RECORD_HEADER_BYTES + SSL3_RT_MAX_PLAIN_LENGTH || ioctl(s->channel.fd, FIONREAD, &have) < 0)
        return true;
    /* When it was waited for and is not there, the client sends no more, or the socket holds no more. */
    bool begins = have >= wanted || wanted == s->hello_wanted;
    int low = begins ? 1 : wanted;
    if (begins && s->hello_wanted == 0)
        return true;
    s->hello_wanted = wanted;
    if (setsockopt(s->channel.fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low)) < 0 || begins)
        return true;
    s->readable = false;
    return false;
}

static void meet_client(struct stream *s)
{
    if (!hello_is_here(s))
        return;
    s->channel.ssl = tls_server_open(s->server, s->asks_certificate);
    if (s->channel.ssl == NULL || SSL_set_fd(s->channel.ssl, s->channel.fd) != 1)
        end(s, STREAM_END_NO_MEMORY, ENOMEM, text_errno(ENOMEM));
}

static void handshake(struct stream *s)
{
    if (s->channel.ssl == NULL)
        meet_client(s);
    if (s->channel.ssl == NULL || over(s))
        return;
    int r = channel_handshake(&s->channel);
    if (r == CHANNEL_MOVED)
        finish_handshake(s);
    else if (r == CHANNEL_CLOSED)
        end(s, STREAM_END_TLS_FAILED, 0, "TLS handshake: connection closed by peer");
    else if (r == -EPROTO)
        end_by(s, r);
    else if (r < 0)
        end(s, STREAM_END_TLS_FAILED, -r, text_errno(-r));
    else
        s->handshake_wants = r == CHANNEL_WANTS_READ ? IO_READ : IO_WRITE;
}

static bool ready_for(const struct stream *s, int wants)
{
    return wants == IO_READ ? s->readable : s->writable;
}

static bool wants_input(const struct stream *s)
{
    return (s->phase == PLAIN || s->phase == SECURE) && !s->paused && !s->closing && !s->peer_closed &&
           s->input.len < s->input.limit;
}

/* One read; true when bytes came. */
static bool pull(struct stream *s)
{
    if (over(s) || !wants_input(s) || (!ready_for(s, s->read_wants) && channel_decrypted(&s->channel) == 0))
        return false;
    size_t room = s->input.limit - s->input.len, n = 0;
    size_t want = room < INPUT_CHUNK_BYTES ? room : INPUT_CHUNK_BYTES;
    if (buf_reserve(&s->input, want) < 0) {
        end(s, STREAM_END_NO_MEMORY, ENOMEM, text_errno(ENOMEM));
        return false;
    }
    int r = channel_read(&s->channel, buf_tail(&s->input), want, &n);
    s->read_wants = r == CHANNEL_WANTS_WRITE ? IO_WRITE : IO_READ;
    if (r == CHANNEL_MOVED) {
        buf_added(&s->input, n);
        s->announce = true;
        s->moved_at_ms = clock_mono_ms();
        /* A short plain read emptied the socket; trying again would only cost a system call. */
        if (s->channel.ssl == NULL && n < want)
            s->readable = false;
        return true;
    }
    if (r == CHANNEL_CLOSED)
        s->peer_closed = true;
    else if (r == CHANNEL_WANTS_READ)
        s->readable = false;
    else if (r == CHANNEL_WANTS_WRITE)
        s->writable = false;
    else
        end_by(s, r);
    return false;
}

/* How much of the output may be sent as things stand. */
static size_t sendable(const struct stream *s)
{
    if (s->write_error != 0)
        return 0;
    if (s->phase == GOING_SECURE)
        return s->plain_left;
    return s->phase == PLAIN || s->phase == SECURE ? s->output.len : 0;
}

static void sent(struct stream *s, size_t n)
{
    buf_consume(&s->output, n);
    if (s->phase == GOING_SECURE)
        s->plain_left -= n;
    s->moved_at_ms = clock_mono_ms();
    if (s->output.len == 0)
        s->blocked_at_ms = 0;
    s->went = true;
}

/* The peer takes nothing more, but its last reply ("421 …") may still wait to be read: the stream ends when that is
 * done. */
static void stop_sending(struct stream *s, int r)
{
    s->write_error = r;
    buf_clear(&s->output);
    s->blocked_at_ms = 0;
    s->plain_left = 0;
    s->readable = true;
    if (s->phase == GOING_SECURE || s->closing)
        end_by(s, r);
}

/* Sends what may be sent; true when something went. */
static bool push(struct stream *s)
{
    bool moved = false;
    for (int i = 0; i < WRITES_PER_ROUND && !over(s) && sendable(s) > 0 && ready_for(s, s->write_wants); i++) {
        size_t n = 0;
        int r = channel_write(&s->channel, s->output.data, sendable(s), &n);
        s->write_wants = r == CHANNEL_WANTS_READ ? IO_READ : IO_WRITE;
        if (r == CHANNEL_MOVED) {
            sent(s, n);
            moved = true;
        } else if (r == CHANNEL_WANTS_WRITE) {
            s->writable = false;
            if (s->blocked_at_ms == 0)
                s->blocked_at_ms = clock_mono_ms();
        } else if (r == CHANNEL_WANTS_READ) {
            s->readable = false;
        } else {
            stop_sending(s, r == CHANNEL_CLOSED ? -EPIPE : r);
        }
    }
    return moved;
}

static bool to_drain(const struct stream *s)
{
    return s->went && !over(s) && !s->closing && s->write_error == 0 && s->output.len <= s->output.limit / 4 &&
           (s->phase == PLAIN || s->phase == SECURE) && s->ops->on_drained != NULL;
}

static bool drain(struct stream *s)
{
    bool moved = push(s);
    if (to_drain(s)) {
        s->went = false;
        s->ops->on_drained(s->arg);
    }
    return moved;
}

static void say_goodbye(struct stream *s)
{
    if (over(s) || !s->closing || (sendable(s) > 0 && !s->hurried) || s->phase == LINGERING)
        return;
    if (s->phase == CONNECTING) {
        end(s, STREAM_END_CLOSED, 0, "closed");
        return;
    }
    channel_goodbye(&s->channel);
    if (s->hurried) {
        end(s, STREAM_END_CLOSED, 0, "closed");
        return;
    }
    /* Closing a socket with unread bytes resets the connection, and the reset may overtake our last reply: so read on
     * until the peer closes too, for a moment. */
    s->phase = LINGERING;
    s->timeout_ms = 0;
    s->deadline_at_ms = clock_mono_ms() + LINGER_MS;
    s->readable = true;
    buf_clear(&s->input);
}

static void linger(struct stream *s)
{
    char rest[4096];
    for (int i = 0; i < ROUNDS_PER_EVENT && s->readable; i++) {
        ssize_t n = recv(s->channel.fd, rest, sizeof(rest), 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            end(s, STREAM_END_CLOSED, 0, "closed");
            return;
        }
        s->readable = n > 0;
    }
}

/* The connection is over when the peer's bytes are handed on. */
static void finish_closed(struct stream *s)
{
    bool unheard = s->announce && s->input.len > 0 && !s->closing;
    if (over(s) || unheard || (!s->peer_closed && s->write_error == 0))
        return;
    if (s->peer_closed && s->write_error == 0)
        end(s, s->closing ? STREAM_END_CLOSED : STREAM_END_PEER, 0, "connection closed by peer");
    else if (s->peer_closed || !s->readable)
        end_by(s, s->write_error);
}

static bool step(struct stream *s)
{
    if (s->phase == CONNECTING)
        finish_connect(s);
    go_secure(s);
    if (s->phase == HANDSHAKE && !over(s) && !s->closing && ready_for(s, s->handshake_wants))
        handshake(s);
    bool moved = pull(s);
    announce(s);
    if (!over(s))
        moved = drain(s) || moved;
    /* start_tls was called by a callback, and what had to leave before has left */
    return moved || (!over(s) && s->phase == GOING_SECURE && s->plain_left == 0);
}

static void watch_what_matters(struct stream *s)
{
    int wanted = 0;
    if (s->phase == CONNECTING)
        wanted = IO_WRITE;
    else if (s->phase == HANDSHAKE)
        wanted = s->handshake_wants;
    else if (s->phase == LINGERING)
        wanted = IO_READ;
    else if (wants_input(s))
        wanted = s->read_wants;
    else if (s->paused && !s->readable && !s->closing && !s->peer_closed)
        wanted = s->watch.wanted & IO_READ; /* until something comes: most pauses end before, and cost nothing so */
    if (sendable(s) > 0)
        wanted |= s->write_wants;
    io_watch_set(&s->watch, wanted);
    /* Turns cut short by ROUNDS_PER_EVENT go on by themselves, except for bytes that left the socket already. */
    if ((wants_input(s) && channel_decrypted(&s->channel) > 0) || to_announce(s) || to_drain(s))
        task_post(&s->soon);
}

static void give_memory_back(struct stream *s)
{
    buf_trim(&s->input);
    buf_release(&s->output);
}

static void run(struct stream *s)
{
    s->running = true;
    if (s->phase == LINGERING)
        linger(s);
    for (int round = 0; round < ROUNDS_PER_EVENT && s->phase != LINGERING && !over(s); round++)
        if (!step(s))
            break;
    /* What the last callbacks queued leaves now, in one write. */
    if (!over(s))
        push(s);
    say_goodbye(s);
    finish_closed(s);
    s->running = false;
    if (s->freed) {
        destroy(s);
        return;
    }
    if (s->phase == OVER)
        return;
    watch_what_matters(s);
    set_clock(s);
    give_memory_back(s);
}

static void on_socket(void *arg, int ready)
{
    struct stream *s = arg;
    if (ready & IO_READ)
        s->readable = true;
    if (ready & IO_WRITE)
        s->writable = true;
    run(s);
}

static void on_soon(void *arg)
{
    run(arg);
}

static void on_clock(void *arg)
{
    struct stream *s = arg;
    s->running = true;
    check_clock(s);
    s->running = false;
    if (s->freed)
        destroy(s);
    else
        set_clock(s);
}

/* The owner changed something: handle it when its own event is over, at once when it is ours. */
static void wake(struct stream *s)
{
    if (!s->running && s->phase != OVER)
        task_post(&s->soon);
}

/* --- the owner's side --------------------------------------------------------------------------------------------- */

static struct stream *stream_create(struct loop *l, int fd, const struct stream_ops *ops, void *arg, size_t input_limit,
                                    size_t output_limit)
{
    struct stream *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    s->channel.fd = fd;
    s->ops = ops;
    s->arg = arg;
    s->phase = PLAIN;
    s->read_wants = IO_READ;
    s->write_wants = IO_WRITE;
    s->moved_at_ms = clock_mono_ms();
    buf_init(&s->input, input_limit);
    buf_init(&s->output, output_limit);
    task_init(&s->soon, l, on_soon, s);
    if (io_watch_init(&s->watch, l, fd, on_socket, s) < 0 || timer_init(&s->clock, l, on_clock, s) < 0) {
        s->channel.fd = -1; /* stays the caller's until we succeed */
        destroy(s);
        return NULL;
    }
    return s;
}

struct stream *stream_new(struct loop *l, int fd, const struct stream_ops *ops, void *arg, size_t input_limit,
                          size_t output_limit)
{
    int one = 1, flags = fcntl(fd, F_GETFL);
    struct stream *s = NULL;
    if (flags >= 0 && ((flags & O_NONBLOCK) || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0))
        s = stream_create(l, fd, ops, arg, input_limit, output_limit);
    if (s == NULL) {
        close(fd);
        return NULL;
    }
    /* Fails on Unix sockets, which need no such thing. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    s->writable = true;
    if (io_watch_set(&s->watch, IO_READ) < 0) {
        destroy(s);
        return NULL;
    }
    return s;
}

int stream_connect(struct loop *l, const struct net_address *to, const struct net_address *source,
                   const struct stream_ops *ops, void *arg, size_t input_limit, size_t output_limit,
                   struct stream **out)
{
    int one = 1;
    _cleanup_(fd_closep) int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (source != NULL && source->len > 0 && bind(fd, &source->any, source->len) < 0)
        return -errno;
    if (connect(fd, &to->any, to->len) < 0 && errno != EINPROGRESS)
        return -errno;
    struct stream *s = stream_create(l, fd, ops, arg, input_limit, output_limit);
    if (s == NULL)
        return -ENOMEM;
    TAKE_FD(fd);
    s->phase = CONNECTING;
    if (io_watch_set(&s->watch, IO_WRITE) < 0) {
        destroy(s);
        return -ENOMEM;
    }
    *out = s;
    return 0;
}

void stream_free(struct stream *s)
{
    if (s == NULL)
        return;
    if (s->running)
        s->freed = true;
    else
        destroy(s);
}

int stream_fd(const struct stream *s)
{
    return s->channel.fd;
}

struct buf *stream_input(struct stream *s)
{
    return &s->input;
}

void stream_pause_input(struct stream *s)
{
    s->paused = true;
    if (!s->running && s->phase != OVER)
        watch_what_matters(s);
}

void stream_resume_input(struct stream *s)
{
    /* An on_input that leaves half a line and resumes what it never paused would be called for it for ever. */
    if (s->input.len > 0 && (s->paused || !s->announcing))
        s->announce = true;
    s->paused = false;
    wake(s);
}

size_t stream_discard_input(struct stream *s)
{
    size_t n = s->input.len;
    buf_clear(&s->input);
    s->announce = false;
    return n;
}

int stream_write(struct stream *s, const void *data, size_t len)
{
    if (s->phase == OVER || s->write_error != 0 || s->closing)
        return -EPIPE;
    int r = buf_append(&s->output, data, len);
    if (r == 0)
        wake(s);
    return r;
}

int stream_write_str(struct stream *s, const char *text)
{
    return stream_write(s, text, strlen(text));
}

int stream_printf(struct stream *s, const char *fmt, ...)
{
    if (s->phase == OVER || s->write_error != 0 || s->closing)
        return -EPIPE;
    va_list ap;
    va_start(ap, fmt);
    int r = buf_vprintf(&s->output, fmt, ap);
    va_end(ap);
    if (r == 0)
        wake(s);
    return r;
}

struct buf *stream_output(struct stream *s)
{
    return &s->output;
}

void stream_send(struct stream *s)
{
    wake(s);
}

size_t stream_writable_bytes(const struct stream *s)
{
    return s->output.limit - s->output.len;
}

size_t stream_pending_output(const struct stream *s)
{
    return s->output.len;
}

void stream_close_after_flush(struct stream *s)
{
    s->closing = true;
    wake(s);
}

void stream_close_at_once(struct stream *s)
{
    s->hurried = true;
    stream_close_after_flush(s);
}

void stream_set_output_limit_ms(struct stream *s, uint64_t ms)
{
    s->output_limit_ms = ms;
    set_clock(s);
}

void stream_set_timeout_ms(struct stream *s, uint64_t ms)
{
    s->timeout_ms = s->phase == LINGERING ? 0 : ms;
    s->moved_at_ms = clock_mono_ms();
    set_clock(s);
}

void stream_set_deadline_ms(struct stream *s, uint64_t ms)
{
    if (s->phase == LINGERING)
        return;
    s->deadline_at_ms = ms > 0 ? clock_mono_ms() + ms : 0;
    set_clock(s);
}

/* --- TLS ---------------------------------------------------------------------------------------------------------- */

static void start_tls(struct stream *s, int wants)
{
    s->phase = GOING_SECURE;
    s->plain_left = s->output.len;
    s->handshake_wants = wants;
    stream_discard_input(s);
    wake(s);
}

int stream_start_tls_server(struct stream *s, struct tls_server *server, bool ask_certificate)
{
    if (s->phase != PLAIN || s->closing)
        return s->phase == PLAIN ? -EPIPE : -EALREADY;
    s->server = tls_server_ref(server);
    s->asks_certificate = ask_certificate;
    start_tls(s, IO_READ);
    return 0;
}

int stream_start_tls_client(struct stream *s, struct tls_client *client, const struct tls_client_params *params)
{
    SSL *ssl = NULL;
    if (s->phase != PLAIN || s->closing)
        return s->phase == PLAIN ? -EPIPE : -EALREADY;
    int r = tls_client_open(client, params, &ssl);
    if (r < 0)
        return r;
    if (SSL_set_fd(ssl, s->channel.fd) != 1) {
        SSL_free(ssl);
        return -ENOMEM;
    }
    s->handshaker = ssl;
    s->client = tls_client_ref(client);
    start_tls(s, IO_WRITE); /* "try at once": it tells itself what it waits for */
    return 0;
}

void stream_tls_info(const struct stream *s, struct stream_tls_info *out)
{
    SSL *ssl = s->channel.ssl;
    *out = (struct stream_tls_info){.version = "", .cipher = "", .verify_error = "", .peer_name = ""};
    if (!stream_is_secure(s))
        return;
    long verify = SSL_get_verify_result(ssl);
    out->version = SSL_get_version(ssl);
    out->cipher = SSL_get_cipher_name(ssl);
    out->resumed = SSL_session_reused(ssl);
    out->verified = s->client != NULL && verify == X509_V_OK && SSL_get0_peer_certificate(ssl) != NULL;
    if (s->client != NULL && !out->verified)
        out->verify_error = verify != X509_V_OK ? X509_verify_cert_error_string(verify) : "no certificate";
    out->peer_name = s->peer_name != NULL ? s->peer_name : "";
}

SSL *stream_ssl(const struct stream *s)
{
    return stream_is_secure(s) ? s->channel.ssl : NULL;
}

bool stream_is_secure(const struct stream *s)
{
    return s->tls_text[0] != '\0';
}

const char *stream_tls_text(const struct stream *s)
{
    return s->tls_text;
}
