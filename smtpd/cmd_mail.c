/* MAIL: RFC 5321 section 4.1.1.2, with SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), RET and ENVID (RFC 3461)
 * and AUTH (RFC 4954 section 5).
 *
 *     mail = "MAIL FROM:" Reverse-path [SP Mail-parameters] CRLF
 */
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "mail/date.h"
#include "mail/senders.h"
#include "smtpd/command.h"
#include "smtpd/quota.h"
#include "smtpd/transaction.h"

/* RFC 6409 section 4.3, and RFC 4954 section 6 for the replies. */
static bool check_login(struct session *s)
{
    if (s->credential != NULL || s->listener->auth != LISTENER_AUTH_REQUIRED)
        return true;
    if (stream_is_secure(s->stream))
        session_refuse(s, 530, "5.7.0", "log in first");
    else
        session_refuse(s, 530, "5.7.0", "send STARTTLS and log in first");
    return false;
}

static bool check_size(struct session *s, const struct smtp_mail *mail)
{
    uint64_t largest = (uint64_t)session_max_message_size(s);
    if (largest > 0 && mail->size_bytes > largest) {
        /* RFC 1870 section 6.1 */
        session_refuse(s, 552, "5.3.4", "message is larger than this server takes (%llu bytes)",
                       (unsigned long long)largest);
        return false;
    }
    if (!server_has_space(s->server, mail->size_bytes)) {
        session_decline(s, 452, "4.3.1", "not enough space for the message, try again later");
        return false;
    }
    return true;
}

/* RFC 4865 section 5 */
static bool check_release(struct session *s, const struct smtp_mail *mail)
{
    int64_t longest_s = s->server->settings.future_release_max_ms / 1000;
    if (mail->hold_for_s <= longest_s && mail->hold_until_s <= clock_wall_s() + longest_s)
        return true;
    session_refuse(s, 501, "5.5.4", "messages are held for %lld seconds at most", (long long)longest_s);
    return false;
}

/* RFC 6409 section 6.2.  The null sender is for notifications, whoever sends them; From is looked at all the same. */
static bool check_sender(struct session *s, const struct smtp_mail *mail)
{
    if (mail->from.text[0] == '\0' || mail_senders_allow(session_senders(s), &mail->from))
        return true;
    session_refuse(s, 550, "5.7.1", "<%s> is no address that %s may send as", mail->from.text,
                   s->credential != NULL ? s->credential : "this client");
    return false;
}

/* What an admin and the bounces say of the credential since it logged in. */
static bool check_standing(struct session *s)
{
    struct usage_standing standing;
    char when[MAIL_DATE_MAX];
    if (s->credential == NULL || s->server->usage == NULL)
        return true;
    usage_standing(s->server->usage, s->credential, &standing);
    if (standing.void_us >= s->login_us) {
        session_log_ended(s, "the credential was changed");
        session_close(s, 421, "4.7.0", "%s your credential was changed, log in again", s->server->hostname);
        return false;
    }
    if (standing.frozen_s == 0)
        return true;
    session_decline(
        s, 450, "4.7.1",
        "credential %.255s is frozen since %s as too much of its mail bounced, ask the administrator of this "
        "server",
        s->credential, mail_date_time_format(standing.frozen_s, when));
    return false;
}

/* What is left of the quotas goes into *room. */
static bool check_quota(struct session *s, int64_t *room)
{
    char why[QUOTA_TEXT_MAX];
    *room = quota_room(s, 1, why);
    if (*room > 0)
        return true;
    session_decline(s, 450, "4.7.1", "%s", why);
    return false;
}

static void accept_sender(struct session *s)
{
    session_reply(s, 250, "2.1.0", "sender ok");
}

/* A notice about the message could not be delivered there.  RFC 7505 section 4.2. */
static void domain_answered(void *arg, const struct ipc_domain_checked *answer)
{
    struct session *s = arg;
    s->domain_question = NULL;
    s->phase = SESSION_COMMAND;
    if (answer != NULL && answer->status == ROUTE_FAILED) {
        bool null_mx = strcmp(answer->enhanced, "5.1.10") == 0;
        session_decline(s, 550, null_mx ? "5.7.27" : "5.1.8", "<%.256s> no notice could reach this sender: %.256s",
                        s->transaction->mail.from.text, answer->reply);
        transaction_end(s);
    } else {
        accept_sender(s);
    }
    if (s->phase == SESSION_COMMAND)
        session_resume(s, SESSION_COMMAND);
}

void cmd_mail(struct session *s, char *argument)
{
    struct smtp_mail mail;
    struct smtp_argument_fault fault;
    if (s->transaction != NULL) {
        session_refuse(s, 503, "5.5.1", "a transaction is under way already");
        return;
    }
    if (!check_login(s))
        return;
    int r = smtp_mail_parse(argument, session_offers(s), &mail, &fault);
    if (r != 0) {
        command_refuse_argument(s, r, "5.1.7", &fault);
        return;
    }
    /* Section 4.1.1.1: extensions belong to clients that said EHLO. */
    if (!s->esmtp && mail.given != 0) {
        session_refuse(s, 555, "5.5.4", "parameters need EHLO");
        return;
    }
    int64_t room;
    if (!check_standing(s) || !check_quota(s, &room))
        return;
    if (!check_sender(s, &mail) || !check_size(s, &mail) || !check_release(s, &mail))
        return;
    s->transaction = transaction_new(s, &mail);
    if (s->transaction == NULL) {
        session_decline(s, 451, "4.3.0", "no memory, try again later");
        return;
    }
    s->transaction->room = room;
    if (!s->listener->check_sender_domain || !command_ask_domain(s, &mail.from, domain_answered))
        accept_sender(s);
}
