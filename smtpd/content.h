/* content: what comes after DATA on its way into the queue file: dots unstuffed, the header completed, loops and broken
 * messages found, everything bounded.
 *
 * The first fault decides; what follows it is read to the real end and thrown away, so that the reply to the message is
 * the reply to its last line. */
#ifndef POSTHOUSE_SMTPD_CONTENT_H
#define POSTHOUSE_SMTPD_CONTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "queue/inject.h"
#include "settings/smtpd.h"

struct content;

/* Why a message is refused: a reply. */
struct content_fault {
    unsigned code;
    const char *enhanced, *text;
    bool ends_session; /* what the client sends behind the message can not be trusted to be its own */
};

/* What may be done to a message, and what not. */
struct content_rules {
    bool submission;     /* fill in Date and Message-ID, drop Bcc */
    bool normalises;     /* bare CR and LF become CRLF; else they are a fault */
    uint64_t max_bytes;  /* 0 = any */
    bool binary;         /* BODY=BINARYMIME: all bytes are right as they are */
    bool adds_from;      /* a missing From, or Sender of several authors, is added */
    const char *sender;  /* of the envelope; must outlive the content, as senders */
    const char *senders; /* whom From and Sender may name (mail/senders.h) */
};

/* Owns the injection on success; settings and hostname must outlive it.  NULL: no memory. */
struct content *content_new(const struct settings_smtpd *settings, const char *hostname,
                            const struct content_rules *rules, struct injection *injection);
/* Accepts NULL; aborts the injection if it was not taken. */
void content_free(struct content *c);

/* 0: the content has ended, *used bytes of data belonged to it; 1: more has to come. */
int content_feed(struct content *c, const char *data, size_t len, size_t *used);
/* The same for what came by BDAT: any portion, and the end, which the last chunk tells. */
void content_chunk(struct content *c, const char *data, size_t len);
void content_chunks_end(struct content *c);
/* After the end: NULL = the message is good and complete in its injection. */
const struct content_fault *content_fault(const struct content *c);
/* The disk's error behind a 452, 0 = none. */
int content_error(const struct content *c);

/* The injection becomes the caller's, to commit. */
struct injection *content_take_injection(struct content *c);
uint32_t content_flags(const struct content *c);  /* enum envelope_flag bits learned */
uint64_t content_bytes(const struct content *c);  /* as received, without trace */
const char *content_key(const struct content *c); /* of idempotency_header; "" = none */
const char *content_message_id(const struct content *c);

#endif
