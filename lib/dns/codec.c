#include "dns/codec.h"

#include <errno.h>
#include <ldns/ldns.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

enum { HEADER_BYTES = 12, ALIASES_MAX = 16, TTL_MAX_S = 86400 };

static void pkt_freep(ldns_pkt **p)
{
    ldns_pkt_free(*p);
}

struct dns_answer *dns_answer_new(enum dns_outcome outcome, const char *reason)
{
    static struct dns_answer out_of_memory = {.refs = 1, .outcome = DNS_TEMPFAIL, .reason = "out of memory"};
    struct dns_answer *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return dns_answer_ref(&out_of_memory);
    *a = (struct dns_answer){.refs = 1, .outcome = outcome, .reason = reason};
    return a;
}

struct dns_answer *dns_answer_ref(struct dns_answer *a)
{
    a->refs++;
    return a;
}

void dns_answer_unref(struct dns_answer *a)
{
    if (a == NULL || --a->refs > 0)
        return;
    for (size_t i = 0; i < a->count; i++)
        free(a->record[i].data);
    free(a);
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool dns_name_is_valid(const char *name)
{
    size_t label = 0, i = 0;
    for (; name[i] != '\0' && i < DNS_NAME_MAX; i++) {
        if (name[i] == '.' ? label == 0 : !is_name_char(name[i]))
            return false;
        label = name[i] == '.' ? 0 : label + 1;
        if (label > 63)
            return false;
    }
    return label > 0 && i < DNS_NAME_MAX;
}

bool dns_name_is_host(const char *name)
{
    if (!dns_name_is_valid(name))
        return false;
    const char *dot = strrchr(name, '.');
    const char *last = dot != NULL ? dot + 1 : name;
    return last[strspn(last, "0123456789")] != '\0';
}

const char *dns_type_text(enum dns_type type)
{
    switch (type) {
    case DNS_TYPE_A:
        return "A";
    case DNS_TYPE_MX:
        return "MX";
    case DNS_TYPE_TXT:
        return "TXT";
    case DNS_TYPE_AAAA:
        return "AAAA";
    case DNS_TYPE_TLSA:
        return "TLSA";
    }
    return "unknown";
}

int dns_encode_query(const char *name, enum dns_type type, uint16_t id, struct buf *out)
{
    if (!dns_name_is_valid(name))
        return -EINVAL;
    ldns_rdf *dname = ldns_dname_new_frm_str(name);
    if (dname == NULL)
        return -EINVAL;
    /* The packet owns the name from here on. */
    _cleanup_(pkt_freep) ldns_pkt *pkt =
        ldns_pkt_query_new(dname, (ldns_rr_type)type, LDNS_RR_CLASS_IN, LDNS_RD | LDNS_AD);
    if (pkt == NULL)
        return -ENOMEM;
    ldns_pkt_set_id(pkt, id);
    ldns_pkt_set_edns_udp_size(pkt, DNS_UDP_BYTES);
    _cleanup_(freep) uint8_t *wire = NULL;
    size_t len = 0;
    if (ldns_pkt2wire(&wire, pkt, &len) != LDNS_STATUS_OK)
        return -ENOMEM;
    return buf_append(out, wire, len);
}

/* Bytes of the question section's only entry; 0 when there is no whole one. */
static size_t question_len(const uint8_t *wire, size_t len)
{
    size_t at = HEADER_BYTES;
    while (at < len && wire[at] != 0 && wire[at] < 64)
        at += 1u + wire[at];
    if (at >= len || wire[at] != 0 || len - at < 5)
        return 0;
    return at + 5 - HEADER_BYTES;
}

/* RFC 5452 section 9.1: same id, a response, the same one question (a name's case may differ). */
static bool reply_is_ours(const uint8_t *query, size_t query_len, const uint8_t *reply, size_t reply_len)
{
    size_t len = question_len(query, query_len);
    if (len == 0 || reply_len < HEADER_BYTES + len || memcmp(query, reply, 2) != 0)
        return false;
    bool is_response = reply[2] & 0x80, opcode_is_query = (reply[2] & 0x78) == 0;
    if (!is_response || !opcode_is_query || reply[4] != 0 || reply[5] != 1)
        return false;
    for (size_t i = 0; i < len; i++)
        if (text_lower_char((char)query[HEADER_BYTES + i]) != text_lower_char((char)reply[HEADER_BYTES + i]))
            return false;
    return true;
}

/* The host name of a wire-form name, NULL when it holds bytes no host name has. */
static char *host_text(const ldns_rdf *rdf)
{
    const uint8_t *wire = ldns_rdf_data(rdf);
    size_t size = ldns_rdf_size(rdf), at = 0, len = 0;
    char text[DNS_NAME_MAX + 2] = "";
    while (at < size && wire[at] != 0) {
        size_t label = wire[at++];
        if (label > 63 || at + label > size || len + label + 1 >= sizeof(text))
            return NULL;
        for (size_t i = 0; i < label; i++)
            text[len++] = text_lower_char((char)wire[at + i]);
        text[len++] = '.';
        at += label;
    }
    if (len == 0)
        return strdup("");
    text[len - 1] = '\0';
    return memchr(text, '\0', len - 1) == NULL && dns_name_is_host(text) ? strdup(text) : NULL;
}

static bool read_bytes(const ldns_rr *rr, size_t index, size_t min, const uint8_t **data, size_t *len)
{
    const ldns_rdf *rdf = ldns_rr_rd_count(rr) > index ? ldns_rr_rdf(rr, index) : NULL;
    if (rdf == NULL || ldns_rdf_size(rdf) < min)
        return false;
    *data = ldns_rdf_data(rdf);
    *len = ldns_rdf_size(rdf);
    return true;
}

static bool read_a(const ldns_rr *rr, struct dns_record *r)
{
    const uint8_t *data;
    size_t len;
    if (!read_bytes(rr, 0, sizeof(r->address.in4.sin_addr), &data, &len))
        return false;
    r->address.len = sizeof(r->address.in4);
    r->address.in4.sin_family = AF_INET;
    memcpy(&r->address.in4.sin_addr, data, sizeof(r->address.in4.sin_addr));
    return true;
}

static bool read_aaaa(const ldns_rr *rr, struct dns_record *r)
{
    const uint8_t *data;
    size_t len;
    if (!read_bytes(rr, 0, sizeof(r->address.in6.sin6_addr), &data, &len))
        return false;
    r->address.len = sizeof(r->address.in6);
    r->address.in6.sin6_family = AF_INET6;
    memcpy(&r->address.in6.sin6_addr, data, sizeof(r->address.in6.sin6_addr));
    return true;
}

static bool read_mx(const ldns_rr *rr, struct dns_record *r)
{
    const uint8_t *preference, *name;
    size_t len;
    if (!read_bytes(rr, 0, 2, &preference, &len) || !read_bytes(rr, 1, 1, &name, &len))
        return false;
    r->preference = (uint16_t)(preference[0] << 8 | preference[1]);
    r->data = host_text(ldns_rr_rdf(rr, 1));
    r->data_len = r->data != NULL ? strlen(r->data) : 0;
    return true;
}

/* Each <character-string> carries its length in front (RFC 1035 section 3.3). */
static bool read_txt(const ldns_rr *rr, struct dns_record *r)
{
    const uint8_t *data;
    size_t len, total = 0;
    for (size_t i = 0; read_bytes(rr, i, 1, &data, &len); i++)
        total += len - 1;
    r->data = malloc(total + 1);
    if (r->data == NULL)
        return false;
    for (size_t i = 0; read_bytes(rr, i, 1, &data, &len); i++) {
        memcpy(r->data + r->data_len, data + 1, len - 1);
        r->data_len += len - 1;
    }
    r->data[r->data_len] = '\0';
    return true;
}

static bool read_tlsa(const ldns_rr *rr, struct dns_record *r)
{
    const uint8_t *usage, *selector, *matching, *data;
    size_t len;
    if (!read_bytes(rr, 0, 1, &usage, &len) || !read_bytes(rr, 1, 1, &selector, &len) ||
        !read_bytes(rr, 2, 1, &matching, &len) || !read_bytes(rr, 3, 1, &data, &len))
        return false;
    r->usage = *usage;
    r->selector = *selector;
    r->matching = *matching;
    r->data = text_dup_n((const char *)data, len);
    r->data_len = len;
    return r->data != NULL;
}

static const struct {
    enum dns_type type;
    bool (*read)(const ldns_rr *rr, struct dns_record *r);
} readers[] = {
    {DNS_TYPE_A, read_a},     {DNS_TYPE_AAAA, read_aaaa}, {DNS_TYPE_MX, read_mx},
    {DNS_TYPE_TXT, read_txt}, {DNS_TYPE_TLSA, read_tlsa},
};

static bool read_record(const ldns_rr *rr, struct dns_record *r)
{
    for (size_t i = 0; i < ARRAY_LENGTH(readers); i++)
        if ((ldns_rr_type)readers[i].type == ldns_rr_get_type(rr))
            return readers[i].read(rr, r);
    return false;
}

static uint32_t smaller_ttl(uint32_t ttl, const ldns_rr *rr)
{
    uint32_t other = ldns_rr_ttl(rr);
    return other < ttl ? other : ttl;
}

/* Where the chain of aliases that begins at the question's name ends; NULL for a chain too long to be sane. */
static const ldns_rdf *follow_aliases(const ldns_pkt *pkt, const ldns_rdf *name, uint32_t *ttl)
{
    const ldns_rr_list *answers = ldns_pkt_answer(pkt);
    for (unsigned hops = 0; hops < ALIASES_MAX; hops++) {
        const ldns_rr *alias = NULL;
        for (size_t i = 0; i < ldns_rr_list_rr_count(answers) && alias == NULL; i++) {
            const ldns_rr *rr = ldns_rr_list_rr(answers, i);
            if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_CNAME && ldns_rr_rd_count(rr) > 0 &&
                ldns_dname_compare(ldns_rr_owner(rr), name) == 0)
                alias = rr;
        }
        if (alias == NULL)
            return name;
        *ttl = smaller_ttl(*ttl, alias);
        name = ldns_rr_rdf(alias, 0);
    }
    return NULL;
}

/* RFC 2308 section 5: the smaller of the SOA's own TTL and its last field. */
static uint32_t negative_ttl(const ldns_pkt *pkt, uint32_t ttl)
{
    const ldns_rr_list *authority = ldns_pkt_authority(pkt);
    for (size_t i = 0; i < ldns_rr_list_rr_count(authority); i++) {
        const ldns_rr *rr = ldns_rr_list_rr(authority, i);
        const uint8_t *minimum;
        size_t len;
        if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_SOA || !read_bytes(rr, 6, 4, &minimum, &len))
            continue;
        uint32_t field = ldns_read_uint32(minimum);
        ttl = smaller_ttl(ttl, rr);
        return field < ttl ? field : ttl;
    }
    return 0;
}

/* Whether something in the answer section is neither an alias nor a signature: then "no such record" is not what the
 * server says, it says something we can not use. */
static bool answers_besides_the_question(const ldns_rr_list *answers)
{
    for (size_t i = 0; i < ldns_rr_list_rr_count(answers); i++) {
        ldns_rr_type type = ldns_rr_get_type(ldns_rr_list_rr(answers, i));
        if (type != LDNS_RR_TYPE_CNAME && type != LDNS_RR_TYPE_DNAME && type != LDNS_RR_TYPE_RRSIG)
            return true;
    }
    return false;
}

static int answer_from_pkt(const ldns_pkt *pkt, struct dns_answer **out)
{
    const ldns_rr_list *answers = ldns_pkt_answer(pkt);
    const ldns_rr *question = ldns_rr_list_rr(ldns_pkt_question(pkt), 0);
    uint32_t ttl = TTL_MAX_S;
    const ldns_rdf *name = follow_aliases(pkt, ldns_rr_owner(question), &ttl);
    size_t room = ldns_rr_list_rr_count(answers) < DNS_RECORDS_MAX ? ldns_rr_list_rr_count(answers) : DNS_RECORDS_MAX;
    struct dns_answer *a = calloc(1, sizeof(*a) + room * sizeof(a->record[0]));
    if (a == NULL)
        return -ENOMEM;
    a->refs = 1;
    a->ad = ldns_pkt_ad(pkt);
    for (size_t i = 0; name != NULL && i < ldns_rr_list_rr_count(answers) && a->count < room; i++) {
        const ldns_rr *rr = ldns_rr_list_rr(answers, i);
        if (ldns_rr_get_type(rr) != ldns_rr_get_type(question) || ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN ||
            ldns_dname_compare(ldns_rr_owner(rr), name) != 0 || !read_record(rr, &a->record[a->count]))
            continue;
        a->count++;
        ttl = smaller_ttl(ttl, rr);
    }
    if (a->count > 0)
        a->outcome = DNS_FOUND;
    else
        a->outcome = ldns_pkt_get_rcode(pkt) == LDNS_RCODE_NXDOMAIN ? DNS_NXDOMAIN : DNS_NODATA;
    if (a->outcome == DNS_NODATA && answers_besides_the_question(answers)) {
        a->outcome = DNS_TEMPFAIL;
        a->reason = "the DNS server answered another question";
    }
    a->ttl_s = a->count > 0 ? ttl : negative_ttl(pkt, ttl);
    *out = a;
    return DNS_REPLY_ANSWER;
}

static const char *rcode_trouble(unsigned rcode)
{
    switch (rcode) {
    case LDNS_RCODE_NOERROR:
    case LDNS_RCODE_NXDOMAIN:
        return NULL;
    case LDNS_RCODE_SERVFAIL:
        return "the DNS server answered SERVFAIL";
    case LDNS_RCODE_REFUSED:
        return "the DNS server answered REFUSED";
    case LDNS_RCODE_FORMERR:
        return "the DNS server answered FORMERR";
    default:
        return "the DNS server answered with an error code";
    }
}

int dns_decode_reply(const void *query, size_t query_len, const void *reply, size_t reply_len, struct dns_answer **out,
                     const char **reason)
{
    const uint8_t *wire = reply;
    *out = NULL;
    if (!reply_is_ours(query, query_len, wire, reply_len))
        return DNS_REPLY_FOREIGN;
    *reason = rcode_trouble(wire[3] & 0x0f);
    if (*reason != NULL)
        return DNS_REPLY_USELESS;
    if (wire[2] & 0x02)
        return DNS_REPLY_TRUNCATED;
    _cleanup_(pkt_freep) ldns_pkt *pkt = NULL;
    if (ldns_wire2pkt(&pkt, wire, reply_len) != LDNS_STATUS_OK || ldns_rr_list_rr_count(ldns_pkt_question(pkt)) != 1) {
        *reason = "the DNS server's answer can not be parsed";
        return DNS_REPLY_USELESS;
    }
    return answer_from_pkt(pkt, out);
}
