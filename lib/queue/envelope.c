#include "queue/envelope.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define MAGIC          ENVELOPE_MAGIC
#define PACK_FROM      1000 /* recipients */
#define FLAGS_WIDTH    10
#define ATTEMPTS_MAX   9999
#define RECIPIENTS_MAX 1000000

static const char flag_letters[FLAGS_WIDTH] = {'8', 'u', '.', 'b', 'n', 'B', 'T', 'r', 'x'};

static const char *const status_texts[RECIPIENT_STATUS_COUNT] = {
    [RECIPIENT_TODO] = "todo    ",    [RECIPIENT_DONE] = "done    ",    [RECIPIENT_FAILED] = "failed  ",
    [RECIPIENT_EXPIRED] = "expired ", [RECIPIENT_BOUNCED] = "bounced ", [RECIPIENT_REMOVED] = "removed ",
    [RECIPIENT_RELAYED] = "relayed ",
};

static const char *const status_names[RECIPIENT_STATUS_COUNT] = {
    [RECIPIENT_TODO] = "todo",       [RECIPIENT_DONE] = "done",       [RECIPIENT_FAILED] = "failed",
    [RECIPIENT_EXPIRED] = "expired", [RECIPIENT_BOUNCED] = "bounced", [RECIPIENT_REMOVED] = "removed",
    [RECIPIENT_RELAYED] = "relayed",
};

const char *recipient_status_name(enum recipient_status status)
{
    return status < RECIPIENT_STATUS_COUNT ? status_names[status] : "?";
}

const char *recipient_status_text(enum recipient_status status)
{
    return status_texts[status];
}

/* The "key value" lines: one row per field, both ways. */
enum field_kind { FIELD_TEXT, FIELD_I64, FIELD_U32, FIELD_TIME }; /* FIELD_TIME: an I64 that is left out when 0 */
static const struct field {
    const char *key;
    enum field_kind kind;
    size_t offset;
} fields[] = {
    {"arrived", FIELD_I64, offsetof(struct envelope, arrived_us)},
    {"sender", FIELD_TEXT, offsetof(struct envelope, sender)},
    {"credential", FIELD_TEXT, offsetof(struct envelope, credential)},
    {"tenant", FIELD_TEXT, offsetof(struct envelope, tenant)},
    {"client", FIELD_TEXT, offsetof(struct envelope, client_address)},
    {"helo", FIELD_TEXT, offsetof(struct envelope, client_name)},
    {"listener", FIELD_TEXT, offsetof(struct envelope, listener)},
    {"protocol", FIELD_TEXT, offsetof(struct envelope, protocol)},
    {"tls", FIELD_TEXT, offsetof(struct envelope, tls)},
    {"envid", FIELD_TEXT, offsetof(struct envelope, envid)},
    {"ret", FIELD_U32, offsetof(struct envelope, ret)},
    {"priority", FIELD_U32, offsetof(struct envelope, priority)},
    {"release", FIELD_TIME, offsetof(struct envelope, release_s)},
    {"return_by", FIELD_TIME, offsetof(struct envelope, return_by_s)},
    {"notify_by", FIELD_TIME, offsetof(struct envelope, notify_by_s)},
    {"mt_priority", FIELD_TEXT, offsetof(struct envelope, mt_priority)},
};

static bool line_safe(const char *s)
{
    for (; *s != '\0'; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    return true;
}

void envelope_format_first_line(const struct envelope *e, char line[ENVELOPE_FIRST_LINE + 1])
{
    char flags[FLAGS_WIDTH + 1];
    for (int i = 0; i < FLAGS_WIDTH; i++)
        flags[i] = flag_letters[i] != '\0' && (e->flags & 1u << i) ? flag_letters[i] : '-';
    flags[FLAGS_WIDTH] = '\0';
    snprintf(line, ENVELOPE_FIRST_LINE + 1, MAGIC "%010" PRIu32 " %020" PRIu64 " %s\n", e->content_offset,
             e->content_length, flags);
}

void envelope_format_state(const struct envelope *e, char line[ENVELOPE_STATE_LINE + 1])
{
    unsigned attempts = e->attempts > ATTEMPTS_MAX ? ATTEMPTS_MAX : e->attempts;
    snprintf(line, ENVELOPE_STATE_LINE + 1, "state attempts=%04u warned=%d\n", attempts, e->warned ? 1 : 0);
}

static int format_field(const struct envelope *e, const struct field *f, struct buf *out)
{
    const char *place = (const char *)e + f->offset;
    if (f->kind == FIELD_TIME && *(const int64_t *)place == 0)
        return 0;
    if (f->kind == FIELD_I64 || f->kind == FIELD_TIME)
        return buf_printf(out, "%s %" PRId64 "\n", f->key, *(const int64_t *)place);
    if (f->kind == FIELD_U32)
        return buf_printf(out, "%s %" PRIu32 "\n", f->key, *(const uint32_t *)place);
    const char *text = *(const char *const *)place;
    if (text == NULL || *text == '\0')
        return 0;
    return line_safe(text) ? buf_printf(out, "%s %s\n", f->key, text) : -EINVAL;
}

int envelope_format_recipient(struct envelope_recipient *r, uint32_t offset, struct buf *out)
{
    const char *orcpt = r->orcpt != NULL ? r->orcpt : "";
    r->index = offset;
    if (!line_safe(r->address) || !line_safe(orcpt) || strchr(orcpt, ' ') != NULL)
        return -EINVAL;
    return buf_printf(out, "rcpt %s notify=%" PRIu32 " orcpt=%s <%s>\n", recipient_status_text(r->status), r->notify,
                      orcpt, r->address);
}

int envelope_format_begin(const struct envelope *e, struct buf *out)
{
    char first[ENVELOPE_FIRST_LINE + 1], state[ENVELOPE_STATE_LINE + 1];
    envelope_format_first_line(e, first);
    envelope_format_state(e, state);
    int r = buf_printf(out, "%s%sid %s\n", first, state, e->id);
    for (size_t i = 0; i < ARRAY_LENGTH(fields) && r == 0; i++)
        r = format_field(e, &fields[i], out);
    return r;
}

int envelope_format(struct envelope *e, struct buf *out)
{
    size_t start = out->len;
    char first[ENVELOPE_FIRST_LINE + 1];
    int r = envelope_format_begin(e, out);
    for (size_t i = 0; i < e->recipient_count && r == 0; i++)
        r = envelope_format_recipient(&e->recipients[i], (uint32_t)(out->len - start), out);
    if (r < 0)
        return r;
    if (out->len - start > ENVELOPE_MAX)
        return -ENOBUFS;
    e->content_offset = (uint32_t)(out->len - start);
    envelope_format_first_line(e, first);
    memcpy(out->data + start, first, ENVELOPE_FIRST_LINE);
    return 0;
}

/* Digits of fixed width; -EPROTO for anything else. */
static int fixed_number(const char *s, size_t width, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < width; i++) {
        if (s[i] < '0' || s[i] > '9' || value > (UINT64_MAX - 9) / 10)
            return -EPROTO;
        value = value * 10 + (uint64_t)(s[i] - '0');
    }
    *out = value;
    return 0;
}

static int parse_first_line(const char *line, size_t len, struct envelope *out)
{
    uint64_t envelope_bytes, content_bytes;
    size_t at = strlen(MAGIC);
    if (len < ENVELOPE_FIRST_LINE || memcmp(line, MAGIC, at) != 0 || line[ENVELOPE_FIRST_LINE - 1] != '\n' ||
        fixed_number(line + at, 10, &envelope_bytes) < 0 || line[at + 10] != ' ' ||
        fixed_number(line + at + 11, 20, &content_bytes) < 0 || line[at + 31] != ' ')
        return -EPROTO;
    if (envelope_bytes < ENVELOPE_FIRST_LINE + ENVELOPE_STATE_LINE || envelope_bytes > ENVELOPE_MAX ||
        content_bytes > INT64_MAX - ENVELOPE_MAX)
        return -EPROTO;
    const char *flags = line + at + 32;
    for (int i = 0; i < FLAGS_WIDTH; i++) {
        if (flags[i] == '-')
            continue;
        if (flags[i] != flag_letters[i] || flags[i] == '\0')
            return -EPROTO;
        out->flags |= 1u << i;
    }
    out->content_offset = (uint32_t)envelope_bytes;
    out->content_length = content_bytes;
    return 0;
}

int envelope_peek(const char *first_line, size_t len, uint32_t *envelope_bytes, uint64_t *content_bytes)
{
    struct envelope e = {0};
    int r = parse_first_line(first_line, len, &e);
    if (r == 0)
        *envelope_bytes = e.content_offset;
    if (r == 0 && content_bytes != NULL)
        *content_bytes = e.content_length;
    return r;
}

static int parse_state(const char *line, struct envelope *out)
{
    static const char form[] = "state attempts=";
    uint64_t attempts;
    size_t at = strlen(form);
    if (memcmp(line, form, at) != 0 || fixed_number(line + at, 4, &attempts) < 0 ||
        memcmp(line + at + 4, " warned=", 8) != 0 || (line[at + 12] != '0' && line[at + 12] != '1') ||
        line[at + 13] != '\n')
        return -EPROTO;
    out->attempts = (uint32_t)attempts;
    out->warned = line[at + 12] == '1';
    return 0;
}

/* A crash may tear the rewriting of a status where a page or sector ends: the beginning of one text, the end of
 * another. */
static bool is_torn_status(const char *text)
{
    for (int i = 0; i < RECIPIENT_STATUS_COUNT * RECIPIENT_STATUS_COUNT; i++) {
        const char *fresh = status_texts[i / RECIPIENT_STATUS_COUNT], *old = status_texts[i % RECIPIENT_STATUS_COUNT];
        size_t n = 0;
        while (n < RECIPIENT_STATUS_WIDTH && text[n] == fresh[n])
            n++;
        if (memcmp(text + n, old + n, RECIPIENT_STATUS_WIDTH - n) == 0)
            return true;
    }
    return false;
}

static int parse_status(const char *text, enum recipient_status *out)
{
    for (int i = 0; i < RECIPIENT_STATUS_COUNT; i++) {
        if (memcmp(text, status_texts[i], RECIPIENT_STATUS_WIDTH) == 0) {
            *out = (enum recipient_status)i;
            return 0;
        }
    }
    *out = RECIPIENT_TODO; /* delivered twice rather than never */
    return is_torn_status(text) ? 0 : -EPROTO;
}

/* line: "rcpt todo     notify=0 orcpt= <address>", NUL-terminated and ours to cut up. */
static int parse_recipient(struct envelope *out, char *line, uint32_t index)
{
    struct envelope_recipient *r = &out->recipients[out->recipient_count];
    size_t len = strlen(line), head = RECIPIENT_STATUS_OFFSET + RECIPIENT_STATUS_WIDTH;
    uint64_t notify;
    if (len <= head || parse_status(line + RECIPIENT_STATUS_OFFSET, &r->status) < 0 ||
        !text_has_prefix(line + head, " notify="))
        return -EPROTO;
    char *number = line + head + strlen(" notify="), *orcpt = strstr(number, " orcpt=");
    if (orcpt == NULL)
        return -EPROTO;
    *orcpt = '\0';
    orcpt += strlen(" orcpt=");
    char *address = strstr(orcpt, " <");
    if (address == NULL || line[len - 1] != '>' || text_parse_u64(number, UINT32_MAX, &notify) < 0)
        return -EPROTO;
    *address = '\0';
    if (strchr(orcpt, ' ') != NULL)
        return -EPROTO;
    line[len - 1] = '\0';
    r->index = index;
    r->notify = (uint32_t)notify;
    r->orcpt = orcpt;
    r->address = address + 2;
    out->recipient_count++;
    return 0;
}

static int parse_field(struct envelope *out, char *line)
{
    char *space = strchr(line, ' ');
    if (space == NULL)
        return -EPROTO;
    *space = '\0';
    for (size_t i = 0; i < ARRAY_LENGTH(fields); i++) {
        if (strcmp(fields[i].key, line) != 0)
            continue;
        void *place = (char *)out + fields[i].offset;
        uint64_t number = 0;
        if (fields[i].kind == FIELD_TEXT)
            *(const char **)place = space + 1;
        else if (text_parse_u64(space + 1, fields[i].kind != FIELD_U32 ? INT64_MAX : UINT32_MAX, &number) < 0)
            return -EPROTO;
        if (fields[i].kind == FIELD_I64 || fields[i].kind == FIELD_TIME)
            *(int64_t *)place = (int64_t)number;
        else if (fields[i].kind == FIELD_U32)
            *(uint32_t *)place = (uint32_t)number;
        return 0;
    }
    return 0; /* a key of a later version: not ours to judge */
}

static int parse_line(struct envelope *out, char *line, uint32_t index)
{
    if (!line_safe(line))
        return -EPROTO;
    if (text_has_prefix(line, "rcpt "))
        return parse_recipient(out, line, index);
    if (!text_has_prefix(line, "id "))
        return parse_field(out, line);
    if (!queue_id_valid(line + 3))
        return -EPROTO;
    memcpy(out->id, line + 3, QUEUE_ID_SIZE);
    return 0;
}

static size_t count_recipients(const char *text, size_t len)
{
    size_t count = 0;
    for (const char *p = text; (p = memmem(p, len - (size_t)(p - text), "\nrcpt ", 6)) != NULL; p++)
        count++;
    return count;
}

static int parse_lines(struct envelope *out, size_t len)
{
    char *line = out->storage + ENVELOPE_FIRST_LINE + ENVELOPE_STATE_LINE, *end = out->storage + len;
    while (line < end) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        if (newline == NULL || memchr(line, '\0', (size_t)(newline - line)) != NULL)
            return -EPROTO;
        *newline = '\0';
        int r = parse_line(out, line, (uint32_t)(line - out->storage));
        if (r < 0)
            return r;
        line = newline + 1;
    }
    return out->id[0] != '\0' && out->recipient_count > 0 ? 0 : -EPROTO;
}

static void empty_texts(struct envelope *e)
{
    for (size_t i = 0; i < ARRAY_LENGTH(fields); i++)
        if (fields[i].kind == FIELD_TEXT)
            *(const char **)((char *)e + fields[i].offset) = "";
}

/* Moves the texts of the recipients together: of a head with thousands of them, their lines are most. */
static void pack(struct envelope *e)
{
    if (e->recipient_count < PACK_FROM)
        return;
    char *to = e->storage + e->recipients[0].index;
    for (size_t i = 0; i < e->recipient_count; i++) {
        struct envelope_recipient *r = &e->recipients[i];
        const char **const texts[] = {&r->orcpt, &r->address};
        for (size_t k = 0; k < ARRAY_LENGTH(texts); k++) {
            size_t len = strlen(*texts[k]) + 1;
            if (len == 1) {
                *texts[k] = "";
                continue;
            }
            memmove(to, *texts[k], len);
            *texts[k] = to;
            to += len;
        }
    }
    char *before = e->storage, *shorter = malloc((size_t)(to - before));
    if (shorter == NULL)
        return; /* it stays as long as it was */
    memcpy(shorter, before, (size_t)(to - before));
    for (size_t i = 0; i < e->recipient_count; i++) {
        struct envelope_recipient *r = &e->recipients[i];
        r->orcpt = r->orcpt[0] != '\0' ? shorter + (r->orcpt - before) : "";
        r->address = r->address[0] != '\0' ? shorter + (r->address - before) : "";
    }
    for (size_t i = 0; i < ARRAY_LENGTH(fields); i++) {
        const char **text = (const char **)((char *)e + fields[i].offset);
        if (fields[i].kind == FIELD_TEXT && (*text)[0] != '\0')
            *text = shorter + (*text - before);
    }
    e->storage = shorter;
    free(before);
}

int envelope_parse_own(char *text, size_t len, struct envelope *out)
{
    *out = (struct envelope){.storage = text};
    empty_texts(out);
    int r = text == NULL ? -ENOMEM : parse_first_line(text, len, out);
    if (r == 0 && out->content_offset > len)
        r = -EPROTO;
    if (r == 0)
        r = parse_state(text + ENVELOPE_STATE_OFFSET, out);
    size_t recipients = r == 0 ? count_recipients(text, out->content_offset) : 0;
    if (recipients > RECIPIENTS_MAX)
        r = -EPROTO;
    if (r == 0)
        out->recipients = calloc(recipients + 1, sizeof(*out->recipients));
    if (r == 0)
        r = out->recipients == NULL ? -ENOMEM : parse_lines(out, out->content_offset);
    if (r < 0)
        envelope_free(out);
    else
        pack(out);
    return r;
}

int envelope_parse(const char *text, size_t len, struct envelope *out)
{
    uint32_t head = 0;
    int r = envelope_peek(text, len, &head, NULL);
    *out = (struct envelope){0};
    if (r < 0 || head > len)
        return -EPROTO;
    return envelope_parse_own(text_dup_n(text, head), head, out);
}

void envelope_free(struct envelope *e)
{
    free(e->storage);
    free(e->recipients);
    *e = (struct envelope){0};
}
