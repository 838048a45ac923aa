/* The answer parser: the first two bytes choose the question's type; the rest is the reply behind a question that
 * matches, so that the fuzzer does not have to guess id and name. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "dns/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum dns_type types[] = {DNS_TYPE_A, DNS_TYPE_AAAA, DNS_TYPE_MX, DNS_TYPE_TXT, DNS_TYPE_TLSA};
    static const char name[] = "example.test";
    enum { QUESTION_END = 12 + sizeof(name) + 1 + 4 };
    if (size < 12 || size > 4096)
        return 0;
    struct buf query, reply;
    buf_init(&query, DNS_QUERY_MAX);
    buf_init(&reply, DNS_MESSAGE_MAX);
    enum dns_type type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
    if (dns_encode_query(name, type, 4711, &query) == 0 && buf_append(&reply, query.data, QUESTION_END) == 0 &&
        buf_append(&reply, data + 12, size - 12) == 0) {
        /* Flags, counts of answers, authority and additional records as the input says. */
        reply.data[2] = (char)(data[2] | 0x80);
        memcpy(reply.data + 3, data + 3, 1);
        memcpy(reply.data + 6, data + 6, 6);
        struct dns_answer *answer = NULL;
        const char *reason = NULL;
        dns_decode_reply(query.data, query.len, reply.data, reply.len, &answer, &reason);
        dns_answer_unref(answer);
    }
    buf_deinit(&query);
    buf_deinit(&reply);
    return 0;
}
