/* self_test: does signing by key handle work with the libopendkim we run with? */
#ifndef POSTHOUSE_DKIM_SIGNER_SELF_TEST_H
#define POSTHOUSE_DKIM_SIGNER_SELF_TEST_H

#include <stdbool.h>

#include "dkim-signer/signer.h"

/* Signs a message with a fresh key of each type and verifies it.  by_handle[type]: whether handles are good; where they
 * are not, why gets a sentence for the log.  -EIO when not even a PEM text signs. */
int self_test(const struct settings_dkim_signer *settings, bool by_handle[2], struct buf *why);

/* signer.c: a signer as the self-test needs it. */
int signer_build(const struct settings_dkim_signer *settings, const struct key_table *table, const bool by_handle[],
                 struct signer **out);

#endif
