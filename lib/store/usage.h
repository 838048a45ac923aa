/* usage: how much mail each credential, tenant, client and network sent in the last minute, hour and day, and how much
 * of a credential's bounced.
 *
 * One file that smtpd, bounce and the admin command share: a hash table of fixed size, where the one that was not heard
 * of for longest makes room.  It outlives processes and, as the kernel writes it back when it likes, a dying machine
 * mostly. A period is a sliding one: what counts of the one before shrinks as the present one grows. */
#ifndef POSTHOUSE_STORE_USAGE_H
#define POSTHOUSE_STORE_USAGE_H

#include <stdbool.h>
#include <stdint.h>

enum usage_kind { USAGE_CREDENTIAL, USAGE_TENANT, USAGE_CLIENT, USAGE_NETWORK, USAGE_KINDS };
enum usage_period { USAGE_MINUTE, USAGE_HOUR, USAGE_DAY, USAGE_PERIODS };

const char *usage_kind_name(enum usage_kind kind);

/* 0 = any number. */
struct usage_quota {
    int64_t messages[USAGE_PERIODS], recipients[USAGE_PERIODS];
};

/* What a quota does not let through. */
struct usage_excess {
    enum usage_period period;
    bool recipients; /* it is their number; else that of messages */
    int64_t limit;
    int64_t wait_s; /* when asking again makes sense */
};

struct usage;

/* Opens the file, making it when there is none; call it before chroot.  0 or -errno. */
int usage_open(const char *path, struct usage **out);
void usage_close(struct usage *u);

/* How many recipients a message may have now: INT64_MAX = any number.  Fewer than wanted: excess tells why. */
int64_t usage_room(struct usage *u, enum usage_kind kind, const char *name, const struct usage_quota *quota,
                   int64_t wanted, struct usage_excess *excess);
/* Counts one message, unless it would be too much.  0; 1: not counted, excess tells why; -errno: not counted. */
int usage_take(struct usage *u, enum usage_kind kind, const char *name, const struct usage_quota *quota,
               uint32_t recipients, struct usage_excess *excess);
/* It was not accepted after all.  0 or -errno. */
int usage_give_back(struct usage *u, enum usage_kind kind, const char *name, uint32_t recipients);

struct usage_counts {
    int64_t messages[USAGE_PERIODS], recipients[USAGE_PERIODS], bounces[USAGE_PERIODS];
};

/* What is counted now.  0, -ENOENT (nothing of it was heard) or -errno. */
int usage_read(struct usage *u, enum usage_kind kind, const char *name, struct usage_counts *out);

/* When a credential counts as one that nobody should hear from.  percent 0 = never. */
struct usage_freeze {
    int64_t percent; /* of its recipients of a day bounced */
    int64_t bounces; /* and they were at least so many */
};

/* Counts hard failures of a credential's mail.  1: they froze it just now; 0; -errno.  now_bounced, now_recipients: its
 * numbers of the last day. */
int usage_bounced(struct usage *u, const char *credential, uint32_t failures, const struct usage_freeze *rule,
                  uint32_t *now_bounced, uint32_t *now_recipients);
struct usage_standing {
    int64_t frozen_s; /* since when it is frozen, seconds since 1970; 0 = it is not */
    int64_t void_us;  /* sessions that logged in before have to do so again, microseconds since 1970; 0 = none */
};
void usage_standing(struct usage *u, const char *credential, struct usage_standing *out);
/* Something of the credential was changed: void from now on.  0 or -errno. */
int usage_void_sessions(struct usage *u, const char *credential);
/* The way back; what bounced is forgotten.  0, -ENOENT (it was not frozen) or -errno. */
int usage_thaw(struct usage *u, const char *credential);

#endif
