#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <ldns/ldns.h>

#include "base/text.h"
#include "dns/codec.h"

static void names_are_checked(void **state)
{
    static const struct {
        const char *name;
        bool valid, host;
    } cases[] = {
        {"example.test", true, true},
        {"EXAMPLE.Test", true, true},
        {"a", true, true},
        {"_25._tcp.mx.example.test", true, true},
        {"192.0.2.1", true, false},
        {"example.123", true, false},
        {"example.1a", true, true},
        {"", false, false},
        {".", false, false},
        {"example.test.", false, false},
        {".example.test", false, false},
        {"a..b", false, false},
        {"a b.test", false, false},
        {"b\xc3\xbc"
         "cher.test",
         false, false},
        {"a\\046b.test", false, false},
        {"[192.0.2.1]", false, false},
        {"012345678901234567890123456789012345678901234567890123456789012.test", true, true},
        {"0123456789012345678901234567890123456789012345678901234567890123.test", false, false},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        if (dns_name_is_valid(cases[i].name) != cases[i].valid || dns_name_is_host(cases[i].name) != cases[i].host)
            fail_msg("case %zu: %s", i, cases[i].name);
    }
    char longest[300];
    memset(longest, 'a', sizeof(longest));
    for (size_t i = 60; i < sizeof(longest); i += 61)
        longest[i] = '.';
    longest[253] = '\0';
    assert_true(dns_name_is_valid(longest));
    longest[253] = 'a';
    longest[254] = '\0';
    assert_false(dns_name_is_valid(longest));
}

struct reply_case {
    const char *question;
    enum dns_type type;
    const char *lines[8]; /* answer section; a line that begins with '!' goes to the authority section */
    int rcode;
    enum dns_outcome want;
    size_t count;
    uint32_t ttl_s;
    const char *first; /* data of the first record */
};

static void make_reply(const struct reply_case *c, struct buf *query, struct buf *reply)
{
    assert_int_equal(dns_encode_query(c->question, c->type, 4711, query), 0);
    ldns_pkt *pkt = NULL;
    assert_int_equal(ldns_wire2pkt(&pkt, (const uint8_t *)query->data, query->len), LDNS_STATUS_OK);
    assert_true(ldns_pkt_rd(pkt) && ldns_pkt_ad(pkt));
    assert_int_equal(ldns_pkt_edns_udp_size(pkt), DNS_UDP_BYTES);
    ldns_pkt_set_qr(pkt, true);
    ldns_pkt_set_rcode(pkt, (uint8_t)c->rcode);
    for (size_t i = 0; c->lines[i] != NULL; i++) {
        bool authority = c->lines[i][0] == '!';
        ldns_rr *rr = NULL;
        assert_int_equal(ldns_rr_new_frm_str(&rr, c->lines[i] + authority, 300, NULL, NULL), LDNS_STATUS_OK);
        ldns_pkt_push_rr(pkt, authority ? LDNS_SECTION_AUTHORITY : LDNS_SECTION_ANSWER, rr);
    }
    uint8_t *wire = NULL;
    size_t len = 0;
    assert_int_equal(ldns_pkt2wire(&wire, pkt, &len), LDNS_STATUS_OK);
    assert_int_equal(buf_append(reply, wire, len), 0);
    free(wire);
    ldns_pkt_free(pkt);
}

static const struct reply_case reply_cases[] = {
    {"example.test",
     DNS_TYPE_A,
     {"example.test. 60 IN A 192.0.2.1", "example.test. 30 IN A 192.0.2.2"},
     0,
     DNS_FOUND,
     2,
     30},
    {"example.test", DNS_TYPE_AAAA, {"example.test. 60 IN AAAA 2001:db8::1"}, 0, DNS_FOUND, 1, 60},
    {"Example.Test",
     DNS_TYPE_MX,
     {"example.test. 60 IN MX 10 MX.Example.test."},
     0,
     DNS_FOUND,
     1,
     60,
     "mx.example.test"},
    {"example.test", DNS_TYPE_MX, {"example.test. 60 IN MX 0 ."}, 0, DNS_FOUND, 1, 60, ""},
    {"example.test", DNS_TYPE_MX, {"example.test. 60 IN MX 10 192.0.2.1."}, 0, DNS_FOUND, 1, 60, NULL},
    {"example.test", DNS_TYPE_MX, {"example.test. 60 IN MX 10 a\\032b.test."}, 0, DNS_FOUND, 1, 60, NULL},
    {"example.test",
     DNS_TYPE_TXT,
     {"example.test. 60 IN TXT \"v=DKIM1; \" \"p=abc\""},
     0,
     DNS_FOUND,
     1,
     60,
     "v=DKIM1; p=abc"},
    {"_25._tcp.mx.test", DNS_TYPE_TLSA, {"_25._tcp.mx.test. 60 IN TLSA 3 1 1 414243"}, 0, DNS_FOUND, 1, 60, "ABC"},
    {"www.test", DNS_TYPE_A, {"www.test. 20 IN CNAME a.test.", "a.test. 60 IN A 192.0.2.1"}, 0, DNS_FOUND, 1, 20},
    {"www.test", DNS_TYPE_A, {"a.test. 60 IN A 192.0.2.1", "www.test. 90 IN CNAME a.test."}, 0, DNS_FOUND, 1, 60},
    {"www.test", DNS_TYPE_A, {"www.test. 60 IN CNAME www.test."}, 0, DNS_NODATA, 0, 0},
    {"www.test", DNS_TYPE_A, {"other.test. 60 IN A 192.0.2.1"}, 0, DNS_TEMPFAIL, 0, 0},
    {"www.test", DNS_TYPE_MX, {"!test. 900 IN SOA ns.test. root.test. 1 2 3 4 77"}, 0, DNS_NODATA, 0, 77},
    {"www.test",
     DNS_TYPE_MX,
     {"!test. 33 IN SOA ns.test. root.test. 1 2 3 4 77"},
     LDNS_RCODE_NXDOMAIN,
     DNS_NXDOMAIN,
     0,
     33},
    {"www.test", DNS_TYPE_MX, {NULL}, LDNS_RCODE_NXDOMAIN, DNS_NXDOMAIN, 0, 0},
};

static void replies_are_read(void **state)
{
    for (size_t i = 0; i < ARRAY_LENGTH(reply_cases); i++) {
        const struct reply_case *c = &reply_cases[i];
        struct buf query, reply;
        struct dns_answer *a = NULL;
        const char *reason = NULL;
        buf_init(&query, DNS_QUERY_MAX);
        buf_init(&reply, DNS_MESSAGE_MAX);
        make_reply(c, &query, &reply);
        int r = dns_decode_reply(query.data, query.len, reply.data, reply.len, &a, &reason);
        if (r != DNS_REPLY_ANSWER || a->outcome != c->want || a->count != c->count || a->ttl_s != c->ttl_s)
            fail_msg("case %zu: reply %d outcome %d count %zu ttl %u", i, r, a ? (int)a->outcome : 0, a ? a->count : 0,
                     a ? a->ttl_s : 0);
        bool has_text = c->type == DNS_TYPE_MX || c->type == DNS_TYPE_TXT || c->type == DNS_TYPE_TLSA;
        if (c->count > 0 && has_text && c->first == NULL)
            assert_null(a->record[0].data);
        else if (c->count > 0 && has_text)
            assert_string_equal(a->record[0].data, c->first);
        /* Every shorter prefix ends in a verdict, never in a crash. */
        for (size_t len = 0; len < reply.len; len++) {
            struct dns_answer *part = NULL;
            assert_in_range(dns_decode_reply(query.data, query.len, reply.data, len, &part, &reason), 1, 4);
            dns_answer_unref(part);
        }
        dns_answer_unref(a);
        buf_deinit(&query);
        buf_deinit(&reply);
    }
}

static void wrong_replies_are_told_apart(void **state)
{
    static const struct {
        size_t at;
        unsigned char flip;
        int want;
    } cases[] = {
        {0, 0x01, DNS_REPLY_FOREIGN},                                 /* id */
        {2, 0x80, DNS_REPLY_FOREIGN},                                 /* a question, not a reply */
        {2, 0x08, DNS_REPLY_FOREIGN},                                 /* opcode */
        {5, 0x03, DNS_REPLY_FOREIGN},                                 /* two questions */
        {14, 0x01, DNS_REPLY_FOREIGN},                                /* another name */
        {13, 0x20, DNS_REPLY_ANSWER},                                 /* the name's case */
        {26, 0x01, DNS_REPLY_FOREIGN},                                /* another type ... */
        {2, 0x02, DNS_REPLY_TRUNCATED}, {3, 0x02, DNS_REPLY_USELESS}, /* SERVFAIL */
        {3, 0x05, DNS_REPLY_USELESS},                                 /* REFUSED */
        {7, 0xff, DNS_REPLY_USELESS},                                 /* more answers than there are */
    };
    struct buf query, reply;
    buf_init(&query, DNS_QUERY_MAX);
    buf_init(&reply, DNS_MESSAGE_MAX);
    make_reply(&reply_cases[0], &query, &reply);
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct dns_answer *a = NULL;
        const char *reason = NULL;
        reply.data[cases[i].at] ^= (char)cases[i].flip;
        int r = dns_decode_reply(query.data, query.len, reply.data, reply.len, &a, &reason);
        reply.data[cases[i].at] ^= (char)cases[i].flip;
        dns_answer_unref(a);
        if (r != cases[i].want)
            fail_msg("case %zu: got %d, want %d", i, r, cases[i].want);
    }
    buf_deinit(&query);
    buf_deinit(&reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(replies_are_read),
        cmocka_unit_test(wrong_replies_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
