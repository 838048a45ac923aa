#include "smtpd/recipients.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define TEXTS_MAX   (64 * 1024 * 1024)
#define FIRST_SLOTS 16

struct recipient_place {
    uint32_t at; /* in texts */
    uint32_t notify;
};

void recipients_deinit(struct recipients *r)
{
    buf_deinit(&r->texts);
    free(r->places);
    free(r->table);
    *r = (struct recipients){0};
}

/* The slot of the address, or the free one where it belongs. */
static uint32_t *find_slot(const struct recipients *r, uint32_t *table, size_t slots, const char *address)
{
    size_t at = hash_bytes(address, strlen(address)) & (slots - 1);
    while (table[at] != 0 && strcmp(recipients_address(r, table[at] - 1), address) != 0)
        at = (at + 1) & (slots - 1);
    return &table[at];
}

/* Room for one more, and a table that is at most half full. */
static int grow(struct recipients *r)
{
    if (r->count == r->capacity) {
        size_t capacity = r->capacity > 0 ? r->capacity * 2 : FIRST_SLOTS / 2;
        struct recipient_place *places = realloc(r->places, capacity * sizeof(*places));
        if (places == NULL)
            return -ENOMEM;
        r->places = places;
        r->capacity = capacity;
    }
    if (2 * (r->count + 1) <= r->slots)
        return 0;
    size_t slots = r->slots > 0 ? r->slots * 2 : FIRST_SLOTS;
    uint32_t *table = calloc(slots, sizeof(*table));
    if (table == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < r->count; i++)
        *find_slot(r, table, slots, recipients_address(r, i)) = (uint32_t)i + 1;
    free(r->table);
    r->table = table;
    r->slots = slots;
    return 0;
}

int recipients_add(struct recipients *r, const char *address, const char *orcpt, uint32_t notify)
{
    if (r->texts.limit == 0)
        buf_init(&r->texts, TEXTS_MAX);
    int err = grow(r);
    if (err < 0)
        return err;
    uint32_t *slot = find_slot(r, r->table, r->slots, address);
    if (*slot != 0)
        return 1;
    size_t at = r->texts.len;
    if (buf_append(&r->texts, address, strlen(address) + 1) < 0 ||
        buf_append(&r->texts, orcpt, strlen(orcpt) + 1) < 0) {
        buf_truncate(&r->texts, at);
        return -ENOMEM;
    }
    r->places[r->count] = (struct recipient_place){(uint32_t)at, notify};
    *slot = (uint32_t)++r->count;
    return 0;
}

const char *recipients_address(const struct recipients *r, size_t i)
{
    return r->texts.data + r->places[i].at;
}

const char *recipients_orcpt(const struct recipients *r, size_t i)
{
    const char *address = recipients_address(r, i);
    return address + strlen(address) + 1;
}

uint32_t recipients_notify(const struct recipients *r, size_t i)
{
    return r->places[i].notify;
}
