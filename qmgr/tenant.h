/* tenant: whose mail a message is, and how much of the machine that is worth. */
#ifndef POSTHOUSE_QMGR_TENANT_H
#define POSTHOUSE_QMGR_TENANT_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"

#define TENANT_UNKNOWN 0 /* number of the tenant of messages not opened yet: the empty name */
#define TENANTS_MAX    60000

struct settings_qmgr;

struct tenant {
    char *name;
    uint16_t number; /* what messages keep */
    unsigned weight;
    int lane;      /* enum lane its mail goes at best, from the configuration */
    size_t active; /* rounds under way */
    UT_hash_handle hh;
};

struct tenants {
    struct tenant *by_name;
    struct tenant **by_number;
    size_t count, capacity;
};

/* Makes the unknown one.  0 or -ENOMEM. */
int tenants_init(struct tenants *t, const struct settings_qmgr *settings);
void tenants_deinit(struct tenants *t);
/* Finds or makes it; beyond TENANTS_MAX and when memory is short all others share the unknown one.  Never NULL. */
struct tenant *tenant_get(struct tenants *t, const struct settings_qmgr *settings, const char *name);

#endif
