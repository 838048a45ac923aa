/* posthouse-load: many SMTP clients in one process, and what they saw of the server's speed.
 *
 *     posthouse-load [options] ADDRESS:PORT
 *
 * Prints "key value" lines: messages a second until the last 250, the time from the final dot to its 250 (percentiles,
 * milliseconds), and failures by reply code.  Ends with 1 when anything failed.  The run ends when every message has
 * had one attempt; a session that was refused something connects again for its next message. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/net.h"
#include "base/text.h"

#define EVENT_MAX      256
#define DOMAIN_MAX     256
#define OUTPUT_MAX     (1024 * 1024)
#define INPUT_SIZE     8192
#define CODE_MAX       1000
#define CODE_LOST      0 /* connection refused, reset or closed */
#define SECOND_NS      1000000000u
#define LINE           "The quick brown fox jumps over the lazy dog and writes a letter home.\r\n"
#define CONTENT_ENDING "\r\n.\r\n"

static struct {
    uint64_t sessions, messages, size, per_connection, rate, recipients;
    bool no_pipelining;
    const char *sender, *user;
    char *domains[DOMAIN_MAX];
    size_t domain_count;
    struct net_address server;
} options = {
    .sessions = 1, .messages = 1, .size = 4096, .recipients = 1, .sender = "bench@sender.test", .user = "user"};

enum state { GREETING, HELLO, IDLE, ENVELOPE, CONTENT, LEAVING };

struct session {
    int fd;               /* -1 = not connected */
    uint64_t connections; /* closed so far: replies of an earlier one are nobody's */
    enum state state;
    bool wants_write;
    uint64_t message;  /* number of the one in hand */
    uint64_t sent;     /* over this connection */
    uint64_t replies;  /* had, of the envelope's */
    uint64_t commands; /* sent, of the envelope's */
    int refused;       /* first code that says no, 0 = none */
    uint64_t dot_ns;
    struct buf output;
    size_t body_left; /* of the shared body, behind output */
    size_t input_len;
    char input[INPUT_SIZE];
};

static int epoll = -1;
static struct session *sessions, **idle;
static size_t idle_count;
static char *body; /* lines and the final dot, the same for every message */
static size_t body_len;
static uint32_t *latency_us;
static uint64_t begun, finished, delivered, failures[CODE_MAX], start_ns, end_ns;

static void session_work(struct session *s);

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

static void watch(struct session *s, int operation, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = s};
    epoll_ctl(epoll, operation, s->fd, &e);
}

static void session_close(struct session *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    s->connections++;
    s->state = GREETING;
    s->sent = s->input_len = s->body_left = 0;
    s->wants_write = false;
    buf_clear(&s->output);
}

/* The message in hand is over, well or badly. */
static void message_over(struct session *s, int failure)
{
    end_ns = now_ns();
    if (failure < 0)
        latency_us[delivered++] = (uint32_t)((end_ns - s->dot_ns) / 1000);
    else
        failures[failure]++;
    finished++;
    s->state = IDLE;
    s->sent++;
}

static void session_lost(struct session *s)
{
    bool in_hand = s->state != IDLE && s->state != LEAVING;
    session_close(s);
    if (in_hand) {
        message_over(s, CODE_LOST);
        s->sent = 0;
    }
    s->state = IDLE;
    idle[idle_count++] = s;
}

/* Writes what is there; the rest when the socket takes it. */
static void session_write(struct session *s)
{
    while (s->output.len + s->body_left > 0) {
        struct iovec parts[] = {{s->output.data, s->output.len}, {body + body_len - s->body_left, s->body_left}};
        int first = s->output.len == 0, count = s->body_left > 0 ? 2 : 1;
        ssize_t n = writev(s->fd, parts + first, count - first);
        if (n < 0)
            break;
        size_t head = (size_t)n < s->output.len ? (size_t)n : s->output.len;
        buf_consume(&s->output, head);
        s->body_left -= (size_t)n - head;
    }
    bool wants_write = s->output.len + s->body_left > 0;
    if (wants_write != s->wants_write)
        watch(s, EPOLL_CTL_MOD, wants_write ? EPOLLIN | EPOLLOUT : EPOLLIN);
    s->wants_write = wants_write;
    if (!wants_write && s->state == CONTENT)
        s->dot_ns = now_ns();
}

static int session_connect(struct session *s)
{
    session_close(s);
    s->fd = socket(options.server.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        return -errno;
    /* Over loopback a connection stands at once or not at all. */
    if (connect(s->fd, &options.server.any, options.server.len) < 0)
        return -errno;
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    watch(s, EPOLL_CTL_ADD, EPOLLIN);
    return 0;
}

/* Envelope commands by number: MAIL, RCPT …, DATA. */
static void put_command(struct session *s, uint64_t number)
{
    if (number == 0) {
        buf_printf(&s->output, "MAIL FROM:<%s>\r\n", options.sender);
    } else if (number <= options.recipients) {
        uint64_t n = s->message * options.recipients + number - 1;
        buf_printf(&s->output, "RCPT TO:<%s%" PRIu64 "@%s>\r\n", options.user, n,
                   options.domains[n % options.domain_count]);
    } else {
        buf_append_str(&s->output, "DATA\r\n");
    }
}

static void begin_envelope(struct session *s)
{
    s->state = ENVELOPE;
    s->replies = s->commands = 0;
    s->refused = 0;
    do
        put_command(s, s->commands++);
    while (!options.no_pipelining && s->commands < options.recipients + 2);
    session_write(s);
}

static int put_head(struct session *s)
{
    return buf_printf(&s->output,
                      "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nFrom: <%s>\r\nTo: <%s@%s>\r\nSubject: Load %" PRIu64
                      "\r\nMessage-ID: <%" PRIu64 ".%" PRIu64 "@load.test>\r\n\r\n",
                      options.sender, options.user, options.domains[0], s->message, start_ns, s->message);
}

static void on_envelope_reply(struct session *s, int code)
{
    uint64_t count = options.recipients + 2;
    bool last = ++s->replies == count;
    if (code >= 400 && s->refused == 0)
        s->refused = code;
    if (s->refused == 0 && last && code == 354) {
        put_head(s);
        s->body_left = body_len;
        s->state = CONTENT;
        session_write(s);
    } else if (last || (options.no_pipelining && s->refused != 0)) {
        /* Whatever the server thinks now, a new connection is a clean start. */
        int refused = s->refused != 0 ? s->refused : code;
        session_close(s);
        message_over(s, refused);
        s->sent = 0;
        session_work(s);
    } else if (options.no_pipelining) {
        put_command(s, s->commands++);
        session_write(s);
    }
}

static void on_reply(struct session *s, int code)
{
    switch (s->state) {
    case GREETING:
        buf_append_str(&s->output, "EHLO load.test\r\n");
        s->state = HELLO;
        session_write(s);
        break;
    case HELLO:
        begin_envelope(s);
        break;
    case ENVELOPE:
        on_envelope_reply(s, code);
        break;
    case CONTENT:
        message_over(s, code == 250 ? -1 : code);
        session_work(s);
        break;
    default:
        break;
    }
}

/* Takes whole replies from the input; the last line of one has no hyphen behind the code. */
static void session_parse(struct session *s)
{
    size_t from = 0;
    char *newline;
    uint64_t connection = s->connections;
    while (s->connections == connection && (newline = memchr(s->input + from, '\n', s->input_len - from)) != NULL) {
        const char *line = s->input + from;
        size_t len = (size_t)(newline - line);
        from += len + 1;
        if (len < 3 || (len > 3 && line[3] == '-'))
            continue;
        int code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + line[2] - '0';
        code = code > 0 && code < CODE_MAX ? code : CODE_LOST;
        /* A greeting or EHLO that is refused costs the message in hand. */
        if (code >= 400 && (s->state == GREETING || s->state == HELLO)) {
            session_close(s);
            message_over(s, code);
            s->sent = 0;
            session_work(s);
            return;
        }
        on_reply(s, code);
    }
    if (s->connections != connection)
        return;
    s->input_len -= from;
    memmove(s->input, s->input + from, s->input_len);
}

static void on_event(struct session *s, uint32_t events)
{
    if (s->fd < 0)
        return;
    if (events & EPOLLOUT)
        session_write(s);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    ssize_t n = recv(s->fd, s->input + s->input_len, INPUT_SIZE - s->input_len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 && s->state == IDLE) {
        session_close(s); /* it is among the idle ones already, and connects again */
        s->state = IDLE;
    } else if (n <= 0) {
        session_lost(s);
    } else {
        s->input_len += (size_t)n;
        session_parse(s);
    }
}

/* How many messages may have begun by now. */
static uint64_t allowance(void)
{
    if (options.rate == 0)
        return options.messages;
    uint64_t n = (now_ns() - start_ns) * options.rate / SECOND_NS + 1;
    return n < options.messages ? n : options.messages;
}

/* Gives the session its next message, or puts it among the idle ones. */
static void session_work(struct session *s)
{
    if (begun >= allowance()) {
        s->state = IDLE;
        idle[idle_count++] = s;
        return;
    }
    s->message = begun++;
    bool spent = options.per_connection > 0 && s->sent >= options.per_connection;
    if (s->fd >= 0 && spent)
        send(s->fd, "QUIT\r\n", 6, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (s->fd >= 0 && !spent) {
        begin_envelope(s);
        return;
    }
    int r = session_connect(s);
    if (r < 0) {
        s->state = GREETING;
        session_lost(s);
    }
}

static void wake_idle(void)
{
    uint64_t allowed = allowance();
    while (idle_count > 0 && begun < allowed)
        session_work(idle[--idle_count]);
}

static int make_body(void)
{
    uint64_t head = 200, len = options.size > head ? options.size - head : 0;
    body_len = (size_t)len + strlen(CONTENT_ENDING);
    body = malloc(body_len + 1);
    if (body == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < len; i++)
        body[i] = LINE[i % strlen(LINE)];
    /* No bare CR or LF at the cut. */
    for (size_t i = len > 2 ? (size_t)len - 2 : 0; i < len; i++)
        body[i] = '.' == body[i] || body[i] < ' ' ? 'x' : body[i];
    if (len > 2 && body[len - 3] == '\r')
        body[len - 3] = 'x';
    memcpy(body + len, CONTENT_ENDING, strlen(CONTENT_ENDING) + 1);
    return 0;
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double percentile_ms(double share)
{
    if (delivered == 0)
        return 0;
    uint64_t place = (uint64_t)(share * (double)delivered);
    return latency_us[place < delivered ? place : delivered - 1] / 1000.0;
}

static int report(void)
{
    double seconds = (double)(end_ns - start_ns) / 1e9;
    qsort(latency_us, delivered, sizeof(*latency_us), compare_u32);
    printf("messages %" PRIu64 "\nseconds %.3f\nper_second %.1f\n", delivered, seconds, (double)delivered / seconds);
    printf("p50_ms %.3f\np95_ms %.3f\np99_ms %.3f\nmax_ms %.3f\n", percentile_ms(0.5), percentile_ms(0.95),
           percentile_ms(0.99), percentile_ms(1));
    if (failures[CODE_LOST] > 0)
        printf("failed_connection %" PRIu64 "\n", failures[CODE_LOST]);
    for (int code = CODE_LOST + 1; code < CODE_MAX; code++)
        if (failures[code] > 0)
            printf("failed_%d %" PRIu64 "\n", code, failures[code]);
    return delivered == options.messages ? 0 : 1;
}

static void say_goodbye(void)
{
    for (uint64_t i = 0; i < options.sessions; i++)
        if (sessions[i].fd >= 0) {
            send(sessions[i].fd, "QUIT\r\n", 6, MSG_NOSIGNAL | MSG_DONTWAIT);
            session_close(&sessions[i]);
        }
}

static int run(void)
{
    sessions = calloc(options.sessions, sizeof(*sessions));
    idle = calloc(options.sessions, sizeof(struct session *));
    latency_us = calloc(options.messages, sizeof(*latency_us));
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (sessions == NULL || idle == NULL || latency_us == NULL || epoll < 0 || make_body() < 0)
        return -ENOMEM;
    for (uint64_t i = options.sessions; i > 0; i--) {
        struct session *s = &sessions[i - 1];
        s->fd = -1;
        buf_init(&s->output, OUTPUT_MAX);
        idle[idle_count++] = s;
    }
    start_ns = end_ns = now_ns();
    for (;;) {
        wake_idle();
        if (finished == options.messages)
            break;
        struct epoll_event events[EVENT_MAX];
        bool paced = idle_count > 0 && begun < options.messages;
        int n = epoll_wait(epoll, events, EVENT_MAX, paced ? 1 : -1);
        for (int i = 0; i < n; i++)
            on_event(events[i].data.ptr, events[i].events);
    }
    say_goodbye();
    return 0;
}

static const char usage[] = "usage: posthouse-load [options] ADDRESS:PORT\n"
                            "  -s, --sessions N        clients at a time (1)\n"
                            "  -m, --messages N        messages in all (1)\n"
                            "  -l, --size BYTES        of each message (4096)\n"
                            "  -c, --per-connection N  messages over one connection; 0 = all (0)\n"
                            "  -r, --rate N            messages a second; 0 = as fast as they go (0)\n"
                            "  -R, --recipients N      of each message (1)\n"
                            "  -d, --domains A,B,...   recipients' domains, in turn (recipient.test)\n"
                            "  -f, --sender ADDRESS    (bench@sender.test)\n"
                            "  -u, --user NAME         local part of the recipients, a number is added (user)\n"
                            "  -n, --no-pipelining     wait for every reply\n"
                            "  -1, --one               one session, one message after another\n";

static const struct option long_options[] = {
    {"sessions", required_argument, NULL, 's'},
    {"messages", required_argument, NULL, 'm'},
    {"size", required_argument, NULL, 'l'},
    {"per-connection", required_argument, NULL, 'c'},
    {"rate", required_argument, NULL, 'r'},
    {"recipients", required_argument, NULL, 'R'},
    {"domains", required_argument, NULL, 'd'},
    {"sender", required_argument, NULL, 'f'},
    {"user", required_argument, NULL, 'u'},
    {"no-pipelining", no_argument, NULL, 'n'},
    {"one", no_argument, NULL, '1'},
    {NULL, 0, NULL, 0},
};

static uint64_t *number_of(int letter)
{
    switch (letter) {
    case 's':
        return &options.sessions;
    case 'm':
        return &options.messages;
    case 'l':
        return &options.size;
    case 'c':
        return &options.per_connection;
    case 'r':
        return &options.rate;
    case 'R':
        return &options.recipients;
    default:
        return NULL;
    }
}

static void set_domains(char *list)
{
    char *rest = NULL;
    for (char *d = strtok_r(list, ",", &rest); d != NULL && options.domain_count < DOMAIN_MAX;
         d = strtok_r(NULL, ",", &rest))
        options.domains[options.domain_count++] = d;
}

static int parse_options(int argc, char **argv)
{
    static char default_domain[] = "recipient.test";
    for (int c; (c = getopt_long(argc, argv, "s:m:l:c:r:R:d:f:u:n1", long_options, NULL)) != -1;) {
        if (number_of(c) != NULL && text_parse_u64(optarg, 100000000, number_of(c)) < 0)
            return -EINVAL;
        if (c == '?')
            return -EINVAL;
        if (c == 'd')
            set_domains(optarg);
        if (c == 'f')
            options.sender = optarg;
        if (c == 'u')
            options.user = optarg;
        options.no_pipelining |= c == 'n';
        if (c == '1')
            options.sessions = 1;
    }
    if (options.domain_count == 0)
        options.domains[options.domain_count++] = default_domain;
    bool none = options.sessions == 0 || options.messages == 0 || options.recipients == 0;
    return none || argc - optind != 1 ? -EINVAL : net_parse(argv[optind], 25, &options.server);
}

int main(int argc, char **argv)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (parse_options(argc, argv) < 0) {
        fputs(usage, stderr);
        return 64;
    }
    int r = run();
    if (r < 0) {
        fprintf(stderr, "posthouse-load: %s\n", text_errno(r));
        return 1;
    }
    return report();
}
