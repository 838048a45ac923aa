/* catalogue: the messages between the programs of the suite as C types, and their codec.
 *
 * As bytes: u32 type, then the fields in catalogue order; numbers little-endian, texts and lists with a u32 length or
 * count in front.  What does not match to the byte is refused. */
#ifndef POSTHOUSE_IPC_CATALOGUE_H
#define POSTHOUSE_IPC_CATALOGUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "ipc/role.h"

#define IPC_VERSION        2
#define IPC_RECORD_MAX     (160 * 1024) /* bytes of one message */
#define IPC_RECIPIENTS_MAX 50   /* per DELIVER and BOUNCE: fits the record with the longest addresses and replies */
#define IPC_REPLY_MAX      1000 /* bytes of a reply text; senders cut longer ones */

enum ipc_auth_result { AUTH_OK, AUTH_FAILED, AUTH_TEMPFAIL, AUTH_MALFORMED, AUTH_NO_MECHANISM, AUTH_NOBODY };
enum ipc_sign_status { SIGN_SIGNED, SIGN_NO_KEY, SIGN_FAILED };
enum ipc_route_status { ROUTE_FOUND, ROUTE_FAILED, ROUTE_TRY_LATER };
enum ipc_outcome { OUTCOME_DELIVERED, OUTCOME_TRY_LATER, OUTCOME_FAILED };
enum ipc_blame { BLAME_NOBODY, BLAME_SITE, BLAME_MESSAGE, BLAME_RECIPIENT };
enum ipc_bounce_kind { BOUNCE_FAILED, BOUNCE_DELAYED, BOUNCE_DELIVERED };
enum ipc_queue_verb { QUEUE_VERB_RETRY, QUEUE_VERB_HOLD, QUEUE_VERB_RELEASE, QUEUE_VERB_DELETE };
enum ipc_rule_verb { RULE_VERB_SUSPEND, RULE_VERB_BOUNCE, RULE_VERB_REROUTE, RULE_VERB_RESUME };
enum ipc_rule_kind { RULE_KIND_DOMAIN, RULE_KIND_SITE, RULE_KIND_TENANT, RULE_KIND_SENDER };
enum ipc_suite_verb { SUITE_STATUS, SUITE_STOP, SUITE_RELOAD };
enum ipc_order_status { ORDER_OK, ORDER_NOT_FOUND, ORDER_REFUSED };

enum ipc_type {
    IPC_NONE,
#define MESSAGE(NAME, name, from, to, descriptor, meaning) IPC_##NAME,
#define RECORD(name)
#define U32(name, field, meaning)
#define U64(name, field, meaning)
#define STR(name, field, meaning)
#define LIST(name, field, record, meaning)
#define END(name)
#include "ipc/catalogue.def"
    IPC_TYPE_COUNT,
};

/* struct ipc_hello { uint32_t version; … }; and so on.  A text is never NULL after decoding; a NULL one is sent as "".
 */
#define MESSAGE(NAME, name, from, to, descriptor, meaning) struct ipc_##name {
#define RECORD(name)                                       struct ipc_##name {
#define U32(name, field, meaning)                          uint32_t field;
#define U64(name, field, meaning)                          uint64_t field;
#define STR(name, field, meaning)                          const char *field;
#define LIST(name, field, record, meaning)                                                                             \
    const struct ipc_##record *field;                                                                                  \
    uint32_t field##_count;
#define END(name)                                                                                                      \
    }                                                                                                                  \
    ;
#include "ipc/catalogue.def"

enum ipc_field_kind { IPC_FIELD_END, IPC_FIELD_U32, IPC_FIELD_U64, IPC_FIELD_STR, IPC_FIELD_LIST };

struct ipc_field {
    enum ipc_field_kind kind;
    const char *name, *meaning;
    size_t offset;
    size_t count_offset;            /* IPC_FIELD_LIST */
    const struct ipc_field *record; /* IPC_FIELD_LIST */
    size_t record_size;             /* IPC_FIELD_LIST */
};

struct ipc_message {
    const char *name, *meaning;
    const struct ipc_field *fields;
    size_t size;       /* of the struct */
    unsigned from, to; /* ROLE_BITs that may send and receive it */
    bool descriptor;   /* may carry one */
};

/* NULL for a type that does not exist. */
const struct ipc_message *ipc_message(uint32_t type);
const char *ipc_type_name(uint32_t type);

/* Appends the record to out.  0, -ENOBUFS (longer than out's limit), -ENOMEM, -EINVAL (no such type). */
int ipc_encode(enum ipc_type type, const void *message, struct buf *out);

/* Decodes a record in place: texts in *message point into data (which is rewritten), lists into memory that
 * ipc_decoded_free gives back; neither outlives data.  0, -EPROTO (not a record of the catalogue) or -ENOMEM. */
union ipc_any {
#define MESSAGE(NAME, name, from, to, descriptor, meaning) struct ipc_##name name;
#define RECORD(name)
#define U32(name, field, meaning)
#define U64(name, field, meaning)
#define STR(name, field, meaning)
#define LIST(name, field, record, meaning)
#define END(name)
#include "ipc/catalogue.def"
};
int ipc_decode(char *data, size_t len, enum ipc_type *type, union ipc_any *message);
void ipc_decoded_free(enum ipc_type type, union ipc_any *message);

#endif
