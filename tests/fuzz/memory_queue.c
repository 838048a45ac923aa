#include "memory_queue.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "mail/header.h"

#define REQUIRE(what)                                                                                                  \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            fprintf(stderr, "does not hold: %s\n", #what);                                                             \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* libc's: the same numbers each time, so that every run can be repeated. */
ssize_t getrandom(void *buffer, size_t len, unsigned flags)
{
    memset(buffer, 0x5a, len);
    return (ssize_t)len;
}

/* smtp-out sends the bytes as they are and doubles dots where the flag says so: a line end that is none, or a dot that
 * nobody was told of, would be where another message begins. */
static void check_text(const char *data, size_t len, uint32_t flags)
{
    for (size_t i = 0; i < len; i++) {
        bool line_begins = i == 0 || data[i - 1] == '\n';
        REQUIRE(data[i] != '\0');
        REQUIRE(data[i] != '\n' || (i > 0 && data[i - 1] == '\r'));
        REQUIRE(data[i] != '\r' || (i + 1 < len && data[i + 1] == '\n'));
        REQUIRE(data[i] != '.' || !line_begins || (flags & ENVELOPE_LEADING_DOTS));
    }
    REQUIRE(len >= 2 && data[len - 1] == '\n');
}

static int count_from(void *arg, const struct mail_field *f)
{
    *(unsigned *)arg += mail_field_is(f, "From") ? 1 : 0;
    return 0;
}

void memory_queue_check(const struct buf *content, uint32_t flags)
{
    struct mail_header_walker walker;
    size_t used;
    unsigned froms = 0;
    const char *data = buf_str(content);
    if ((flags & ENVELOPE_BINARY) == 0)
        check_text(data, content->len, flags);
    for (size_t i = 0; i < content->len; i++)
        REQUIRE((unsigned char)data[i] < 0x80 || (flags & ENVELOPE_8BIT));
    mail_header_init(&walker, 1024 * 1024, 1024 * 1024, count_from, &froms);
    REQUIRE(mail_header_feed(&walker, data, content->len, &used) == MAIL_HEADER_ENDED);
    REQUIRE(froms <= 1);
    mail_header_deinit(&walker);
}

static void injection_free(struct injection *i)
{
    envelope_free(&i->envelope);
    buf_deinit(&i->head);
    buf_deinit(&i->content);
    free(i);
}

int injection_begin(struct injector *q, struct envelope *e, struct injection **out)
{
    struct injection *i = calloc(1, sizeof(*i));
    *i = (struct injection){.injector = q, .flags = e->flags};
    snprintf(i->id, sizeof(i->id), "1P8X2K7Q3%04u", q->made++ % 10000);
    memcpy(e->id, i->id, sizeof(e->id));
    buf_init(&i->head, 1024 * 1024);
    buf_init(&i->content, 1024 * 1024);
    /* Whatever a client says can be written down, and is read as it was written. */
    REQUIRE(envelope_format(e, &i->head) == 0);
    REQUIRE(envelope_parse(buf_str(&i->head), i->head.len, &i->envelope) == 0);
    REQUIRE(i->envelope.recipient_count == e->recipient_count && strcmp(i->envelope.sender, e->sender) == 0);
    for (size_t k = 0; k < e->recipient_count; k++)
        REQUIRE(strcmp(i->envelope.recipients[k].address, e->recipients[k].address) == 0);
    q->alive++;
    *out = i;
    return 0;
}

const char *injection_id(const struct injection *i)
{
    return i->id;
}

int injection_write(struct injection *i, const void *data, size_t len)
{
    if (i->content.len + len > i->injector->room)
        return -ENOSPC;
    return buf_append(&i->content, data, len);
}

static void finish(void *arg)
{
    struct injection *i = arg;
    struct injector *q = i->injector;
    q->pending--;
    q->committed(q->arg, i, i->flags, q->commit_error);
    i->done(i->arg, i->id, q->commit_error);
    injection_free(i);
}

void injection_commit(struct injection *i, uint32_t flags, void (*done)(void *arg, const char *id, int result),
                      void *arg)
{
    i->flags |= flags;
    i->done = done;
    i->arg = arg;
    i->injector->alive--;
    i->injector->pending++;
    memory_queue_check(&i->content, i->flags);
    REQUIRE(loop_defer(i->injector->loop, finish, i) == 0);
}

void injection_abort(struct injection *i)
{
    if (i == NULL)
        return;
    i->injector->alive--;
    injection_free(i);
}

size_t injector_pending(const struct injector *q)
{
    return q->pending;
}

int injector_free_space(const struct injector *q, uint64_t *bytes, uint64_t *inodes)
{
    *bytes = q->free_bytes;
    *inodes = 1000;
    return 0;
}
