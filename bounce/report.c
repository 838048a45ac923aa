/* The part for programs: message/delivery-status (RFC 3464) or message/global-delivery-status (RFC 6533). */
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/text.h"
#include "mail/date.h"
#include "mail/status.h"
#include "bounce/notice.h"
#include "bounce/write.h"

static int write_date(struct buf *out, const char *name, uint64_t time_s)
{
    char text[MAIL_DATE_MAX];
    return time_s == 0 ? 0 : buf_printf(out, "%s: %s\r\n", name, mail_date_format((int64_t)time_s, text));
}

/* RFC 3464 section 2.2. */
static int write_message_fields(const struct notice *n, bool utf8, struct buf *out)
{
    const struct ipc_bounce *b = n->about;
    struct buf envid;
    buf_init(&envid, NOTICE_ENVID_MAX);
    int r = b->envid[0] == '\0' ? 0 : xtext_decode(b->envid, strlen(b->envid), &envid);
    if (r < 0)
        buf_clear(&envid); /* not of the form: the rest of the report is worth more */
    r = envid.len == 0 ? 0 : write_exact(out, "Original-Envelope-Id", buf_str(&envid), utf8);
    if (r == 0 && (r = buf_printf(out, "Reporting-MTA: dns; %s\r\n", n->hostname)) == 0)
        r = write_date(out, "Arrival-Date", b->arrived_s);
    if (r == 0)
        r = buf_printf(out, "X-Posthouse-Queue-ID: %s\r\n", b->queue_id);
    buf_deinit(&envid);
    return r;
}

/* ORCPT is "type;xtext"; only the type utf-8 has a coding of its own (RFC 6533 section 3), and stays as it is. */
static int write_original_recipient(const char *orcpt, bool utf8, struct buf *out)
{
    const char *semicolon = strchr(orcpt, ';');
    struct buf value;
    if (semicolon == NULL)
        return 0;
    buf_init(&value, 900);
    size_t type = (size_t)(semicolon - orcpt);
    int r = buf_append(&value, orcpt, type);
    if (r == 0)
        r = buf_append_str(&value, "; ");
    if (r == 0 && type == strlen("utf-8") && text_equal_nocase_n(orcpt, "utf-8", type))
        r = buf_append_str(&value, semicolon + 1);
    else if (r == 0)
        r = xtext_decode(semicolon + 1, strlen(semicolon + 1), &value);
    r = r < 0 ? 0 : write_exact(out, "Original-Recipient", buf_str(&value), utf8);
    buf_deinit(&value);
    return r;
}

static int write_final_recipient(const char *address, bool utf8, struct buf *out)
{
    int r = buf_printf(out, "Final-Recipient: %s; ", text_is_ascii(address, strlen(address)) ? "rfc822" : "utf-8");
    if (r == 0 && (r = write_clean(out, address, utf8)) == 0)
        r = buf_append_str(out, "\r\n");
    return r;
}

/* One row per enum ipc_bounce_kind.  "relayed" and not "delivered": we hand on to a server, and never see a mailbox. */
static const struct {
    const char *action;
    unsigned class;
} kinds[] = {
    [BOUNCE_FAILED] = {"failed", 5},
    [BOUNCE_DELAYED] = {"delayed", 4},
    [BOUNCE_DELIVERED] = {"relayed", 2},
};

/* The replied status where it fits what we report, else the nearest that says the same. */
static const char *status_text(uint32_t kind, const struct ipc_bounce_recipient *r, char text[MAIL_STATUS_TEXT_MAX])
{
    struct mail_status status;
    mail_status_parse(r->enhanced, strlen(r->enhanced), &status);
    if (kind == BOUNCE_FAILED && r->expired)
        status = (struct mail_status){4, 4, 7}; /* RFC 3463 section 3.5: delivery time expired */
    else if (status.class != kinds[kind].class)
        status = (struct mail_status){kinds[kind].class, 0, 0};
    return mail_status_format(&status, text);
}

static bool has_relay(const struct ipc_bounce_recipient *r)
{
    return r->relay[0] != '\0' && strcmp(r->relay, "none") != 0;
}

/* "mx.example.com[192.0.2.1]:25" without what RFC 3464 section 2.3.5 has no place for. */
static int write_remote(const struct ipc_bounce_recipient *r, struct buf *out)
{
    if (!has_relay(r))
        return 0;
    char name[256];
    size_t len = strcspn(r->relay, "[");
    if (len == 0)
        len = strcspn(r->relay, "]") + 1;
    snprintf(name, sizeof(name), "dns; %.*s", (int)(len < 240 ? len : 240), r->relay);
    return write_exact(out, "Remote-MTA", name, false);
}

/* What the remote server replied, or our own reason (RFC 3464 section 2.3.6). */
static int write_diagnostic(const struct ipc_bounce_recipient *r, bool utf8, struct buf *out)
{
    char code[8], first[48];
    bool remote = has_relay(r) && r->code > 0;
    if (r->reply[0] == '\0' && !remote)
        return 0;
    snprintf(code, sizeof(code), "%u ", r->code % 1000);
    bool has_code = !remote || strncmp(r->reply, code, 3) == 0;
    snprintf(first, sizeof(first), "Diagnostic-Code: %s; %s", remote ? "smtp" : "X-Posthouse", has_code ? "" : code);
    return write_folded(out, first, " ", r->reply, utf8);
}

/* RFC 3464 section 2.3. */
static int write_recipient(const struct notice *n, const struct ipc_bounce_recipient *r, bool utf8, struct buf *out)
{
    char status[MAIL_STATUS_TEXT_MAX];
    uint32_t kind = n->about->kind;
    int e = buf_append_str(out, "\r\n");
    if (e == 0 && (e = write_original_recipient(r->orcpt, utf8, out)) == 0 &&
        (e = write_final_recipient(r->address, utf8, out)) == 0 &&
        (e = buf_printf(out, "Action: %s\r\nStatus: %s\r\n", kinds[kind].action, status_text(kind, r, status))) == 0 &&
        (e = write_remote(r, out)) == 0 && (e = write_diagnostic(r, utf8, out)) == 0 &&
        (e = write_date(out, "Last-Attempt-Date", r->attempted_s)) == 0)
        e = buf_printf(out, "Final-Log-ID: %s\r\n", n->about->queue_id);
    if (e == 0 && kind == BOUNCE_DELAYED)
        e = write_date(out, "Will-Retry-Until", n->about->expires_s);
    return e;
}

int report_write(const struct notice *n, struct buf *out)
{
    bool utf8 = notice_is_utf8(n);
    int r = write_message_fields(n, utf8, out);
    for (size_t i = 0; i < n->owed->count && r == 0; i++)
        r = write_recipient(n, n->owed->recipients[i], utf8, out);
    return r;
}
