/* dkim-signer.conf: which keys sign, and what a signature covers. */
#ifndef POSTHOUSE_SETTINGS_DKIM_SIGNER_H
#define POSTHOUSE_SETTINGS_DKIM_SIGNER_H

#include "conf/conf.h"

enum settings_canonicalization { CANONICALIZATION_RELAXED_RELAXED, CANONICALIZATION_RELAXED_SIMPLE };

struct settings_dkim_signer {
    char *key_table;      /* empty = key-table in the configuration directory */
    int canonicalization; /* enum settings_canonicalization */
    struct conf_list sign_headers, oversign_headers;
};

extern const struct conf_schema settings_dkim_signer_schema;

#endif
