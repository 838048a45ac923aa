/* posthouse-auth: says whether a client is who it claims to be.
 *
 * May do: read the credentials database, answer smtpd on the socket master made.  User: auth_user; root folder:
 * run_directory; no network, no other file.  A plain password is in memory only while it is checked. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "smtpd/auth/engine.h"
#include "log/log.h"
#include "service/service.h"
#include "smtpd/auth/session.h"
#include "settings/auth.h"

#define DRAIN_CHECK_MS 100

static struct {
    struct settings_auth settings;
    struct buf mechanisms;
    struct engine_options options;
    bool engine_up;
    struct throttle *throttle;
    struct auth *auth;
    struct ipc_face face;
    struct ipc_server *server;
    struct timer drain_timer;
} self;

static int load_settings(const struct service *s)
{
    struct buf errors;
    buf_init(&errors, 65536);
    int r = conf_load(&settings_auth_schema, s->config_dir, &self.settings, &errors);
    char *rest = r < 0 && errors.len > 0 ? errors.data : NULL;
    for (char *line; rest != NULL && (line = strsep(&rest, "\n")) != NULL;)
        if (*line != '\0')
            log_error("%s", line);
    buf_deinit(&errors);
    return r;
}

/* The file is made here if it is missing, and brought up to date; from then on it is only read. */
static int open_database(const struct service *s, struct credentials **out)
{
    struct credentials *writer = NULL;
    const char *path = s->shared.credentials_database;
    int r = credentials_open(path, &writer);
    if (r == 0)
        r = credentials_open_reader(path, out);
    credentials_free(writer);
    if (r < 0)
        log_error(
            "credentials_database = %s: %s; expected a database made by this version in a folder that user %s may "
            "write to; nobody can log in until then",
            path, text_errno(r), s->shared.auth_user);
    return r;
}

static int start_engine(const struct service *s, struct credentials *db)
{
    const char *missing;
    buf_init(&self.mechanisms, 4096);
    for (size_t i = 0; i < self.settings.mechanisms.count; i++)
        buf_printf(&self.mechanisms, "%s%s", i > 0 ? " " : "", self.settings.mechanisms.items[i]);
    self.options = (struct engine_options){.mechanisms = buf_str(&self.mechanisms),
                                           .realm = self.settings.realm,
                                           .hostname = s->shared.hostname,
                                           .iterations = (unsigned)self.settings.iterations,
                                           .verdict_ttl_ms = (uint64_t)self.settings.verdict_ttl_ms,
                                           .verdicts_max = (size_t)self.settings.verdicts_max};
    int r = engine_init(&self.options, db, &missing);
    if (r < 0)
        log_error("SASL can not be started: %s%s", missing != NULL ? "package libsasl2-modules lacks " : "",
                  missing != NULL ? missing : text_errno(r));
    self.engine_up = r == 0;
    return r;
}

/* In the run directory: what failed before the machine started is long ago. */
static int open_throttle(const struct service *s)
{
    const struct settings_auth *set = &self.settings;
    const struct throttle_limits limits = {.free_failures = (unsigned)set->failures_free,
                                           .delay_ms = (uint64_t)set->failure_delay_ms,
                                           .delay_max_ms = (uint64_t)set->failure_delay_max_ms,
                                           .forget_ms = (uint64_t)set->failure_forget_ms,
                                           .failures_per_minute = (unsigned)set->failures_per_minute};
    _cleanup_(freep) char *path = text_format("%s/failed-logins", s->shared.run_directory);
    int r = path != NULL ? throttle_open(path, &limits, &self.throttle) : -ENOMEM;
    if (r < 0)
        log_error("%s/failed-logins: %s", s->shared.run_directory, text_errno(r));
    return r;
}

static int prepare(struct service *s)
{
    struct credentials *db = NULL;
    int r = load_settings(s);
    if (r == 0)
        r = open_throttle(s);
    if (r == 0)
        r = open_database(s, &db);
    if (r == 0)
        r = start_engine(s, db);
    return r;
}

static struct auth_limits limits_of(const struct settings_auth *set)
{
    return (struct auth_limits){.step_timeout_ms = (uint64_t)set->step_timeout_ms,
                                .sessions_max = (size_t)set->sessions_max};
}

/* Logins go on until none is under way: the sessions of smtpd that end now would lose theirs. */
static void drain_check(void *arg)
{
    struct service *s = arg;
    if (auth_is_idle(self.auth))
        service_finished(s);
    else
        timer_set_ms(&self.drain_timer, DRAIN_CHECK_MS);
}

static int start(struct service *s)
{
    const struct auth_limits limits = limits_of(&self.settings);
    int fd = service_take_fd(s, "serve");
    if (fd < 0) {
        log_error("master passed no socket to serve: this program is started by posthouse-master");
        return -EBADF;
    }
    self.auth = auth_new(s->loop, &limits, self.throttle);
    self.face = (struct ipc_face){
        .self = s->self, .handlers = auth_handlers, .on_up = auth_on_up, .on_down = auth_on_down, .arg = self.auth};
    self.server = self.auth != NULL ? ipc_server_new(s->loop, fd, &self.face, service_may_be) : NULL;
    int r = self.server != NULL ? timer_init(&self.drain_timer, s->loop, drain_check, s) : -ENOMEM;
    if (r < 0)
        log_error("not enough memory or threads to start");
    return r;
}

static void drain(struct service *s)
{
    drain_check(s);
}

static void stop(struct service *s)
{
    timer_deinit(&self.drain_timer);
    ipc_server_free(self.server);
    auth_free(self.auth);
    throttle_close(self.throttle);
    if (self.engine_up)
        engine_deinit();
    buf_deinit(&self.mechanisms);
    conf_free(&settings_auth_schema, &self.settings);
}

static struct service service = {.role = ROLE_AUTH, .prepare = prepare, .start = start, .drain = drain, .stop = stop};

int main(int argc, char **argv)
{
    return service_main(&service, argc, argv);
}
