#include "smtpd/command.h"

#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "log/log.h"
#include "smtpd/domains.h"
#include "smtpd/transaction.h"

enum { DOMAIN_PATIENCE_MS = 5000 }; /* a client waits as long for each question */

enum {
    NEEDS_HELLO = 1,
    NO_ARGUMENT = 2,
};

static const struct {
    void (*fn)(struct session *s, char *argument);
    unsigned rules;
} commands[SMTP_VERBS] = {
    [SMTP_VERB_HELO] = {cmd_helo, 0},
    [SMTP_VERB_EHLO] = {cmd_ehlo, 0},
    [SMTP_VERB_STARTTLS] = {cmd_starttls, NEEDS_HELLO | NO_ARGUMENT},
    [SMTP_VERB_AUTH] = {cmd_auth, NEEDS_HELLO},
    [SMTP_VERB_MAIL] = {cmd_mail, NEEDS_HELLO},
    [SMTP_VERB_RCPT] = {cmd_rcpt, NEEDS_HELLO},
    [SMTP_VERB_DATA] = {cmd_data, NEEDS_HELLO | NO_ARGUMENT},
    [SMTP_VERB_RSET] = {cmd_rset, NO_ARGUMENT},
    [SMTP_VERB_NOOP] = {cmd_noop, 0},
    [SMTP_VERB_VRFY] = {cmd_vrfy, 0}, /* RFC 5321 section 4.1.4: as RSET, NOOP and HELP before EHLO */
    [SMTP_VERB_HELP] = {cmd_help, 0},
    [SMTP_VERB_QUIT] = {cmd_quit, NO_ARGUMENT},
    [SMTP_VERB_XCLIENT] = {cmd_xclient, 0},
    [SMTP_VERB_BDAT] = {cmd_bdat, 0}, /* needs EHLO, but its bytes are read before it is refused */
    /* EXPN is a known word without a function: 502. */
};

/* First words of HTTP: a browser made to post a form at us would otherwise have its body run as commands. */
static bool is_http(const char *line)
{
    return text_equal_nocase(line, "GET") || text_equal_nocase(line, "POST") || text_equal_nocase(line, "PUT") ||
           text_equal_nocase(line, "CONNECT") || text_equal_nocase(line, "OPTIONS");
}

/* "Subject:": the client did not look at the reply that refused its message, and goes on with the content. */
static bool is_field_name(const char *line)
{
    size_t len = strlen(line);
    return len > 1 && line[len - 1] == ':';
}

/* line was cut at its end only; its first word stands there still. */
static void command_unknown(struct session *s, char *line)
{
    line[strcspn(line, " \t")] = '\0';
    if (is_http(line)) {
        session_log_ended(s, "the client speaks HTTP");
        session_close(s, 421, "4.7.0", "%s this is not HTTP", s->server->hostname);
    } else if (is_field_name(line)) {
        session_log_ended(s, "the client sends a message that was refused, line by line");
        session_close(s, 421, "4.7.0", "%s expected a command, not a message", s->server->hostname);
    } else {
        session_refuse(s, 500, "5.5.2", "command not recognised");
    }
}

bool command_ask_domain(struct session *s, const struct mail_address *address,
                        void (*answered)(void *session, const struct ipc_domain_checked *answer))
{
    const struct domain_subject subject = {
        .domain = mail_address_domain(address), .tenant = session_tenant(s), .sender = s->transaction->mail.from.text};
    if (s->server->domains == NULL || subject.domain[0] == '\0' ||
        domains_ask(s->server->domains, &subject, answered, s, &s->domain_question) < 0)
        return false;
    s->domain_answered = answered;
    s->domain_until_ms = clock_mono_ms() + DOMAIN_PATIENCE_MS;
    session_check_by(s, s->domain_until_ms);
    session_wait(s, SESSION_DOMAIN_WAIT);
    return true;
}

void command_domain_unasked(struct session *s)
{
    domains_cancel(s->domain_question);
    s->domain_answered(s, NULL);
}

void command_refuse_argument(struct session *s, int result, const char *bad_address,
                             const struct smtp_argument_fault *fault)
{
    const struct {
        unsigned code;
        const char *enhanced;
    } faults[] = {
        [SMTP_ARGUMENT_SYNTAX] = {501, "5.5.4"},
        [SMTP_ARGUMENT_ADDRESS] = {501, bad_address},
        [SMTP_ARGUMENT_NEEDS_UTF8] = {553, "5.6.7"},        /* RFC 6531 section 3.5 */
        [SMTP_ARGUMENT_UNKNOWN_PARAMETER] = {555, "5.5.4"}, /* RFC 5321 section 4.1.1.11 */
        [SMTP_ARGUMENT_BAD_PARAMETER] = {501, "5.5.4"},
    };
    bool named = fault->parameter[0] != '\0';
    session_refuse(s, faults[result].code, faults[result].enhanced, "%s%s%s", fault->parameter, named ? ": " : "",
                   fault->problem);
}

void command_run(struct session *s, char *line, size_t len)
{
    char *argument;
    s->commands++;
    s->verb = smtp_command_parse(line, len, &argument);
    s->chunk_refused &= s->verb == SMTP_VERB_BDAT;
    if (s->verb == SMTP_VERB_UNKNOWN)
        command_unknown(s, line);
    else if (commands[s->verb].fn == NULL)
        session_refuse(s, 502, "5.5.1", "%s is not implemented", smtp_verb_name(s->verb));
    else if ((commands[s->verb].rules & NO_ARGUMENT) && argument[0] != '\0')
        session_refuse(s, 501, "5.5.4", "%s takes no argument", smtp_verb_name(s->verb));
    else if ((commands[s->verb].rules & NEEDS_HELLO) && s->helo[0] == '\0')
        session_refuse(s, 503, "5.5.1", "send EHLO or HELO first");
    else
        commands[s->verb].fn(s, argument);
}
