/* Notices from texts of others: whatever a remote server, an ORCPT or an original says, no line of it becomes a field
 * or a line of ours.  Input: a byte of choices, then texts that end with NUL: reply, relay, enhanced code, ORCPT,
 * ENVID, address; the rest is the original. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "bounce/notice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What IPC lets through: at most IPC_REPLY_MAX bytes. */
static char *next_text(const uint8_t **data, size_t *size)
{
    size_t len = strnlen((const char *)*data, *size);
    char *text = text_dup_n((const char *)*data, len < IPC_REPLY_MAX ? len : IPC_REPLY_MAX);
    size_t used = len < *size ? len + 1 : len;
    *data += used;
    *size -= used;
    return text;
}

static void check_lines(const struct buf *out)
{
    size_t line = 0;
    for (size_t i = 0; i < out->len; i++) {
        bool end = out->data[i] == '\n';
        if (end != (i > 0 && out->data[i - 1] == '\r') || (unsigned char)out->data[i] == 0x7f)
            abort();
        line = end ? 0 : line + 1;
        if (line > 998)
            abort();
    }
    if (out->len < 2 || out->data[out->len - 1] != '\n')
        abort();
}

static void compose(const struct ipc_bounce *b, const struct owed *owed, const struct original *original)
{
    const struct notice n = {b, owed, original, "1P8X2K7Q3M40B", "relay.example", "d@relay.example", 1763928001};
    struct buf out;
    uint32_t flags;
    buf_init(&out, original->len + NOTICE_OVERHEAD_MAX);
    if (notice_compose(&n, &out, &flags) < 0)
        abort();
    if (original->len == 0)
        check_lines(&out);
    buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint8_t choices = *data++;
    size--;
    char *text[6];
    for (int i = 0; i < 6; i++)
        text[i] = next_text(&data, &size);
    text[5][strnlen(text[5], 254)] = '\0'; /* MAIL_ADDRESS_MAX */
    text[3][strnlen(text[3], 500)] = '\0'; /* MAIL_DSN_ORCPT_MAX */
    text[4][strnlen(text[4], 100)] = '\0'; /* MAIL_DSN_ENVID_MAX */
    text[1][strnlen(text[1], 300)] = '\0';
    const struct ipc_bounce_recipient r = {.reply = text[0],
                                           .relay = text[1],
                                           .enhanced = text[2],
                                           .orcpt = text[3],
                                           .address = text[5],
                                           .code = choices & 4 ? 550 : 0,
                                           .notify = 2 | 4 | 8,
                                           .expired = choices & 8};
    const struct ipc_bounce b = {.kind = choices % 3,
                                 .queue_id = "1P8X2K7Q3M40A",
                                 .sender = "alice@example.com",
                                 .envid = text[4],
                                 .arrived_s = 1763920000,
                                 .expires_s = 1764360000,
                                 .recipients = &r,
                                 .recipients_count = 1};
    struct owed owed;
    struct original none = {0}, original;
    owed_find(&b, "", &owed);
    compose(&b, &owed, &none);
    original_take(text_dup_n((const char *)data, size), size, choices & 16, choices & 32, &original);
    compose(&b, &owed, &original);
    original_free(&original);
    for (int i = 0; i < 6; i++)
        free(text[i]);
    return 0;
}
