/* The shared counters of client addresses: several processes, minutes that pass, processes that die. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/text.h"
#include "smtpd/limits.h"

static int memory;

static struct net_address client(const char *text)
{
    struct net_address a;
    assert_int_equal(net_parse(text, 25, &a), 0);
    return a;
}

static struct limits *open_limits(struct loop *l, const struct limits_maxima *maxima)
{
    struct limits *limits = NULL;
    assert_int_equal(limits_new(l, memory, maxima, &limits), 0);
    return limits;
}

static int setup(void **state)
{
    memory = memfd_create("limits", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(memory >= 0);
    clock_fake_set(1000000, 1);
    *state = loop_new();
    return 0;
}

static int teardown(void **state)
{
    loop_free(*state);
    return close(memory);
}

static void counts_over_processes(void **state)
{
    const struct limits_maxima maxima = {.sessions = 3, .sessions_per_address = 2};
    struct limits *a = open_limits(*state, &maxima), *b = open_limits(*state, &maxima);
    struct net_address one = client("192.0.2.1"), two = client("192.0.2.2"), three = client("192.0.2.3");
    assert_int_equal(limits_connect(a, &one), 0);
    assert_int_equal(limits_connect(b, &one), 0);
    assert_int_equal(limits_connect(b, &one), LIMITS_TOO_MANY_FROM_ADDRESS);
    assert_int_equal(limits_connect(a, &two), 0);
    assert_int_equal(limits_connect(a, &three), LIMITS_TOO_MANY);
    limits_disconnect(b, &one);
    assert_int_equal(limits_connect(a, &one), 0);
    limits_free(a);
    assert_int_equal(limits_connect(b, &two), 0);
    limits_free(b);
}

static void takes_ipv6_by_network_and_mapped_as_ipv4(void **state)
{
    const struct limits_maxima maxima = {.sessions_per_address = 1};
    struct limits *a = open_limits(*state, &maxima);
    struct net_address six = client("[2001:db8:1:2::1]:25"), neighbour = client("[2001:db8:1:2:ffff::9]:25");
    struct net_address elsewhere = client("[2001:db8:1:3::1]:25"), four = client("192.0.2.1");
    struct net_address mapped = client("[::ffff:192.0.2.1]:25");
    assert_int_equal(limits_connect(a, &six), 0);
    assert_int_equal(limits_connect(a, &neighbour), LIMITS_TOO_MANY_FROM_ADDRESS);
    assert_int_equal(limits_connect(a, &elsewhere), 0);
    assert_int_equal(limits_connect(a, &four), 0);
    assert_int_equal(limits_connect(a, &mapped), LIMITS_TOO_MANY_FROM_ADDRESS);
    limits_free(a);
}

static void counts_networks(void **state)
{
    const struct limits_maxima maxima = {.sessions_per_network = 2, .ipv4_prefix = 24, .ipv6_prefix = 56};
    static const struct {
        const char *client;
        int want;
    } cases[] = {
        {"192.0.2.1", 0},
        {"[::ffff:192.0.2.2]:25", 0},
        {"192.0.2.255", LIMITS_TOO_MANY_FROM_NETWORK},
        {"192.0.3.1", 0},
        {"192.0.1.255", 0},
        {"[2001:db8:1:100::1]:25", 0},
        {"[2001:db8:1:1ff::1]:25", 0},
        {"[2001:db8:1:180::1]:25", LIMITS_TOO_MANY_FROM_NETWORK},
        {"[2001:db8:1:200::1]:25", 0},
        {"[2001:db8:1:ff::1]:25", 0},
    };
    struct limits *a = open_limits(*state, &maxima), *b = open_limits(*state, &maxima);
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct net_address one = client(cases[i].client);
        assert_int_equal(limits_connect(i % 2 ? a : b, &one), cases[i].want);
    }
    struct net_address gone = client("192.0.2.1"), next = client("192.0.2.77");
    limits_disconnect(b, &gone);
    assert_int_equal(limits_connect(a, &next), 0);
    limits_free(a);
    limits_free(b);
}

static void takes_any_prefix(void **state)
{
    static const struct {
        int64_t ipv4, ipv6;
        const char *one, *two;
        bool same;
    } cases[] = {
        {0, 0, "192.0.2.1", "198.51.100.1", true},
        {32, 64, "192.0.2.1", "192.0.2.2", false},
        {32, 64, "192.0.2.1", "192.0.2.1", true},
        {31, 64, "192.0.2.2", "192.0.2.3", true},
        {0, 0, "[2001:db8::1]:25", "[fe80::1]:25", true},
        {24, 64, "[2001:db8:0:1::1]:25", "[2001:db8:0:1:8000::1]:25", true},
        {24, 64, "[2001:db8:0:1::1]:25", "[2001:db8:0:2::1]:25", false},
        {32, 32, "32.1.13.184", "[2001:db8::1]:25", false}, /* the same bits */
        {0, 0, "192.0.2.1", "[2001:db8::1]:25", false},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        const struct limits_maxima maxima = {
            .sessions_per_network = 1, .ipv4_prefix = cases[i].ipv4, .ipv6_prefix = cases[i].ipv6};
        struct limits *a = open_limits(*state, &maxima);
        struct net_address one = client(cases[i].one), two = client(cases[i].two);
        assert_int_equal(limits_connect(a, &one), 0);
        assert_int_equal(limits_connect(a, &two), cases[i].same ? LIMITS_TOO_MANY_FROM_NETWORK : 0);
        limits_free(a);
    }
}

/* An ended session helps only against the limit on all of them: it is told when no other stands in the way. */
static void tells_the_limit_of_all_last(void **state)
{
    const struct limits_maxima maxima = {.sessions = 32, .sessions_per_address = 31};
    struct limits *a = open_limits(*state, &maxima);
    struct net_address one = client("192.0.2.1"), two = client("192.0.2.2"), three = client("192.0.2.3");
    for (int i = 0; i < 31; i++) {
        assert_int_equal(limits_connect(a, &one), 0);
        assert_int_equal(limits_crowded(a), i >= 30); /* a sixteenth is left */
    }
    assert_int_equal(limits_connect(a, &one), LIMITS_TOO_MANY_FROM_ADDRESS);
    assert_int_equal(limits_connect(a, &two), 0);
    assert_int_equal(limits_connect(a, &one), LIMITS_TOO_MANY_FROM_ADDRESS);
    assert_int_equal(limits_connect(a, &three), LIMITS_TOO_MANY);
    limits_free(a);
}

static void counts_a_minute(void **state)
{
    const struct limits_maxima maxima = {.connections_per_minute = 2, .failed_logins_per_minute = 2};
    struct limits *a = open_limits(*state, &maxima), *b = open_limits(*state, &maxima);
    struct net_address one = client("192.0.2.1"), two = client("192.0.2.2");
    assert_int_equal(limits_connect(a, &one), 0);
    assert_int_equal(limits_connect(b, &one), 0);
    limits_disconnect(b, &one);
    assert_int_equal(limits_connect(b, &one), LIMITS_TOO_FAST);
    assert_int_equal(limits_connect(b, &two), 0);
    limits_login_failed(a, &one);
    assert_false(limits_login_blocked(b, &one));
    limits_login_failed(b, &one);
    assert_true(limits_login_blocked(a, &one));
    assert_false(limits_login_blocked(a, &two));
    clock_fake_advance_ms(60000);
    assert_int_equal(limits_connect(b, &one), 0);
    assert_false(limits_login_blocked(a, &one));
    limits_free(a);
    limits_free(b);
}

/* A session whose proxy told of another client is that one's; when that one is refused it ends as what it was. */
static void moves_a_session(void **state)
{
    const struct limits_maxima maxima = {.sessions = 2, .sessions_per_address = 1, .connections_per_minute = 1};
    struct limits *a = open_limits(*state, &maxima);
    struct net_address proxy = client("192.0.2.1"), one = client("192.0.2.2"), two = client("192.0.2.3");
    assert_int_equal(limits_connect(a, &proxy), 0);
    assert_int_equal(limits_move(a, &proxy, &one), 0);
    assert_int_equal(limits_connect(a, &two), 0);
    assert_int_equal(limits_move(a, &two, &one), LIMITS_TOO_MANY_FROM_ADDRESS);
    limits_disconnect(a, &two);
    assert_int_equal(limits_move(a, &one, &two), LIMITS_TOO_FAST);
    limits_disconnect(a, &one);
    /* Nobody is left, and nobody was taken off twice. */
    clock_fake_advance_ms(60000);
    assert_int_equal(limits_connect(a, &one), 0);
    assert_int_equal(limits_connect(a, &two), 0);
    assert_int_equal(limits_connect(a, &proxy), LIMITS_TOO_MANY);
    limits_free(a);
}

/* A busy proxy is not refused for the sessions of its clients. */
static void counts_a_proxy_in_all_only(void **state)
{
    const struct limits_maxima maxima = {.sessions = 3, .sessions_per_address = 1, .connections_per_minute = 1};
    struct limits *a = open_limits(*state, &maxima);
    struct net_address one = client("192.0.2.1"), two = client("192.0.2.2");
    assert_int_equal(limits_connect(a, NULL), 0);
    assert_int_equal(limits_connect(a, NULL), 0);
    assert_int_equal(limits_move(a, NULL, &one), 0);
    assert_int_equal(limits_move(a, NULL, &one), LIMITS_TOO_MANY_FROM_ADDRESS);
    assert_int_equal(limits_connect(a, &two), 0);
    assert_int_equal(limits_connect(a, NULL), LIMITS_TOO_MANY);
    limits_disconnect(a, NULL);
    assert_int_equal(limits_connect(a, NULL), 0);
    assert_int_equal(limits_connect(a, NULL), LIMITS_TOO_MANY);
    limits_free(a);
}

/* A process that is killed says nothing; its heartbeat ends. */
static void forgets_the_dead(void **state)
{
    const struct limits_maxima maxima = {.sessions_per_address = 1};
    struct limits *dead = open_limits(*state, &maxima), *b = open_limits(*state, &maxima);
    struct net_address one = client("192.0.2.1");
    assert_int_equal(limits_connect(dead, &one), 0);
    assert_int_equal(limits_connect(b, &one), LIMITS_TOO_MANY_FROM_ADDRESS);
    clock_fake_advance_ms(20000);
    assert_int_equal(limits_connect(b, &one), 0);
    limits_free(b);
    limits_free(dead);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(counts_over_processes, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_ipv6_by_network_and_mapped_as_ipv4, setup, teardown),
        cmocka_unit_test_setup_teardown(counts_networks, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_any_prefix, setup, teardown),
        cmocka_unit_test_setup_teardown(tells_the_limit_of_all_last, setup, teardown),
        cmocka_unit_test_setup_teardown(counts_a_minute, setup, teardown),
        cmocka_unit_test_setup_teardown(moves_a_session, setup, teardown),
        cmocka_unit_test_setup_teardown(counts_a_proxy_in_all_only, setup, teardown),
        cmocka_unit_test_setup_teardown(forgets_the_dead, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
