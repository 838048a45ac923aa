#include "smtp-out/verdict.h"

#include <limits.h>
#include <stdbool.h>

#include "base/text.h"

#define BIT(x)      (1u << (x))
#define ANY_SUBJECT UINT_MAX
#define SETTING_UP  (BIT(STAGE_CONNECT) | BIT(STAGE_GREETING) | BIT(STAGE_EHLO) | BIT(STAGE_STARTTLS) | BIT(STAGE_AUTH))
#define CONTENT     (BIT(STAGE_DATA) | BIT(STAGE_CONTENT) | BIT(STAGE_END))
/* RFC 3463 subjects: 1 address, 2 mailbox, 3 mail system, 4 network, 5 protocol, 6 content, 7 policy. */
#define OF_SERVER  (BIT(3) | BIT(4) | BIT(7))
#define OF_MESSAGE (BIT(1) | BIT(5) | BIT(6))

/* The first row that fits counts. */
static const struct {
    unsigned stages;
    unsigned code_min, code_max;
    unsigned subjects;
    enum ipc_outcome outcome;
    enum ipc_blame blame;
} rows[] = {
    /* No reply at all, or the server is about to close (RFC 5321 section 3.8). */
    {~0u, 0, 0, ANY_SUBJECT, OUTCOME_TRY_LATER, BLAME_SITE},
    {~0u, 421, 421, ANY_SUBJECT, OUTCOME_TRY_LATER, BLAME_SITE},
    /* A server that does not want the session says nothing about the message, whatever the code. */
    {SETTING_UP, 200, 599, ANY_SUBJECT, OUTCOME_TRY_LATER, BLAME_SITE},

    {BIT(STAGE_MAIL), 400, 499, OF_MESSAGE, OUTCOME_TRY_LATER, BLAME_MESSAGE},
    {BIT(STAGE_MAIL), 400, 499, ANY_SUBJECT, OUTCOME_TRY_LATER, BLAME_SITE},
    {BIT(STAGE_MAIL), 500, 599, ANY_SUBJECT, OUTCOME_FAILED, BLAME_MESSAGE},

    /* 450 4.7.1 and the like speak of us, not of the recipient. */
    {BIT(STAGE_RCPT), 400, 499, OF_SERVER, OUTCOME_TRY_LATER, BLAME_SITE},
    {BIT(STAGE_RCPT), 400, 499, ANY_SUBJECT, OUTCOME_TRY_LATER, BLAME_RECIPIENT},
    /* RFC 5321 section 4.5.3.1.10: 552 may mean too many recipients; 5.2.2 says it does not. */
    {BIT(STAGE_RCPT), 552, 552, BIT(0) | BIT(5), OUTCOME_TRY_LATER, BLAME_RECIPIENT},
    {BIT(STAGE_RCPT), 500, 599, ANY_SUBJECT, OUTCOME_FAILED, BLAME_RECIPIENT},

    {BIT(STAGE_END), 200, 299, ANY_SUBJECT, OUTCOME_DELIVERED, BLAME_NOBODY},
    {CONTENT, 400, 499, OF_SERVER, OUTCOME_TRY_LATER, BLAME_SITE},
    {CONTENT, 400, 499, ANY_SUBJECT, OUTCOME_TRY_LATER, BLAME_MESSAGE},
    {CONTENT, 500, 599, ANY_SUBJECT, OUTCOME_FAILED, BLAME_MESSAGE},
};

static const struct mail_status no_reply_status = {4, 4, 2}, no_connection_status = {4, 4, 1},
                                nonsense_status = {4, 5, 0};

static const unsigned outcome_class[] = {
    [OUTCOME_DELIVERED] = 2,
    [OUTCOME_TRY_LATER] = 4,
    [OUTCOME_FAILED] = 5,
};

static struct mail_status fitting_status(enum stage stage, unsigned code, struct mail_status replied,
                                         enum ipc_outcome outcome)
{
    if (code == 0)
        return stage == STAGE_CONNECT ? no_connection_status : no_reply_status;
    if (replied.class == 0)
        replied = (struct mail_status){0};
    replied.class = outcome_class[outcome];
    return replied;
}

struct verdict verdict_decide(enum stage stage, unsigned code, struct mail_status status)
{
    /* An enhanced code of another class than the reply's contradicts itself: the reply code counts (RFC 2034). */
    if (status.class != code / 100)
        status = (struct mail_status){0};
    unsigned subject = status.subject < 32 ? status.subject : 0;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        bool fits = rows[i].stages & BIT(stage) && code >= rows[i].code_min && code <= rows[i].code_max &&
                    rows[i].subjects & BIT(subject);
        if (fits)
            return (struct verdict){rows[i].outcome, rows[i].blame, code,
                                    fitting_status(stage, code, status, rows[i].outcome)};
    }
    /* A reply that the protocol does not have here. */
    return (struct verdict){OUTCOME_TRY_LATER, BLAME_SITE, code, nonsense_status};
}

struct verdict verdict_of_trouble(enum trouble trouble)
{
    static const struct verdict verdicts[TROUBLE_COUNT] = {
        [TROUBLE_OURS] = {OUTCOME_TRY_LATER, BLAME_NOBODY, 451, {4, 3, 0}},
        [TROUBLE_NO_DOMAIN] = {OUTCOME_FAILED, BLAME_RECIPIENT, 550, {5, 1, 2}},
        [TROUBLE_NULL_MX] = {OUTCOME_FAILED, BLAME_RECIPIENT, 556, {5, 1, 10}},
        [TROUBLE_NO_SERVER] = {OUTCOME_FAILED, BLAME_RECIPIENT, 550, {5, 4, 4}},
        [TROUBLE_LOOP] = {OUTCOME_FAILED, BLAME_RECIPIENT, 554, {5, 4, 6}},
        [TROUBLE_DNS] = {OUTCOME_TRY_LATER, BLAME_SITE, 451, {4, 4, 3}},
        [TROUBLE_SERVER_UNKNOWN] = {OUTCOME_FAILED, BLAME_RECIPIENT, 550, {5, 4, 4}},
        [TROUBLE_RELAY_UNKNOWN] = {OUTCOME_TRY_LATER, BLAME_SITE, 451, {4, 4, 4}},
        [TROUBLE_TLS_NOT_OFFERED] = {OUTCOME_TRY_LATER, BLAME_SITE, 454, {4, 7, 4}},
        [TROUBLE_TLS_FAILED] = {OUTCOME_TRY_LATER, BLAME_SITE, 454, {4, 7, 5}},
        [TROUBLE_NO_AUTHENTICATION] = {OUTCOME_TRY_LATER, BLAME_SITE, 454, {4, 7, 0}},
        [TROUBLE_TOO_LARGE] = {OUTCOME_FAILED, BLAME_MESSAGE, 552, {5, 3, 4}},
        [TROUBLE_NEEDS_8BITMIME] = {OUTCOME_FAILED, BLAME_MESSAGE, 554, {5, 6, 3}},
        [TROUBLE_NEEDS_SMTPUTF8] = {OUTCOME_FAILED, BLAME_MESSAGE, 550, {5, 6, 7}},
        [TROUBLE_NEEDS_BINARYMIME] = {OUTCOME_FAILED, BLAME_MESSAGE, 554, {5, 6, 3}},
        [TROUBLE_NEEDS_REQUIRETLS] = {OUTCOME_FAILED, BLAME_MESSAGE, 550, {5, 7, 30}},
        [TROUBLE_LATE] = {OUTCOME_FAILED, BLAME_MESSAGE, 554, {5, 4, 7}},
    };
    return verdicts[trouble];
}

const char *stage_text(enum stage stage)
{
    static const char *const texts[STAGE_COUNT] = {
        [STAGE_CONNECT] = "while connecting",
        [STAGE_GREETING] = "while waiting for the greeting",
        [STAGE_EHLO] = "while waiting for the reply to EHLO",
        [STAGE_STARTTLS] = "while starting TLS",
        [STAGE_AUTH] = "while authenticating",
        [STAGE_MAIL] = "while waiting for the reply to MAIL FROM",
        [STAGE_RCPT] = "while waiting for the reply to RCPT TO",
        [STAGE_DATA] = "while waiting for the reply to DATA",
        [STAGE_CONTENT] = "while sending the message",
        [STAGE_END] = "while waiting for the reply to the end of the message (it may be delivered twice)",
    };
    return texts[stage];
}

enum ipc_blame blame_worse(enum ipc_blame a, enum ipc_blame b)
{
    static const unsigned weight[] = {
        [BLAME_NOBODY] = 0,
        [BLAME_RECIPIENT] = 1,
        [BLAME_MESSAGE] = 2,
        [BLAME_SITE] = 3,
    };
    return weight[a] >= weight[b] ? a : b;
}
