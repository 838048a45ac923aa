/* recipients: those of one transaction, each once, in order of arrival.  Packed: with fifty thousand of them the
 * addresses themselves are most of the memory. */
#ifndef POSTHOUSE_SMTPD_RECIPIENTS_H
#define POSTHOUSE_SMTPD_RECIPIENTS_H

#include "base/buf.h"

struct recipient_place;

struct recipients {
    struct buf texts; /* address NUL orcpt NUL, each behind the other */
    struct recipient_place *places;
    size_t count, capacity;
    uint32_t *table; /* number + 1 by address, open addressing; 0 = nobody */
    size_t slots;    /* a power of two */
};

/* Zeroed is empty. */
void recipients_deinit(struct recipients *r);
/* 0; 1: it is there already; -ENOMEM. */
int recipients_add(struct recipients *r, const char *address, const char *orcpt, uint32_t notify);
const char *recipients_address(const struct recipients *r, size_t i);
const char *recipients_orcpt(const struct recipients *r, size_t i); /* "" = none */
uint32_t recipients_notify(const struct recipients *r, size_t i);

#endif
