/* Content on its way into the queue: however DATA and BDAT cut it, the same message is stored or refused; what is
 * stored holds nothing that a server behind us could read as another message.  Input: a byte of choices, a byte that
 * says how to cut, then what the client sends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "mail/header.h"
#include "memory_queue.h"
#include "smtp/data.h"
#include "smtpd/content.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SUBMISSION = 1, NORMALISES = 2, BINARY = 4, SMALL = 8, LANES = 16, FULL_DISK = 32 };
enum { HEADER_MAX = 512, HOPS_MAX = 3, LINE_MAX_BYTES = 100, SMALL_MAX = 200, ROOM = 150 };

static char lane_header[] = "X-Priority", no_header[] = "";

/* What became of a message. */
struct outcome {
    struct buf stored;
    const struct content_fault *fault; /* NULL = it was stored */
    uint32_t flags;
    uint64_t bytes;
    size_t used; /* by DATA, up to and with its end */
    bool ended;
};

struct trial {
    unsigned choices;
    uint8_t cut; /* 0 = all at once */
    struct settings_smtpd settings;
    struct injector injector;
};

static void begin(struct trial *t, struct content **out)
{
    struct envelope_recipient to = {.address = "b@example.net"};
    struct envelope e = {.arrived_us = 1, .sender = "a@example.com", .recipients = &to, .recipient_count = 1};
    struct injection *i;
    const struct content_rules rules = {.submission = t->choices & SUBMISSION,
                                        .normalises = t->choices & NORMALISES,
                                        .max_bytes = t->choices & SMALL ? SMALL_MAX : 0,
                                        .binary = t->choices & BINARY,
                                        .adds_from = t->choices & SUBMISSION,
                                        .sender = "a@example.com",
                                        .senders = t->choices & BINARY ? "example.com" : ""};
    t->injector = (struct injector){.room = t->choices & FULL_DISK ? ROOM : SIZE_MAX};
    if (injection_begin(&t->injector, &e, &i) < 0 ||
        (*out = content_new(&t->settings, "mail.example.test", &rules, i)) == NULL)
        abort();
}

static int check_field(void *arg, const struct mail_field *f)
{
    unsigned *seen = arg;
    seen[0] += mail_field_is(f, "Received") ? 1 : 0;
    seen[1] += mail_field_is(f, "Date") ? 1 : 0;
    seen[2] += mail_field_is(f, "Message-ID") ? 1 : 0;
    seen[3] += mail_field_is(f, "Bcc") || mail_field_is(f, "Resent-Bcc") || mail_field_is(f, "Return-Path") ? 1 : 0;
    seen[4] += mail_field_is(f, lane_header) ? 1 : 0;
    return 0;
}

static void check_header(const struct trial *t, const struct buf *stored)
{
    struct mail_header_walker walker;
    unsigned seen[5] = {0};
    size_t used;
    mail_header_init(&walker, 1024 * 1024, 1024 * 1024, check_field, seen);
    mail_header_feed(&walker, buf_str(stored), stored->len, &used);
    mail_header_deinit(&walker);
    bool submission = t->choices & SUBMISSION;
    if (seen[0] > HOPS_MAX || (submission && (seen[1] == 0 || seen[2] == 0 || seen[3] > 0)) ||
        ((t->choices & LANES) && seen[4] > 0))
        abort();
}

static void check_lines(const struct buf *stored)
{
    size_t line = 0;
    for (size_t i = 0; i < stored->len; i++) {
        line = stored->data[i] == '\n' ? 0 : line + 1;
        if (line > LINE_MAX_BYTES + 1) /* with the CR */
            abort();
    }
}

static void finish(struct trial *t, struct content *c, struct outcome *o)
{
    o->fault = content_fault(c);
    if ((content_error(c) != 0) != (o->fault != NULL && o->fault->code == 452) && (t->choices & FULL_DISK) == 0)
        abort();
    if (o->ended && o->fault == NULL) {
        struct injection *i = content_take_injection(c);
        o->flags = content_flags(c);
        o->bytes = content_bytes(c);
        buf_append(&o->stored, buf_str(&i->content), i->content.len);
        memory_queue_check(&o->stored, o->flags);
        check_header(t, &o->stored);
        if ((t->choices & BINARY) == 0)
            check_lines(&o->stored);
        injection_abort(i);
    }
    content_free(c);
    if (t->injector.alive != 0)
        abort();
}

/* Each portion in an allocation of its own size, so that AddressSanitizer sees a byte too many. */
static size_t next_portion(const struct trial *t, const char *data, size_t left, unsigned turn, char **out)
{
    size_t n = t->cut == 0 ? left : 1 + (t->cut * (turn + 1)) % 23;
    n = n < left ? n : left;
    *out = malloc(n);
    memcpy(*out, data, n);
    return n;
}

static void by_data(struct trial *t, const char *data, size_t size, struct outcome *o)
{
    struct content *c;
    char *portion;
    begin(t, &c);
    buf_init(&o->stored, 1024 * 1024);
    for (unsigned turn = 0; !o->ended && o->used < size; turn++) {
        size_t used = 0, n = next_portion(t, data + o->used, size - o->used, turn, &portion);
        o->ended = content_feed(c, portion, n, &used) == 0;
        if (used > n || (!o->ended && used != n))
            abort();
        o->used += used;
        free(portion);
    }
    finish(t, c, o);
}

static void by_chunks(struct trial *t, const char *data, size_t size, struct outcome *o)
{
    struct content *c;
    char *portion;
    begin(t, &c);
    buf_init(&o->stored, 1024 * 1024);
    for (unsigned turn = 0; o->used < size; turn++) {
        size_t n = next_portion(t, data + o->used, size - o->used, turn, &portion);
        content_chunk(c, portion, n);
        o->used += n;
        free(portion);
    }
    content_chunks_end(c);
    o->ended = true;
    finish(t, c, o);
}

static bool same(const struct outcome *a, const struct outcome *b)
{
    if (a->ended != b->ended || (a->fault == NULL) != (b->fault == NULL))
        return false;
    return !a->ended || a->fault != NULL ||
           (a->flags == b->flags && a->stored.len == b->stored.len &&
            memcmp(buf_str(&a->stored), buf_str(&b->stored), a->stored.len) == 0);
}

static void compare(const char *what, const struct outcome *a, const struct outcome *b)
{
    if (same(a, b))
        return;
    fprintf(stderr, "%s differs\n%s, flags %x: %s\n---\n%s, flags %x: %s\n", what, a->fault ? a->fault->text : "stored",
            a->flags, buf_str(&a->stored), b->fault ? b->fault->text : "stored", b->flags, buf_str(&b->stored));
    abort();
}

static void data_however_cut(struct trial *t, uint8_t cut, const char *data, size_t size)
{
    struct outcome whole = {0}, cuts = {0};
    t->cut = 0;
    by_data(t, data, size, &whole);
    t->cut = cut;
    by_data(t, data, size, &cuts);
    compare("DATA in portions", &whole, &cuts);
    if (whole.used != cuts.used || (whole.ended && whole.fault == NULL && whole.bytes != cuts.bytes))
        abort();
    buf_deinit(&whole.stored);
    buf_deinit(&cuts.stored);
}

/* The same message by BDAT at once, in portions, and by DATA.  A CR at the end can not be told by DATA. */
static void chunks_however_cut(struct trial *t, uint8_t cut, const char *data, size_t size)
{
    struct outcome whole = {0}, cuts = {0}, by_dots = {0};
    struct smtp_data_encoder encoder;
    struct buf wire;
    t->cut = 0;
    by_chunks(t, data, size, &whole);
    t->cut = cut;
    by_chunks(t, data, size, &cuts);
    compare("BDAT in portions", &whole, &cuts);
    buf_init(&wire, 2 * size + 8);
    smtp_data_encoder_init(&encoder);
    if (smtp_data_encode(&encoder, data, size, &wire) < 0 || smtp_data_encode_end(&encoder, &wire) < 0)
        abort();
    by_data(t, buf_str(&wire), wire.len, &by_dots);
    if ((t->choices & (BINARY | SMALL)) == 0 && (size == 0 || data[size - 1] != '\r'))
        compare("DATA instead of BDAT", &whole, &by_dots);
    buf_deinit(&wire);
    buf_deinit(&whole.stored);
    buf_deinit(&cuts.stored);
    buf_deinit(&by_dots.stored);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct trial t = {.choices = data[0]};
    clock_fake_set(1000, INT64_C(1763928001000000));
    t.settings = (struct settings_smtpd){.max_header_size_bytes = HEADER_MAX,
                                         .max_line_length = LINE_MAX_BYTES,
                                         .max_hops = HOPS_MAX,
                                         .lane_header = t.choices & LANES ? lane_header : no_header,
                                         .idempotency_header = no_header};
    chunks_however_cut(&t, data[1], (const char *)data + 2, size - 2);
    t.choices &= ~(unsigned)BINARY; /* which goes by BDAT only */
    data_however_cut(&t, data[1], (const char *)data + 2, size - 2);
    return 0;
}
