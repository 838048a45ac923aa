/* Paths, mailboxes and From fields.  What was accepted must be accepted again, and mean the same. */
#include <stdlib.h>
#include <string.h>

#include "mail/address.h"
#include "mail/domain.h"
#include "mail/from.h"
#include "mail/senders.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A policy on senders must not see other addresses than were written. */
static int check_mailbox(void *arg, const struct mail_address *a)
{
    struct mail_address again;
    unsigned allow = MAIL_ADDRESS_ALLOW_UTF8;
    if (mail_address_parse(a->text, strlen(a->text), allow, &again) != 0)
        abort();
    bool one_word = strchr(a->text, ' ') == NULL; /* else a list can not name it */
    if ((one_word && !mail_senders_allow(a->text, &again)) || mail_senders_allow("-", a))
        abort();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct mail_address a, again;
    struct buf domain;
    char ascii[MAIL_DNS_NAME_MAX + 1];
    size_t used;
    unsigned allow = MAIL_ADDRESS_ALLOW_UTF8 | MAIL_ADDRESS_ALLOW_NULL | MAIL_ADDRESS_ALLOW_POSTMASTER;
    mail_path_parse(text, size, allow, &a, &used);
    if (mail_address_parse(text, size, allow, &a) == 0) {
        if (mail_address_parse(a.text, strlen(a.text), allow, &again) != 0 || strcmp(a.text, again.text) != 0)
            abort();
        mail_domain_to_ascii(mail_address_domain(&a), ascii);
    }
    buf_init(&domain, 255);
    mail_from_domain(text, size, &domain);
    buf_deinit(&domain);
    mail_from_mailboxes(text, size, check_mailbox, NULL);
    return 0;
}
