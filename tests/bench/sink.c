/* posthouse-sink: mail servers that take everything and keep nothing, as many as addresses are named, in one process.
 *
 *     posthouse-sink ADDRESS:PORT[,hang][,delay=MS][,tempfail=PERCENT] …
 *
 * hang takes connections and never says a word; delay waits before each group of replies; tempfail answers that share
 * of RCPT with 450.  SIGUSR1, and the end, print one line per address and then "end"; SIGUSR2 begins the count anew.
 * Times are seconds of CLOCK_MONOTONIC.  Replies to a pipelined group go out in one write; content is looked through
 * for its end where the kernel put it and then forgotten. */
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/net.h"
#include "base/text.h"

#define READ_SIZE    (256 * 1024)
#define CARRY_MAX    1024 /* bytes kept from one read to the next: an unfinished command line */
#define LISTENER_MAX 64
#define EVENT_MAX    256
#define REPLIES_MAX  (1024 * 1024)
#define BACKLOG      4096

struct listener;

/* What epoll hands back: a listener, a session or the signals. */
struct source {
    void (*on_event)(struct source *s, uint32_t events);
    int fd;
};

struct session {
    struct source source;
    struct listener *listener;
    TAILQ_ENTRY(session)
    late;                 /* replies that wait for their time, in its order, as every delay of a listener is the same */
    uint64_t reply_at_ms; /* 0 = not in that list */
    bool in_content, ending;
    size_t carry_len;
    char carry[CARRY_MAX];
    struct buf replies;
};

struct counters {
    uint64_t connections, messages, recipients, tempfailed, bytes, first_ns, last_ns;
};

struct listener {
    struct source source;
    const char *name;
    bool hang;
    uint64_t delay_ms, tempfail_percent;
    struct counters count;
    TAILQ_HEAD(, session) late;
};

static struct listener listeners[LISTENER_MAX];
static size_t listener_count;
static struct session *dead[EVENT_MAX]; /* an event of the same round may still name them */
static size_t dead_count;
static int epoll = -1;
static bool stopping;
/* Room in front for what the last read left over. */
static char input[CARRY_MAX + READ_SIZE];

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int watch(struct source *s, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = s};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &e) < 0 ? -errno : 0;
}

static void session_end(struct session *s)
{
    if (s->source.fd < 0)
        return;
    if (s->reply_at_ms != 0)
        TAILQ_REMOVE(&s->listener->late, s, late);
    close(s->source.fd);
    s->source.fd = -1;
    dead[dead_count++] = s;
}

static void free_dead(void)
{
    while (dead_count > 0) {
        struct session *s = dead[--dead_count];
        buf_deinit(&s->replies);
        free(s);
    }
}

/* A client that lets us wait with a few replies in hand is broken: every reply fits into its window. */
static void send_replies(struct session *s)
{
    if (s->replies.len > 0 &&
        send(s->source.fd, s->replies.data, s->replies.len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)s->replies.len)
        s->ending = true;
    buf_clear(&s->replies);
    if (s->ending)
        session_end(s);
}

static void reply_late(struct session *s)
{
    if (s->reply_at_ms != 0)
        return;
    s->reply_at_ms = clock_mono_ms() + s->listener->delay_ms;
    TAILQ_INSERT_TAIL(&s->listener->late, s, late);
}

static void on_mail(struct session *s)
{
    buf_append_str(&s->replies, "250 2.1.0 Ok\r\n");
}

static void on_rcpt(struct session *s)
{
    struct listener *l = s->listener;
    /* Evenly spread, and the same in every run. */
    if ((l->count.recipients + l->count.tempfailed) * l->tempfail_percent % 100 + l->tempfail_percent >= 100 &&
        l->tempfail_percent > 0) {
        l->count.tempfailed++;
        buf_append_str(&s->replies, "450 4.2.1 Come back later\r\n");
        return;
    }
    l->count.recipients++;
    buf_append_str(&s->replies, "250 2.1.5 Ok\r\n");
}

static void on_data(struct session *s)
{
    s->in_content = true;
    buf_append_str(&s->replies, "354 Go ahead\r\n");
}

static void on_ehlo(struct session *s)
{
    buf_append_str(&s->replies, "250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
                                "250-ENHANCEDSTATUSCODES\r\n250 SIZE 0\r\n");
}

static void on_quit(struct session *s)
{
    s->ending = true;
    buf_append_str(&s->replies, "221 2.0.0 Bye\r\n");
}

static void on_other(struct session *s)
{
    buf_append_str(&s->replies, "250 2.0.0 Ok\r\n");
}

static const struct command {
    const char *verb;
    void (*run)(struct session *s);
} commands[] = {
    {"MAIL", on_mail}, {"RCPT", on_rcpt}, {"DATA", on_data}, {"EHLO", on_ehlo}, {"QUIT", on_quit}, {"", on_other},
};

static void run_command(struct session *s, const char *line, size_t len)
{
    const struct command *c = commands;
    while (c->verb[0] != '\0' && (len < 4 || !text_equal_nocase_n(line, c->verb, 4)))
        c++;
    c->run(s);
}

static void content_ended(struct session *s)
{
    struct counters *count = &s->listener->count;
    count->last_ns = now_ns();
    if (count->messages++ == 0)
        count->first_ns = count->last_ns;
    s->in_content = false;
    buf_append_str(&s->replies, "250 2.0.0 Ok\r\n");
}

/* The line with nothing but a dot.  p points to the line end before the content at first, or to the last bytes of it.
 */
static const char *find_end(const char *p, const char *end)
{
    for (const char *from = p; (from = memchr(from, '.', (size_t)(end - from))) != NULL; from++)
        if (from - p >= 2 && end - from >= 3 && memcmp(from - 2, "\r\n.\r\n", 5) == 0)
            return from + 3;
    return NULL;
}

/* Works through what came; what is not whole yet is carried to the next read.  -EMSGSIZE: no such line. */
static int consume(struct session *s, const char *p, const char *end)
{
    while (p < end && !s->ending) {
        if (s->in_content) {
            const char *after = find_end(p, end);
            if (after == NULL) {
                p = end - p > 4 ? end - 4 : p;
                break;
            }
            content_ended(s);
            p = after;
        } else {
            const char *newline = memchr(p, '\n', (size_t)(end - p));
            if (newline == NULL)
                break;
            run_command(s, p, (size_t)(newline - p));
            /* The end of the DATA line is the line end before the first line of the content. */
            p = s->in_content && newline > p && newline[-1] == '\r' ? newline - 1 : newline + 1;
        }
    }
    if (end - p > CARRY_MAX)
        return -EMSGSIZE;
    s->carry_len = (size_t)(end - p);
    memcpy(s->carry, p, s->carry_len);
    return 0;
}

static void on_session(struct source *source, uint32_t events)
{
    struct session *s = (struct session *)source;
    ssize_t n = s->source.fd < 0 ? -1 : recv(s->source.fd, input + CARRY_MAX, READ_SIZE, MSG_DONTWAIT);
    if (n < 0 && (s->source.fd < 0 || errno == EAGAIN || errno == EINTR))
        return;
    char *from = input + CARRY_MAX - s->carry_len;
    memcpy(from, s->carry, s->carry_len);
    s->listener->count.bytes += n > 0 ? (uint64_t)n : 0;
    if (n <= 0 || s->listener->hang || consume(s, from, input + CARRY_MAX + n) < 0)
        session_end(s);
    else if (s->listener->delay_ms > 0 && s->replies.len > 0)
        reply_late(s);
    else if (s->replies.len > 0)
        send_replies(s);
}

static void welcome(struct listener *l, int fd)
{
    struct session *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        close(fd);
        return;
    }
    l->count.connections++;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    *s = (struct session){.source = {.on_event = on_session, .fd = fd}, .listener = l};
    buf_init(&s->replies, REPLIES_MAX);
    /* Of a listener that hangs only the client's leaving is seen: to the client, an open connection and silence. */
    if (watch(&s->source, l->hang ? EPOLLRDHUP : EPOLLIN) < 0) {
        session_end(s);
        return;
    }
    if (l->hang)
        return;
    buf_append_str(&s->replies, "220 sink.test ESMTP\r\n");
    if (l->delay_ms > 0)
        reply_late(s);
    else
        send_replies(s);
}

static void on_listener(struct source *source, uint32_t events)
{
    int fd;
    for (int i = 0; i < EVENT_MAX / 4 && dead_count < EVENT_MAX / 2; i++) {
        if ((fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) < 0)
            return;
        welcome((struct listener *)source, fd);
    }
}

/* Sends what is due; returns how long epoll may sleep, -1 = for ever. */
static int send_late(void)
{
    uint64_t now = clock_mono_ms(), next = UINT64_MAX;
    for (size_t i = 0; i < listener_count; i++) {
        struct session *s;
        while ((s = TAILQ_FIRST(&listeners[i].late)) != NULL && s->reply_at_ms <= now && dead_count < EVENT_MAX) {
            TAILQ_REMOVE(&listeners[i].late, s, late);
            s->reply_at_ms = 0;
            send_replies(s);
        }
        if (s != NULL && s->reply_at_ms < next)
            next = s->reply_at_ms;
    }
    return next == UINT64_MAX ? -1 : next <= now ? 0 : (int)(next - now);
}

static void report(void)
{
    for (size_t i = 0; i < listener_count; i++) {
        const struct counters *c = &listeners[i].count;
        printf("%s connections=%" PRIu64 " messages=%" PRIu64 " recipients=%" PRIu64 " tempfailed=%" PRIu64
               " bytes=%" PRIu64 " first=%.6f last=%.6f\n",
               listeners[i].name, c->connections, c->messages, c->recipients, c->tempfailed, c->bytes,
               (double)c->first_ns / 1e9, (double)c->last_ns / 1e9);
    }
    printf("end\n");
    fflush(stdout);
}

static void on_signals(struct source *source, uint32_t events)
{
    struct signalfd_siginfo info;
    if (read(source->fd, &info, sizeof(info)) != sizeof(info))
        return;
    if (info.ssi_signo == SIGUSR1)
        report();
    else if (info.ssi_signo == SIGUSR2)
        for (size_t i = 0; i < listener_count; i++)
            listeners[i].count = (struct counters){0};
    else
        stopping = true;
}

static int watch_signals(struct source *s)
{
    sigset_t set;
    sigemptyset(&set);
    static const int numbers[] = {SIGUSR1, SIGUSR2, SIGTERM, SIGINT};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaddset(&set, numbers[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    *s = (struct source){.on_event = on_signals, .fd = signalfd(-1, &set, SFD_CLOEXEC)};
    return s->fd < 0 ? -errno : watch(s, EPOLLIN);
}

static int set_option(struct listener *l, const char *option)
{
    if (strcmp(option, "hang") == 0) {
        l->hang = true;
        return 0;
    }
    if (strncmp(option, "delay=", 6) == 0)
        return text_parse_u64(option + 6, 3600000, &l->delay_ms);
    if (strncmp(option, "tempfail=", 9) == 0)
        return text_parse_u64(option + 9, 100, &l->tempfail_percent);
    return -EINVAL;
}

static int listen_on(char *text)
{
    struct listener *l = &listeners[listener_count];
    struct net_address address;
    char *rest = NULL;
    TAILQ_INIT(&l->late);
    l->name = strtok_r(text, ",", &rest);
    int r = l->name == NULL ? -EINVAL : net_parse(l->name, 25, &address);
    for (char *option; r == 0 && (option = strtok_r(NULL, ",", &rest)) != NULL;)
        r = set_option(l, option);
    if (r < 0)
        return r;
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    l->source = (struct source){.on_event = on_listener, .fd = fd};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) < 0 ||
        bind(fd, &address.any, address.len) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    listener_count++;
    return watch(&l->source, EPOLLIN);
}

int main(int argc, char **argv)
{
    struct source signals;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (argc < 2 || argc > LISTENER_MAX || epoll < 0 || watch_signals(&signals) < 0) {
        fprintf(stderr, "usage: posthouse-sink ADDRESS:PORT[,hang][,delay=MS][,tempfail=PERCENT] ...\n");
        return 64;
    }
    for (int i = 1; i < argc; i++) {
        int r = listen_on(argv[i]);
        if (r < 0) {
            fprintf(stderr, "posthouse-sink: %s: %s\n", argv[i], strerror(-r));
            return 1;
        }
    }
    while (!stopping) {
        struct epoll_event events[EVENT_MAX / 2];
        int wait_ms = send_late();
        free_dead();
        int n = epoll_wait(epoll, events, EVENT_MAX / 2, wait_ms);
        for (int i = 0; i < n; i++) {
            struct source *s = events[i].data.ptr;
            s->on_event(s, events[i].events);
        }
        free_dead();
    }
    report();
    return 0;
}
