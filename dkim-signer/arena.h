/* arena: memory for the signatures of one message, given back in one step.
 *
 * libopendkim makes some fifty allocations per signature and forgets one of them with Ed25519; here nothing can be
 * lost. */
#ifndef POSTHOUSE_DKIM_SIGNER_ARENA_H
#define POSTHOUSE_DKIM_SIGNER_ARENA_H

#include <stddef.h>

struct arena {
    struct arena_chunk *chunks; /* newest first; the oldest is kept over a reset */
};

void arena_init(struct arena *a);
void arena_deinit(struct arena *a);
/* Aligned for anything; NULL when memory is short. */
void *arena_alloc(struct arena *a, size_t n);
/* Everything allocated is gone. */
void arena_reset(struct arena *a);

#endif
