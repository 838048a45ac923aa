/* posthouse.conf: what all programs share. */
#ifndef POSTHOUSE_SETTINGS_POSTHOUSE_H
#define POSTHOUSE_SETTINGS_POSTHOUSE_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"

struct settings_posthouse {
    char *hostname; /* filled from the system when not set */
    char *state_directory;
    char *queue_directory; /* these four are filled in below state_directory when not set */
    char *run_directory;
    char *credentials_database;
    char *suppression_database;
    char *program_directory;
    char *log;
    int log_level; /* enum log_level */
    bool separate_users;
    char *smtpd_user, *auth_user, *qmgr_user, *dkim_signer_user, *smtp_out_user, *bounce_user;
    char *inject_group, *suppression_group;
    int64_t shutdown_timeout_ms;
    int64_t journal_segment_size; /* bytes, 0 = no journal */
    bool queue_on_network_filesystem;
};

extern const struct conf_schema settings_posthouse_schema;

/* conf_load, and the values that follow from others filled in: the struct is complete.  0 or -errno as conf_load. */
int settings_posthouse_load(const char *dir, struct settings_posthouse *out, struct buf *errors);
void settings_posthouse_free(struct settings_posthouse *s);

/* User and group by name or number.  0 or -ENOENT. */
struct settings_user {
    uint32_t uid, gid;
};
int settings_user_find(const char *name, struct settings_user *out);
int settings_group_find(const char *name, uint32_t *gid);

#endif
