/* Whole deliveries against scripted mail servers on loopback, with a qmgr and a DNS inside the test.
 *
 * A script is what one connection is to see, a line each:
 *     S text     the server sends text
 *     C pattern  the client must send a line that matches (fnmatch)
 *     D          the client sends content up to its final dot; it is kept for the case's `data`
 *     T          the server begins TLS
 *     X          the server closes
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <unistd.h>

#include "smtp-out/auth.h"
#include "base/text.h"
#include "dns/fake.h"
#include "smtp-out/order.h"
#include "smtp-out/out.h"
#include "queue/envelope.h"
#include "tls/selfsigned.h"
#include "tls/server.h"
#include "tls/stream.h"

enum { HOSTS = 2, CONNECTIONS_MAX = 6, RESULTS_MAX = 20, TURNS_MAX = 2000 };

static const char *const zone[] = {
    "one.test. 60 IN MX 10 mx1.test.",
    "both.test. 60 IN MX 10 mx1.test.",
    "both.test. 60 IN MX 20 mx2.test.",
    "dead.test. 60 IN MX 10 dead-host.test.",
    "dead.test. 60 IN MX 20 mx2.test.",
    "gone.test. 60 IN MX 10 nowhere.test.",
    "alldead.test. 60 IN MX 10 dead-host.test.",
    "null.test. 60 IN MX 0 .",
    "loop.test. 60 IN MX 10 out.test.",
    "backup.test. 60 IN MX 10 mx1.test.",
    "backup.test. 60 IN MX 20 out.test.",
    "mx1.test. 60 IN A 127.0.0.1",
    "mx2.test. 60 IN A 127.0.0.2",
    "dead-host.test. 60 IN A 127.0.0.3",
    "broken.test. SERVFAIL",
    NULL,
};

struct world;

struct peer {
    struct world *world;
    struct stream *stream;
    const char *script; /* what is left of it */
    bool in_data;
};

struct world {
    struct loop *loop;
    struct settings_smtp_out settings;
    struct out out;
    char folder[64], socket_path[128];
    struct ipc_server *qmgr;
    struct ipc_channel *channel;
    struct tls_server *tls;
    int listen_fd[HOSTS];
    struct io_watch listen_watch[HOSTS];
    uint16_t port;
    const char *const *scripts; /* of the connections in the order they come */
    size_t connections;
    struct peer peer[CONNECTIONS_MAX];
    char problem[400]; /* a client line that did not match */
    struct buf data;
    unsigned results, done, inflight, inflight_end, routed;
    uint32_t capacity;
    char result[RESULTS_MAX][1500]; /* "outcome code enhanced reply" */
    char relay[200], tls_text[200];
    enum ipc_blame blame;
    char route[1000];
    bool drained;
    bool settle;
};

/* -- the scripted server
 * ----------------------------------------------------------------------------------------------- */

static bool next_line(struct peer *p, char *line, size_t size)
{
    size_t len = strcspn(p->script, "\n");
    if (p->script[0] == '\0')
        return false;
    snprintf(line, size, "%.*s", (int)len, p->script);
    return true;
}

static void line_done(struct peer *p)
{
    p->script += strcspn(p->script, "\n");
    if (p->script[0] == '\n')
        p->script++;
}

static bool take_client_line(struct peer *p, char *line, size_t size)
{
    struct buf *in = stream_input(p->stream);
    char *end = in->len > 0 ? memmem(in->data, in->len, "\r\n", 2) : NULL;
    if (end == NULL)
        return false;
    snprintf(line, size, "%.*s", (int)(end - in->data), in->data);
    buf_consume(in, (size_t)(end - in->data) + 2);
    return true;
}

static bool take_data(struct peer *p)
{
    struct buf *in = stream_input(p->stream);
    if (!p->in_data)
        buf_clear(&p->world->data);
    p->in_data = true;
    buf_append(&p->world->data, in->data, in->len);
    buf_consume(in, in->len);
    struct buf *d = &p->world->data;
    return d->len >= 3 && memcmp(d->data + d->len - 3, ".\r\n", 3) == 0 &&
           (d->len == 3 || memcmp(d->data + d->len - 5, "\r\n", 2) == 0);
}

static void peer_advance(struct peer *p)
{
    char line[600], said[3000];
    while (p->stream != NULL && next_line(p, line, sizeof(line))) {
        switch (line[0]) {
        case 'S':
            stream_printf(p->stream, "%s\r\n", line + 2);
            break;
        case 'C':
            if (!take_client_line(p, said, sizeof(said)))
                return;
            if (fnmatch(line + 2, said, 0) != 0)
                snprintf(p->world->problem, sizeof(p->world->problem), "expected %.150s, got %.200s", line + 2, said);
            break;
        case 'D':
            if (!take_data(p))
                return;
            p->in_data = false;
            break;
        case 'T':
            line_done(p);
            assert_int_equal(stream_start_tls_server(p->stream, p->world->tls, false), 0);
            return;
        case 'X':
            stream_close_after_flush(p->stream);
            line_done(p);
            return;
        default:
            fail_msg("script line %s", line);
        }
        line_done(p);
    }
}

static void peer_event(void *arg)
{
    peer_advance(arg);
}

static void peer_end(void *arg, const struct stream_end *end)
{
    struct peer *p = arg;
    stream_free(p->stream);
    p->stream = NULL;
}

static const struct stream_ops peer_ops = {.on_input = peer_event, .on_secure = peer_event, .on_end = peer_end};

static void peer_arrives(void *arg, int ready)
{
    struct world *w = arg;
    for (int i = 0; i < HOSTS; i++) {
        int fd = accept4(w->listen_fd[i], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            continue;
        assert_true(w->connections < CONNECTIONS_MAX && w->scripts[w->connections] != NULL);
        struct peer *p = &w->peer[w->connections];
        *p = (struct peer){.world = w, .script = w->scripts[w->connections++]};
        p->stream = stream_new(w->loop, fd, &peer_ops, p, 1 << 20, 1 << 20);
        assert_non_null(p->stream);
        peer_advance(p);
    }
}

static void listen_hosts(struct world *w)
{
    for (int i = 0; i < HOSTS; i++) {
        struct net_address a;
        char text[40];
        snprintf(text, sizeof(text), "127.0.0.%d:%u", i + 1, w->port);
        assert_int_equal(net_parse(text, 0, &a), 0);
        w->listen_fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int on = 1;
        setsockopt(w->listen_fd[i], SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        assert_int_equal(bind(w->listen_fd[i], &a.any, a.len), 0);
        assert_int_equal(listen(w->listen_fd[i], 10), 0);
        assert_int_equal(getsockname(w->listen_fd[i], &a.any, &a.len), 0);
        w->port = net_port(&a);
        assert_int_equal(io_watch_init(&w->listen_watch[i], w->loop, w->listen_fd[i], peer_arrives, w), 0);
        assert_int_equal(io_watch_set(&w->listen_watch[i], IO_READ), 0);
    }
}

/* -- qmgr
 * -------------------------------------------------------------------------------------------------------------- */

static void on_result(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    static const char *const outcomes[] = {"delivered", "later", "failed"};
    struct world *w = arg;
    const struct ipc_result *r = message;
    assert_true(w->results < RESULTS_MAX);
    snprintf(w->result[w->results++], sizeof(w->result[0]), "%u %s %u %s %s", r->index, outcomes[r->outcome], r->code,
             r->enhanced, r->reply);
    snprintf(w->relay, sizeof(w->relay), "%s", r->relay);
    snprintf(w->tls_text, sizeof(w->tls_text), "%s", r->tls);
}

static void on_done(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct world *w = arg;
    const struct ipc_deliver_done *d = message;
    struct ipc_settled settled = {.job = d->job, .queue_id = d->queue_id};
    w->done++;
    w->blame = (enum ipc_blame)d->blame;
    if (w->settle)
        assert_int_equal(ipc_send(from, IPC_SETTLED, &settled, -1), 0);
}

static void on_routed(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    static const char *const statuses[] = {"found", "failed", "later"};
    struct world *w = arg;
    const struct ipc_routed *r = message;
    w->routed++;
    snprintf(w->route, sizeof(w->route), "%s %s %u %s", statuses[r->status], r->site, r->code, r->enhanced);
}

static void on_capacity(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct world *w = arg;
    w->capacity = ((const struct ipc_capacity *)message)->deliveries;
}

static void on_inflight(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct world *w = arg;
    w->inflight++;
}

static void on_inflight_end(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    struct world *w = arg;
    w->inflight_end++;
    assert_int_equal(((const struct ipc_inflight_end *)message)->count, w->inflight);
}

static const struct ipc_handler qmgr_handlers[] = {
    {IPC_RESULT, on_result},
    {IPC_DELIVER_DONE, on_done},
    {IPC_ROUTED, on_routed},
    {IPC_CAPACITY, on_capacity},
    {IPC_INFLIGHT, on_inflight},
    {IPC_INFLIGHT_END, on_inflight_end},
    {IPC_NONE, NULL},
};

static void qmgr_up(void *arg, struct ipc_channel *c)
{
    ((struct world *)arg)->channel = c;
}

static void qmgr_down(void *arg, struct ipc_channel *c, const char *why)
{
    ((struct world *)arg)->channel = NULL;
}

static bool anybody(void *arg, enum ipc_role role, uid_t uid)
{
    return role == ROLE_SMTP_OUT;
}

static void turn_until(struct world *w, const unsigned *counter, unsigned want)
{
    for (int i = 0; i < TURNS_MAX && *counter < want; i++)
        loop_turn(w->loop, 10);
    if (*counter < want)
        fail_msg("waited in vain; %s", w->problem);
}

static void qmgr_begin(struct world *w)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%.100s", w->socket_path);
    unlink(w->socket_path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 5), 0);
    struct ipc_face face = {
        .self = {.role = ROLE_QMGR},
        .handlers = qmgr_handlers,
        .on_up = qmgr_up,
        .on_down = qmgr_down,
        .arg = w,
    };
    w->qmgr = ipc_server_new(w->loop, fd, &face, anybody);
    assert_non_null(w->qmgr);
}

static void qmgr_end(struct world *w)
{
    ipc_server_free(w->qmgr);
    w->qmgr = NULL;
    w->channel = NULL;
}

/* -- the world
 * --------------------------------------------------------------------------------------------------------- */

static void drained(void *arg)
{
    ((struct world *)arg)->drained = true;
}

static void give_certificate(struct world *w)
{
    char chain[200], key[200], error[TLS_ERROR_MAX];
    const char *const names[] = {"mx1.test"};
    snprintf(chain, sizeof(chain), "%s/cert.pem", w->folder);
    snprintf(key, sizeof(key), "%s/key.pem", w->folder);
    assert_int_equal(tls_selfsigned_write(chain, key, names, 1, 2, error), 0);
    struct tls_certificate certificate = {.chain_file = chain, .key_file = key};
    w->tls = tls_server_new(&certificate, 1, NULL, error);
    assert_non_null(w->tls);
}

static void write_password(const struct world *w)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/password", w->folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "user\npass word\n", 15), 15);
    close(fd);
}

/* FOLDER in the text becomes the folder. */
static void append_settings(struct buf *text, const char *settings, const char *folder)
{
    const char *at = strstr(settings, "FOLDER");
    size_t before = at != NULL ? (size_t)(at - settings) : strlen(settings);
    buf_append(text, settings, before);
    if (at != NULL)
        buf_printf(text, "%s%s", folder, at + strlen("FOLDER"));
    buf_append_str(text, "\n");
}

static struct world *world_new(const char *settings, const char *const *scripts)
{
    struct world *w = calloc(1, sizeof(*w));
    struct buf text, errors;
    w->loop = loop_new();
    w->scripts = scripts;
    w->settle = true;
    buf_init(&w->data, 1 << 24);
    snprintf(w->folder, sizeof(w->folder), "/tmp/posthouse-out-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->socket_path, sizeof(w->socket_path), "%s/qmgr.sock", w->folder);
    listen_hosts(w);
    buf_init(&text, 65536);
    buf_init(&errors, 65536);
    write_password(w);
    give_certificate(w);
    buf_printf(&text, "delivery_port = %u\nconnect_timeout = 2s\ngreeting_timeout = 300ms\n", w->port);
    append_settings(&text, settings, w->folder);
    if (conf_parse(&settings_smtp_out_schema, "test", buf_str(&text), &w->settings, &errors) < 0 ||
        route_table_init(&w->out.routes, &w->settings, &errors) < 0)
        fail_msg("%s", buf_str(&errors));
    buf_deinit(&text);
    buf_deinit(&errors);
    w->out.settings = &w->settings;
    w->out.hostname = w->out.helo_name = "out.test";
    w->out.on_drained = drained;
    w->out.on_drained_arg = w;
    struct dns_config dns = {.server_count = 1, .attempts = 1, .timeout_ms = 100, .in_flight_max = 9, .waiting_max = 9};
    assert_int_equal(out_init(&w->out, w->loop, &dns), 0);
    dns_fake_use(w->out.resolver, zone);
    qmgr_begin(w);
    struct ipc_identity self = {.role = ROLE_SMTP_OUT};
    assert_int_equal(order_open(&w->out, w->socket_path, &self), 0);
    turn_until(w, &w->inflight_end, 1);
    assert_int_equal(w->capacity, w->settings.deliveries_max);
    return w;
}

static void world_free(struct world *w)
{
    char path[200];
    out_deinit(&w->out);
    route_table_deinit(&w->out.routes);
    qmgr_end(w);
    conf_free(&settings_smtp_out_schema, &w->settings);
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        stream_free(w->peer[i].stream);
    for (int i = 0; i < HOSTS; i++) {
        io_watch_deinit(&w->listen_watch[i]);
        close(w->listen_fd[i]);
    }
    tls_server_free(w->tls);
    loop_free(w->loop);
    buf_deinit(&w->data);
    static const char *const files[] = {"qmgr.sock", "cert.pem", "key.pem", "password"};
    for (size_t i = 0; i < ARRAY_LENGTH(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", w->folder, files[i]);
        unlink(path);
    }
    rmdir(w->folder);
    free(w);
}

struct message {
    const char *domain, *site, *sender, *recipients[4], *content;
    uint32_t flags;
    const char *headers, *envid;
    uint32_t ret, notify;
    const char *orcpt;
};

static void send_deliver(struct world *w, uint64_t number, const struct message *m)
{
    struct ipc_deliver_recipient recipients[4];
    uint32_t count = 0;
    for (; count < 4 && m->recipients[count] != NULL; count++)
        recipients[count] = (struct ipc_deliver_recipient){
            .index = 100 + count, .address = m->recipients[count], .notify = m->notify, .orcpt = m->orcpt};
    int fd = memfd_create("message", MFD_CLOEXEC);
    const char *content = m->content != NULL ? m->content : "Subject: hello\r\n\r\nworld\r\n";
    assert_int_equal(write(fd, "ENVELOPE", 8), 8);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    struct ipc_deliver order = {
        .job = number,
        .queue_id = "0123456789ABC",
        .site = m->site,
        .domain = m->domain,
        .sender = m->sender != NULL ? m->sender : "s@from.test",
        .flags = m->flags,
        .content_offset = 8,
        .content_length = strlen(content),
        .headers = m->headers,
        .ret = m->ret,
        .envid = m->envid,
        .recipients = recipients,
        .recipients_count = count,
    };
    assert_int_equal(ipc_send(w->channel, IPC_DELIVER, &order, fd), 0);
    close(fd);
}

static void expect(struct world *w, size_t i, const char *pattern)
{
    if (w->problem[0] != '\0')
        fail_msg("%s", w->problem);
    if (fnmatch(pattern, w->result[i], 0) != 0)
        fail_msg("result %zu: %s; wanted %s", i, w->result[i], pattern);
}

/* -- cases
 * ------------------------------------------------------------------------------------------------------------- */

#define GREET   "S 220 mx\nC EHLO out.test\n"
#define EHLO    GREET "S 250 mx\n"
#define EHLO_P  GREET "S 250-mx\nS 250-PIPELINING\nS 250-8BITMIME\nS 250-SIZE 1000\nS 250-DSN\nS 250 SMTPUTF8\n"
#define CONTENT "S 354 go\nD\nS 250 2.6.0 taken\n"
#define GOOD    "C MAIL FROM:<s@from.test>*\nS 250 ok\nC RCPT TO:<a@*.test>*\nS 250 ok\nC DATA\n" CONTENT

struct delivery_case {
    const char *name, *settings;
    struct message message;
    const char *scripts[CONNECTIONS_MAX];
    const char *want[4];
    enum ipc_blame blame;
    const char *data, *relay, *tls;
    size_t connections;
};

static const struct delivery_case cases[] = {
    {.name = "plain",
     .message = {.domain = "one.test", .recipients = {"a@one.test"}},
     .scripts = {EHLO GOOD},
     .want = {"100 delivered 250 2.6.0 250 2.6.0 taken"},
     .data = "Subject: hello\r\n\r\nworld\r\n.\r\n",
     .relay = "mx1.test?127.0.0.1?:*",
     .tls = "none",
     .connections = 1},
    {.name = "signature first, dots doubled, last line ended",
     .message = {.domain = "one.test",
                 .recipients = {"a@one.test"},
                 .headers = "DKIM-Signature: x\r\n",
                 .content = ".a\r\n\r\n..b\r\n.",
                 .flags = ENVELOPE_LEADING_DOTS},
     .scripts = {EHLO GOOD},
     .want = {"100 delivered 250 *"},
     .data = "DKIM-Signature: x\r\n..a\r\n\r\n...b\r\n..\r\n.\r\n",
     .connections = 1},
    {.name = "pipelined, one refused, parameters passed on",
     .message = {.domain = "one.test",
                 .recipients = {"a@one.test", "b@one.test", "c@one.test"},
                 .flags = ENVELOPE_8BIT,
                 .ret = 2,
                 .envid = "x+2By",
                 .notify = 4,
                 .orcpt = "rfc822;o@one.test"},
     .scripts = {EHLO_P
                 "C MAIL FROM:<s@from.test> SIZE=25 BODY=8BITMIME RET=HDRS ENVID=x+2By\n"
                 "C RCPT TO:<a@one.test> NOTIFY=FAILURE ORCPT=rfc822;o@one.test\nC RCPT TO:<b@one.test>*\n"
                 "C RCPT TO:<c@one.test>*\nC DATA\nS 250 ok\nS 250 ok\nS 550 5.1.1 who?\nS 450 4.2.1 full\n" CONTENT},
     .want = {"101 failed 550 5.1.1 550 5.1.1 who?", "102 later 450 4.2.1 *", "100 delivered 250 2.6.0 *"},
     .blame = BLAME_RECIPIENT,
     .connections = 1},
    {.name = "pipelined, all refused",
     .message = {.domain = "one.test", .recipients = {"a@one.test"}},
     .scripts = {EHLO_P "C MAIL*\nC RCPT*\nC DATA\nS 250 ok\nS 550 5.1.1 no\nS 554 5.5.1 no recipients\n"},
     .want = {"100 failed 550 5.1.1 *"},
     .blame = BLAME_RECIPIENT,
     .connections = 1},
    {.name = "pipelined, all refused, 354 all the same",
     .message = {.domain = "one.test", .recipients = {"a@one.test"}},
     .scripts = {EHLO_P "C MAIL*\nC RCPT*\nC DATA\nS 250 ok\nS 550 5.1.1 no\nS 354 go\n"},
     .want = {"100 failed 550 5.1.1 *"},
     .blame = BLAME_RECIPIENT,
     .connections = 1},
    {.name = "sender refused",
     .message = {.domain = "one.test", .recipients = {"a@one.test", "b@one.test"}},
     .scripts = {EHLO "C MAIL*\nS 550 5.7.1 not you\n"},
     .want = {"100 failed 550 5.7.1 *", "101 failed 550 5.7.1 *"},
     .blame = BLAME_MESSAGE,
     .connections = 1},
    {.name = "HELO where EHLO is unknown",
     .message = {.domain = "one.test", .recipients = {"a@one.test"}},
     .scripts = {GREET "S 502 what?\nC HELO out.test\nS 250 mx\n" GOOD},
     .want = {"100 delivered 250 *"},
     .connections = 1},
    {.name = "dead host first",
     .message = {.domain = "dead.test", .recipients = {"a@dead.test"}},
     .scripts = {EHLO GOOD},
     .want = {"100 delivered 250 *"},
     .relay = "mx2.test?127.0.0.2?:*",
     .connections = 1},
    {.name = "refusing greeting, then the next host",
     .message = {.domain = "both.test", .recipients = {"a@both.test"}},
     .scripts = {"S 554 go away\nC QUIT\n", EHLO GOOD},
     .want = {"100 delivered 250 *"},
     .relay = "mx2.test?127.0.0.2?:*",
     .connections = 2},
    {.name = "silent greeting, then the next host",
     .message = {.domain = "both.test", .recipients = {"a@both.test"}},
     .scripts = {"C never\n", EHLO GOOD},
     .want = {"100 delivered 250 *"},
     .connections = 2},
    {.name = "421 to RCPT, then the next host",
     .message = {.domain = "both.test", .recipients = {"a@both.test"}},
     .scripts = {EHLO "C MAIL*\nS 250 ok\nC RCPT*\nS 421 4.3.2 closing\nX\n", EHLO GOOD},
     .want = {"100 delivered 250 *"},
     .connections = 2},
    {.name = "lost while waiting for MAIL, everywhere",
     .message = {.domain = "both.test", .recipients = {"a@both.test"}},
     .scripts = {EHLO "C MAIL*\nX\n", EHLO "C MAIL*\nX\n"},
     .want = {"100 later 0 4.4.2 *MAIL FROM*"},
     .blame = BLAME_SITE,
     .connections = 2},
    {.name = "lost after the final dot",
     .message = {.domain = "both.test", .recipients = {"a@both.test"}},
     .scripts = {EHLO "C MAIL*\nS 250 ok\nC RCPT*\nS 250 ok\nC DATA\nS 354 go\nD\nX\n"},
     .want = {"100 later 0 4.4.2 *twice*"},
     .blame = BLAME_SITE,
     .connections = 1},
    {.name = "content refused",
     .message = {.domain = "one.test", .recipients = {"a@one.test"}},
     .scripts = {EHLO "C MAIL*\nS 250 ok\nC RCPT*\nS 250 ok\nC DATA\nS 354 go\nD\nS 554 5.7.1 spam\n"},
     .want = {"100 failed 554 5.7.1 *spam"},
     .blame = BLAME_MESSAGE,
     .connections = 1},
    {.name = "garbage instead of a reply",
     .message = {.domain = "one.test", .recipients = {"a@one.test"}},
     .scripts = {"S hello there\n"},
     .want = {"100 later 0 4.4.2 *no SMTP reply*"},
     .blame = BLAME_SITE,
     .connections = 1},
    {.name = "nobody there",
     .message = {.domain = "alldead.test", .recipients = {"a@alldead.test"}},
     .want = {"100 later 0 4.4.1 *"},
     .blame = BLAME_SITE},
    {.name = "mail server without address",
     .message = {.domain = "gone.test", .recipients = {"a@gone.test"}},
     .want = {"100 failed 0 5.4.4 *"},
     .blame = BLAME_RECIPIENT},
    {.name = "null MX",
     .message = {.domain = "null.test", .recipients = {"a@null.test"}},
     .want = {"100 failed 556 5.1.10 *"},
     .blame = BLAME_RECIPIENT},
    {.name = "DNS fails",
     .message = {.domain = "broken.test", .recipients = {"a@broken.test"}},
     .want = {"100 later 451 4.4.3 *"},
     .blame = BLAME_SITE},
    {.name = "8-bit content",
     .message = {.domain = "one.test", .recipients = {"a@one.test"}, .flags = ENVELOPE_8BIT},
     .scripts = {EHLO},
     .want = {"100 failed 0 5.6.3 *8BITMIME*"},
     .blame = BLAME_MESSAGE,
     .connections = 1},
    {.name = "internationalised recipient beside a plain one",
     .message = {.domain = "one.test", .recipients = {"\xc3\xbc@one.test", "a@one.test"}, .flags = ENVELOPE_SMTPUTF8},
     .scripts = {EHLO GOOD},
     .want = {"100 failed 0 5.6.7 *", "101 delivered 250 *"},
     .blame = BLAME_MESSAGE,
     .connections = 1},
    {.name = "too large",
     .message = {.domain = "one.test", .recipients = {"a@one.test"}, .headers = "X: 1234567890\r\n"},
     .scripts = {GREET "S 250-mx\nS 250 SIZE 30\n"},
     .want = {"100 failed 0 5.3.4 *"},
     .blame = BLAME_MESSAGE,
     .connections = 1},
    {.name = "TLS when offered",
     .message = {.domain = "one.test", .recipients = {"a@one.test"}},
     .scripts = {GREET "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nT\nC EHLO out.test\nS 250 mx\n" GOOD},
     .want = {"100 delivered 250 *"},
     .tls = "TLSv1.3/*/unverified",
     .connections = 1},
    {.name = "plain text when TLS fails",
     .message = {.domain = "one.test", .recipients = {"a@one.test"}},
     .scripts = {GREET "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nS this is no TLS\nX\n",
                 GREET "S 250-mx\nS 250 STARTTLS\n" GOOD},
     .want = {"100 delivered 250 *"},
     .tls = "none",
     .connections = 2},
    {.name = "plain text when STARTTLS is refused",
     .message = {.domain = "one.test", .recipients = {"a@one.test"}},
     .scripts = {GREET "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 454 not now\n" GOOD},
     .want = {"100 delivered 250 *"},
     .connections = 1},
    {.name = "TLS required and not offered",
     .settings = "tls = required",
     .message = {.domain = "one.test", .recipients = {"a@one.test"}},
     .scripts = {EHLO},
     .want = {"100 later 0 4.7.4 TLS is required*"},
     .blame = BLAME_SITE,
     .connections = 1},
    {.name = "certificate not good",
     .settings = "tls = verify",
     .message = {.domain = "one.test", .recipients = {"a@one.test"}},
     .scripts = {GREET "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nT\n"},
     .want = {"100 later 0 4.7.5 *"},
     .blame = BLAME_SITE,
     .connections = 1},
    {.name = "certificate good",
     .settings = "tls = verify\nca_file = FOLDER/cert.pem",
     .message = {.domain = "one.test", .recipients = {"a@one.test"}},
     .scripts = {GREET "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nT\nC EHLO out.test\nS 250 mx\n" GOOD},
     .want = {"100 delivered 250 *"},
     .tls = "TLSv1.3/*/verified",
     .connections = 1},
    {.name = "certificate of another host, then the next",
     .settings = "tls = verify\nca_file = FOLDER/cert.pem\naddress_preference = only_ipv4",
     .message = {.domain = "dead.test", .recipients = {"a@dead.test"}},
     .scripts = {GREET "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nT\n"},
     .want = {"100 later 0 4.7.5 *"},
     .blame = BLAME_SITE,
     .connections = 1},
    {.name = "smarthost with a password",
     .settings =
         "route \"*\" {\nhosts = mx2.test\ntls = none\nplaintext_auth = yes\ncredentials_file = FOLDER/password\n}",
     .message = {.domain = "anything.test", .site = "route:*", .recipients = {"a@anything.test", "b@other.test"}},
     .scripts = {GREET "S 250-mx\nS 250 AUTH PLAIN LOGIN\nC AUTH PLAIN dXNlcgB1c2VyAHBhc3Mgd29yZA==\nS 235 welcome\n"
                       "C MAIL*\nS 250 ok\nC RCPT*\nS 250 ok\nC RCPT TO:<b@other.test>\nS 250 ok\nC DATA\n" CONTENT},
     .want = {"100 delivered 250 *", "101 delivered 250 *"},
     .relay = "mx2.test?127.0.0.2?:*",
     .connections = 1},
    {.name = "smarthost refuses the password",
     .settings =
         "route \"*\" {\nhosts = [127.0.0.1]\ntls = none\nplaintext_auth = yes\ncredentials_file = FOLDER/password\n}",
     .message = {.domain = "anything.test", .recipients = {"a@anything.test"}},
     .scripts = {GREET "S 250-mx\nS 250 AUTH LOGIN\nC AUTH LOGIN*\nS 334 UGFzc3dvcmQ6\nC *\nS 535 5.7.8 no\n"},
     .want = {"100 later 535 4.7.8 *"},
     .blame = BLAME_SITE,
     .connections = 1},
};

static void run_case(const struct delivery_case *c)
{
    struct world *w = world_new(c->settings != NULL ? c->settings : "", c->scripts);
    unsigned want = 0;
    print_message("  %s\n", c->name);
    send_deliver(w, 7, &c->message);
    turn_until(w, &w->done, 1);
    for (; want < 4 && c->want[want] != NULL; want++)
        expect(w, want, c->want[want]);
    assert_int_equal(w->results, want);
    assert_int_equal(w->blame, c->blame);
    assert_int_equal(w->connections, c->connections);
    if (c->data != NULL)
        assert_string_equal(buf_str(&w->data), c->data);
    if (c->relay != NULL && fnmatch(c->relay, w->relay, 0) != 0)
        fail_msg("relay %s", w->relay);
    if (c->tls != NULL && fnmatch(c->tls, w->tls_text, 0) != 0)
        fail_msg("tls %s", w->tls_text);
    for (int i = 0; i < 100 && w->out.jobs != NULL; i++)
        loop_turn(w->loop, 10);
    assert_null(w->out.jobs);
    world_free(w);
}

static void deliveries_end_as_scripted(void **state)
{
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        run_case(&cases[i]);
}

static void connections_are_kept_and_reused(void **state)
{
    static const char *const scripts[] = {
        EHLO GOOD GOOD "C MAIL*\nS 250 ok\nC RCPT*\nS 550 no\nC RSET\nS 250 ok\n" GOOD "C QUIT\nS 221 bye\nX\n", NULL};
    struct world *w = world_new("messages_per_connection_max = 3", scripts);
    struct message m = {.domain = "one.test", .recipients = {"a@one.test"}};
    struct ipc_route route = {.job = 1, .domain = "one.test"};
    assert_int_equal(ipc_send(w->channel, IPC_ROUTE, &route, -1), 0);
    turn_until(w, &w->routed, 1);
    char site[200];
    assert_int_equal(sscanf(w->route, "found %199s", site), 1);
    m.site = site;
    for (unsigned i = 1; i <= 4; i++) {
        send_deliver(w, i, &m);
        turn_until(w, &w->done, i);
        expect(w, i - 1, i == 3 ? "100 failed 550 *" : "100 delivered 250 *");
        assert_int_equal(w->out.idle_count, i < 4 ? 1 : 0);
    }
    assert_int_equal(w->connections, 1);
    world_free(w);
}

static void closed_connection_is_no_failure(void **state)
{
    static const char *const scripts[] = {EHLO GOOD "C MAIL*\nX\n", EHLO GOOD "C MAIL*\nS 421 4.4.2 idle too long\nX\n",
                                          EHLO GOOD "S 421 idle\nX\n", EHLO GOOD, NULL};
    struct world *w = world_new("addresses_max = 1", scripts);
    struct message m = {.domain = "one.test", .recipients = {"a@one.test"}};
    struct ipc_route route = {.job = 1, .domain = "one.test"};
    assert_int_equal(ipc_send(w->channel, IPC_ROUTE, &route, -1), 0);
    turn_until(w, &w->routed, 1);
    char site[200];
    assert_int_equal(sscanf(w->route, "found %199s", site), 1);
    m.site = site;
    for (unsigned i = 1; i <= 4; i++) {
        if (i == 4)
            for (int turn = 0; turn < 100 && w->out.idle_count > 0; turn++)
                loop_turn(w->loop, 10);
        send_deliver(w, i, &m);
        turn_until(w, &w->done, i);
        expect(w, i - 1, "100 delivered 250 *");
    }
    assert_int_equal(w->connections, 4);
    world_free(w);
}

static void idle_connections_end(void **state)
{
    static const char *const scripts[] = {EHLO GOOD "C QUIT\nS 221 bye\nX\n", NULL};
    struct world *w = world_new("idle_timeout = 100ms", scripts);
    struct message m = {.domain = "one.test", .recipients = {"a@one.test"}};
    send_deliver(w, 1, &m);
    turn_until(w, &w->done, 1);
    assert_int_equal(w->out.idle_count, 1);
    for (int turn = 0; turn < 200 && (w->out.idle_count > 0 || w->peer[0].stream != NULL); turn++)
        loop_turn(w->loop, 10);
    assert_int_equal(w->out.idle_count, 0);
    assert_null(w->peer[0].stream);
    assert_string_equal(w->problem, "");
    world_free(w);
}

static void large_messages_stream(void **state)
{
    static const char *const scripts[] = {EHLO GOOD, NULL};
    struct world *w = world_new("", scripts);
    size_t size = 3 << 20;
    char *content = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        content[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : i % 64 == 0 && i % 128 == 0 ? '.' : 'x';
    content[size] = '\0';
    struct message m = {
        .domain = "one.test", .recipients = {"a@one.test"}, .content = content, .flags = ENVELOPE_LEADING_DOTS};
    send_deliver(w, 1, &m);
    turn_until(w, &w->done, 1);
    expect(w, 0, "100 delivered 250 *");
    assert_int_equal(w->data.len, size + size / 128 + 3);
    free(content);
    world_free(w);
}

static void domains_are_routed(void **state)
{
    static const struct {
        const char *domain, *want;
    } routes[] = {
        {"one.test", "found mx1.test/???????? 0 "},
        {"both.test", "found mx1.test/???????? 0 "},
        {"mx1.test", "found mx1.test 0 "},
        {"null.test", "failed  556 5.1.10"},
        {"missing.test", "failed  550 5.1.2"},
        {"loop.test", "failed  554 5.4.6"},
        {"backup.test", "found mx1.test/???????? 0 "},
        {"broken.test", "later  451 4.4.3"},
        {"[127.0.0.1]", "found ?127.0.0.1? 0 "},
        {"[IPv6:::1]", "found ?IPv6:::1? 0 "},
        {"via.test", "found route:via.test 0 "},
        {"deep.below.test", "found route:.below.test 0 "},
        {"policy.test", "failed  550 5.1.2"},
        {"not valid", "failed  550 5.1.2"},
        {"\xc3\xbc.test", "failed  550 5.1.2"},
    };
    static const char *const scripts[] = {NULL};
    struct world *w = world_new("route \"via.test\" {\nhosts = mx1.test mx2.test\n}\nroute \".below.test\" {\nhosts = "
                                "[127.0.0.1]\nport = 26\n}\nroute \"policy.test\" {\ntls = verify\n}\n",
                                scripts);
    for (unsigned i = 0; i < ARRAY_LENGTH(routes); i++) {
        struct ipc_route route = {.job = i, .domain = routes[i].domain};
        assert_int_equal(ipc_send(w->channel, IPC_ROUTE, &route, -1), 0);
        turn_until(w, &w->routed, i + 1);
        if (fnmatch(routes[i].want, w->route, 0) != 0)
            fail_msg("%s: %s", routes[i].domain, w->route);
    }
    world_free(w);
}

static void results_outlive_qmgr(void **state)
{
    static const char *const scripts[] = {EHLO GOOD, EHLO "C MAIL*\nS 250 ok\nC RCPT*\nS 250 ok\nC DATA\nS 354 go\nD\n",
                                          NULL};
    struct world *w = world_new("", scripts);
    struct message one = {.domain = "one.test", .recipients = {"a@one.test"}};
    struct message two = {.domain = "both.test", .recipients = {"a@both.test"}};
    w->settle = false;
    send_deliver(w, 1, &one);
    turn_until(w, &w->done, 1);
    send_deliver(w, 2, &two);
    for (int turn = 0; turn < 300 && w->data.len < 40; turn++)
        loop_turn(w->loop, 10);
    qmgr_end(w);
    for (int turn = 0; turn < 5; turn++)
        loop_turn(w->loop, 10);
    w->results = w->done = w->inflight = w->inflight_end = 0;
    w->settle = true;
    qmgr_begin(w);
    turn_until(w, &w->done, 1);
    assert_int_equal(w->inflight_end, 1);
    assert_int_equal(w->inflight, 2);
    expect(w, 0, "100 delivered 250 *");
    /* A restarted qmgr may have chosen the same number for another message: only the pair counts. */
    struct ipc_settled other = {.job = 2, .queue_id = "another"};
    assert_int_equal(ipc_send(w->channel, IPC_SETTLED, &other, -1), 0);
    stream_write_str(w->peer[1].stream, "250 2.0.0 late\r\n");
    turn_until(w, &w->done, 2);
    expect(w, 1, "100 delivered 250 2.0.0 250 2.0.0 late");
    for (int turn = 0; turn < 100 && w->out.jobs != NULL; turn++)
        loop_turn(w->loop, 10);
    assert_null(w->out.jobs);
    world_free(w);
}

static void draining_finishes_what_is_in_hand(void **state)
{
    static const char *const scripts[] = {EHLO GOOD, EHLO "C MAIL*\nS 250 ok\nC RCPT*\nS 250 ok\nC DATA\nS 354 go\nD\n",
                                          NULL};
    struct world *w = world_new("", scripts);
    struct message one = {.domain = "one.test", .recipients = {"a@one.test"}};
    struct message two = {.domain = "both.test", .recipients = {"a@both.test"}};
    send_deliver(w, 1, &one);
    turn_until(w, &w->done, 1);
    send_deliver(w, 2, &two);
    for (int turn = 0; turn < 300 && w->data.len < 40; turn++)
        loop_turn(w->loop, 10);
    out_drain(&w->out);
    assert_false(w->drained);
    assert_int_equal(w->out.idle_count, 0);
    send_deliver(w, 3, &one);
    turn_until(w, &w->done, 2);
    expect(w, 1, "100 later 0 4.3.2 *shutting down");
    assert_int_equal(w->capacity, 0);
    stream_write_str(w->peer[1].stream, "250 2.0.0 late\r\n");
    turn_until(w, &w->done, 3);
    expect(w, 2, "100 delivered 250 2.0.0 250 2.0.0 late");
    for (int turn = 0; turn < 100 && !w->drained; turn++)
        loop_turn(w->loop, 10);
    assert_true(w->drained);
    world_free(w);
}

static void deliveries_have_a_deadline(void **state)
{
    static const char *const scripts[] = {EHLO "C MAIL*\n", NULL};
    struct world *w = world_new("delivery_timeout = 200ms", scripts);
    struct message m = {.domain = "one.test", .recipients = {"a@one.test"}};
    send_deliver(w, 1, &m);
    turn_until(w, &w->done, 1);
    expect(w, 0, "100 later 0 4.4.2 delivery_timeout passed*");
    world_free(w);
}

static int setup(void **state)
{
    return auth_library_init();
}

static int teardown(void **state)
{
    auth_library_deinit();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deliveries_end_as_scripted),
        cmocka_unit_test(connections_are_kept_and_reused),
        cmocka_unit_test(closed_connection_is_no_failure),
        cmocka_unit_test(idle_connections_end),
        cmocka_unit_test(large_messages_stream),
        cmocka_unit_test(domains_are_routed),
        cmocka_unit_test(results_outlive_qmgr),
        cmocka_unit_test(draining_finishes_what_is_in_hand),
        cmocka_unit_test(deliveries_have_a_deadline),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, setup, teardown);
}
