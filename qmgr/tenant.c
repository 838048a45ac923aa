#include "qmgr/tenant.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "qmgr/fair.h"
#include "settings/qmgr.h"

static void configure(struct tenant *t, const struct settings_qmgr *settings)
{
    t->weight = 1;
    t->lane = LANE_TRANSACTIONAL;
    for (size_t i = 0; i < settings->tenants.count; i++) {
        const struct settings_tenant *block = settings->tenants.items[i];
        if (strcmp(block->name, t->name) != 0)
            continue;
        t->weight = (unsigned)block->weight;
        t->lane = block->lane;
    }
}

static struct tenant *tenant_new(struct tenants *all, const struct settings_qmgr *settings, const char *name)
{
    if (all->count == all->capacity) {
        size_t capacity = all->capacity > 0 ? all->capacity * 2 : 64;
        struct tenant **grown = realloc(all->by_number, capacity * sizeof(*grown));
        if (grown == NULL)
            return NULL;
        all->by_number = grown;
        all->capacity = capacity;
    }
    struct tenant *t = calloc(1, sizeof(*t));
    if (t == NULL || (t->name = strdup(name)) == NULL) {
        free(t);
        return NULL;
    }
    configure(t, settings);
    t->number = (uint16_t)all->count;
    all->by_number[all->count++] = t;
    HASH_ADD_KEYPTR(hh, all->by_name, t->name, strlen(t->name), t);
    return t;
}

int tenants_init(struct tenants *t, const struct settings_qmgr *settings)
{
    *t = (struct tenants){0};
    return tenant_new(t, settings, "") != NULL ? 0 : -ENOMEM;
}

void tenants_deinit(struct tenants *t)
{
    HASH_CLEAR(hh, t->by_name);
    for (size_t i = 0; i < t->count; i++) {
        free(t->by_number[i]->name);
        free(t->by_number[i]);
    }
    free(t->by_number);
    *t = (struct tenants){0};
}

struct tenant *tenant_get(struct tenants *t, const struct settings_qmgr *settings, const char *name)
{
    struct tenant *found;
    HASH_FIND_STR(t->by_name, name, found);
    if (found == NULL && t->count < TENANTS_MAX)
        found = tenant_new(t, settings, name);
    return found != NULL ? found : t->by_number[TENANT_UNKNOWN];
}
