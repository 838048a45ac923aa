/* throttle: how long the answer to a failed login waits, by client address and by account.
 *
 * The first few failures are answered at once, each further one twice as late as the one before.  An account is never
 * locked: who knows the password gets in, whatever others try.  IPv6 clients count by their /64.
 *
 * One file that all auth processes share, so that neither a second one nor a reload makes a fresh start; the one of a
 * few neighbours that failed longest ago makes room. */
#ifndef POSTHOUSE_AUTH_THROTTLE_H
#define POSTHOUSE_AUTH_THROTTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct throttle_limits {
    unsigned free_failures;       /* answered at once */
    uint64_t delay_ms;            /* of the first failure after them */
    uint64_t delay_max_ms;        /* the longest */
    uint64_t forget_ms;           /* without a failure: all is forgotten */
    unsigned failures_per_minute; /* of one address, above it refused unheard; 0 = no limit */
};

struct throttle;

/* Opens the file, making it when there is none; call it before chroot.  0 or -errno. */
int throttle_open(const char *path, const struct throttle_limits *limits, struct throttle **out);
void throttle_close(struct throttle *t);

/* May this address try at all now? */
bool throttle_admits(struct throttle *t, const char *address);
/* Counts a failure and returns how many milliseconds its answer has to wait.  account "" = none was named. */
uint64_t throttle_failed(struct throttle *t, const char *address, const char *account);
/* The account is forgiven; the address is not, else one valid login would pay for many guesses. */
void throttle_succeeded(struct throttle *t, const char *account);

#endif
