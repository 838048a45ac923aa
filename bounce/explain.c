/* The part for people: what happened, to whose mail, why, and what can be done, in words that need no knowledge of
 * mail. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "bounce/classify.h"
#include "mail/date.h"
#include "mail/header.h"
#include "bounce/notice.h"
#include "bounce/write.h"

#define INDENT      "    "
#define SUBJECT_MAX 400

static int paragraph(struct buf *out, const char *text)
{
    int r = write_folded(out, "", "", text, true);
    return r < 0 ? r : buf_append_str(out, "\r\n");
}

static int opening(const struct notice *n, struct buf *out)
{
    const char *what = n->owed->count == 1 ? "this address" : "these addresses";
    char text[512], until[MAIL_DATE_MAX];
    switch (n->about->kind) {
    case BOUNCE_DELAYED:
        mail_date_format((int64_t)n->about->expires_s, until);
        snprintf(text, sizeof(text),
                 "Your message has not been delivered to %s yet. You do not need to do anything and should not send it "
                 "again: delivery is still being tried, until %s at the latest. If it does not succeed by then, you "
                 "will be told.",
                 what, until);
        break;
    case BOUNCE_DELIVERED:
        snprintf(text, sizeof(text),
                 "As you asked to be told: your message was handed over to the mail server of %s. That server does not "
                 "report whether the message reached the mailbox or was read, so this is the last you hear of it from "
                 "us.",
                 what);
        break;
    default:
        snprintf(text, sizeof(text), "%s could not be delivered to %s. No further attempt will be made.",
                 n->owed->to_postmaster ? "A message that names no sender to tell" : "Your message", what);
        break;
    }
    return paragraph(out, text);
}

static int said(const struct ipc_bounce_recipient *r, bool utf8, struct buf *out)
{
    if (r->reply[0] == '\0')
        return 0;
    bool remote = r->relay[0] != '\0' && strcmp(r->relay, "none") != 0;
    int e = buf_append_str(out, remote ? INDENT "The mail server " : INDENT "In technical terms:\r\n");
    if (e == 0 && remote && (e = write_clean(out, r->relay, utf8)) == 0)
        e = buf_append_str(out, " said:\r\n");
    return e < 0 ? e : write_folded(out, INDENT INDENT, INDENT INDENT, r->reply, utf8);
}

static int reason(uint32_t kind, const struct ipc_bounce_recipient *r, bool utf8, struct buf *out)
{
    const struct failure_reply reply = {
        .code = r->code, .enhanced = r->enhanced, .text = r->reply, .expired = r->expired != 0};
    if (kind == BOUNCE_DELIVERED)
        return 0;
    if (kind == BOUNCE_DELAYED)
        return write_folded(out, INDENT "Why: ", INDENT, "The last attempt met temporary trouble.", utf8);
    enum failure_class class = failure_classify(&reply);
    int e = write_folded(out, INDENT "Why: ", INDENT, failure_why(class), utf8);
    return e < 0 ? e : write_folded(out, INDENT "What to do: ", INDENT, failure_advice(class), utf8);
}

static int about_recipient(const struct notice *n, const struct ipc_bounce_recipient *r, bool utf8, struct buf *out)
{
    int e = buf_append_char(out, '<');
    if (e == 0 && (e = write_clean(out, r->address, utf8)) == 0 && (e = buf_append_str(out, ">\r\n")) == 0 &&
        (e = reason(n->about->kind, r, utf8, out)) == 0 && (e = said(r, utf8, out)) == 0)
        e = buf_append_str(out, "\r\n");
    return e;
}

static int keep_subject(void *arg, const struct mail_field *f)
{
    struct buf *subject = arg;
    if (!mail_field_is(f, "Subject") || subject->len > 0)
        return 0;
    int r = mail_header_unfold(f->value, f->value_len, subject);
    return r == -ENOBUFS ? 0 : r;
}

/* The subject helps people to know the message again; encoded words (RFC 2047) would only look broken. */
static void find_subject(const struct original *o, struct buf *subject)
{
    struct mail_header_walker walker;
    size_t used;
    mail_header_init(&walker, o->len + 1, o->len + 1, keep_subject, subject);
    if (mail_header_feed(&walker, o->data, o->len, &used) == 0)
        mail_header_finish(&walker);
    mail_header_deinit(&walker);
    if (!text_is_ascii(buf_str(subject), subject->len) || strstr(buf_str(subject), "=?") != NULL)
        buf_clear(subject);
}

static int about_message(const struct notice *n, struct buf *out)
{
    struct buf subject;
    char date[MAIL_DATE_MAX];
    buf_init(&subject, SUBJECT_MAX);
    if (n->original->len > 0)
        find_subject(n->original, &subject);
    int r = buf_append_str(out, "The message:\r\n");
    if (r == 0 && subject.len > 0)
        r = write_folded(out, INDENT "Subject: ", INDENT, buf_str(&subject), false);
    if (r == 0)
        r = buf_printf(out, INDENT "Received here: %s\r\n" INDENT "Our reference: %s\r\n\r\n",
                       mail_date_format((int64_t)n->about->arrived_s, date), n->about->queue_id);
    buf_deinit(&subject);
    return r;
}

static const char *closing(const struct original *o)
{
    if (o->len == 0)
        return "A report for mail programs is attached.";
    return o->whole ? "A report for mail programs and the message itself are attached."
                    : "A report for mail programs and the header of the message are attached.";
}

int explain_write(const struct notice *n, struct buf *out)
{
    bool utf8 = notice_is_utf8(n);
    int r = buf_printf(out, "This is the mail system of %s.\r\n\r\n", n->hostname);
    if (r == 0)
        r = opening(n, out);
    for (size_t i = 0; i < n->owed->count && r == 0; i++)
        r = about_recipient(n, n->owed->recipients[i], utf8, out);
    if (r == 0 && (r = about_message(n, out)) == 0)
        r = write_folded(out, "", "", closing(n->original), false);
    return r;
}
