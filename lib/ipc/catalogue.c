#include "ipc/catalogue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define IPC_LIST_MAX 65536

/* Field tables, one per message and record. */
#define MESSAGE(NAME, name, from, to, descriptor, meaning) static const struct ipc_field name##_fields[] = {
#define RECORD(name)                                       static const struct ipc_field name##_fields[] = {
#define U32(name, field, meaning)                          {IPC_FIELD_U32, #field, meaning, offsetof(struct ipc_##name, field), 0, NULL, 0},
#define U64(name, field, meaning)                          {IPC_FIELD_U64, #field, meaning, offsetof(struct ipc_##name, field), 0, NULL, 0},
#define STR(name, field, meaning)                          {IPC_FIELD_STR, #field, meaning, offsetof(struct ipc_##name, field), 0, NULL, 0},
#define LIST(name, field, record, meaning)                                                                             \
    {IPC_FIELD_LIST,                                                                                                   \
     #field,                                                                                                           \
     meaning,                                                                                                          \
     offsetof(struct ipc_##name, field),                                                                               \
     offsetof(struct ipc_##name, field##_count),                                                                       \
     record##_fields,                                                                                                  \
     sizeof(struct ipc_##record)},
#define END(name)                                                                                                      \
    {                                                                                                                  \
        IPC_FIELD_END                                                                                                  \
    }                                                                                                                  \
    }                                                                                                                  \
    ;
#include "ipc/catalogue.def"

static const struct ipc_message messages[IPC_TYPE_COUNT] = {
#define MESSAGE(NAME, name, from_, to_, descriptor_, meaning_)                                                         \
    [IPC_##NAME] = {#NAME, meaning_, name##_fields, sizeof(struct ipc_##name), from_, to_, descriptor_},
#define RECORD(name)
#define U32(name, field, meaning)
#define U64(name, field, meaning)
#define STR(name, field, meaning)
#define LIST(name, field, record, meaning)
#define END(name)
#include "ipc/catalogue.def"
};

static const char *const role_names[ROLE_COUNT] = {
    [ROLE_MASTER] = "master",
    [ROLE_SMTPD] = "smtpd",
    [ROLE_AUTH] = "auth",
    [ROLE_QMGR] = "qmgr",
    [ROLE_DKIM_SIGNER] = "dkim-signer",
    [ROLE_SMTP_OUT] = "smtp-out",
    [ROLE_BOUNCE] = "bounce",
    [ROLE_CTL] = "posthouse",
};

const char *role_name(unsigned role)
{
    return role < ROLE_COUNT && role_names[role] != NULL ? role_names[role] : "?";
}

const struct ipc_message *ipc_message(uint32_t type)
{
    return type > IPC_NONE && type < IPC_TYPE_COUNT ? &messages[type] : NULL;
}

const char *ipc_type_name(uint32_t type)
{
    const struct ipc_message *m = ipc_message(type);
    return m != NULL ? m->name : "(no such message)";
}

static int put_u32(struct buf *out, uint32_t value)
{
    unsigned char bytes[4] = {(unsigned char)value, (unsigned char)(value >> 8), (unsigned char)(value >> 16),
                              (unsigned char)(value >> 24)};
    return buf_append(out, bytes, sizeof(bytes));
}

static int put_u64(struct buf *out, uint64_t value)
{
    int r = put_u32(out, (uint32_t)value);
    return r < 0 ? r : put_u32(out, (uint32_t)(value >> 32));
}

static int put_str(struct buf *out, const char *s)
{
    size_t len = s != NULL ? strlen(s) : 0;
    if (len > UINT32_MAX)
        return -ENOBUFS;
    int r = put_u32(out, (uint32_t)len);
    return r < 0 ? r : buf_append(out, s, len);
}

static int put_fields(struct buf *out, const struct ipc_field *fields, const char *object)
{
    int r = 0;
    for (const struct ipc_field *f = fields; f->kind != IPC_FIELD_END && r == 0; f++) {
        const void *place = object + f->offset;
        if (f->kind == IPC_FIELD_U32) {
            r = put_u32(out, *(const uint32_t *)place);
        } else if (f->kind == IPC_FIELD_U64) {
            r = put_u64(out, *(const uint64_t *)place);
        } else if (f->kind == IPC_FIELD_STR) {
            r = put_str(out, *(const char *const *)place);
        } else {
            uint32_t count = *(const uint32_t *)(object + f->count_offset);
            const char *items = *(const char *const *)place;
            r = put_u32(out, count);
            for (uint32_t i = 0; i < count && r == 0; i++)
                r = put_fields(out, f->record, items + i * f->record_size);
        }
    }
    return r;
}

int ipc_encode(enum ipc_type type, const void *message, struct buf *out)
{
    const struct ipc_message *m = ipc_message(type);
    if (m == NULL)
        return -EINVAL;
    int r = put_u32(out, type);
    return r < 0 ? r : put_fields(out, m->fields, message);
}

/* What is left of a record. */
struct cursor {
    char *at;
    size_t left;
};

static int take_u32(struct cursor *c, uint32_t *out)
{
    if (c->left < 4)
        return -EPROTO;
    const unsigned char *p = (const unsigned char *)c->at;
    *out = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    c->at += 4;
    c->left -= 4;
    return 0;
}

static int take_u64(struct cursor *c, uint64_t *out)
{
    uint32_t low, high;
    if (take_u32(c, &low) < 0 || take_u32(c, &high) < 0)
        return -EPROTO;
    *out = (uint64_t)high << 32 | low;
    return 0;
}

/* The text moves down over its own length prefix, which makes room for the NUL. */
static int take_str(struct cursor *c, const char **out)
{
    uint32_t len;
    if (take_u32(c, &len) < 0 || len > c->left || memchr(c->at, '\0', len) != NULL)
        return -EPROTO;
    char *text = c->at - 4;
    memmove(text, c->at, len);
    text[len] = '\0';
    *out = text;
    c->at += len;
    c->left -= len;
    return 0;
}

static void free_lists(const struct ipc_field *fields, char *object)
{
    for (const struct ipc_field *f = fields; f->kind != IPC_FIELD_END; f++)
        if (f->kind == IPC_FIELD_LIST)
            free(*(void **)(object + f->offset));
}

static int take_fields(struct cursor *c, const struct ipc_field *fields, char *object);

static int take_list(struct cursor *c, const struct ipc_field *f, char *object)
{
    uint32_t count;
    /* Every element has at least one field of four bytes: a count that can not be true allocates nothing. */
    if (take_u32(c, &count) < 0 || count > IPC_LIST_MAX || count > c->left / 4)
        return -EPROTO;
    if (count == 0)
        return 0;
    char *items = calloc(count, f->record_size);
    if (items == NULL)
        return -ENOMEM;
    *(char **)(object + f->offset) = items;
    *(uint32_t *)(object + f->count_offset) = count;
    int r = 0;
    for (uint32_t i = 0; i < count && r == 0; i++)
        r = take_fields(c, f->record, items + i * f->record_size);
    return r;
}

static int take_fields(struct cursor *c, const struct ipc_field *fields, char *object)
{
    int r = 0;
    for (const struct ipc_field *f = fields; f->kind != IPC_FIELD_END && r == 0; f++) {
        void *place = object + f->offset;
        if (f->kind == IPC_FIELD_U32)
            r = take_u32(c, place);
        else if (f->kind == IPC_FIELD_U64)
            r = take_u64(c, place);
        else if (f->kind == IPC_FIELD_STR)
            r = take_str(c, place);
        else
            r = take_list(c, f, object);
    }
    return r;
}

int ipc_decode(char *data, size_t len, enum ipc_type *type, union ipc_any *message)
{
    struct cursor c = {data, len};
    uint32_t number;
    memset(message, 0, sizeof(*message));
    if (take_u32(&c, &number) < 0 || ipc_message(number) == NULL)
        return -EPROTO;
    *type = (enum ipc_type)number;
    int r = take_fields(&c, messages[number].fields, (char *)message);
    if (r == 0 && c.left != 0)
        r = -EPROTO;
    if (r < 0)
        ipc_decoded_free(*type, message);
    return r;
}

void ipc_decoded_free(enum ipc_type type, union ipc_any *message)
{
    free_lists(messages[type].fields, (char *)message);
    memset(message, 0, sizeof(*message));
}
