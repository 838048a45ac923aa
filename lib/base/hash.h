/* hash: uthash (intrusive hash tables) with a keyed hash function, so that peers who choose the keys (domains, user names,
 * addresses) cannot choose the collisions.  Include this and never <uthash.h>. */
#ifndef POSTHOUSE_BASE_HASH_H
#define POSTHOUSE_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* SipHash-1-3 with a key drawn once per process. */
uint32_t hash_bytes(const void *data, size_t len);

#define HASH_FUNCTION(keyptr, keylen, hashv) ((hashv) = hash_bytes((keyptr), (keylen)))
#define uthash_fatal(msg)                    abort()
#include <stdlib.h>
#include <uthash.h>

#endif
