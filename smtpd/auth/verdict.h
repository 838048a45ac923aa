/* verdict: passwords that were found right a moment ago, so that a client that logs in for each message costs one key
 * derivation and not one a message.
 *
 * Only right ones are remembered, each as HMAC(key of this process, name, password, verifier): no password can be read
 * from here, and a new password, which means a new verifier, is asked for at once. */
#ifndef POSTHOUSE_AUTH_VERDICT_H
#define POSTHOUSE_AUTH_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/credentials.h"

struct verdict_cache;

/* ttl_ms 0 = remember nothing.  The oldest verdict makes room when there are max.  NULL: memory or randomness is short.
 */
struct verdict_cache *verdict_cache_new(uint64_t ttl_ms, size_t max);
void verdict_cache_free(struct verdict_cache *c);

bool verdict_known(struct verdict_cache *c, const struct credential *row, const char *password, size_t len);
/* Forgets nothing when memory is short; the next login derives again. */
void verdict_remember(struct verdict_cache *c, const struct credential *row, const char *password, size_t len);

#endif
