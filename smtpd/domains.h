/* domains: asks whether a recipient's domain takes mail at all: whether it exists (RFC 5321 section 5.1) and has no
 * null MX (RFC 7505).  qmgr knows, by its routes; nothing of DNS is read here. */
#ifndef POSTHOUSE_SMTPD_DOMAINS_H
#define POSTHOUSE_SMTPD_DOMAINS_H

#include "ipc/channel.h"

struct domains;
struct domain_question;

/* What is asked: the domain in lower case, and what an admin's rules may look at. */
struct domain_subject {
    const char *domain, *tenant, *sender;
};

/* The way to qmgr while there is one, else NULL.  NULL: memory. */
struct domains *domains_new(struct ipc_channel *(*channel)(void *arg), void *arg);
void domains_free(struct domains *d);

/* on_answer comes later, once, unless the question is cancelled; answer NULL: qmgr went away.  0; -EALREADY: it is
 * known to take mail; -EAGAIN: nobody can be asked; -ENOMEM. */
int domains_ask(struct domains *d, const struct domain_subject *subject,
                void (*on_answer)(void *arg, const struct ipc_domain_checked *answer), void *arg,
                struct domain_question **out);
/* Accepts NULL. */
void domains_cancel(struct domain_question *q);

/* For qmgr's face. */
void domains_answered(struct domains *d, const struct ipc_domain_checked *answer);
void domains_down(struct domains *d);

#endif
