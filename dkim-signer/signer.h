/* signer: makes the DKIM-Signature fields of a message (RFC 6376, RFC 8463); the only file that talks to libopendkim.
 */
#ifndef POSTHOUSE_DKIM_SIGNER_SIGNER_H
#define POSTHOUSE_DKIM_SIGNER_SIGNER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "dkim/key_table.h"
#include "ipc/catalogue.h"
#include "settings/dkim_signer.h"

struct signer;

/* Opens libopendkim and proves by a signature that it works; needs the real root folder.  The table (with its keys
 * loaded) must outlive the signer.  0, or -errno with a sentence in why; with 0 a sentence in why is a warning. */
int signer_new(const struct settings_dkim_signer *settings, const struct key_table *table, struct signer **out,
               struct buf *why);
void signer_free(struct signer *s);

struct signer_request {
    const char *queue_id;
    int fd; /* only read, by position */
    uint64_t content_offset, content_length;
};

struct signer_answer {
    struct buf headers; /* whole fields, each ended by CRLF */
    struct buf keys;    /* "selector@domain,…" */
    struct buf reason;  /* unless signed */
};
void signer_answer_init(struct signer_answer *a);
void signer_answer_deinit(struct signer_answer *a);

/* SIGN_SIGNED.  SIGN_NO_KEY: nothing to sign with or for; the message goes as it is.  SIGN_FAILED: should have been
 * signed, try again later. */
enum ipc_sign_status signer_sign(struct signer *s, const struct signer_request *request, struct signer_answer *answer);

#endif
