#include "dns/resolver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/text.h"

enum {
    FOREIGN_MAX = 64,          /* replies that are not ours before a try counts as failed */
    SERVER_DOWN_MS = 30 * 1000 /* how long a server that failed is asked last */
};

struct dns_query {
    struct dns_resolver *resolver;
    dns_answer_fn *fn;
    void *arg;
    struct buf wire;           /* the question */
    struct buf in;             /* TCP: what arrived; fake: the reply */
    struct dns_answer *answer; /* ready before anything was sent */
    const char *reason;        /* of the last try that failed */
    size_t server, tries, sent;
    unsigned foreign;
    int fd;
    bool on_wire, tcp;
    struct io_watch watch;
    struct timer timer;
    TAILQ_ENTRY(dns_query) link;
};

TAILQ_HEAD(query_list, dns_query);

struct dns_resolver {
    struct loop *loop;
    struct dns_config config;
    uint64_t down_until_ms[DNS_SERVERS_MAX];
    struct query_list on_wire, waiting;
    size_t on_wire_count, waiting_count;
    dns_fake_fn *fake;
    void *fake_arg;
};

static void query_try(struct dns_query *q);

struct dns_resolver *dns_resolver_new(struct loop *l, const struct dns_config *config)
{
    struct dns_resolver *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return NULL;
    r->loop = l;
    r->config = *config;
    TAILQ_INIT(&r->on_wire);
    TAILQ_INIT(&r->waiting);
    return r;
}

void dns_resolver_set_fake(struct dns_resolver *r, dns_fake_fn *fn, void *arg)
{
    r->fake = fn;
    r->fake_arg = arg;
}

static void query_close_socket(struct dns_query *q)
{
    io_watch_deinit(&q->watch);
    if (q->fd >= 0)
        close(q->fd);
    q->fd = -1;
}

static void query_unlink(struct dns_query *q)
{
    struct dns_resolver *r = q->resolver;
    TAILQ_REMOVE(q->on_wire ? &r->on_wire : &r->waiting, q, link);
    if (q->on_wire)
        r->on_wire_count--;
    else
        r->waiting_count--;
}

static void query_free(struct dns_query *q)
{
    query_unlink(q);
    query_close_socket(q);
    timer_deinit(&q->timer);
    buf_deinit(&q->wire);
    buf_deinit(&q->in);
    dns_answer_unref(q->answer);
    free(q);
}

void dns_resolver_free(struct dns_resolver *r)
{
    if (r == NULL)
        return;
    while (!TAILQ_EMPTY(&r->on_wire))
        query_free(TAILQ_FIRST(&r->on_wire));
    while (!TAILQ_EMPTY(&r->waiting))
        query_free(TAILQ_FIRST(&r->waiting));
    free(r);
}

/* The first server that did not fail lately; the first of all when every one did. */
static size_t first_server(const struct dns_resolver *r)
{
    uint64_t now = clock_mono_ms();
    for (size_t i = 0; i < r->config.server_count; i++)
        if (r->down_until_ms[i] <= now)
            return i;
    return 0;
}

static void query_begin(struct dns_query *q)
{
    struct dns_resolver *r = q->resolver;
    query_unlink(q);
    q->on_wire = true;
    TAILQ_INSERT_TAIL(&r->on_wire, q, link);
    r->on_wire_count++;
    q->server = first_server(r);
    if (q->answer == NULL)
        query_try(q);
}

static void begin_waiting(struct dns_resolver *r)
{
    while (r->on_wire_count < r->config.in_flight_max && !TAILQ_EMPTY(&r->waiting))
        query_begin(TAILQ_FIRST(&r->waiting));
}

static void query_finish(struct dns_query *q, struct dns_answer *answer)
{
    struct dns_resolver *r = q->resolver;
    dns_answer_fn *fn = q->fn;
    void *arg = q->arg;
    query_free(q);
    begin_waiting(r);
    fn(arg, answer);
}

static void query_answer_soon(struct dns_query *q, struct dns_answer *answer)
{
    q->answer = answer;
    timer_set_ms(&q->timer, 0);
}

static void query_next_try(struct dns_query *q, const char *reason)
{
    struct dns_resolver *r = q->resolver;
    query_close_socket(q);
    q->reason = reason;
    q->tries++;
    q->server = (q->server + 1) % r->config.server_count;
    query_try(q);
}

/* This try's server is of no use just now: the next. */
static void query_server_failed(struct dns_query *q, const char *reason)
{
    q->resolver->down_until_ms[q->server] = clock_mono_ms() + SERVER_DOWN_MS;
    query_next_try(q, reason);
}

static void query_start_tcp(struct dns_query *q);

static void query_reply(struct dns_query *q, const void *reply, size_t len)
{
    struct dns_answer *answer = NULL;
    const char *reason = "";
    int r = dns_decode_reply(q->wire.data, q->wire.len, reply, len, &answer, &reason);
    switch (r) {
    case DNS_REPLY_ANSWER:
        answer->ad = answer->ad && q->resolver->config.trust_ad;
        q->resolver->down_until_ms[q->server] = 0;
        query_finish(q, answer);
        return;
    case DNS_REPLY_FOREIGN:
        if (q->tcp || ++q->foreign >= FOREIGN_MAX)
            query_next_try(q, "the DNS server's replies answer another question");
        return;
    case DNS_REPLY_TRUNCATED:
        if (q->tcp)
            query_next_try(q, "the DNS server truncated its answer over TCP");
        else
            query_start_tcp(q);
        return;
    case DNS_REPLY_USELESS:
        query_next_try(q, reason);
        return;
    default:
        query_next_try(q, "out of memory");
    }
}

static void udp_ready(void *arg, int ready)
{
    struct dns_query *q = arg;
    char reply[DNS_UDP_BYTES + 512];
    ssize_t n = recv(q->fd, reply, sizeof(reply), 0);
    if (n >= 0)
        query_reply(q, reply, (size_t)n);
    else if (errno != EAGAIN && errno != EINTR)
        query_server_failed(q, "the DNS server can not be reached");
}

static int tcp_send(struct dns_query *q)
{
    char framed[2 + DNS_QUERY_MAX];
    size_t len = 2 + q->wire.len;
    framed[0] = (char)(q->wire.len >> 8);
    framed[1] = (char)q->wire.len;
    memcpy(framed + 2, q->wire.data, q->wire.len);
    ssize_t n = send(q->fd, framed + q->sent, len - q->sent, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR || errno == ENOTCONN ? 0 : -errno;
    q->sent += (size_t)n;
    return q->sent == len ? io_watch_set(&q->watch, IO_READ) : 0;
}

/* 1 when a whole message stands in q->in behind its two bytes of length, 0 when more must come, or -errno. */
static int tcp_receive(struct dns_query *q)
{
    size_t want = 2;
    if (q->in.len >= 2)
        want += (size_t)((unsigned char)q->in.data[0] << 8 | (unsigned char)q->in.data[1]);
    if (q->in.len == want)
        return 1;
    int r = buf_reserve(&q->in, want - q->in.len);
    if (r < 0)
        return r;
    ssize_t n = recv(q->fd, buf_tail(&q->in), want - q->in.len, 0);
    if (n <= 0)
        return n == 0 ? -ECONNRESET : errno == EAGAIN || errno == EINTR ? 0 : -errno;
    buf_added(&q->in, (size_t)n);
    return q->in.len > 2 || want > 2 ? tcp_receive(q) : 0;
}

static void tcp_ready(void *arg, int ready)
{
    struct dns_query *q = arg;
    int r = ready & IO_WRITE ? tcp_send(q) : tcp_receive(q);
    if (r < 0) {
        query_server_failed(q, "the DNS server can not be reached over TCP");
    } else if (r > 0) {
        struct buf message = q->in;
        buf_init(&q->in, message.limit);
        query_reply(q, message.data + 2, message.len - 2);
        buf_deinit(&message);
    }
}

/* A socket connected (or connecting) to the try's server and watched. */
static int query_open(struct dns_query *q, int socket_type, void (*fn)(void *arg, int ready), int wanted)
{
    const struct net_address *server = &q->resolver->config.server[q->server];
    q->fd = socket(server->any.sa_family, socket_type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (q->fd < 0)
        return -errno;
    if (connect(q->fd, &server->any, server->len) < 0 && errno != EINPROGRESS)
        return -errno;
    int r = io_watch_init(&q->watch, q->resolver->loop, q->fd, fn, q);
    if (r == 0)
        r = io_watch_set(&q->watch, wanted);
    return r == 0 ? timer_set_ms(&q->timer, q->resolver->config.timeout_ms) : r;
}

static void query_start_tcp(struct dns_query *q)
{
    query_close_socket(q);
    q->tcp = true;
    q->sent = 0;
    buf_clear(&q->in);
    if (query_open(q, SOCK_STREAM, tcp_ready, IO_WRITE) < 0)
        query_server_failed(q, "the DNS server can not be reached over TCP");
}

static int query_start_udp(struct dns_query *q)
{
    q->tcp = false;
    q->foreign = 0;
    if (getrandom(q->wire.data, 2, 0) != 2)
        return -EIO;
    int r = query_open(q, SOCK_DGRAM, udp_ready, IO_READ);
    if (r == 0 && send(q->fd, q->wire.data, q->wire.len, MSG_NOSIGNAL) < 0)
        r = -errno;
    return r;
}

static void query_ask_fake(struct dns_query *q)
{
    struct dns_resolver *r = q->resolver;
    buf_clear(&q->in);
    r->fake(r->fake_arg, q->wire.data, q->wire.len, &q->in);
    timer_set_ms(&q->timer, q->in.len > 0 ? 0 : r->config.timeout_ms);
}

static void query_try(struct dns_query *q)
{
    struct dns_resolver *r = q->resolver;
    while (q->tries < r->config.attempts * r->config.server_count) {
        if (r->fake != NULL) {
            query_ask_fake(q);
            return;
        }
        if (query_start_udp(q) == 0)
            return;
        query_close_socket(q);
        q->reason = "the DNS server can not be reached";
        q->server = (q->server + 1) % r->config.server_count;
        q->tries++;
    }
    query_answer_soon(q, dns_answer_new(DNS_TEMPFAIL, q->reason));
}

static void query_timer_fired(void *arg)
{
    struct dns_query *q = arg;
    struct dns_answer *answer = TAKE_PTR(q->answer);
    if (answer != NULL)
        query_finish(q, answer);
    else if (q->resolver->fake != NULL && q->in.len > 0)
        query_reply(q, q->in.data, q->in.len);
    else
        query_server_failed(q, "no answer from the DNS server in time");
}

struct dns_query *dns_query(struct dns_resolver *r, const char *name, enum dns_type type, dns_answer_fn *fn, void *arg)
{
    struct dns_query *q = calloc(1, sizeof(*q));
    if (q == NULL)
        return NULL;
    *q = (struct dns_query){.resolver = r, .fn = fn, .arg = arg, .fd = -1, .reason = "no DNS server is configured"};
    buf_init(&q->wire, DNS_QUERY_MAX);
    buf_init(&q->in, DNS_MESSAGE_MAX + 2);
    TAILQ_INSERT_TAIL(&r->waiting, q, link);
    r->waiting_count++;
    int error = timer_init(&q->timer, r->loop, query_timer_fired, q);
    if (error == 0)
        error = dns_encode_query(name, type, 0, &q->wire);
    if (error == -ENOMEM) {
        query_free(q);
        return NULL;
    }
    if (error < 0)
        query_answer_soon(q, dns_answer_new(DNS_NXDOMAIN, NULL));
    else if (r->on_wire_count < r->config.in_flight_max)
        query_begin(q);
    else if (r->waiting_count > r->config.waiting_max)
        query_answer_soon(q, dns_answer_new(DNS_TEMPFAIL, "too many DNS lookups at once"));
    return q;
}

void dns_query_cancel(struct dns_query *q)
{
    if (q == NULL)
        return;
    struct dns_resolver *r = q->resolver;
    query_free(q);
    begin_waiting(r);
}

static bool parse_nameserver_line(char *line, struct net_address *out)
{
    char *rest = NULL;
    const char *word = strtok_r(line, " \t\r\n", &rest);
    if (word == NULL || strcmp(word, "nameserver") != 0)
        return false;
    const char *address = strtok_r(NULL, " \t\r\n", &rest);
    return address != NULL && net_parse(address, 53, out) == 0;
}

int dns_servers_read(const char *path, struct net_address *servers, size_t max)
{
    char line[512];
    int count = 0;
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return -errno;
    while ((size_t)count < max && fgets(line, sizeof(line), f) != NULL)
        if (parse_nameserver_line(line, &servers[count]))
            count++;
    fclose(f);
    return count;
}
