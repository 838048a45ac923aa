#include "bounce/notice.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/text.h"
#include "mail/date.h"
#include "queue/envelope.h"
#include "bounce/write.h"

#define BOUNDARY_MAX 48

static const char *const subjects[] = {
    [BOUNCE_FAILED] = "Your message could not be delivered",
    [BOUNCE_DELAYED] = "Your message is delayed, delivery is still being tried",
    [BOUNCE_DELIVERED] = "Your message was handed over",
};

static bool is_utf8_text(const char *s)
{
    return !text_is_ascii(s, strlen(s));
}

bool notice_is_utf8(const struct notice *n)
{
    if (is_utf8_text(n->owed->to))
        return true;
    for (size_t i = 0; i < n->owed->count; i++)
        if (is_utf8_text(n->owed->recipients[i]->address) || is_utf8_text(n->owed->recipients[i]->orcpt))
            return true;
    return false;
}

/* FNV-1a: the same in every process, unlike hash_bytes. */
static uint64_t fnv(uint64_t hash, const char *s)
{
    do
        hash = (hash ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
    while (*s++ != '\0');
    return hash;
}

uint64_t notice_fingerprint(const struct ipc_bounce *b)
{
    uint64_t hash = fnv(UINT64_C(0xcbf29ce484222325) + b->kind, b->queue_id);
    for (uint32_t i = 0; i < b->recipients_count; i++)
        hash = fnv(hash, b->recipients[i].address);
    return hash;
}

/* A line that stands nowhere in the two parts we did not choose the words of.  Drawn again while it does, which no one
 * will live to see. */
static int draw_boundary(const struct buf *people, const struct original *o, char boundary[BOUNDARY_MAX])
{
    uint64_t random[2];
    do {
        if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
            return -EIO;
        snprintf(boundary, BOUNDARY_MAX, "=_%016" PRIx64 "%016" PRIx64, random[0], random[1]);
    } while (strstr(buf_str(people), boundary) != NULL ||
             (o->len > 0 && memmem(o->data, o->len, boundary, strlen(boundary)) != NULL));
    return 0;
}

/* RFC 3834 section 5, RFC 6522 section 3. */
static int write_header(const struct notice *n, const char *boundary, bool utf8, struct buf *out)
{
    char date[MAIL_DATE_MAX];
    mail_date_format(n->now_s, date);
    int r = buf_printf(out,
                       "Received: by %s (Posthouse) id %s; %s\r\n"
                       "Date: %s\r\n"
                       "From: Mail Delivery System <%s>\r\n"
                       "To: <",
                       n->hostname, n->id, date, date, n->from);
    if (r == 0)
        r = write_clean(out, n->owed->to, true);
    if (r == 0)
        r = buf_printf(out,
                       ">\r\n"
                       "Subject: %s\r\n"
                       "Message-ID: <%s.%016" PRIx64 "@%s>\r\n"
                       "Auto-Submitted: auto-replied\r\n"
                       "MIME-Version: 1.0\r\n"
                       "Content-Type: multipart/report; report-type=%s;\r\n"
                       " boundary=\"%s\"\r\n",
                       subjects[n->about->kind], n->about->queue_id, notice_fingerprint(n->about), n->hostname,
                       utf8 ? "global-delivery-status" : "delivery-status", boundary);
    return r;
}

/* The MIME header of a part: RFC 2045 section 6.2 forbids an encoding other than these three on a part of parts. */
static int open_part(const char *boundary, const char *type, const char *description, bool eight_bit, struct buf *out)
{
    return buf_printf(out,
                      "\r\n--%s\r\n"
                      "Content-Type: %s\r\n"
                      "Content-Description: %s\r\n"
                      "Content-Transfer-Encoding: %s\r\n\r\n",
                      boundary, type, description, eight_bit ? "8bit" : "7bit");
}

static const char *original_type(const struct original *o)
{
    if (o->whole)
        return o->utf8_header ? "message/global" : "message/rfc822";
    return o->utf8_header ? "message/global-headers" : "text/rfc822-headers";
}

static int write_original(const struct notice *n, const char *boundary, struct buf *out)
{
    const struct original *o = n->original;
    if (o->len == 0)
        return 0;
    int r =
        open_part(boundary, original_type(o), o->whole ? "The message" : "Header of the message", o->eight_bit, out);
    return r < 0 ? r : buf_append(out, o->data, o->len);
}

static int write_parts(const struct notice *n, const char *boundary, const struct buf *people, bool utf8,
                       struct buf *out)
{
    int r = buf_printf(out, "\r\nThis is a report in MIME format, in several parts.\r\n");
    if (r == 0 &&
        (r = open_part(boundary, utf8 ? "text/plain; charset=utf-8" : "text/plain; charset=us-ascii", "Notification",
                       utf8, out)) == 0 &&
        (r = buf_append(out, people->data, people->len)) == 0 &&
        (r = open_part(boundary, utf8 ? "message/global-delivery-status" : "message/delivery-status", "Delivery report",
                       utf8, out)) == 0 &&
        (r = report_write(n, out)) == 0 && (r = write_original(n, boundary, out)) == 0)
        r = buf_printf(out, "\r\n--%s--\r\n", boundary);
    return r;
}

static uint32_t content_flags(const struct notice *n, const struct buf *content, bool utf8)
{
    uint32_t flags = ENVELOPE_NOTICE;
    if (utf8 || n->original->eight_bit)
        flags |= ENVELOPE_8BIT | ENVELOPE_BODY_8BITMIME;
    /* Only our own header makes the notice itself internationalised; RFC 6532 lets the parts be so in any 8-bit
     * message. */
    if (is_utf8_text(n->owed->to))
        flags |= ENVELOPE_SMTPUTF8;
    if (memmem(content->data, content->len, "\r\n.", 3) != NULL)
        flags |= ENVELOPE_LEADING_DOTS;
    return flags;
}

int notice_compose(const struct notice *n, struct buf *out, uint32_t *flags)
{
    bool utf8 = notice_is_utf8(n);
    char boundary[BOUNDARY_MAX];
    struct buf people;
    buf_init(&people, NOTICE_OVERHEAD_MAX);
    int r = explain_write(n, &people);
    if (r == 0 && (r = draw_boundary(&people, n->original, boundary)) == 0 &&
        (r = write_header(n, boundary, utf8, out)) == 0)
        r = write_parts(n, boundary, &people, utf8, out);
    if (r == 0)
        *flags = content_flags(n, out, utf8);
    buf_deinit(&people);
    return r;
}
