/* classify: what kind of failure a reply tells of, from its code, its enhanced code (RFC 3463) and the words that large
 * providers use where their codes are vague or wrong.  Pure; one ordered table of rules. */
#ifndef POSTHOUSE_BOUNCE_CLASSIFY_H
#define POSTHOUSE_BOUNCE_CLASSIFY_H

#include <stdbool.h>

enum failure_class {
    FAILURE_OTHER,       /* nothing known about it */
    FAILURE_BAD_MAILBOX, /* no such mailbox */
    FAILURE_DISABLED,    /* the mailbox exists and is closed */
    FAILURE_BAD_DOMAIN,  /* no such domain, or one that takes no mail */
    FAILURE_BAD_ADDRESS, /* the form of the address is refused */
    FAILURE_FULL,        /* over quota */
    FAILURE_TOO_LARGE,   /* the message is larger than the other side takes */
    FAILURE_SPAM,        /* taken for spam, or the sending server is on a block list */
    FAILURE_POLICY,      /* refused by a rule: authentication, permission, content */
    FAILURE_NETWORK,     /* servers, routes or DNS that do not work */
    FAILURE_PROTOCOL,    /* a server that does not understand what mail needs */
    FAILURE_EXPIRED,     /* temporary trouble until the lifetime ended */
    FAILURE_SUPPRESSED,  /* not even tried: it is on our own suppression list */
    FAILURE_CLASS_COUNT,
};

struct failure_reply {
    unsigned code;        /* SMTP, 0 = none */
    const char *enhanced; /* "5.1.1", "" = none */
    const char *text;     /* of the reply, or our reason */
    bool expired;
};

enum failure_class failure_classify(const struct failure_reply *reply);

/* "bad-mailbox": for the log and the suppression list. */
const char *failure_name(enum failure_class class);
/* For people: why, and what can be done about it; whole sentences. */
const char *failure_why(enum failure_class class);
const char *failure_advice(enum failure_class class);
/* Whether the address itself is at fault, so that later mail to it would fail as well. */
bool failure_is_hard(enum failure_class class);

#endif
