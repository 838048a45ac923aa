#include "settings/settings.h"

#include <string.h>

#include "settings/auth.h"
#include "settings/bounce.h"
#include "settings/dkim_signer.h"
#include "settings/master.h"
#include "settings/posthouse.h"
#include "settings/qmgr.h"
#include "settings/smtpd.h"
#include "settings/smtp_out.h"

const struct conf_schema *const settings_all[] = {
    &settings_posthouse_schema, &settings_master_schema,      &settings_auth_schema,
    &settings_bounce_schema,    &settings_qmgr_schema,        &settings_smtpd_schema,
    &settings_smtp_out_schema,  &settings_dkim_signer_schema, NULL,
};

const struct conf_schema *settings_find(const char *file)
{
    for (const struct conf_schema *const *s = settings_all; *s != NULL; s++)
        if (strcmp((*s)->file, file) == 0)
            return *s;
    return NULL;
}
