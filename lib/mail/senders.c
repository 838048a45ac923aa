#include "mail/senders.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "mail/domain.h"

/* Calls fn for each word until it says true. */
static bool some_word(const char *senders, bool (*fn)(const char *word, void *arg), void *arg)
{
    char word[MAIL_ADDRESS_MAX + 1];
    for (senders += strspn(senders, " "); *senders != '\0'; senders += strspn(senders, " ")) {
        size_t len = strcspn(senders, " ");
        /* One that is too long is cut, and so no address. */
        snprintf(word, sizeof(word), "%.*s", (int)(len < sizeof(word) ? len : sizeof(word) - 1), senders);
        if (fn(word, arg))
            return true;
        senders += len;
    }
    return false;
}

struct wrong_word {
    char *out;
    size_t size;
};

static bool is_wrong(const char *word, void *arg)
{
    struct wrong_word *w = arg;
    struct mail_address a;
    char domain[MAIL_DNS_NAME_MAX + 1];
    bool right = strcmp(word, "*") == 0;
    if (!right && strchr(word, '@') != NULL)
        right = mail_address_parse(word, strlen(word), MAIL_ADDRESS_ALLOW_UTF8, &a) == 0;
    else if (!right)
        right = mail_domain_to_ascii(word + (word[0] == '.'), domain) == 0;
    if (!right)
        snprintf(w->out, w->size, "%s", word);
    return !right;
}

int mail_senders_check(const char *senders, char *wrong, size_t wrong_size)
{
    struct wrong_word w = {wrong, wrong_size};
    return some_word(senders, is_wrong, &w) ? -EINVAL : 0;
}

/* Whom it is about, and its domain as DNS has it; "" = an address literal, or none. */
struct claimed {
    const struct mail_address *address;
    char domain[MAIL_DNS_NAME_MAX + 1];
};

static bool same_mailbox(const char *word, const struct claimed *c)
{
    struct mail_address a;
    char domain[MAIL_DNS_NAME_MAX + 1];
    if (mail_address_parse(word, strlen(word), MAIL_ADDRESS_ALLOW_UTF8, &a) != 0)
        return false;
    if (mail_domain_to_ascii(mail_address_domain(&a), domain) < 0)
        return text_equal_nocase(a.text, c->address->text); /* a literal */
    return strcmp(domain, c->domain) == 0 && a.local_len == c->address->local_len &&
           text_equal_nocase_n(a.text, c->address->text, a.local_len);
}

static bool allows(const char *word, void *arg)
{
    const struct claimed *c = arg;
    char domain[MAIL_DNS_NAME_MAX + 1];
    if (strcmp(word, "*") == 0)
        return true;
    if (strchr(word, '@') != NULL)
        return same_mailbox(word, c);
    if (c->domain[0] == '\0' || mail_domain_to_ascii(word + (word[0] == '.'), domain) < 0)
        return false;
    if (word[0] != '.')
        return strcmp(domain, c->domain) == 0;
    size_t len = strlen(domain), claimed_len = strlen(c->domain);
    return claimed_len > len && c->domain[claimed_len - len - 1] == '.' &&
           strcmp(c->domain + claimed_len - len, domain) == 0;
}

bool mail_senders_allow(const char *senders, const struct mail_address *a)
{
    struct claimed c = {.address = a};
    if (senders[0] == '\0')
        return true;
    if (mail_domain_to_ascii(mail_address_domain(a), c.domain) < 0)
        c.domain[0] = '\0';
    return some_word(senders, allows, &c);
}
