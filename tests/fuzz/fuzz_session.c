/* A whole session over a socket pair.  Whatever the client sends, all that it reads is well-formed replies, no more
 * than it asked for and none behind the last; and however its bytes are cut into writes, they mean the same.
 *
 * Input: three bytes of choices, then what the client sends; 0xFF ends a write, and so does 0xFE where TIME passes.
 * The client begins TLS when it is told so, logins are judged by memory_auth.h, and domains by memory_domains.h. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "log/log.h"
#include "mail/senders.h"
#include "memory_auth.h"
#include "memory_domains.h"
#include "memory_queue.h"
#include "smtp/reply.h"
#include "smtpd/limits.h"
#include "smtpd/listen.h"
#include "smtpd/session.h"
#include "store/once.h"
#include "store/usage.h"
#include "tls_peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of the first byte, the second and the third. */
enum {
    SUBMISSION = 1,
    NORMALISES = 2,
    FEW_KEYWORDS = 4,
    PROXIED = 8,
    XCLIENT = 16,
    STRANGER = 32,
    BULK = 64,
    SMALL = 128
};
enum {
    CROWDED = 1,
    NO_SPACE = 2,
    FULL_DISK = 4,
    COMMITS_FAIL = 8,
    DRAINS = 16,
    LOGIN_NEEDED = 32,
    LEAVES_EARLY = 64,
    TLS_FIRST = 128 /* unless PROXIED */
};
enum {
    QUOTAS = 1,
    DOMAINS = 2, /* are asked about */
    KEYS = 4,    /* of submissions count */
    TIME = 8,
    GREETS_LATE = 16,
    CERTIFICATE = 32 /* the client shows one */
};

enum { QUIET_TURNS = 3, LAST_TURNS = 64, END_OF_WRITE = 0xff, TIME_PASSES = 0xfe, ROOM = 400 };
enum { QUOTA_MESSAGES = 2, QUOTA_RECIPIENTS = 3, STEP_MS = 21000, GREET_WAIT_MS = 500 };

static const char config[] = "min_free_space = 1M\n"
                             "max_header_size = 4k\n"
                             "max_line_length = 1000\n"
                             "max_errors = 12\n"
                             "max_hops = 3\n"
                             "lane_header = X-Priority\n"
                             "postmaster = boss@b.test\n"
                             "idle_timeout = 50\n"
                             "command_time_limit = 30\n"
                             "min_data_rate = 1\n"
                             "quota \"each\" {\n"
                             "    credentials = *\n"
                             "    tenants = *\n"
                             "    clients = 127.0.0.0/8 192.0.2.0/24 2001:db8::/32\n"
                             "    networks = 0.0.0.0/0 ::/0\n"
                             "    messages_per_day = 2\n"
                             "    recipients_per_day = 3\n"
                             "}\n"
                             "listener \"all\" {\n"
                             "    address = 127.0.0.1:25\n"
                             "    tls = none\n"
                             "    tenant = acme\n"
                             "    trusted_networks = 127.0.0.0/8 192.0.2.0/24 2001:db8::/32\n"
                             "    discard_ehlo_keywords = CHUNKING DSN SMTPUTF8 FUTURERELEASE\n"
                             "    xclient_networks = 127.0.0.0/8 192.0.2.0/24\n"
                             "    proxy_networks = 127.0.0.0/8\n"
                             "}\n";

static char senders[] = "b.test a@c.test", nobody_in_particular[] = "";
static struct settings_smtpd settings;
static struct loop *loop;
static struct limits *roomy, *crowded;
static struct tls_server *tls;
static struct net_address peer;
static char folder[] = "/tmp/posthouse-fuzz-XXXXXX"; /* empty between runs */

/* What one session came to. */
struct story {
    unsigned choices, more, world;
    struct server server;
    struct injector injector;
    struct settings_listener listener;
    struct auth_client auth;
    struct domains domains;
    int client;
    SSL *ssl;                     /* the client's side of TLS */
    bool hasty;                   /* it went on before it was told to begin TLS: what it said is lost */
    struct buf replies, messages; /* all that the client read; all that was queued */
    unsigned queued, recipients;  /* messages, and the recipients of all of them */
};

static void require(bool holds, const char *what, const struct story *t)
{
    if (holds)
        return;
    fprintf(stderr, "does not hold: %s\n%s", what, buf_str(&t->replies));
    abort();
}

static void open_limits(const struct limits_maxima *maxima, struct limits **out)
{
    int memory = memfd_create("limits", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory < 0 || limits_new(loop, memory, maxima, out) < 0)
        abort();
    close(memory);
}

static void prepare(void)
{
    struct buf errors;
    buf_init(&errors, 4096);
    signal(SIGPIPE, SIG_IGN);
    log_open("smtpd", "/dev/null", LOG_LEVEL_INFO);
    clock_fake_set(60000, 0);
    loop = loop_new();
    if (loop == NULL || mkdtemp(folder) == NULL || net_parse("127.0.0.1", 2525, &peer) < 0 ||
        conf_parse(&settings_smtpd_schema, "smtpd.conf", config, &settings, &errors) < 0) {
        fprintf(stderr, "%s", buf_str(&errors));
        abort();
    }
    buf_deinit(&errors);
    open_limits(&(struct limits_maxima){.sessions = 1}, &roomy);
    open_limits(
        &(struct limits_maxima){
            .sessions = 1, .sessions_per_address = 1, .connections_per_minute = 2, .failed_logins_per_minute = 2},
        &crowded);
    tls = tls_peer_server(folder);
    rmdir(folder);
}

/* A minute of its own for each run, in which nobody has connected yet, and the same time of day. */
static void set_clocks(void)
{
    clock_fake_set((clock_mono_ms() / 60000 + 1) * 60000, INT64_C(1763928001000000));
}

/* What was counted and taken before is not of this run. */
static void open_world(struct story *t)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/world", folder);
    if ((t->world & (QUOTAS | KEYS)) == 0)
        return;
    if (mkdir(folder, 0700) < 0)
        abort();
    if ((t->world & QUOTAS) && (usage_open(path, &t->server.usage) < 0 || unlink(path) < 0))
        abort();
    if ((t->world & KEYS) && (once_open(path, &t->server.once) < 0 || unlink(path) < 0))
        abort();
    rmdir(folder);
}

static void close_world(struct story *t)
{
    usage_close(t->server.usage);
    once_close(t->server.once);
}

/* Whoever is bound to some addresses wrote one of them in the envelope, if any. */
static void check_sender(const struct story *t, const struct injection *i)
{
    struct mail_address sender;
    const char *text = i->envelope.sender, *allowed = t->listener.senders;
    if (i->envelope.credential[0] != '\0')
        allowed = t->auth.bound ? MEMORY_AUTH_SENDERS : "";
    if (text[0] == '\0')
        return;
    require(mail_address_parse(text, strlen(text), MAIL_ADDRESS_ALLOW_UTF8, &sender) == 0 &&
                mail_senders_allow(allowed, &sender),
            "the sender is one that this client may use", t);
}

/* By memory_domains.h. */
static bool is_gone(const char *address)
{
    const char *at = strrchr(address, '@');
    return at != NULL && at[1] == 'g';
}

static void on_committed(void *arg, const struct injection *i, uint32_t flags, int result)
{
    struct story *t = arg;
    if (result < 0)
        return;
    bool login = i->envelope.credential[0] != '\0';
    require(login || (t->more & LOGIN_NEEDED) == 0, "a message has the login that it needs", t);
    require(!login || t->auth.ok > 0 || (t->choices & XCLIENT), "a message has no login that was not", t);
    check_sender(t, i);
    for (size_t k = 0; k < i->envelope.recipient_count && (t->world & DOMAINS); k++)
        require(!is_gone(i->envelope.recipients[k].address), "every recipient's domain takes mail", t);
    require((t->world & DOMAINS) == 0 || !is_gone(i->envelope.sender), "the sender's domain takes mail", t);
    t->recipients += (unsigned)i->envelope.recipient_count;
    t->queued++;
    if (t->world & QUOTAS)
        require(t->queued <= QUOTA_MESSAGES && t->recipients <= QUOTA_RECIPIENTS, "no more than the quota is queued",
                t);
    buf_printf(&t->messages, "%s %x\n%s\n", i->id, flags, buf_str(&i->head));
    buf_append(&t->messages, buf_str(&i->content), i->content.len);
}

static bool begins_with_tls(const struct story *t)
{
    return (t->more & TLS_FIRST) && (t->choices & PROXIED) == 0;
}

static struct server *set_up(struct story *t)
{
    const struct settings_listener *all = settings.listeners.items[0];
    t->injector = (struct injector){.loop = loop,
                                    .room = t->more & FULL_DISK ? ROOM : SIZE_MAX,
                                    .commit_error = t->more & COMMITS_FAIL ? -EIO : 0,
                                    .free_bytes = t->more & NO_SPACE ? 1024 * 1024 + 50 : UINT64_MAX,
                                    .committed = on_committed,
                                    .arg = t};
    t->auth = (struct auth_client){.loop = loop};
    t->domains = (struct domains){.loop = loop};
    t->server = (struct server){.loop = loop,
                                .hostname = "mail.example.test",
                                .settings = settings,
                                .tls = tls,
                                .injector = &t->injector,
                                .auth = &t->auth,
                                .domains = &t->domains,
                                .limits = t->more & CROWDED ? crowded : roomy};
    server_init_lists(&t->server);
    open_world(t);
    t->server.settings.max_message_size_bytes = t->choices & SMALL ? 300 : 65536;
    t->server.settings.max_recipients = t->choices & SMALL ? 2 : 1000;
    t->listener = *all;
    t->listener.role = t->choices & SUBMISSION ? LISTENER_SUBMISSION : LISTENER_RELAY;
    t->listener.bare_line_ends = t->choices & NORMALISES ? LISTENER_NORMALISE : LISTENER_REFUSE;
    t->listener.senders = t->choices & BULK ? senders : nobody_in_particular;
    t->listener.add_missing_from = t->choices & BULK;
    t->listener.lane = t->choices & BULK ? LISTENER_LANE_BULK : LISTENER_LANE_TRANSACTIONAL;
    t->listener.auth = t->more & LOGIN_NEEDED      ? LISTENER_AUTH_REQUIRED
                       : t->choices & FEW_KEYWORDS ? LISTENER_AUTH_NO
                                                   : LISTENER_AUTH_OPTIONAL;
    t->listener.tls = begins_with_tls(t) ? LISTENER_TLS_IMPLICIT : LISTENER_TLS_STARTTLS;
    t->listener.check_recipient_domains = t->listener.check_sender_domain = (t->world & DOMAINS) != 0;
    t->listener.greet_wait_ms = t->world & GREETS_LATE ? GREET_WAIT_MS : 0;
    t->listener.client_certificates = (t->world & CERTIFICATE) != 0;
    t->listener.discard_ehlo_keywords.count = t->choices & FEW_KEYWORDS ? all->discard_ehlo_keywords.count : 0;
    t->listener.proxy_networks.count = t->choices & PROXIED ? all->proxy_networks.count : 0;
    t->listener.xclient_networks.count = t->choices & XCLIENT ? all->xclient_networks.count : 0;
    t->listener.trusted_networks.count = t->choices & STRANGER ? 0 : all->trusted_networks.count;
    buf_init(&t->replies, 16 * 1024 * 1024);
    buf_init(&t->messages, 16 * 1024 * 1024);
    return &t->server;
}

static bool client_reads(struct story *t)
{
    char room[65536];
    ssize_t n =
        t->ssl != NULL ? tls_peer_read(t->ssl, room, sizeof(room)) : recv(t->client, room, sizeof(room), MSG_DONTWAIT);
    if (n > 0)
        buf_append(&t->replies, room, (size_t)n);
    return n > 0;
}

/* Until nothing more happens. */
static void run_quiet(struct story *t)
{
    for (unsigned quiet = 0; quiet < QUIET_TURNS; quiet++) {
        size_t pending = t->injector.pending;
        loop_turn(loop, 0);
        if (client_reads(t) || pending != t->injector.pending)
            quiet = 0;
    }
}

static void client_begins_tls(struct story *t)
{
    t->ssl = tls_peer_open(t->client, (t->world & CERTIFICATE) != 0);
    for (int i = 0; i < LAST_TURNS && !SSL_is_init_finished(t->ssl); i++) {
        client_reads(t);
        loop_turn(loop, 0);
    }
    run_quiet(t);
}

/* Where the line that begins at `at` ends, its end included. */
static const uint8_t *line_end(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *lf = memchr(at, '\n', (size_t)(end - at));
    return lf != NULL ? lf + 1 : end;
}

/* One line that asks to begin TLS, and nothing else? */
static bool asks_for_tls(const uint8_t *line, const uint8_t *end)
{
    return end - line > 8 && line_end(line, end) == end && end[-1] == '\n' &&
           strncasecmp((const char *)line, "STARTTLS", 8) == 0;
}

static bool told_to_begin_tls(const struct story *t)
{
    static const char told[] = "220 2.0.0 begin TLS\r\n";
    size_t len = strlen(told);
    return t->ssl == NULL && t->replies.len >= len && memcmp(t->replies.data + t->replies.len - len, told, len) == 0;
}

static void client_writes(struct story *t, const uint8_t *data, size_t size)
{
    const uint8_t *begin = data, *end = data + size;
    while (data < end) {
        size_t left = (size_t)(end - data);
        ssize_t n = t->ssl != NULL ? tls_peer_write(t->ssl, data, left)
                                   : send(t->client, data, left, MSG_DONTWAIT | MSG_NOSIGNAL);
        run_quiet(t);
        if (n < 0)
            return; /* the server is gone, or is behind and will not catch up */
        data += n;
    }
    if (told_to_begin_tls(t)) {
        t->hasty |= !asks_for_tls(begin, end);
        client_begins_tls(t);
    }
}

/* Timers of the loop go by the machine's clock, so they are called here. */
static void time_passes(struct story *t)
{
    struct session *s, *next;
    clock_fake_advance_ms(STEP_MS);
    TAILQ_FOREACH_SAFE (s, &t->server.sessions, link, next) {
        if (s->check_at_ms != 0 && s->check_at_ms <= clock_mono_ms())
            session_on_clock(s);
    }
    run_quiet(t);
}

static void client_leaves(struct story *t)
{
    if ((t->more & LEAVES_EARLY) == 0)
        run_quiet(t);
    if ((t->more & LEAVES_EARLY) == 0 && t->ssl != NULL && SSL_is_init_finished(t->ssl))
        SSL_shutdown(t->ssl);
    shutdown(t->client, SHUT_WR);
    for (int i = 0; i < LAST_TURNS && (!TAILQ_EMPTY(&t->server.sessions) || t->injector.pending > 0); i++) {
        loop_turn(loop, 0);
        client_reads(t);
    }
    while (client_reads(t))
        ;
    require(TAILQ_EMPTY(&t->server.sessions), "the session ends when the client leaves", t);
    require(t->injector.alive == 0 && t->injector.pending == 0, "no injection stays behind", t);
    require(t->auth.alive == 0, "no login stays behind", t);
    require(t->domains.alive == 0, "no question stays behind", t);
    SSL_free(t->ssl);
    close(t->client);
}

static void check_limits(struct story *t)
{
    struct net_address nobody;
    struct limits *limits = t->server.limits;
    net_parse("198.51.100.1", 1, &nobody);
    require(limits_connect(limits, &nobody) == 0, "an ended session no longer counts", t);
    require(limits_connect(limits, &nobody) != 0, "a session is given back once only", t);
    limits_disconnect(limits, &nobody);
}

static bool ends_write(const struct story *t, uint8_t c)
{
    return c == END_OF_WRITE || (c == TIME_PASSES && (t->world & TIME));
}

/* How much the client sends at once: up to the end of a write; or all, but what asks for TLS by itself. */
static size_t next_write(const struct story *t, const uint8_t *data, size_t size, bool in_writes)
{
    size_t n = 0;
    while (in_writes && n < size && !ends_write(t, data[n]))
        n++;
    if (in_writes)
        return n;
    const uint8_t *end = data + size, *at = line_end(data, end);
    if (asks_for_tls(data, at))
        return (size_t)(at - data);
    while (at < end && !asks_for_tls(at, line_end(at, end)))
        at = line_end(at, end);
    return (size_t)(at - data);
}

static void play(struct story *t, const uint8_t *data, size_t size, bool in_writes)
{
    int pair[2];
    set_clocks();
    struct server *server = set_up(t);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0 ||
        limits_connect(server->limits, listener_counts_as(&t->listener, &peer)) != 0 ||
        session_new(server, &t->listener, pair[1], &peer) < 0)
        abort();
    t->client = pair[0];
    if (begins_with_tls(t))
        client_begins_tls(t);
    while (size > 0) {
        size_t n = next_write(t, data, size, in_writes);
        client_writes(t, data, n);
        bool more = in_writes && n < size;
        if (more && data[n] == TIME_PASSES)
            time_passes(t);
        data += n + more;
        size -= n + more;
        if (more && (t->more & DRAINS) && !server->draining)
            server_drain(server);
    }
    client_leaves(t);
    check_limits(t);
    close_world(t);
}

/* One line of a reply; `code` is that of the lines before, 0 = a new reply. */
static unsigned check_line(const struct story *t, const char *line, size_t len, unsigned code, bool *last)
{
    bool challenge = len >= 4 && strncmp(line, "334 ", 4) == 0; /* RFC 4954 section 4 lets it be longer */
    require(len >= 4 && (len <= SMTP_REPLY_OUT_LINE_MAX || challenge), "a reply's line is as long as it may be", t);
    for (size_t i = 0; i < len; i++)
        require((unsigned char)line[i] >= 0x20 && line[i] != 0x7f, "a reply is text", t);
    for (int i = 0; i < 3; i++)
        require(line[i] >= '0' && line[i] <= '9', "a reply begins with a code", t);
    require(line[0] >= '2' && line[0] <= '5' && (line[3] == ' ' || line[3] == '-'), "a code is a code", t);
    unsigned here = (unsigned)((line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0'));
    require(code == 0 || code == here, "all lines of a reply have one code", t);
    *last = line[3] == ' ';
    return here;
}

static bool is_queued(const char *line, size_t len)
{
    return strncmp(line, "250 2.0.0 queued as ", 20) == 0 && memmem(line, len, ", before", 8) == NULL;
}

static void check_replies(const struct story *t, size_t lines_sent)
{
    const char *at = buf_str(&t->replies), *end = at + t->replies.len;
    unsigned replies = 0, queued = 0, code = 0;
    bool over = false;
    while (at < end) {
        const char *crlf = memmem(at, (size_t)(end - at), "\r\n", 2);
        bool last;
        require(crlf != NULL, "a reply's line ends in CRLF", t);
        require(!over, "nothing follows the last reply", t);
        code = check_line(t, at, (size_t)(crlf - at), code, &last);
        if (last) {
            replies++;
            queued += is_queued(at, (size_t)(crlf - at));
            over = code == 221 || code == 421;
            code = 0;
        }
        at = crlf + 2;
    }
    require(code == 0, "a reply ends", t);
    require(queued == t->queued, "who hears that a message is queued has one in the queue", t);
    /* The greeting, one for each line, and what is said to a line that does not end and before the connection is. */
    require(replies <= lines_sent + 3, "no more replies than commands", t);
}

static size_t count_lines(const uint8_t *data, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < size; i++)
        n += data[i] == '\n';
    return n;
}

/* The client's bytes without the ends of its writes. */
static size_t join(const uint8_t *data, size_t size, uint8_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < size; i++)
        if (data[i] != END_OF_WRITE)
            out[n++] = data[i];
    return n;
}

static bool same(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && memcmp(buf_str(a), buf_str(b), a->len) == 0;
}

/* The first digits of the replies.  A message that is too large and also broken is refused for what shows first, and
 * that depends on the cuts. */
static bool same_outcome(const struct story *a, const struct story *b)
{
    const char *p = buf_str(&a->replies), *q = buf_str(&b->replies);
    while (p != NULL && q != NULL && *p == *q) {
        p = strchr(p, '\n');
        q = strchr(q, '\n');
        p = p != NULL ? p + 1 : NULL;
        q = q != NULL ? q + 1 : NULL;
    }
    return p == NULL && q == NULL;
}

static void compare(const struct story *a, const struct story *b)
{
    if (a->hasty || b->hasty)
        return;
    bool told = a->choices & SMALL ? (a->more & FULL_DISK) || same_outcome(a, b) : same(&a->replies, &b->replies);
    if (told && same(&a->messages, &b->messages))
        return;
    fprintf(stderr, "in one write\n%s%s---\nin several\n%s%s", buf_str(&a->replies), buf_str(&a->messages),
            buf_str(&b->replies), buf_str(&b->messages));
    abort();
}

static void forget(struct story *t)
{
    buf_deinit(&t->replies);
    buf_deinit(&t->messages);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size > 32768)
        return 0;
    if (loop == NULL)
        prepare();
    struct story cut = {.choices = data[0], .more = data[1], .world = data[2]}, whole = cut;
    data += 3;
    size -= 3;
    size_t lines = count_lines(data, size);
    play(&cut, data, size, true);
    check_replies(&cut, lines);
    if ((cut.more & DRAINS) == 0 && (cut.world & TIME) == 0) {
        uint8_t *joined = malloc(size + 1);
        play(&whole, joined, join(data, size, joined), false);
        check_replies(&whole, lines);
        compare(&whole, &cut);
        free(joined);
    }
    forget(&whole);
    forget(&cut);
    return 0;
}
