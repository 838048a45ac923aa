#include "smtpd/content.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "mail/date.h"
#include "mail/from.h"
#include "mail/header.h"
#include "mail/senders.h"
#include "smtp/data.h"

enum fault {
    FAULT_TOO_LARGE,
    FAULT_BARE_LINE_END,
    FAULT_NUL,
    FAULT_LINE_TOO_LONG,
    FAULT_LOOP,
    FAULT_HEADER_BROKEN,
    FAULT_MAILBOX_LINE,
    FAULT_HEADER_TOO_LARGE,
    FAULT_TWO_FROM,
    FAULT_FROM_NOT_ALLOWED,
    FAULT_STORAGE,
    FAULT_COUNT,
};

static const struct content_fault faults[FAULT_COUNT] = {
    /* RFC 1870 section 6.3 */
    [FAULT_TOO_LARGE] = {552, "5.3.4", "message is larger than this server takes"},
    /* RFC 5321 section 2.3.8; anything else than CRLF is how messages are smuggled through servers that disagree: what
     * we take for the next command may have been content to the server before us. */
    [FAULT_BARE_LINE_END] = {550, "5.6.11", "lines of a message must end in CRLF, found a CR or LF alone", true},
    [FAULT_NUL] = {550, "5.6.0", "message holds a NUL byte"},
    [FAULT_LINE_TOO_LONG] = {550, "5.6.0", "a line of the message is too long"},
    /* RFC 5321 section 6.3 */
    [FAULT_LOOP] = {554, "5.4.6", "too many Received fields, the message seems to loop"},
    [FAULT_HEADER_BROKEN] = {554, "5.6.0", "the message header has a line that is no header field"},
    [FAULT_MAILBOX_LINE] = {554, "5.6.0", "the message header has a From line without colon, as in a mailbox file"},
    [FAULT_HEADER_TOO_LARGE] = {554, "5.6.0", "the message header is too large"},
    /* RFC 5322 section 3.6: which of them a reader would see, and DKIM sign, is anyone's guess. */
    [FAULT_TWO_FROM] = {554, "5.6.0", "the message has more than one From field"},
    /* RFC 6409 section 6.2 */
    [FAULT_FROM_NOT_ALLOWED] = {550, "5.7.1",
                                "From or Sender of the message names an address you may not send as, or none"},
    [FAULT_STORAGE] = {452, "4.3.1", "the message could not be stored, try again later"},
};

enum { KEY_MAX = 256 };

struct content {
    const struct settings_smtpd *settings;
    const char *hostname;
    struct content_rules rules;
    struct injection *injection;
    struct smtp_data_decoder decoder;
    struct mail_header_walker header;
    bool in_body;
    unsigned froms, authors, hops;
    bool has_date, has_message_id, has_sender;
    bool after_cr, mended_text, mended_dots; /* while line ends are mended */
    uint32_t lane;                           /* ENVELOPE_BULK or ENVELOPE_TRANSACTIONAL: what the header asked for */
    const struct content_fault *fault;
    int error;
    char message_id[MAIL_MESSAGE_ID_MAX];
    char key[KEY_MAX];
};

static int content_fail(struct content *c, enum fault fault)
{
    if (c->fault == NULL) {
        c->fault = &faults[fault];
        injection_abort(c->injection);
        c->injection = NULL;
    }
    return 0;
}

static int content_write(struct content *c, const char *data, size_t len)
{
    if (c->fault != NULL)
        return 0;
    int r = injection_write(c->injection, data, len);
    if (r < 0) {
        c->error = r;
        content_fail(c, FAULT_STORAGE);
    }
    return 0;
}

static int content_write_str(struct content *c, const char *text)
{
    return content_write(c, text, strlen(text));
}

/* What each field means to us; those not named pass on. */
static bool keep(struct content *c, const struct mail_field *f)
{
    return true;
}

static int check_mailbox(void *arg, const struct mail_address *a)
{
    struct content *c = arg;
    c->authors++;
    return mail_senders_allow(c->rules.senders, a) ? 0 : 1;
}

static void check_mailboxes(struct content *c, const struct mail_field *f)
{
    if (c->rules.senders[0] == '\0' && !c->rules.adds_from)
        return; /* nobody asks who they are */
    int r = mail_from_mailboxes(f->value, f->value_len, check_mailbox, c);
    if (r != 0 && c->rules.senders[0] != '\0')
        content_fail(c, r < 0 ? FAULT_STORAGE : FAULT_FROM_NOT_ALLOWED);
}

static bool take_from(struct content *c, const struct mail_field *f)
{
    if (++c->froms > 1)
        content_fail(c, FAULT_TWO_FROM);
    else
        check_mailboxes(c, f);
    return true;
}

static bool take_sender(struct content *c, const struct mail_field *f)
{
    unsigned authors = c->authors;
    c->has_sender = true;
    check_mailboxes(c, f);
    c->authors = authors;
    return true;
}

static bool count_received(struct content *c, const struct mail_field *f)
{
    if (++c->hops > (unsigned)c->settings->max_hops)
        content_fail(c, FAULT_LOOP);
    return true;
}

static bool note_date(struct content *c, const struct mail_field *f)
{
    c->has_date = true;
    return true;
}

static bool note_message_id(struct content *c, const struct mail_field *f)
{
    struct buf id;
    buf_init(&id, sizeof(c->message_id) - 1);
    if (mail_header_unfold(f->value, f->value_len, &id) == 0)
        memcpy(c->message_id, buf_str(&id), id.len + 1);
    buf_deinit(&id);
    c->has_message_id = true;
    return true;
}

/* Return-Path is the last server's to write; a relay lets one that is there alone (RFC 5321 section 4.4). */
static bool drop_if_submitted(struct content *c, const struct mail_field *f)
{
    return !c->rules.submission;
}

static const struct {
    const char *name;
    bool (*fn)(struct content *c, const struct mail_field *f); /* false = leave the field out */
} fields[] = {
    {"From", take_from},
    {"Sender", take_sender},
    {"Received", count_received},
    {"Date", note_date},
    {"Message-ID", note_message_id},
    {"Bcc", drop_if_submitted},
    {"Resent-Bcc", drop_if_submitted},
    {"Return-Path", drop_if_submitted},
    {NULL, keep},
};

/* X-Priority counts from 1, the highest, to 5; others have words. */
static const struct {
    const char *value;
    uint32_t flag;
} lanes[] = {
    {"1", ENVELOPE_TRANSACTIONAL},
    {"2", ENVELOPE_TRANSACTIONAL},
    {"3", ENVELOPE_TRANSACTIONAL},
    {"high", ENVELOPE_TRANSACTIONAL},
    {"urgent", ENVELOPE_TRANSACTIONAL},
    {"normal", ENVELOPE_TRANSACTIONAL},
    {"transactional", ENVELOPE_TRANSACTIONAL},
    {"4", ENVELOPE_BULK},
    {"5", ENVELOPE_BULK},
    {"low", ENVELOPE_BULK},
    {"non-urgent", ENVELOPE_BULK},
    {"bulk", ENVELOPE_BULK},
};

/* The first word of the first such field counts; what says nothing we know says nothing. */
static void note_lane(struct content *c, const struct mail_field *f)
{
    struct buf value;
    buf_init(&value, f->value_len + 1);
    if (c->lane == 0 && mail_header_unfold(f->value, f->value_len, &value) == 0) {
        size_t len = strcspn(buf_str(&value), " \t(;");
        for (size_t i = 0; i < ARRAY_LENGTH(lanes); i++)
            if (strlen(lanes[i].value) == len && text_equal_nocase_n(buf_str(&value), lanes[i].value, len))
                c->lane = lanes[i].flag;
    }
    buf_deinit(&value);
}

/* The first such field counts.  One that is too long is none: it would be told from others by its beginning only. */
static void note_key(struct content *c, const struct mail_field *f)
{
    struct buf value;
    buf_init(&value, sizeof(c->key) - 1);
    if (c->key[0] == '\0' && mail_header_unfold(f->value, f->value_len, &value) == 0)
        snprintf(c->key, sizeof(c->key), "%s", buf_str(&value));
    buf_deinit(&value);
}

static int on_field(void *arg, const struct mail_field *f)
{
    struct content *c = arg;
    size_t row = 0;
    if (c->settings->lane_header[0] != '\0' && mail_field_is(f, c->settings->lane_header)) {
        note_lane(c, f); /* it was for us: left out */
        return 0;
    }
    if (c->settings->idempotency_header[0] != '\0' && mail_field_is(f, c->settings->idempotency_header)) {
        note_key(c, f);
        return 0;
    }
    while (fields[row].name != NULL && !mail_field_is(f, fields[row].name))
        row++;
    return fields[row].fn(c, f) ? content_write(c, f->raw, f->raw_len) : 0;
}

/* RFC 6409 section 8: a submission server adds what the application left out. */
static void add_originator(struct content *c, const char *name)
{
    content_write_str(c, name);
    content_write_str(c, ": <");
    content_write_str(c, c->rules.sender);
    content_write_str(c, ">\r\n");
}

static void complete_header(struct content *c)
{
    char date[MAIL_DATE_MAX];
    bool adds = c->rules.adds_from && c->rules.submission && c->rules.sender[0] != '\0';
    if (adds && c->froms == 0)
        add_originator(c, "From");
    else if (c->froms == 0 && c->rules.senders[0] != '\0')
        content_fail(c, FAULT_FROM_NOT_ALLOWED);
    if (adds && c->authors > 1 && !c->has_sender) /* RFC 5322 section 3.6.2 */
        add_originator(c, "Sender");
    if (c->rules.submission && !c->has_date) {
        content_write_str(c, "Date: ");
        content_write_str(c, mail_date_format(clock_wall_s(), date));
        content_write_str(c, "\r\n");
    }
    if (c->rules.submission && !c->has_message_id) {
        content_write_str(c, "Message-ID: ");
        content_write_str(c, mail_message_id(c->hostname, c->message_id));
        content_write_str(c, "\r\n");
    }
    content_write(c, "\r\n", 2);
    c->in_body = true;
    mail_header_deinit(&c->header);
}

/* The line that is no field stands in the walker still. */
static enum fault broken_header(const struct content *c)
{
    const char *line = buf_str(&c->header.field);
    return text_has_prefix(line, "From ") || text_has_prefix(line, ">From ") ? FAULT_MAILBOX_LINE : FAULT_HEADER_BROKEN;
}

/* Content in portions, line ends as they are to be. */
static int take(struct content *c, const char *data, size_t len)
{
    if (c->fault != NULL)
        return 0;
    if (c->rules.max_bytes > 0 && c->decoder.bytes > c->rules.max_bytes)
        return content_fail(c, FAULT_TOO_LARGE);
    if (c->in_body)
        return content_write(c, data, len);
    size_t used;
    int r = mail_header_feed(&c->header, data, len, &used);
    if (r == MAIL_HEADER_ENDED) {
        complete_header(c);
        return content_write(c, data + used, len - used);
    }
    if (r != 0 && c->fault == NULL)
        content_fail(c, r == MAIL_HEADER_MALFORMED   ? broken_header(c)
                        : r == MAIL_HEADER_TOO_LARGE ? FAULT_HEADER_TOO_LARGE
                                                     : FAULT_STORAGE);
    return 0;
}

/* Where the content ends was told by the strict rule; what stands before it is mended. */
static int mend_line_ends(struct content *c, const char *data, size_t len, struct buf *out)
{
    int r = 0;
    for (size_t i = 0; i < len && r == 0; i++) {
        bool ended = c->after_cr, lf = data[i] == '\n';
        c->after_cr = data[i] == '\r';
        if (ended || lf) {
            r = buf_append(out, "\r\n", 2);
            c->mended_text = false;
        }
        if (r != 0 || c->after_cr || lf)
            continue;
        c->mended_dots |= !c->mended_text && data[i] == '.';
        c->mended_text = true;
        r = buf_append_char(out, data[i]);
    }
    return r;
}

static int on_content(void *arg, const char *data, size_t len)
{
    struct content *c = arg;
    struct buf mended;
    if (!c->rules.normalises || c->rules.binary)
        return take(c, data, len);
    buf_init(&mended, 2 * len + 2);
    int r = mend_line_ends(c, data, len, &mended);
    if (r == 0)
        take(c, buf_str(&mended), mended.len);
    else
        content_fail(c, FAULT_STORAGE);
    buf_deinit(&mended);
    return 0;
}

/* What can only be told when all bytes were seen. */
static void content_end(struct content *c)
{
    const struct smtp_data_decoder *d = &c->decoder;
    if (c->after_cr)
        take(c, "\r\n", 2);
    if (!c->in_body && c->fault == NULL) {
        int r = mail_header_finish(&c->header);
        if (r == MAIL_HEADER_MALFORMED)
            content_fail(c, broken_header(c));
        else
            complete_header(c);
    }
    /* A stray line end also makes other faults look wrong: it is the one to tell. */
    bool strict = !c->rules.binary && !c->rules.normalises;
    if (strict && (d->has_bare_cr || d->has_bare_lf)) {
        content_fail(c, FAULT_BARE_LINE_END);
        c->fault = &faults[FAULT_BARE_LINE_END];
    }
    if (d->has_nul && !c->rules.binary)
        content_fail(c, FAULT_NUL);
    if (!c->rules.binary && c->settings->max_line_length > 0 &&
        d->longest_line > (uint64_t)c->settings->max_line_length)
        content_fail(c, FAULT_LINE_TOO_LONG);
}

void content_chunk(struct content *c, const char *data, size_t len)
{
    smtp_data_look(&c->decoder, data, len);
    on_content(c, data, len);
}

void content_chunks_end(struct content *c)
{
    bool ended = smtp_data_look_end(&c->decoder);
    /* A header is text whatever the body is: what completes it must not become part of its last line. */
    bool is_text = !c->rules.binary || !c->in_body;
    if (!ended && is_text && !c->after_cr)
        on_content(c, "\r\n", 2);
    content_end(c);
}

int content_feed(struct content *c, const char *data, size_t len, size_t *used)
{
    if (smtp_data_decode(&c->decoder, data, len, on_content, c, used) == SMTP_DATA_MORE)
        return 1;
    content_end(c);
    return 0;
}

struct content *content_new(const struct settings_smtpd *settings, const char *hostname,
                            const struct content_rules *rules, struct injection *injection)
{
    struct content *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    *c = (struct content){.settings = settings, .hostname = hostname, .rules = *rules, .injection = injection};
    smtp_data_decoder_init(&c->decoder);
    mail_header_init(&c->header, (size_t)settings->max_header_size_bytes, (size_t)settings->max_header_size_bytes,
                     on_field, c);
    return c;
}

void content_free(struct content *c)
{
    if (c == NULL)
        return;
    injection_abort(c->injection);
    mail_header_deinit(&c->header);
    free(c);
}

const struct content_fault *content_fault(const struct content *c)
{
    return c->fault;
}

int content_error(const struct content *c)
{
    return c->error;
}

struct injection *content_take_injection(struct content *c)
{
    struct injection *injection = c->injection;
    c->injection = NULL;
    return injection;
}

uint32_t content_flags(const struct content *c)
{
    uint32_t flags = c->decoder.has_8bit ? ENVELOPE_8BIT : 0;
    flags |= c->lane;
    flags |= c->rules.binary ? ENVELOPE_BINARY : 0;
    return c->decoder.has_leading_dots || c->mended_dots ? flags | ENVELOPE_LEADING_DOTS : flags;
}

uint64_t content_bytes(const struct content *c)
{
    return c->decoder.bytes;
}

const char *content_key(const struct content *c)
{
    return c->key;
}

const char *content_message_id(const struct content *c)
{
    return c->message_id;
}
