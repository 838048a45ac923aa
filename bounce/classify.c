#include "bounce/classify.h"

#include <stddef.h>
#include <string.h>

#include "base/text.h"
#include "mail/status.h"

/* First match wins.  code 0, subject -1, detail -1 and text NULL match anything; text is compared without case. */
static const struct rule {
    unsigned code;
    int subject, detail;
    const char *text;
    enum failure_class class;
} rules[] = {
    /* Our own refusal must not prolong what it comes from. */
    {0, -1, -1, "suppression list", FAILURE_SUPPRESSED},

    /* Words against codes: some servers put 5.1.1 on everything, and an address must not be suppressed for the
     * reputation of the machine or the message. */
    {0, -1, -1, "spamhaus", FAILURE_SPAM},
    {0, -1, -1, "barracudacentral", FAILURE_SPAM},
    {0, -1, -1, "dnsbl", FAILURE_SPAM},
    {0, -1, -1, "blacklist", FAILURE_SPAM},
    {0, -1, -1, "blocklist", FAILURE_SPAM},
    {0, -1, -1, "block list", FAILURE_SPAM},
    {0, -1, -1, "poor reputation", FAILURE_SPAM},
    {0, -1, -1, "low reputation", FAILURE_SPAM},
    {0, -1, -1, "considered spam", FAILURE_SPAM},
    {0, -1, -1, "as spam", FAILURE_SPAM},
    {0, -1, -1, "spam message", FAILURE_SPAM},
    {0, -1, -1, "spam content", FAILURE_SPAM},
    {0, -1, -1, "unsolicited", FAILURE_SPAM},
    {0, -1, -1, "dmarc", FAILURE_POLICY},
    {0, -1, -1, "spf check", FAILURE_POLICY},
    {0, -1, -1, "spf fail", FAILURE_POLICY},
    {0, -1, -1, "relay access denied", FAILURE_POLICY},
    {0, -1, -1, "relaying denied", FAILURE_POLICY},
    {0, -1, -1, "unable to relay", FAILURE_POLICY},
    {0, -1, -1, "relay not permitted", FAILURE_POLICY},
    {0, -1, -1, "authentication required", FAILURE_POLICY},
    {0, -1, -1, "sender address rejected", FAILURE_POLICY},
    {0, -1, -1, "sender domain", FAILURE_POLICY},
    {0, -1, -1, "sender verify failed", FAILURE_POLICY},
    {0, -1, -1, "over quota", FAILURE_FULL},
    {0, -1, -1, "quota exceeded", FAILURE_FULL},
    {0, -1, -1, "exceeded quota", FAILURE_FULL},
    {0, -1, -1, "mailbox full", FAILURE_FULL},
    {0, -1, -1, "mailbox is full", FAILURE_FULL},
    {0, -1, -1, "out of storage", FAILURE_FULL},
    {0, -1, -1, "insufficient storage", FAILURE_FULL},

    /* RFC 7505 section 4.2 against a large provider that says 5.1.10 and 5.4.1 for mailboxes it does not have. */
    {0, 1, 10, "RecipientNotFound", FAILURE_BAD_MAILBOX},
    {0, 5, 1, "RESOLVER.ADR", FAILURE_BAD_MAILBOX},
    {0, 4, 1, "Recipient address rejected: Access denied", FAILURE_BAD_MAILBOX},

    /* The registry of RFC 5248. */
    {0, 1, 1, NULL, FAILURE_BAD_MAILBOX},
    {0, 1, 2, NULL, FAILURE_BAD_DOMAIN},
    {0, 1, 3, NULL, FAILURE_BAD_ADDRESS},
    {0, 1, 4, NULL, FAILURE_OTHER}, /* ambiguous: the mailbox may well exist */
    {0, 1, 6, NULL, FAILURE_BAD_MAILBOX},
    {0, 1, 10, NULL, FAILURE_BAD_DOMAIN},
    {0, 1, 7, NULL, FAILURE_POLICY}, /* 7 and 8 are about the sender's address */
    {0, 1, 8, NULL, FAILURE_POLICY},
    {0, 2, 1, NULL, FAILURE_DISABLED},
    {0, 2, 2, NULL, FAILURE_FULL},
    {0, 2, 3, NULL, FAILURE_TOO_LARGE},
    {0, 3, 4, NULL, FAILURE_TOO_LARGE},
    {0, 4, -1, NULL, FAILURE_NETWORK},
    {0, 5, 0, "mailbox not found", FAILURE_BAD_MAILBOX},
    {0, 5, -1, NULL, FAILURE_PROTOCOL},
    {0, 6, -1, NULL, FAILURE_PROTOCOL},
    {0, 7, 1, "user unknown", FAILURE_BAD_MAILBOX},
    {0, 7, 1, "unknown user", FAILURE_BAD_MAILBOX},
    {0, 7, 1, "no such user", FAILURE_BAD_MAILBOX},
    {0, 7, -1, NULL, FAILURE_POLICY},

    /* No useful code: words. */
    {0, -1, -1, "user unknown", FAILURE_BAD_MAILBOX},
    {0, -1, -1, "unknown user", FAILURE_BAD_MAILBOX},
    {0, -1, -1, "no such user", FAILURE_BAD_MAILBOX},
    {0, -1, -1, "no such recipient", FAILURE_BAD_MAILBOX},
    {0, -1, -1, "no such mailbox", FAILURE_BAD_MAILBOX},
    {0, -1, -1, "no mailbox here", FAILURE_BAD_MAILBOX},
    {0, -1, -1, "mailbox not found", FAILURE_BAD_MAILBOX},
    {0, -1, -1, "user not found", FAILURE_BAD_MAILBOX},
    {0, -1, -1, "recipient not found", FAILURE_BAD_MAILBOX},
    {0, -1, -1, "recipient unknown", FAILURE_BAD_MAILBOX},
    {0, -1, -1, "unknown recipient", FAILURE_BAD_MAILBOX},
    {0, -1, -1, "invalid recipient", FAILURE_BAD_MAILBOX},
    {0, -1, -1, "invalid mailbox", FAILURE_BAD_MAILBOX},
    {0, -1, -1, "domain does not exist", FAILURE_BAD_DOMAIN},
    {0, -1, -1, "does not exist", FAILURE_BAD_MAILBOX},
    {0, -1, -1, "doesn't have a", FAILURE_BAD_MAILBOX},
    {0, -1, -1, "mailbox unavailable", FAILURE_OTHER}, /* RFC 5321 gives the phrase for 450 and 550 alike */
    {0, -1, -1, "account disabled", FAILURE_DISABLED},
    {0, -1, -1, "account is disabled", FAILURE_DISABLED},
    {0, -1, -1, "mailbox disabled", FAILURE_DISABLED},
    {0, -1, -1, "account has been disabled", FAILURE_DISABLED},
    {0, -1, -1, "account suspended", FAILURE_DISABLED},
    {0, -1, -1, "message too large", FAILURE_TOO_LARGE},
    {0, -1, -1, "message size exceeds", FAILURE_TOO_LARGE},

    /* Codes alone (RFC 5321 section 4.2.3, RFC 7504, RFC 7505). */
    {521, -1, -1, NULL, FAILURE_BAD_DOMAIN},
    {556, -1, -1, NULL, FAILURE_BAD_DOMAIN},
    {553, -1, -1, NULL, FAILURE_BAD_ADDRESS},
    {552, -1, -1, NULL, FAILURE_TOO_LARGE},
    {530, -1, -1, NULL, FAILURE_POLICY},
    {535, -1, -1, NULL, FAILURE_POLICY},
    {500, -1, -1, NULL, FAILURE_PROTOCOL},
    {501, -1, -1, NULL, FAILURE_PROTOCOL},
    {502, -1, -1, NULL, FAILURE_PROTOCOL},
    {503, -1, -1, NULL, FAILURE_PROTOCOL},
    {555, -1, -1, NULL, FAILURE_PROTOCOL},
};

static const struct class_row {
    const char *name;
    bool hard;
    const char *why, *advice;
} classes[FAILURE_CLASS_COUNT] = {
    [FAILURE_OTHER] = {"other", false, "The recipient's mail server refused the message.",
                       "The server's own words below may tell more. If they do not, ask the recipient in another "
                       "way, or forward this notice to your administrator."},
    [FAILURE_BAD_MAILBOX] = {"bad-mailbox", true, "This address does not exist.",
                             "Check the spelling of the part before the @ sign. If it is right, ask the recipient for "
                             "the current address in another way."},
    [FAILURE_DISABLED] = {"mailbox-disabled", true, "This mailbox exists, but it is closed and takes no mail.",
                          "Ask the recipient in another way for an address that is in use."},
    [FAILURE_BAD_DOMAIN] = {"bad-domain", true,
                            "The part of the address behind the @ sign does not exist, or it takes no mail.",
                            "Check the spelling of the part behind the @ sign."},
    [FAILURE_BAD_ADDRESS] = {"bad-address", true, "The recipient's mail server says that this is no valid address.",
                             "Check the address for characters that do not belong to it."},
    [FAILURE_FULL] = {"mailbox-full", false, "The recipient's mailbox is full.",
                      "Send the message again in a few days, or tell the recipient in another way."},
    [FAILURE_TOO_LARGE] = {"too-large", false, "The message is larger than the recipient's mail server takes.",
                           "Send it again with smaller attachments, or share the files in another way."},
    [FAILURE_SPAM] = {"spam-block", false,
                      "The recipient's mail server takes the message for unwanted mail, or does not trust the server "
                      "that sent it.",
                      "The address itself is probably right. Forward this notice to your administrator, who can find "
                      "out why."},
    [FAILURE_POLICY] = {"policy", false, "A rule of the recipient's mail server forbids this message.",
                        "The address itself is probably right. Forward this notice to your administrator, or ask the "
                        "recipient to allow your mail."},
    [FAILURE_NETWORK] = {"network", false, "The recipient's mail server could not be reached or found.",
                         "Check the part behind the @ sign. If it is right, send the message again later."},
    [FAILURE_PROTOCOL] = {"protocol", false, "The recipient's mail server could not work with this message.",
                          "Forward this notice to your administrator."},
    [FAILURE_EXPIRED] = {"expired", false,
                         "Delivery was tried again and again, and each time there was only temporary trouble. The time "
                         "for it has run out.",
                         "Send the message again later, or tell the recipient in another way."},
    [FAILURE_SUPPRESSED] = {"suppressed", false,
                            "Earlier mail to this address came back, so that nothing more is sent to it.",
                            "If the address works again, ask your administrator to take it off the suppression list."},
};

static bool contains_nocase(const char *text, const char *part)
{
    size_t n = strlen(part);
    for (; *text != '\0'; text++)
        if (text_lower_char(*text) == text_lower_char(*part) && text_equal_nocase_n(text, part, n))
            return true;
    return false;
}

static bool rule_matches(const struct rule *rule, const struct failure_reply *reply, const struct mail_status *status)
{
    if (rule->code != 0 && rule->code != reply->code)
        return false;
    if (rule->subject >= 0 && (status->class != 5 || (unsigned)rule->subject != status->subject))
        return false;
    if (rule->detail >= 0 && (unsigned)rule->detail != status->detail)
        return false;
    return rule->text == NULL || contains_nocase(reply->text, rule->text);
}

enum failure_class failure_classify(const struct failure_reply *reply)
{
    struct mail_status status;
    mail_status_parse(reply->enhanced, strlen(reply->enhanced), &status);
    if (reply->expired || (reply->code > 0 && reply->code < 500) || status.class == 4)
        return FAILURE_EXPIRED;
    for (size_t i = 0; i < ARRAY_LENGTH(rules); i++)
        if (rule_matches(&rules[i], reply, &status))
            return rules[i].class;
    return FAILURE_OTHER;
}

const char *failure_name(enum failure_class class)
{
    return classes[class].name;
}

const char *failure_why(enum failure_class class)
{
    return classes[class].why;
}

const char *failure_advice(enum failure_class class)
{
    return classes[class].advice;
}

bool failure_is_hard(enum failure_class class)
{
    return classes[class].hard;
}
