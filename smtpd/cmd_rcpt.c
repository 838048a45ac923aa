/* RCPT: RFC 5321 section 4.1.1.3, with NOTIFY and ORCPT (RFC 3461).
 *
 *     rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters] CRLF
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "smtpd/command.h"
#include "smtpd/quota.h"
#include "log/log.h"
#include "smtpd/transaction.h"

/* So many a client may send that does not look at our replies before it has sent all; more are errors. */
enum { OVERSHOOT_MAX = 1000 };

/* 5.7.1 and not 5.1.1: it is this relay's policy that stands in the way, and not every address on the list is a bad one
 * (complaints, entries by hand).  The class of the reply that put it there is told in the text. */
static void refuse_suppressed(struct session *s, const struct suppression_row *row)
{
    time_t since = (time_t)row->since_s;
    struct tm tm;
    char when[32], cause[64] = "";
    gmtime_r(&since, &tm);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
    if (row->code > 0)
        snprintf(cause, sizeof(cause), ": %u %s", row->code % 1000, row->enhanced);
    session_decline(s, 550, "5.7.1", "<%.256s> is on the suppression list since %s (%s%s%s%.160s)", row->address, when,
                    row->reason, cause, row->reply[0] != '\0' ? " " : "", row->reply);
}

/* When the list can not be read mail goes on: a bounce too many is better than mail that stops. */
static bool check_suppression(struct session *s, const char *address)
{
    struct suppression_row row;
    struct transaction *t = s->transaction;
    const char *tenant = session_tenant(s);
    int r = s->server->suppression != NULL ? suppression_lookup(s->server->suppression, address, tenant, &row) : 0;
    if (r > 0) {
        refuse_suppressed(s, &row);
        return false;
    }
    if (r < 0 && !t->lookup_failed) {
        t->lookup_failed = true;
        log_warning("client=%s: suppression list can not be read: %s, recipients are accepted unchecked", s->client,
                    text_errno(r));
    }
    return true;
}

static bool is_postmaster(const struct mail_address *to)
{
    return mail_address_domain(to)[0] == '\0';
}

/* RFC 5321 section 4.5.1: every server takes mail to "<Postmaster>".  No mailbox is here, so it goes to whom the
 * configuration names, else to the postmaster of our own name.  0 or an enum mail_address_result. */
static int find_postmaster(const struct session *s, struct mail_address *to)
{
    const char *configured = s->server->settings.postmaster;
    char text[sizeof(to->text)];
    if (configured[0] != '\0')
        snprintf(text, sizeof(text), "%s", configured);
    else
        snprintf(text, sizeof(text), "postmaster@%.240s", s->server->hostname);
    return mail_address_parse(text, strlen(text), 0, to);
}

/* No domain is local here: everything but mail to the postmaster is relaying. */
static bool may_send_to(const struct session *s, const struct mail_address *to)
{
    return session_may_relay(s) || (is_postmaster(to) && s->server->settings.postmaster[0] != '\0');
}

static bool check_quota(struct session *s, const char *address)
{
    struct transaction *t = s->transaction;
    char why[QUOTA_TEXT_MAX];
    size_t wanted = t->recipients.count + 1;
    if ((int64_t)wanted > t->room)
        t->room = quota_room(s, wanted, why);
    if ((int64_t)wanted <= t->room)
        return true;
    session_decline(s, 450, "4.7.1", "<%.256s> %s", address, why);
    return false;
}

static void accept_recipient(struct session *s, const struct smtp_rcpt *rcpt)
{
    if (transaction_add_recipient(s->transaction, rcpt) < 0)
        session_decline(s, 451, "4.3.0", "no memory, try again later");
    else
        session_reply(s, 250, "2.1.5", "recipient ok");
}

/* An answer that says nothing for sure takes the recipient: its notice comes later, as without the question. */
static void domain_answered(void *arg, const struct ipc_domain_checked *answer)
{
    struct session *s = arg;
    struct smtp_rcpt *rcpt = s->asked_rcpt;
    s->domain_question = NULL;
    s->asked_rcpt = NULL;
    s->phase = SESSION_COMMAND;
    if (answer != NULL && answer->status == ROUTE_FAILED)
        session_decline(s, answer->code >= 500 && answer->code < 600 ? answer->code : 550,
                        answer->enhanced[0] == '5' ? answer->enhanced : "5.1.2", "<%.256s> %.256s", rcpt->to.text,
                        answer->reply);
    else
        accept_recipient(s, rcpt);
    free(rcpt);
    if (s->phase == SESSION_COMMAND)
        session_resume(s, SESSION_COMMAND);
}

/* true: the answer comes later. */
static bool ask_domain(struct session *s, const struct smtp_rcpt *rcpt)
{
    if (!s->listener->check_recipient_domains || is_postmaster(&rcpt->to))
        return false;
    s->asked_rcpt = malloc(sizeof(*rcpt));
    if (s->asked_rcpt == NULL)
        return false;
    *s->asked_rcpt = *rcpt;
    if (command_ask_domain(s, &rcpt->to, domain_answered))
        return true;
    free(s->asked_rcpt);
    s->asked_rcpt = NULL;
    return false;
}

void cmd_rcpt(struct session *s, char *argument)
{
    struct smtp_rcpt rcpt;
    struct smtp_argument_fault fault;
    struct transaction *t = s->transaction;
    if (t == NULL) {
        session_refuse(s, 503, "5.5.1", "send MAIL first");
        return;
    }
    if (t->content != NULL) {
        session_refuse(s, 503, "5.5.1", "the content has begun");
        return;
    }
    int r = smtp_rcpt_parse(argument, session_offers(s), t->mail.smtputf8, &rcpt, &fault);
    if (r != 0) {
        command_refuse_argument(s, r, "5.1.3", &fault);
        return;
    }
    if (!s->esmtp && rcpt.given != 0) {
        session_refuse(s, 555, "5.5.4", "parameters need EHLO");
        return;
    }
    if (!may_send_to(s, &rcpt.to)) {
        session_refuse(s, 550, "5.7.1", "<%s> relaying is for clients that log in", rcpt.to.text);
        return;
    }
    if (is_postmaster(&rcpt.to) && find_postmaster(s, &rcpt.to) != 0) {
        session_refuse(s, 550, "5.1.2", "<postmaster> there is no mailbox here, name a domain");
        return;
    }
    /* RFC 5321 section 4.5.3.1.10 */
    if (t->recipients.count >= (size_t)session_max_recipients(s)) {
        static const char text[] = "too many recipients, send the message to the others separately";
        if (++t->overshoot <= OVERSHOOT_MAX)
            session_decline(s, 452, "4.5.3", text);
        else
            session_refuse(s, 452, "4.5.3", text);
        return;
    }
    if (!check_quota(s, rcpt.to.text))
        return;
    if (!check_suppression(s, rcpt.to.text))
        return;
    if (!ask_domain(s, &rcpt))
        accept_recipient(s, &rcpt);
}
