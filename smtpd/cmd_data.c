/* DATA: RFC 5321 section 4.1.1.4.
 *
 *     data = "DATA" CRLF, then content, ended by CRLF "." CRLF
 */
#include "base/text.h"
#include "smtpd/command.h"
#include "log/log.h"
#include "smtpd/transaction.h"

void cmd_data(struct session *s, char *argument)
{
    struct transaction *t = s->transaction;
    if (t == NULL) {
        session_refuse(s, 503, "5.5.1", "send MAIL and RCPT first");
        return;
    }
    /* RFC 3030 sections 2 and 3 */
    if (t->content != NULL || t->mail.body == SMTP_BODY_BINARYMIME) {
        session_refuse(s, 503, "5.5.1", "this message needs BDAT");
        return;
    }
    /* RFC 2920 section 3.1: a client that pipelines learns here that none of its recipients was taken. */
    if (t->recipients.count == 0) {
        session_refuse(s, 554, "5.5.1", "no valid recipients");
        return;
    }
    if (transaction_begin_content(t, t->mail.size_bytes) < 0) {
        session_decline(s, 452, "4.3.1", "not enough space for the message, try again later");
        return;
    }
    session_reply(s, 354, "", "send the message, end it with <CRLF>.<CRLF>");
    s->phase = SESSION_DATA;
}

void command_data_content(struct session *s, struct buf *in)
{
    struct transaction *t = s->transaction;
    size_t used;
    int r = content_feed(t->content, in->data, in->len, &used);
    buf_consume(in, used);
    if (r != 0)
        return;
    const struct content_fault *fault = content_fault(t->content);
    if (fault != NULL)
        transaction_refuse(s, fault);
    else
        transaction_commit(t);
}
