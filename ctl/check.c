/* posthouse check: the configuration, and whether what it points to is there: users, programs, certificates, keys,
 * databases. Finds before a start or reload what would stop it. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "ctl/commands.h"
#include "ctl/keys.h"
#include "service/privileges.h"
#include "settings/smtpd.h"
#include "store/credentials.h"
#include "store/suppression.h"

/* Each prints what is wrong and returns how many things are. */

static unsigned check_users(const struct ctl *c)
{
    unsigned wrong = 0;
    for (unsigned role = ROLE_SMTPD; privileges_separated(&c->shared) && role < ROLE_CTL; role++) {
        struct privileges p;
        const char *missing;
        if (privileges_of((enum ipc_role)role, &c->shared, &p, &missing) == 0)
            continue;
        ctl_say(CTL_FAILED,
                "posthouse.conf: %s (for %s): no such user or group on this machine; expected one, or "
                "separate_users = no",
                missing, role_name(role));
        wrong++;
    }
    return wrong;
}

static unsigned check_programs(const struct ctl *c)
{
    unsigned wrong = 0;
    for (unsigned role = ROLE_SMTPD; role < ROLE_CTL; role++) {
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "%s/posthouse-%s", c->shared.program_directory, role_name(role));
        if (access(path, X_OK) == 0)
            continue;
        ctl_say(CTL_FAILED, "posthouse.conf: program_directory: %s: %s", path, text_errno(errno));
        wrong++;
    }
    return wrong;
}

static unsigned check_readable(const char *parameter, const char *path)
{
    if (path == NULL || path[0] == '\0' || access(path, R_OK) == 0)
        return 0;
    ctl_say(CTL_FAILED, "smtpd.conf: %s = %s: %s", parameter, path, text_errno(errno));
    return 1;
}

static bool any_tls(const struct settings_smtpd *s)
{
    for (size_t i = 0; i < s->listeners.count; i++)
        if (((const struct settings_listener *)s->listeners.items[i])->tls != LISTENER_TLS_NONE)
            return true;
    return false;
}

static unsigned check_certificates(const struct ctl *c)
{
    struct settings_smtpd s = {0};
    struct buf errors;
    buf_init(&errors, 65536);
    int r = conf_load(&settings_smtpd_schema, c->config_dir, &s, &errors);
    buf_deinit(&errors);
    if (r < 0)
        return 1;
    unsigned wrong = 0;
    if (any_tls(&s))
        wrong = check_readable("certificate", s.certificate) + check_readable("key", s.key) +
                check_readable("client_ca", s.client_ca);
    for (size_t i = 0; any_tls(&s) && i < s.certificates.count; i++) {
        const struct settings_certificate *one = s.certificates.items[i];
        wrong += check_readable("chain", one->chain) + check_readable("key", one->key);
    }
    conf_free(&settings_smtpd_schema, &s);
    return wrong;
}

static unsigned check_keys(const struct ctl *c)
{
    struct key_table table = {0};
    char *path = NULL;
    int status = keys_load(c, &path, &table);
    key_table_deinit(&table);
    free(path);
    return status == CTL_OK ? 0 : 1;
}

/* One that is not there yet is made by the suite. */
static unsigned check_database(const char *path, int r)
{
    if (r == 0 || r == -ENOENT)
        return 0;
    ctl_say(CTL_FAILED, "%s: %s", path, text_errno(r));
    return 1;
}

static unsigned check_databases(const struct ctl *c)
{
    struct credentials *credentials = NULL;
    struct suppression *suppression = NULL;
    struct suppression_row row;
    unsigned wrong = check_database(c->shared.credentials_database,
                                    credentials_open_reader(c->shared.credentials_database, &credentials));
    int r = suppression_open_reader(c->shared.suppression_database, &suppression);
    if (r == 0) /* a file that can not be read shows at the first question */
        r = suppression_lookup(suppression, "postmaster@localhost", "", &row);
    wrong += check_database(c->shared.suppression_database, r < 0 ? r : 0);
    credentials_free(credentials);
    suppression_free(suppression);
    return wrong;
}

int check_suite(struct ctl *c, const struct args *a)
{
    static unsigned (*const checks[])(const struct ctl *) = {check_users, check_programs, check_certificates,
                                                             check_keys, check_databases};
    struct buf errors;
    unsigned wrong = 0;
    int status = config_check(c, a);
    if (status != CTL_OK)
        return status;
    buf_init(&errors, 65536);
    int r = settings_posthouse_load(c->config_dir, &c->shared, &errors);
    buf_deinit(&errors);
    if (r < 0)
        return ctl_say(CTL_FAILED, "posthouse.conf: %s", text_errno(r));
    for (size_t i = 0; i < ARRAY_LENGTH(checks); i++)
        wrong += checks[i](c);
    settings_posthouse_free(&c->shared);
    if (wrong > 0)
        return ctl_say(CTL_FAILED, "%u thing%s would stop the suite or a part of it", wrong, wrong == 1 ? "" : "s");
    ctl_note(c, "everything the suite needs is there");
    return CTL_OK;
}
