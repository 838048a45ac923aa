/* The head of a queue file: what parses is written and parsed again without a difference. */
#include <stdlib.h>
#include <string.h>

#include "queue/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare(const struct envelope *a, const struct envelope *b)
{
    if (strcmp(a->id, b->id) != 0 || a->arrived_us != b->arrived_us || strcmp(a->sender, b->sender) != 0 ||
        strcmp(a->credential, b->credential) != 0 || strcmp(a->tenant, b->tenant) != 0 ||
        strcmp(a->client_address, b->client_address) != 0 || strcmp(a->client_name, b->client_name) != 0 ||
        strcmp(a->listener, b->listener) != 0 || strcmp(a->protocol, b->protocol) != 0 || strcmp(a->tls, b->tls) != 0 ||
        strcmp(a->envid, b->envid) != 0 || a->ret != b->ret || a->priority != b->priority || a->flags != b->flags ||
        a->attempts != b->attempts || a->warned != b->warned || a->content_length != b->content_length ||
        a->recipient_count != b->recipient_count)
        abort();
    for (size_t i = 0; i < a->recipient_count; i++) {
        const struct envelope_recipient *r = &a->recipients[i], *s = &b->recipients[i];
        if (r->status != s->status || r->notify != s->notify || strcmp(r->orcpt, s->orcpt) != 0 ||
            strcmp(r->address, s->address) != 0 || s->index >= b->content_offset)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct envelope first, second;
    struct buf text;
    uint32_t head = 0;
    if (envelope_parse((const char *)data, size, &first) < 0)
        return 0;
    if (envelope_peek((const char *)data, size, &head, NULL) < 0 || head != first.content_offset)
        abort();
    buf_init(&text, 2 * size + 1024);
    if (envelope_format(&first, &text) < 0 || envelope_parse(text.data, text.len, &second) < 0)
        abort();
    if (second.content_offset != text.len)
        abort();
    compare(&first, &second);
    envelope_free(&first);
    envelope_free(&second);
    buf_deinit(&text);
    return 0;
}
