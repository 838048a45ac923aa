#include "dkim-signer/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

#define CHUNK_BYTES 65536
#define ALIGNMENT   alignof(max_align_t)

struct arena_chunk {
    struct arena_chunk *older;
    size_t size, used;
    alignas(max_align_t) unsigned char bytes[];
};

void arena_init(struct arena *a)
{
    a->chunks = NULL;
}

static void drop_newest(struct arena *a)
{
    struct arena_chunk *chunk = a->chunks;
    a->chunks = chunk->older;
    free(chunk);
}

void arena_deinit(struct arena *a)
{
    while (a->chunks != NULL)
        drop_newest(a);
}

static struct arena_chunk *add_chunk(struct arena *a, size_t n)
{
    size_t size = n > CHUNK_BYTES ? n : CHUNK_BYTES;
    struct arena_chunk *chunk = malloc(sizeof(*chunk) + size);
    if (chunk == NULL)
        return NULL;
    *chunk = (struct arena_chunk){.older = a->chunks, .size = size};
    a->chunks = chunk;
    return chunk;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > SIZE_MAX / 2)
        return NULL;
    n = (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct arena_chunk *chunk = a->chunks;
    if (chunk == NULL || n > chunk->size - chunk->used)
        chunk = add_chunk(a, n);
    if (chunk == NULL)
        return NULL;
    void *place = chunk->bytes + chunk->used;
    chunk->used += n;
    return place;
}

void arena_reset(struct arena *a)
{
    while (a->chunks != NULL && a->chunks->older != NULL)
        drop_newest(a);
    if (a->chunks != NULL)
        a->chunks->used = 0;
}
