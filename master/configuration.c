#include "master/configuration.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "settings/settings.h"

static int check_others(const char *dir, struct buf *errors)
{
    int result = 0;
    for (const struct conf_schema *const *schema = settings_all; *schema != NULL; schema++) {
        _cleanup_(freep) void *settings = calloc(1, (*schema)->size);
        int r = settings == NULL ? -ENOMEM : conf_load(*schema, dir, settings, errors);
        if (r == 0)
            conf_free(*schema, settings);
        else
            result = -EINVAL;
    }
    return result;
}

int configuration_load(const char *dir, struct configuration *out, struct buf *errors)
{
    *out = (struct configuration){0};
    if (check_others(dir, errors) < 0)
        return -EINVAL;
    if (settings_posthouse_load(dir, &out->shared, errors) < 0)
        return -EINVAL;
    if (conf_load(&settings_master_schema, dir, &out->master, errors) < 0 ||
        conf_load(&settings_smtpd_schema, dir, &out->smtpd, errors) < 0) {
        configuration_free(out);
        return -EINVAL;
    }
    return 0;
}

void configuration_free(struct configuration *c)
{
    if (c->shared.hostname != NULL)
        settings_posthouse_free(&c->shared);
    conf_free(&settings_master_schema, &c->master);
    conf_free(&settings_smtpd_schema, &c->smtpd);
    *c = (struct configuration){0};
}
