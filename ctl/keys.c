#include "ctl/keys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "settings/dkim_signer.h"

#define ERRORS_MAX (1024 * 1024)

int keys_path(const struct ctl *c, char **out)
{
    struct settings_dkim_signer s = {0};
    struct buf errors;
    buf_init(&errors, ERRORS_MAX);
    int r = conf_load(&settings_dkim_signer_schema, c->config_dir, &s, &errors);
    if (r < 0) {
        fputs(buf_str(&errors), stderr);
    } else {
        *out = s.key_table[0] != '\0' ? strdup(s.key_table) : text_format("%s/key-table", c->config_dir);
        conf_free(&settings_dkim_signer_schema, &s);
    }
    buf_deinit(&errors);
    if (r < 0)
        return ctl_say(CTL_FAILED, "nothing was done; correct %s/dkim-signer.conf", c->config_dir);
    return *out != NULL ? CTL_OK : ctl_say(CTL_FAILED, "not enough memory");
}

int keys_load(const struct ctl *c, char **path, struct key_table *table)
{
    struct buf errors, warnings;
    int status = keys_path(c, path);
    if (status != CTL_OK || (access(*path, F_OK) < 0 && errno == ENOENT))
        return status;
    buf_init(&errors, ERRORS_MAX);
    buf_init(&warnings, ERRORS_MAX);
    int r = key_table_load(*path, table, &errors);
    if (r == 0)
        r = key_table_load_keys(*path, table, &errors, &warnings);
    fputs(buf_str(&warnings), stderr);
    fputs(buf_str(&errors), stderr);
    buf_deinit(&errors);
    buf_deinit(&warnings);
    return r < 0 ? CTL_FAILED : CTL_OK;
}
