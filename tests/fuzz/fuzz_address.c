/* Paths, mailboxes and From fields.  What was accepted must be accepted again, and mean the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mail/address.h"
#include "mail/domain.h"
#include "mail/from.h"
#include "mail/senders.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ALLOW = MAIL_ADDRESS_ALLOW_UTF8 | MAIL_ADDRESS_ALLOW_NULL | MAIL_ADDRESS_ALLOW_POSTMASTER };

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_domain(const char *domain)
{
    char ascii[MAIL_DNS_NAME_MAX + 1], again[MAIL_DNS_NAME_MAX + 1];
    struct net_address address;
    size_t len = strlen(domain);
    if (mail_domain_is_literal(domain, len)) {
        require(mail_literal_parse(domain, len, &address) == 0);
        return;
    }
    require(mail_domain_is_valid(domain, len));
    if (mail_domain_to_ascii(domain, ascii) == 0)
        require(mail_domain_to_ascii(ascii, again) == 0 && strcmp(ascii, again) == 0);
}

/* What was accepted, in brackets: on the wire to the next host, it must be one path and nothing behind it. */
static void check_address(const struct mail_address *a)
{
    char path[MAIL_ADDRESS_MAX + 3];
    struct mail_address again;
    size_t used;
    int len = snprintf(path, sizeof(path), "<%s>", a->text);
    require(strpbrk(path, "\r\n") == NULL);
    require(mail_path_parse(path, (size_t)len, ALLOW, &again, &used) == 0 && used == (size_t)len);
    require(strcmp(a->text, again.text) == 0 && a->needs_utf8 == again.needs_utf8 && a->local_len == again.local_len);
    if (mail_address_domain(a)[0] != '\0')
        check_domain(mail_address_domain(a));
}

/* A policy on senders must not see other addresses than were written. */
static int check_mailbox(void *arg, const struct mail_address *a)
{
    check_address(a);
    bool one_word = strchr(a->text, ' ') == NULL; /* else a list can not name it */
    require((!one_word || mail_senders_allow(a->text, a)) && !mail_senders_allow("-", a));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct mail_address a;
    struct buf domain;
    size_t used;
    if (mail_path_parse(text, size, ALLOW, &a, &used) == 0) {
        require(used <= size);
        check_address(&a);
    }
    if (mail_address_parse(text, size, ALLOW, &a) == 0)
        check_address(&a);
    buf_init(&domain, 255);
    if (mail_from_domain(text, size, &domain) == 0)
        check_domain(buf_str(&domain));
    buf_deinit(&domain);
    mail_from_mailboxes(text, size, check_mailbox, NULL);
    return 0;
}
