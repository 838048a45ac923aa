#include "settings/posthouse.h"

#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

#define AT(field) offsetof(struct settings_posthouse, field)

#define JOURNAL_SEGMENT_MIN (1024 * 1024)

static const char *const log_levels[] = {"error", "warning", "info", "debug", NULL};

static const struct conf_param params[] = {
    {"hostname", CONF_STRING, AT(hostname), "", 0, 0, NULL,
     "Name of this machine in greetings, trace headers and notices; empty = the system's own"},
    {"state_directory", CONF_PATH, AT(state_directory), "/var/lib/posthouse", 0, 0, NULL,
     "Where everything that must survive a restart is kept"},
    {"queue_directory", CONF_PATH, AT(queue_directory), "", 0, 0, NULL,
     "The queue; one local file system; empty = queue below state_directory"},
    {"queue_on_network_filesystem", CONF_BOOL, AT(queue_on_network_filesystem), "no", 0, 0, NULL,
     "Run although the queue is on a file system of another machine, whose promises nobody here can check"},
    {"journal_segment_size", CONF_SIZE, AT(journal_segment_size), "32M", 0, 256 * 1024 * 1024, NULL,
     "Bytes of a journal segment; each process that takes mail has two to four; 0 = no journal, every message is "
     "flushed "
     "by itself; else at least 1M"},
    {"run_directory", CONF_PATH, AT(run_directory), "", 0, 0, NULL,
     "Sockets between the programs; empty = run below state_directory; at most 90 bytes long"},
    {"credentials_database", CONF_PATH, AT(credentials_database), "", 0, 0, NULL,
     "User names and password verifiers (SQLite); empty = auth/credentials.db below state_directory"},
    {"suppression_database", CONF_PATH, AT(suppression_database), "", 0, 0, NULL,
     "Addresses that bounced (SQLite); empty = suppression/suppression.db below state_directory"},
    {"program_directory", CONF_PATH, AT(program_directory), POSTHOUSE_LIBEXEC, 0, 0, NULL,
     "Where master finds the other programs"},
    {"log", CONF_STRING, AT(log), "syslog", 0, 0, NULL,
     "Where log lines go: syslog, stderr or the absolute path of a file"},
    {"log_level", CONF_ENUM, AT(log_level), "info", 0, 0, log_levels,
     "The least important lines that are still logged"},
    {"separate_users", CONF_BOOL, AT(separate_users), "yes", 0, 0, NULL,
     "Started by root, run every program as its own user, confined to run_directory; no = all run as the caller"},
    {"smtpd_user", CONF_STRING, AT(smtpd_user), "posthouse-smtpd", 0, 0, NULL, "User (name or number) of smtpd"},
    {"auth_user", CONF_STRING, AT(auth_user), "posthouse-auth", 0, 0, NULL, "User of auth"},
    {"qmgr_user", CONF_STRING, AT(qmgr_user), "posthouse-qmgr", 0, 0, NULL, "User of qmgr, who owns the queue"},
    {"dkim_signer_user", CONF_STRING, AT(dkim_signer_user), "posthouse-dkim", 0, 0, NULL, "User of dkim-signer"},
    {"smtp_out_user", CONF_STRING, AT(smtp_out_user), "posthouse-out", 0, 0, NULL, "User of smtp-out"},
    {"bounce_user", CONF_STRING, AT(bounce_user), "posthouse-bounce", 0, 0, NULL, "User of bounce"},
    {"inject_group", CONF_STRING, AT(inject_group), "posthouse-inject", 0, 0, NULL,
     "Group (name or number) that may add messages to the queue: given to smtpd and bounce"},
    {"suppression_group", CONF_STRING, AT(suppression_group), "posthouse-suppression", 0, 0, NULL,
     "Group that may read the suppression database: given to smtpd and bounce"},
    {"shutdown_timeout", CONF_DURATION, AT(shutdown_timeout_ms), "30s", 0, 3600000, NULL,
     "How long sessions and deliveries in flight may take to finish at a stop or reload"},
    {0},
};

static int check(const void *settings, struct buf *why)
{
    const struct settings_posthouse *s = settings;
    if (s->journal_segment_size == 0 || s->journal_segment_size >= JOURNAL_SEGMENT_MIN)
        return 0;
    buf_printf(why, "journal_segment_size is less than 1M and not 0");
    return -EINVAL;
}

const struct conf_schema settings_posthouse_schema = {
    .file = "posthouse.conf", .params = params, .size = sizeof(struct settings_posthouse), .check = check};

/* The canonical name of this machine if the resolver's own files know one, else what the kernel says. */
static char *system_hostname(void)
{
    char name[256] = "";
    struct addrinfo *found = NULL, hints = {.ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM};
    if (gethostname(name, sizeof(name) - 1) < 0 || name[0] == '\0')
        return strdup("localhost.localdomain");
    if (strchr(name, '.') != NULL)
        return strdup(name);
    char *full = NULL;
    if (getaddrinfo(name, NULL, &hints, &found) == 0 && found->ai_canonname != NULL &&
        strchr(found->ai_canonname, '.') != NULL)
        full = strdup(found->ai_canonname);
    if (found != NULL)
        freeaddrinfo(found);
    return full != NULL ? full : text_format("%s.localdomain", name);
}

static int fill_in(char **place, char *value)
{
    if (value == NULL)
        return -ENOMEM;
    if (**place != '\0') {
        free(value);
        return 0;
    }
    free(*place);
    *place = value;
    return 0;
}

int settings_posthouse_load(const char *dir, struct settings_posthouse *out, struct buf *errors)
{
    int r = conf_load(&settings_posthouse_schema, dir, out, errors);
    if (r < 0)
        return r;
    const char *state = out->state_directory;
    if (out->hostname[0] == '\0')
        r = fill_in(&out->hostname, system_hostname());
    if (r < 0 || (r = fill_in(&out->queue_directory, text_format("%s/queue", state))) < 0 ||
        (r = fill_in(&out->run_directory, text_format("%s/run", state))) < 0 ||
        (r = fill_in(&out->credentials_database, text_format("%s/auth/credentials.db", state))) < 0 ||
        (r = fill_in(&out->suppression_database, text_format("%s/suppression/suppression.db", state))) < 0) {
        buf_printf(errors, "posthouse.conf: %s\n", text_errno(r));
        settings_posthouse_free(out);
    }
    return r;
}

void settings_posthouse_free(struct settings_posthouse *s)
{
    conf_free(&settings_posthouse_schema, s);
}

int settings_user_find(const char *name, struct settings_user *out)
{
    uint64_t number;
    if (text_parse_u64(name, UINT32_MAX - 1, &number) == 0) {
        *out = (struct settings_user){(uint32_t)number, (uint32_t)number};
        return 0;
    }
    const struct passwd *pw = getpwnam(name);
    if (pw == NULL)
        return -ENOENT;
    *out = (struct settings_user){pw->pw_uid, pw->pw_gid};
    return 0;
}

int settings_group_find(const char *name, uint32_t *gid)
{
    uint64_t number;
    if (text_parse_u64(name, UINT32_MAX - 1, &number) == 0) {
        *gid = (uint32_t)number;
        return 0;
    }
    const struct group *gr = getgrnam(name);
    if (gr == NULL)
        return -ENOENT;
    *gid = gr->gr_gid;
    return 0;
}
