/* envelope: the head of a queue file as text, and as a struct.  docs/QUEUE.md shows a whole file.
 *
 *     posthouse-queue 1 0000000341 00000000000000001234 8-----  -   first line: envelope bytes, content bytes, flags
 *     state attempts=0000 warned=0                                   fixed width, rewritten in place
 *     id 1P8X2K7Q3M40A
 *     …                                                              one "key value" a line
 *     rcpt todo     notify=0 orcpt= <user@example.com>               one per recipient, status of fixed width
 *
 * Values are UTF-8 text without control characters, so a line is a line. */
#ifndef POSTHOUSE_QUEUE_ENVELOPE_H
#define POSTHOUSE_QUEUE_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "queue/id.h"

#define ENVELOPE_MAX (64 * 1024 * 1024) /* bytes: some 200,000 recipients */

enum envelope_flag {
    ENVELOPE_8BIT = 1,          /* content has bytes above 127 */
    ENVELOPE_SMTPUTF8 = 2,      /* the client asked for SMTPUTF8 (RFC 6531) */
    ENVELOPE_LEADING_DOTS = 4,  /* some line of the content begins with a dot: needs dot-stuffing */
    ENVELOPE_BODY_8BITMIME = 8, /* the client said BODY=8BITMIME */
    ENVELOPE_BULK = 32, /* a field of the header said so (smtpd.conf: lane_header), whatever the sender's lane is */
    ENVELOPE_TRANSACTIONAL = 64, /* likewise */
    ENVELOPE_REQUIRETLS = 128,   /* RFC 8689: never without verified TLS */
    ENVELOPE_BINARY = 256,       /* RFC 3030: content is no text in lines, and goes by BDAT only */
    ENVELOPE_NOTICE = 16,        /* made by bounce: never answered by another notice */
};

enum recipient_status {
    RECIPIENT_TODO,
    RECIPIENT_DONE,    /* delivered */
    RECIPIENT_FAILED,  /* refused for good; the sender is still to be told */
    RECIPIENT_EXPIRED, /* lifetime ended; the sender is still to be told */
    RECIPIENT_BOUNCED, /* failed or expired, and the sender was told (or there is nobody to tell) */
    RECIPIENT_REMOVED, /* by an admin */
    RECIPIENT_RELAYED, /* delivered to a host that tells of no success; the sender is still to be told (RFC 3461) */
    RECIPIENT_STATUS_COUNT,
};

struct envelope_recipient {
    uint32_t index; /* offset of its line in the file: its name from one end of the suite to the other */
    enum recipient_status status;
    uint32_t notify;   /* enum mail_dsn_notify bits */
    const char *orcpt; /* as received, "" = none */
    const char *address;
};

/* Texts point into memory of whoever made the struct; after envelope_parse into its own storage.  NULL reads as "". */
struct envelope {
    char id[QUEUE_ID_SIZE];
    int64_t arrived_us;
    const char *sender;         /* reverse-path without brackets, "" = null */
    const char *credential;     /* who authenticated, "" = nobody */
    const char *tenant;         /* whose mail it is, "" = nobody's in particular */
    const char *client_address; /* "192.0.2.1", "" = made here */
    const char *client_name;    /* what the client said in EHLO */
    const char *listener;       /* name of the listener block */
    const char *protocol;       /* RFC 3848: ESMTPSA */
    const char *tls;            /* "TLSv1.3/TLS_AES_256_GCM_SHA384", "" = plaintext */
    const char *envid;          /* RFC 3461 ENVID as received */
    uint32_t ret;               /* enum mail_dsn_ret */
    uint32_t priority;          /* 0 = transactional first, 1 = bulk */
    int64_t release_s;          /* RFC 4865: not before, seconds since 1970; 0 = at once */
    int64_t return_by_s;        /* RFC 2852: returned when it is not delivered by then; 0 = as long as any */
    int64_t notify_by_s;        /* RFC 2852: its sender is told when it is not delivered by then; 0 = as usual */
    const char *mt_priority;    /* RFC 6710: "-9" to "9"; "" = none given */
    uint32_t flags;             /* enum envelope_flag bits */
    uint32_t attempts;          /* delivery rounds so far */
    bool warned;                /* the sender was told of the delay */
    uint32_t content_offset;    /* = bytes of the envelope */
    uint64_t content_length;    /* 0 while not committed */
    struct envelope_recipient *recipients;
    size_t recipient_count;
    char *storage; /* what envelope_parse allocated */
};

/* Appends the whole head to out and fills in content_offset and each recipient's index.  0, -EINVAL (a value with a
 * control character), -ENOBUFS, -ENOMEM. */
int envelope_format(struct envelope *e, struct buf *out);
/* The same in parts, for a head that is not to be in memory as a whole: all before the recipients, then each of them,
 * whose line begins at offset of the file.  content_offset is then the caller's to set. */
int envelope_format_begin(const struct envelope *e, struct buf *out);
int envelope_format_recipient(struct envelope_recipient *r, uint32_t offset, struct buf *out);
/* The first line alone, ENVELOPE_FIRST_LINE bytes: what the commit rewrites. */
#define ENVELOPE_FIRST_LINE 61
#define ENVELOPE_MAGIC      "posthouse-queue 1 "
void envelope_format_first_line(const struct envelope *e, char line[ENVELOPE_FIRST_LINE + 1]);

/* How long head and content (which may be NULL) are, from the first ENVELOPE_FIRST_LINE bytes.  0, -EPROTO. */
int envelope_peek(const char *first_line, size_t len, uint32_t *envelope_bytes, uint64_t *content_bytes);
/* Parses a whole head.  0, -EPROTO (not a queue file of ours), -ENOMEM.  Free with envelope_free. */
int envelope_parse(const char *text, size_t len, struct envelope *out);
/* The same from memory that becomes the envelope's, in any case: a large head is not copied.  NULL: -ENOMEM. */
int envelope_parse_own(char *text, size_t len, struct envelope *out);
void envelope_free(struct envelope *e);

/* "todo", "done", … */
const char *recipient_status_name(enum recipient_status status);
/* Bytes of the status in a recipient line, and where it begins in the line. */
#define RECIPIENT_STATUS_WIDTH  8
#define RECIPIENT_STATUS_OFFSET 5
/* The padded form that is written in place. */
const char *recipient_status_text(enum recipient_status status);
/* The state line, and where it stands in the file. */
#define ENVELOPE_STATE_OFFSET ENVELOPE_FIRST_LINE
#define ENVELOPE_STATE_LINE   29
void envelope_format_state(const struct envelope *e, char line[ENVELOPE_STATE_LINE + 1]);

#endif
