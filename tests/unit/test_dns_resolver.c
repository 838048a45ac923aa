#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "dns/fake.h"
#include "dns/mx.h"

/* A name server inside the test: the first label of the question says how it behaves.  The answers themselves come from
 * the fake's zone lines. */
static const char *const zone[] = {
    "good.test. 60 IN A 192.0.2.1",
    "wrongid.test. 60 IN A 192.0.2.1",
    "wrongname.test. 60 IN A 192.0.2.1",
    "truncated.test. 60 IN A 192.0.2.1",
    "stuck.test. 60 IN A 192.0.2.1",
    "short.test. 60 IN A 192.0.2.1",
    "failing.test. SERVFAIL",
    NULL,
};

struct fixture {
    struct loop *loop;
    struct dns_resolver *resolver;
    int udp_fd, tcp_fd, client_fd;
    struct io_watch udp, tcp, client;
    unsigned udp_questions, tcp_questions;
    struct dns_answer *got;
    unsigned calls;
};

static void zone_reply(const char *query, size_t len, struct buf *out)
{
    dns_fake_answer((void *)zone, query, len, out);
}

static bool asks_for(const char *query, size_t len, const char *label)
{
    size_t n = strlen(label);
    return len > 13 + n && (size_t)query[12] == n && memcmp(query + 13, label, n) == 0;
}

static void udp_question(void *arg, int ready)
{
    struct fixture *f = arg;
    struct sockaddr_storage from;
    socklen_t from_len = sizeof(from);
    char query[512];
    ssize_t n = recvfrom(f->udp_fd, query, sizeof(query), 0, (struct sockaddr *)&from, &from_len);
    assert_true(n > 12);
    f->udp_questions++;
    struct buf reply;
    buf_init(&reply, 4096);
    zone_reply(query, (size_t)n, &reply);
    if (asks_for(query, (size_t)n, "wrongid") || asks_for(query, (size_t)n, "wrongname")) {
        /* A forged reply first, then the right one. */
        size_t at = asks_for(query, (size_t)n, "wrongid") ? 1 : 15;
        reply.data[at] ^= 1;
        sendto(f->udp_fd, reply.data, reply.len, 0, (struct sockaddr *)&from, from_len);
        sendto(f->udp_fd, "x", 1, 0, (struct sockaddr *)&from, from_len);
        reply.data[at] ^= 1;
    }
    if (asks_for(query, (size_t)n, "truncated") || asks_for(query, (size_t)n, "stuck"))
        reply.data[2] |= 2;
    if (asks_for(query, (size_t)n, "short"))
        buf_truncate(&reply, reply.len - 20);
    if (!asks_for(query, (size_t)n, "silent"))
        sendto(f->udp_fd, reply.data, reply.len, 0, (struct sockaddr *)&from, from_len);
    buf_deinit(&reply);
}

static void tcp_question(void *arg, int ready)
{
    struct fixture *f = arg;
    char query[512];
    ssize_t n = recv(f->client_fd, query, sizeof(query), 0);
    if (n <= 0) {
        io_watch_deinit(&f->client);
        close(f->client_fd);
        f->client_fd = -1;
        return;
    }
    struct buf reply;
    buf_init(&reply, 4096);
    zone_reply(query + 2, (size_t)n - 2, &reply);
    char length[2] = {(char)(reply.len >> 8), (char)reply.len};
    if (!asks_for(query + 2, (size_t)n - 2, "stuck")) {
        assert_int_equal(send(f->client_fd, length, 1, 0), 1);
        assert_int_equal(send(f->client_fd, length + 1, 1, 0), 1);
        assert_int_equal(send(f->client_fd, reply.data, reply.len, 0), reply.len);
    }
    buf_deinit(&reply);
}

static void tcp_arrives(void *arg, int ready)
{
    struct fixture *f = arg;
    if (f->client_fd >= 0) {
        io_watch_deinit(&f->client);
        close(f->client_fd);
    }
    f->client_fd = accept4(f->tcp_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(f->client_fd >= 0);
    f->tcp_questions++;
    assert_int_equal(io_watch_init(&f->client, f->loop, f->client_fd, tcp_question, f), 0);
    assert_int_equal(io_watch_set(&f->client, IO_READ), 0);
}

/* A UDP and a TCP socket on the same free port.  Of an address that nobody connects from: on 127.0.0.1 connections of
 * the last minute may hold nearly all. */
static struct net_address listen_both(struct fixture *f)
{
    struct net_address a;
    for (int attempt = 0; attempt < 50; attempt++) {
        assert_int_equal(net_parse("127.0.0.53:0", 0, &a), 0);
        f->udp_fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        f->tcp_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(f->udp_fd, &a.any, a.len), 0);
        assert_int_equal(getsockname(f->udp_fd, &a.any, &a.len), 0);
        if (bind(f->tcp_fd, &a.any, a.len) == 0 && listen(f->tcp_fd, 5) == 0)
            return a;
        close(f->udp_fd);
        close(f->tcp_fd);
    }
    fail_msg("no free port");
    return a;
}

static struct fixture *fixture_new(size_t dead_servers, uint64_t timeout_ms)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->client_fd = -1;
    f->loop = loop_new();
    struct net_address server = listen_both(f);
    io_watch_init(&f->udp, f->loop, f->udp_fd, udp_question, f);
    io_watch_set(&f->udp, IO_READ);
    io_watch_init(&f->tcp, f->loop, f->tcp_fd, tcp_arrives, f);
    io_watch_set(&f->tcp, IO_READ);
    struct dns_config config = {
        .attempts = 2, .timeout_ms = timeout_ms, .in_flight_max = 2, .waiting_max = 10, .trust_ad = true};
    for (size_t i = 0; i < dead_servers; i++)
        assert_int_equal(net_parse("127.0.0.1:1", 0, &config.server[config.server_count++]), 0);
    config.server[config.server_count++] = server;
    f->resolver = dns_resolver_new(f->loop, &config);
    assert_non_null(f->resolver);
    return f;
}

static void fixture_free(struct fixture *f)
{
    dns_resolver_free(f->resolver);
    io_watch_deinit(&f->udp);
    io_watch_deinit(&f->tcp);
    io_watch_deinit(&f->client);
    close(f->udp_fd);
    close(f->tcp_fd);
    if (f->client_fd >= 0)
        close(f->client_fd);
    dns_answer_unref(f->got);
    loop_free(f->loop);
    free(f);
}

static void answered(void *arg, struct dns_answer *answer)
{
    struct fixture *f = arg;
    dns_answer_unref(f->got);
    f->got = answer;
    f->calls++;
}

static const struct dns_answer *ask(struct fixture *f, const char *name)
{
    unsigned before = f->calls;
    assert_non_null(dns_query(f->resolver, name, DNS_TYPE_A, answered, f));
    assert_int_equal(f->calls, before);
    for (int i = 0; i < 500 && f->calls == before; i++)
        loop_turn(f->loop, 20);
    assert_int_equal(f->calls, before + 1);
    return f->got;
}

static void servers_are_asked(void **state)
{
    static const struct {
        const char *name;
        size_t dead_servers;
        enum dns_outcome want;
        unsigned udp, tcp;
    } cases[] = {
        {"good.test", 0, DNS_FOUND, 1, 0},       {"good.test", 2, DNS_FOUND, 1, 0},
        {"missing.test", 0, DNS_NXDOMAIN, 1, 0}, {"wrongid.test", 0, DNS_FOUND, 1, 0},
        {"wrongname.test", 0, DNS_FOUND, 1, 0},  {"truncated.test", 0, DNS_FOUND, 1, 1},
        {"failing.test", 0, DNS_TEMPFAIL, 2, 0}, {"silent.test", 0, DNS_TEMPFAIL, 2, 0},
        {"stuck.test", 0, DNS_TEMPFAIL, 2, 2},   {"short.test", 0, DNS_TEMPFAIL, 2, 0},
        {"bad name", 0, DNS_NXDOMAIN, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct fixture *f = fixture_new(cases[i].dead_servers, 150);
        const struct dns_answer *a = ask(f, cases[i].name);
        if (a->outcome != cases[i].want || f->udp_questions != cases[i].udp || f->tcp_questions != cases[i].tcp)
            fail_msg("%s: outcome %d, %u UDP and %u TCP questions", cases[i].name, (int)a->outcome, f->udp_questions,
                     f->tcp_questions);
        if (a->outcome == DNS_TEMPFAIL)
            assert_non_null(a->reason);
        if (a->outcome == DNS_FOUND)
            assert_true(a->ad);
        fixture_free(f);
    }
}

static void lookups_in_flight_are_bounded(void **state)
{
    struct fixture *f = fixture_new(0, 1000);
    for (int i = 0; i < 14; i++)
        assert_non_null(dns_query(f->resolver, "good.test", DNS_TYPE_A, answered, f));
    struct dns_query *cancelled = dns_query(f->resolver, "silent.test", DNS_TYPE_A, answered, f);
    dns_query_cancel(cancelled);
    for (int i = 0; i < 500 && f->calls < 14; i++)
        loop_turn(f->loop, 20);
    assert_int_equal(f->calls, 14);
    assert_int_equal(f->udp_questions, 12); /* two in flight, ten waiting, two refused */
    fixture_free(f);
}

static const char *const mail_zone[] = {
    "two.test. 60 IN MX 20 mx2.two.test.",
    "two.test. 60 IN MX 10 mx1.two.test.",
    "mx1.two.test. 60 IN A 192.0.2.1",
    "mx1.two.test. 60 IN AAAA 2001:db8::1",
    "mx2.two.test. 60 IN A 192.0.2.2",
    "null.test. 60 IN MX 0 .",
    "implicit.test. 60 IN A 192.0.2.3",
    "bare.test. 60 IN TXT \"no address\"",
    "junk.test. 60 IN MX 10 192.0.2.9.",
    "mixed.test. 60 IN MX 5 192.0.2.9.",
    "mixed.test. 60 IN MX 10 mx1.two.test.",
    "alias.test. 60 IN CNAME two.test.",
    "failing.test. SERVFAIL",
    NULL,
};

static void got_mx(void *arg, struct dns_mx *mx)
{
    struct dns_mx **out = arg;
    *out = mx;
}

static void got_host(void *arg, const struct dns_host *host)
{
    struct dns_host *out = arg;
    *out = *host;
}

static void mail_hosts_are_found(void **state)
{
    static const struct {
        const char *domain;
        enum dns_mx_outcome want;
        const char *hosts; /* in order, joined by blanks */
    } cases[] = {
        {"two.test", DNS_MX_FOUND, "mx1.two.test mx2.two.test"},
        {"TWO.test", DNS_MX_FOUND, "mx1.two.test mx2.two.test"},
        {"alias.test", DNS_MX_FOUND, "mx1.two.test mx2.two.test"},
        {"null.test", DNS_MX_NULL, ""},
        {"implicit.test", DNS_MX_FOUND, "implicit.test"},
        {"bare.test", DNS_MX_NO_HOST, ""},
        {"junk.test", DNS_MX_NO_HOST, ""},
        {"mixed.test", DNS_MX_FOUND, "mx1.two.test"},
        {"missing.test", DNS_MX_NXDOMAIN, ""},
        {"no such name", DNS_MX_NXDOMAIN, ""},
        {"failing.test", DNS_MX_TEMPFAIL, ""},
    };
    struct loop *loop = loop_new();
    struct dns_config config = {
        .server_count = 1, .attempts = 1, .timeout_ms = 100, .in_flight_max = 8, .waiting_max = 8};
    struct dns_resolver *resolver = dns_resolver_new(loop, &config);
    struct dns_cache *cache = dns_cache_new(loop, resolver, 4, 3600);
    dns_fake_use(resolver, mail_zone);
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct dns_mx *mx = NULL;
        char hosts[256] = "";
        assert_non_null(dns_mx_lookup(cache, cases[i].domain, got_mx, &mx));
        for (int turn = 0; turn < 50 && mx == NULL; turn++)
            loop_turn(loop, 20);
        assert_non_null(mx);
        for (size_t k = 0; k < mx->count; k++)
            snprintf(hosts + strlen(hosts), sizeof(hosts) - strlen(hosts), "%s%s", k > 0 ? " " : "", mx->host[k].name);
        if (mx->outcome != cases[i].want || strcmp(hosts, cases[i].hosts) != 0)
            fail_msg("%s: outcome %d, hosts '%s'", cases[i].domain, (int)mx->outcome, hosts);
        free(mx);
        assert_in_range(dns_cache_count(cache), 0, 4);
    }
    dns_cache_free(cache);
    dns_resolver_free(resolver);
    loop_free(loop);
}

static void host_addresses_are_ordered(void **state)
{
    static const struct {
        const char *name;
        enum dns_family family;
        enum dns_outcome want;
        size_t count;
        int first_family;
    } cases[] = {
        {"mx1.two.test", DNS_PREFER_IPV6, DNS_FOUND, 2, AF_INET6},
        {"mx1.two.test", DNS_PREFER_IPV4, DNS_FOUND, 2, AF_INET},
        {"mx1.two.test", DNS_ONLY_IPV4, DNS_FOUND, 1, AF_INET},
        {"mx1.two.test", DNS_ONLY_IPV6, DNS_FOUND, 1, AF_INET6},
        {"mx2.two.test", DNS_ONLY_IPV6, DNS_NODATA, 0, 0},
        {"missing.test", DNS_PREFER_IPV6, DNS_NXDOMAIN, 0, 0},
        {"failing.test", DNS_PREFER_IPV6, DNS_TEMPFAIL, 0, 0},
    };
    struct loop *loop = loop_new();
    struct dns_config config = {
        .server_count = 1, .attempts = 1, .timeout_ms = 100, .in_flight_max = 8, .waiting_max = 8};
    struct dns_resolver *resolver = dns_resolver_new(loop, &config);
    struct dns_cache *cache = dns_cache_new(loop, resolver, 100, 3600);
    dns_fake_use(resolver, mail_zone);
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct dns_host host = {0};
        assert_non_null(dns_host_lookup(cache, cases[i].name, cases[i].family, got_host, &host));
        for (int turn = 0; turn < 50 && host.outcome == 0; turn++)
            loop_turn(loop, 20);
        if (host.outcome != cases[i].want || host.count != cases[i].count)
            fail_msg("case %zu: outcome %d, %zu addresses", i, (int)host.outcome, host.count);
        if (host.count > 0)
            assert_int_equal(host.address[0].any.sa_family, cases[i].first_family);
    }
    /* Dropping everything while a lookup waits. */
    struct dns_host never = {0};
    struct dns_host_lookup *h = dns_host_lookup(cache, "never.test", DNS_PREFER_IPV6, got_host, &never);
    dns_host_lookup_cancel(h);
    assert_non_null(dns_lookup(cache, "mx1.two.test", DNS_TYPE_TXT, answered, NULL));
    dns_cache_free(cache);
    dns_resolver_free(resolver);
    loop_free(loop);
}

struct counted {
    unsigned asked;
};

static void counting_fake(void *arg, const void *query, size_t query_len, struct buf *reply)
{
    ((struct counted *)arg)->asked++;
    dns_fake_answer((void *)mail_zone, query, query_len, reply);
}

static void count_answer(void *arg, struct dns_answer *answer)
{
    (*(unsigned *)arg)++;
    dns_answer_unref(answer);
}

static void answers_are_kept_for_their_ttl(void **state)
{
    struct loop *loop = loop_new();
    struct dns_config config = {
        .server_count = 1, .attempts = 1, .timeout_ms = 100, .in_flight_max = 8, .waiting_max = 8};
    struct dns_resolver *resolver = dns_resolver_new(loop, &config);
    struct dns_cache *cache = dns_cache_new(loop, resolver, 100, 3600);
    struct counted counted = {0};
    dns_resolver_set_fake(resolver, counting_fake, &counted);
    static const struct {
        const char *name;
        uint64_t later_ms;
        unsigned lookups, asked; /* asked: in all */
    } steps[] = {
        {"two.test", 0, 3, 1},                                /* at the same time: one question */
        {"TWO.test", 59000, 1, 1},                            /* whatever the case */
        {"two.test", 2000, 1, 2},                             /* the TTL is over */
        {"failing.test", 0, 1, 3}, {"failing.test", 0, 1, 4}, /* a failure is not kept */
    };
    clock_fake_set(1000000, 1000000);
    for (size_t i = 0; i < ARRAY_LENGTH(steps); i++) {
        unsigned answered_count = 0;
        clock_fake_advance_ms(steps[i].later_ms);
        for (unsigned k = 0; k < steps[i].lookups; k++)
            assert_non_null(dns_lookup(cache, steps[i].name, DNS_TYPE_MX, count_answer, &answered_count));
        assert_int_equal(answered_count, 0);
        for (int turn = 0; turn < 50 && answered_count < steps[i].lookups; turn++)
            loop_turn(loop, 20);
        assert_int_equal(answered_count, steps[i].lookups);
        assert_int_equal(counted.asked, steps[i].asked);
    }
    dns_cache_free(cache);
    dns_resolver_free(resolver);
    loop_free(loop);
}

static void nameserver_lines_are_read(void **state)
{
    char path[] = "/tmp/posthouse-resolv-XXXXXX";
    int fd = mkstemp(path);
    static const char text[] = "# comment\nsearch example.test\nnameserver 192.0.2.1\nnameserver  2001:db8::1 \n"
                               "nameserver not-an-address\nnameserver 192.0.2.2\n";
    struct net_address servers[2];
    char shown[NET_TEXT_MAX];
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    close(fd);
    assert_int_equal(dns_servers_read(path, servers, 2), 2);
    assert_string_equal(net_format(&servers[0], shown), "192.0.2.1:53");
    assert_string_equal(net_format(&servers[1], shown), "[2001:db8::1]:53");
    unlink(path);
    assert_true(dns_servers_read(path, servers, 2) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(servers_are_asked),         cmocka_unit_test(lookups_in_flight_are_bounded),
        cmocka_unit_test(mail_hosts_are_found),      cmocka_unit_test(host_addresses_are_ordered),
        cmocka_unit_test(nameserver_lines_are_read), cmocka_unit_test(answers_are_kept_for_their_ttl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
