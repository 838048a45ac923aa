/* BDAT: RFC 3030 section 2.
 *
 *     bdat-cmd = "BDAT" SP chunk-size [ SP "LAST" ] CRLF, then chunk-size bytes
 *
 * The bytes follow whatever we think of the command: a chunk that is refused is read all the same, and answered behind
 * its last byte. */
#include "base/text.h"
#include "smtpd/command.h"
#include "log/log.h"
#include "smtpd/transaction.h"

static const struct content_fault faults[] = {
    [CHUNK_NOT_OFFERED] = {502, "5.5.1", "BDAT is not offered here"},
    [CHUNK_NO_EHLO] = {503, "5.5.1", "BDAT needs EHLO"}, /* section 2: it is an extension */
    [CHUNK_NO_TRANSACTION] = {503, "5.5.1", "send MAIL and RCPT first"},
    [CHUNK_NO_RECIPIENTS] = {554, "5.5.1", "no valid recipients"},
    [CHUNK_NO_SPACE] = {452, "4.3.1", "not enough space for the message, try again later"},
};

static enum chunk_fate judge(struct session *s)
{
    struct transaction *t = s->transaction;
    if ((session_offers(s) & SMTP_EXT_CHUNKING) == 0)
        return CHUNK_NOT_OFFERED;
    if (!s->esmtp)
        return CHUNK_NO_EHLO;
    if (t == NULL)
        return CHUNK_NO_TRANSACTION;
    if (t->recipients.count == 0)
        return CHUNK_NO_RECIPIENTS;
    if (t->content != NULL)
        return CHUNK_TAKEN;
    uint64_t bytes = t->mail.size_bytes > s->chunk_left ? t->mail.size_bytes : s->chunk_left;
    return transaction_begin_content(t, bytes) < 0 ? CHUNK_NO_SPACE : CHUNK_TAKEN;
}

/* It ends the transaction: what the client sends of it after that is answered by 503.  That is no further error: a
 * client that pipelines could not know (RFC 2920). */
static void refuse(struct session *s, const struct content_fault *fault)
{
    if (s->chunk_refused) {
        s->phase = SESSION_COMMAND;
        session_reply(s, fault->code, fault->enhanced, "%s", fault->text);
    } else {
        transaction_refuse(s, fault);
    }
    s->chunk_refused = !s->chunk_last;
}

static void chunk_over(struct session *s)
{
    struct transaction *t = s->transaction;
    if (s->chunk_fate != CHUNK_TAKEN) {
        refuse(s, &faults[s->chunk_fate]);
        return;
    }
    if (s->chunk_last)
        content_chunks_end(t->content);
    if (content_fault(t->content) != NULL) {
        refuse(s, content_fault(t->content));
    } else if (s->chunk_last) {
        transaction_commit(t);
    } else {
        s->phase = SESSION_COMMAND;
        session_reply(s, 250, "2.0.0", "%llu bytes received", (unsigned long long)s->chunk_size);
    }
}

void cmd_bdat(struct session *s, char *argument)
{
    if (smtp_bdat_parse(argument, &s->chunk_size, &s->chunk_last) < 0) {
        /* Where the next command begins can not be told. */
        session_refuse(s, 501, "5.5.4", "BDAT needs a size, and LAST with the last chunk");
        session_end_soon(s, "a chunk without a size");
        return;
    }
    s->chunk_left = s->chunk_size;
    s->chunk_fate = judge(s);
    s->phase = SESSION_CHUNK;
    if (s->chunk_left == 0)
        chunk_over(s);
}

void command_bdat_chunk(struct session *s, struct buf *in)
{
    size_t n = in->len < s->chunk_left ? in->len : (size_t)s->chunk_left;
    if (s->chunk_fate == CHUNK_TAKEN)
        content_chunk(s->transaction->content, in->data, n);
    buf_consume(in, n);
    s->chunk_left -= n;
    if (s->chunk_left == 0)
        chunk_over(s);
}
