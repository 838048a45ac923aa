/* Every message of the catalogue, filled and compared through its own field table: round trip, cuts, garbage. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "ipc/catalogue.h"

/* Values that differ from field to field and use every byte of a number. */
struct filler {
    uint64_t counter;
    uint32_t items;      /* of each list */
    size_t text_len;     /* of each text */
    void *garbage[4096]; /* what was allocated */
    size_t garbage_count;
};

static void *keep(struct filler *f, void *p)
{
    assert_non_null(p);
    assert_true(f->garbage_count < ARRAY_LENGTH(f->garbage));
    return f->garbage[f->garbage_count++] = p;
}

static void filler_clean(struct filler *f)
{
    while (f->garbage_count > 0)
        free(f->garbage[--f->garbage_count]);
}

static char *make_text(struct filler *f)
{
    char *s = keep(f, malloc(f->text_len + 1));
    for (size_t i = 0; i < f->text_len; i++)
        s[i] = (char)(1 + (f->counter * 31 + i * 7) % 255);
    s[f->text_len] = '\0';
    return s;
}

static void fill(struct filler *f, const struct ipc_field *fields, char *object)
{
    for (; fields->kind != IPC_FIELD_END; fields++) {
        void *place = object + fields->offset;
        f->counter++;
        if (fields->kind == IPC_FIELD_U32) {
            *(uint32_t *)place = (uint32_t)(UINT32_MAX - f->counter);
        } else if (fields->kind == IPC_FIELD_U64) {
            *(uint64_t *)place = UINT64_MAX - (f->counter << 40) - f->counter;
        } else if (fields->kind == IPC_FIELD_STR) {
            *(char **)place = make_text(f);
        } else {
            char *items = f->items > 0 ? keep(f, calloc(f->items, fields->record_size)) : NULL;
            for (uint32_t i = 0; i < f->items; i++)
                fill(f, fields->record, items + i * fields->record_size);
            *(char **)place = items;
            *(uint32_t *)(object + fields->count_offset) = f->items;
        }
    }
}

static void assert_same(const struct ipc_field *fields, const char *a, const char *b)
{
    for (; fields->kind != IPC_FIELD_END; fields++) {
        const void *x = a + fields->offset, *y = b + fields->offset;
        if (fields->kind == IPC_FIELD_U32) {
            assert_int_equal(*(const uint32_t *)x, *(const uint32_t *)y);
        } else if (fields->kind == IPC_FIELD_U64) {
            assert_true(*(const uint64_t *)x == *(const uint64_t *)y);
        } else if (fields->kind == IPC_FIELD_STR) {
            assert_string_equal(*(const char *const *)x, *(const char *const *)y);
        } else {
            uint32_t count = *(const uint32_t *)(a + fields->count_offset);
            assert_int_equal(count, *(const uint32_t *)(b + fields->count_offset));
            for (uint32_t i = 0; i < count; i++)
                assert_same(fields->record, *(const char *const *)x + i * fields->record_size,
                            *(const char *const *)y + i * fields->record_size);
        }
    }
}

static const struct filler shapes[] = {
    {.items = 0, .text_len = 0},
    {.items = 1, .text_len = 1},
    {.items = 3, .text_len = 20},
    {.items = IPC_RECIPIENTS_MAX, .text_len = 300},
};

static void round_trip(void **state)
{
    for (size_t i = 0; i < ARRAY_LENGTH(shapes); i++) {
        for (unsigned type = IPC_NONE + 1; type < IPC_TYPE_COUNT; type++) {
            static struct filler f;
            union ipc_any in, out;
            enum ipc_type got;
            struct buf record, again;
            f = shapes[i];
            memset(&in, 0, sizeof(in));
            fill(&f, ipc_message(type)->fields, (char *)&in);
            buf_init(&record, IPC_RECORD_MAX);
            buf_init(&again, IPC_RECORD_MAX);
            assert_int_equal(ipc_encode((enum ipc_type)type, &in, &record), 0);
            buf_append(&again, record.data, record.len); /* decoded in place, so work on a copy */
            assert_int_equal(ipc_decode(again.data, again.len, &got, &out), 0);
            assert_int_equal(got, type);
            assert_same(ipc_message(type)->fields, (char *)&in, (char *)&out);
            buf_deinit(&again);
            buf_deinit(&record);
            ipc_decoded_free(got, &out);
            filler_clean(&f);
        }
    }
}

/* Cut anywhere, or with a byte too many, it is refused; AddressSanitizer watches an allocation of just that size. */
static void every_cut_is_refused(void **state)
{
    for (unsigned type = IPC_NONE + 1; type < IPC_TYPE_COUNT; type++) {
        static struct filler f;
        union ipc_any in, out;
        enum ipc_type got;
        struct buf record;
        f = shapes[2];
        memset(&in, 0, sizeof(in));
        fill(&f, ipc_message(type)->fields, (char *)&in);
        buf_init(&record, IPC_RECORD_MAX);
        assert_int_equal(ipc_encode((enum ipc_type)type, &in, &record), 0);
        for (size_t n = 0; n <= record.len + 1; n++) {
            char *cut = calloc(1, n > 0 ? n : 1);
            memcpy(cut, record.data, n < record.len ? n : record.len);
            int r = ipc_decode(cut, n, &got, &out);
            assert_int_equal(r, n == record.len ? 0 : -EPROTO);
            if (r == 0)
                ipc_decoded_free(got, &out);
            free(cut);
        }
        buf_deinit(&record);
        filler_clean(&f);
    }
}

/* Every byte of every message set to each of a few values: refused or decoded, never more. */
static void changed_bytes_do_no_harm(void **state)
{
    static const unsigned char values[] = {0, 1, 0x7f, 0x80, 0xff};
    for (unsigned type = IPC_NONE + 1; type < IPC_TYPE_COUNT; type++) {
        static struct filler f;
        union ipc_any in, out;
        enum ipc_type got;
        struct buf record;
        f = shapes[1];
        memset(&in, 0, sizeof(in));
        fill(&f, ipc_message(type)->fields, (char *)&in);
        buf_init(&record, IPC_RECORD_MAX);
        assert_int_equal(ipc_encode((enum ipc_type)type, &in, &record), 0);
        for (size_t at = 0; at < record.len * ARRAY_LENGTH(values); at++) {
            char *copy = malloc(record.len);
            memcpy(copy, record.data, record.len);
            copy[at / ARRAY_LENGTH(values)] = (char)values[at % ARRAY_LENGTH(values)];
            int r = ipc_decode(copy, record.len, &got, &out);
            assert_true(r == 0 || r == -EPROTO);
            if (r == 0)
                ipc_decoded_free(got, &out);
            free(copy);
        }
        buf_deinit(&record);
        filler_clean(&f);
    }
}

static void odd_records(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        {"", 0},
        {"\0\0\0\0", 4},         /* IPC_NONE */
        {"\xff\xff\xff\xff", 4}, /* no such type */
        {"\x07\0\0\0\x0e\0\0\0"
         "1P8X2K7Q3M4\0A",
         21}, /* a text with a NUL in it */
        {"\x07\0\0\0\xff\xff\xff\xff"
         "1P8X2K7Q3M40A",
         21}, /* a length that is not there */
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        union ipc_any out;
        enum ipc_type got;
        char copy[64];
        memcpy(copy, cases[i].bytes, cases[i].len);
        assert_int_equal(ipc_decode(copy, cases[i].len, &got, &out), -EPROTO);
    }
    assert_int_equal(IPC_SUBMITTED, 7); /* the type the cases above name */
}

static void absent_and_too_much(void **state)
{
    struct ipc_submitted none = {0};
    enum ipc_type type;
    union ipc_any out;
    struct buf record;
    buf_init(&record, 64);
    assert_int_equal(ipc_encode(IPC_SUBMITTED, &none, &record), 0);
    assert_int_equal(ipc_decode(record.data, record.len, &type, &out), 0);
    assert_string_equal(out.submitted.queue_id, "");
    ipc_decoded_free(type, &out);
    buf_clear(&record);
    struct ipc_submitted big = {"a text that is longer than the limit of the buffer it goes into, by a little"};
    assert_int_equal(ipc_encode(IPC_SUBMITTED, &big, &record), -ENOBUFS);
    assert_int_equal(ipc_encode(IPC_NONE, &big, &record), -EINVAL);
    assert_int_equal(ipc_encode(IPC_TYPE_COUNT, &big, &record), -EINVAL);
    buf_deinit(&record);
}

/* The longest DELIVER, BOUNCE and SIGN fit a record: IPC_RECIPIENTS_MAX was chosen for that. */
static void largest_messages_fit(void **state)
{
    static char mailbox[320 + 1], reply[IPC_REPLY_MAX + 1], headers[16384 + 1];
    memset(mailbox, 'a', sizeof(mailbox) - 1);
    memset(reply, 'r', sizeof(reply) - 1);
    memset(headers, 'h', sizeof(headers) - 1);
    struct ipc_deliver_recipient to[IPC_RECIPIENTS_MAX];
    struct ipc_bounce_recipient failed[IPC_RECIPIENTS_MAX];
    for (size_t i = 0; i < IPC_RECIPIENTS_MAX; i++) {
        to[i] = (struct ipc_deliver_recipient){.address = mailbox, .orcpt = reply};
        failed[i] = (struct ipc_bounce_recipient){
            .address = mailbox, .orcpt = reply, .reply = reply, .enhanced = "5.1.1", .relay = mailbox};
    }
    struct ipc_deliver deliver = {.sender = mailbox,
                                  .headers = headers,
                                  .recipients = to,
                                  .envid = reply,
                                  .recipients_count = IPC_RECIPIENTS_MAX};
    struct ipc_bounce bounce = {
        .sender = mailbox, .recipients = failed, .recipients_count = IPC_RECIPIENTS_MAX, .envid = reply};
    struct buf record;
    buf_init(&record, IPC_RECORD_MAX);
    assert_int_equal(ipc_encode(IPC_DELIVER, &deliver, &record), 0);
    buf_clear(&record);
    assert_int_equal(ipc_encode(IPC_BOUNCE, &bounce, &record), 0);
    buf_deinit(&record);
}

static void check_fields(const char *name, const struct ipc_field *fields, size_t size, bool record)
{
    for (; fields->kind != IPC_FIELD_END; fields++) {
        if (fields->offset >= size || strlen(fields->name) == 0 || strlen(fields->meaning) == 0)
            fail_msg("%s: field %s", name, fields->name);
        if (fields->kind != IPC_FIELD_LIST)
            continue;
        if (record) /* ipc_decoded_free knows one level */
            fail_msg("%s: a list in a record", name);
        if (fields->record->kind == IPC_FIELD_END) /* the bound on a list's count relies on it */
            fail_msg("%s: %s has an empty record", name, fields->name);
        check_fields(name, fields->record, fields->record_size, true);
    }
}

static void tables_are_sound(void **state)
{
    for (unsigned type = IPC_NONE + 1; type < IPC_TYPE_COUNT; type++) {
        const struct ipc_message *m = ipc_message(type);
        assert_true(strlen(m->name) > 0 && strlen(m->meaning) > 0);
        assert_true(m->from != 0 && m->to != 0);
        assert_string_equal(ipc_type_name(type), m->name);
        check_fields(m->name, m->fields, m->size, false);
    }
    assert_null(ipc_message(IPC_NONE));
    assert_null(ipc_message(IPC_TYPE_COUNT));
    assert_null(ipc_message(UINT32_MAX));
    assert_string_equal(ipc_type_name(IPC_TYPE_COUNT), "(no such message)");
    for (unsigned role = ROLE_MASTER; role < ROLE_COUNT; role++)
        assert_string_not_equal(role_name(role), "?");
    assert_string_equal(role_name(ROLE_NONE), "?");
    assert_string_equal(role_name(4711), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(changed_bytes_do_no_harm),
        cmocka_unit_test(odd_records),
        cmocka_unit_test(absent_and_too_much),
        cmocka_unit_test(largest_messages_fit),
        cmocka_unit_test(tables_are_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
