/* dns/codec: DNS questions as bytes and answers as structs, on libldns (codec only); no sockets, no time.
 *
 * The bytes of a reply reach libldns only after id and question were compared with our question byte by byte, so only
 * somebody who saw the question can make it parse anything (RFC 5452 section 9). */
#ifndef POSTHOUSE_DNS_CODEC_H
#define POSTHOUSE_DNS_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/net.h"

enum dns_type { DNS_TYPE_A = 1, DNS_TYPE_MX = 15, DNS_TYPE_TXT = 16, DNS_TYPE_AAAA = 28, DNS_TYPE_TLSA = 52 };

enum dns_outcome {
    DNS_FOUND = 1, /* at least one record */
    DNS_NODATA,    /* the name exists and has no such record */
    DNS_NXDOMAIN,  /* the name does not exist */
    DNS_TEMPFAIL,  /* nobody could tell; ask again later */
};

enum {
    DNS_NAME_MAX = 254,     /* bytes of a name as text without the trailing dot, NUL included */
    DNS_QUERY_MAX = 300,    /* bytes of a question on the wire, EDNS included */
    DNS_RECORDS_MAX = 100,  /* records kept of one answer */
    DNS_UDP_BYTES = 1232,   /* the EDNS size we announce: fits every path unfragmented */
    DNS_MESSAGE_MAX = 65535 /* RFC 1035 section 4.2.2 */
};

struct dns_record {
    struct net_address address;        /* A, AAAA; port 0 */
    uint16_t preference;               /* MX */
    uint8_t usage, selector, matching; /* TLSA */
    char *data;                        /* MX: host, lower case, no trailing dot, "" = the root, NULL = not a host name;
                                          TXT: the strings joined; TLSA: association data; always NUL-terminated */
    size_t data_len;
};

/* Shared by everybody who asked; constant once made. */
struct dns_answer {
    unsigned refs;
    enum dns_outcome outcome;
    uint32_t ttl_s;     /* the smallest of the records and aliases; of the SOA when there are none */
    bool ad;            /* the server says it validated this (RFC 4035 section 3.2.3) */
    const char *reason; /* DNS_TEMPFAIL: what went wrong, static text */
    size_t count;
    struct dns_record record[];
};

/* An answer without records.  Never NULL: when memory is short it is DNS_TEMPFAIL and says so. */
struct dns_answer *dns_answer_new(enum dns_outcome outcome, const char *reason);
struct dns_answer *dns_answer_ref(struct dns_answer *a);
void dns_answer_unref(struct dns_answer *a);

/* Letters, digits, '-' and '_' in labels of at most 63 bytes; internationalised names come here as A-labels. */
bool dns_name_is_valid(const char *name);
/* As above, and not an address: the last label is not a number. */
bool dns_name_is_host(const char *name);

const char *dns_type_text(enum dns_type type);

/* Appends the question (RD and AD set, EDNS) to out.  0, -EINVAL (name), -ENOBUFS or -ENOMEM. */
int dns_encode_query(const char *name, enum dns_type type, uint16_t id, struct buf *out);

enum dns_reply {
    DNS_REPLY_ANSWER = 1, /* *out is the answer */
    DNS_REPLY_FOREIGN,    /* not a reply to this question: go on waiting */
    DNS_REPLY_TRUNCATED,  /* ask again over TCP */
    DNS_REPLY_USELESS,    /* this server can not tell: *reason (static text) says why */
};
/* query is what dns_encode_query made.  A dns_reply or -ENOMEM. */
int dns_decode_reply(const void *query, size_t query_len, const void *reply, size_t reply_len, struct dns_answer **out,
                     const char **reason);

#endif
