/* posthouse-smtpd: takes mail from clients and puts it into the queue.
 *
 * Reads: its configuration, the TLS keys (before privileges are dropped), the suppression list.  Creates: files in
 * queue/tmp and queue/new, and can not read those of others.  Talks to: clients, auth, qmgr. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "smtpd/auth_client.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "smtpd/domains.h"
#include "smtpd/limits.h"
#include "store/once.h"
#include "store/usage.h"
#include "smtpd/listen.h"
#include "log/log.h"
#include "smtpd/server.h"
#include "service/privileges.h"
#include "service/service.h"
#include "smtpd/session.h"
#include "tls/tickets.h"

enum { COMMIT_THREADS = 8, CERTIFICATES_MAX = 64 };

static struct server server;
static struct ipc_face qmgr_face;

static void on_domain_checked(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    domains_answered(server.domains, message);
}

static const struct ipc_handler qmgr_handlers[] = {
    {IPC_DOMAIN_CHECKED, on_domain_checked},
    {IPC_NONE, NULL},
};

static struct ipc_channel *qmgr_channel(void *arg)
{
    return server.qmgr != NULL ? ipc_client_channel(server.qmgr) : NULL;
}

/* No message hangs on this channel: qmgr also finds those it was not told of. */
static void on_qmgr_up(void *arg, struct ipc_channel *c)
{
    log_debug("qmgr is there");
}

static void on_qmgr_down(void *arg, struct ipc_channel *c, const char *why)
{
    log_debug("qmgr is away: %s", why);
    domains_down(server.domains);
}

static int load_settings(struct service *s)
{
    _cleanup_(buf_deinit) struct buf errors;
    buf_init(&errors, 65536);
    int r = conf_load(&settings_smtpd_schema, s->config_dir, &server.settings, &errors);
    if (r < 0)
        log_error("%s", buf_str(&errors));
    return r;
}

static bool uses_tls(void)
{
    for (size_t i = 0; i < server.settings.listeners.count; i++)
        if (((struct settings_listener *)server.settings.listeners.items[i])->tls != LISTENER_TLS_NONE)
            return true;
    return false;
}

static struct tls_certificate certificate_of(const char *chain, const char *key)
{
    return (struct tls_certificate){.chain_file = chain, .key_file = key[0] != '\0' ? key : chain};
}

/* From master, so that a session begun with one process is resumed by the next.  Without one (a program started by
 * hand) each has its own keys. */
static int take_tickets(struct service *s)
{
    int fd = service_take_fd(s, "tickets");
    int r = fd >= 0 ? tickets_map(fd, &server.tickets) : 0;
    if (fd >= 0)
        close(fd);
    if (r < 0)
        log_error("the keys of TLS tickets that master passed can not be mapped: %s", text_errno(r));
    return r;
}

static int load_certificates(void)
{
    struct tls_certificate certificates[CERTIFICATES_MAX];
    const struct settings_smtpd *set = &server.settings;
    char error[TLS_ERROR_MAX];
    size_t n = 0;
    if (!uses_tls())
        return 0;
    if (set->certificates.count >= CERTIFICATES_MAX) {
        log_error("smtpd.conf: %zu certificate blocks, at most %d are possible", set->certificates.count,
                  CERTIFICATES_MAX - 1);
        return -EINVAL;
    }
    certificates[n++] = certificate_of(set->certificate, set->key);
    for (size_t i = 0; i < set->certificates.count; i++) {
        const struct settings_certificate *c = set->certificates.items[i];
        certificates[n++] = certificate_of(c->chain, c->key);
    }
    const struct tls_server_options options = {
        .min_version = set->tls_min_version == 1 ? TLS_VERSION_1_3 : TLS_VERSION_1_2,
        .ciphers = set->tls_ciphers[0] != '\0' ? set->tls_ciphers : NULL,
        .tickets = server.tickets,
        .client_ca_file = set->client_ca[0] != '\0' ? set->client_ca : NULL,
    };
    server.tls = tls_server_new(certificates, n, &options, error);
    if (server.tls == NULL)
        log_error("smtpd.conf: %s", error);
    return server.tls != NULL ? 0 : -EINVAL;
}

static int open_limits(struct service *s)
{
    const struct limits_maxima maxima = {
        .sessions = server.settings.max_connections,
        .sessions_per_address = server.settings.max_connections_per_address,
        .sessions_per_network = server.settings.max_connections_per_network,
        .ipv4_prefix = server.settings.network_prefix_ipv4,
        .ipv6_prefix = server.settings.network_prefix_ipv6,
        .connections_per_minute = server.settings.connections_per_minute,
        .failed_logins_per_minute = server.settings.failed_logins_per_minute,
    };
    _cleanup_(fd_closep) int memory = service_take_fd(s, "limits");
    if (memory < 0)
        memory = memfd_create("smtpd-limits", MFD_CLOEXEC | MFD_ALLOW_SEALING); /* started by hand: alone */
    int r = memory >= 0 ? limits_new(s->loop, memory, &maxima, &server.limits) : -errno;
    if (r < 0)
        log_error("the memory for counting sessions can not be had: %s", text_errno(r));
    return r;
}

/* In the state directory: a day is longer than the machine may run. */
static int open_once(struct service *s)
{
    if (server.settings.idempotency_header[0] == '\0')
        return 0;
    _cleanup_(freep) char *path = text_format("%s/submitted-once", s->shared.state_directory);
    int r = path != NULL ? once_open(path, &server.once) : -ENOMEM;
    if (r < 0)
        log_error("%s/submitted-once: %s", s->shared.state_directory, text_errno(r));
    return r;
}

static int open_usage(struct service *s)
{
    _cleanup_(freep) char *path = text_format("%s/usage", s->shared.state_directory);
    int r = path != NULL ? usage_open(path, &server.usage) : -ENOMEM;
    if (r < 0)
        log_error("%s/usage: %s", s->shared.state_directory, text_errno(r));
    return r;
}

/* On the first start bounce may not have made the list yet, and behind the chroot it can not be looked for again. */
static int make_suppression_list(struct service *s)
{
    struct suppression *list = NULL;
    if (!privileges_separated(&s->shared))
        return 0;
    int r = suppression_open_writer(s->shared.suppression_database, &list);
    if (r == 0)
        suppression_free(list);
    return r;
}

static void journal_trouble(void *arg, const char *what, int err)
{
    log_warning("journal: %s: %s; messages are flushed one by one meanwhile", what, text_errno(err));
}

static int prepare(struct service *s)
{
    server.loop = s->loop;
    server.hostname = s->shared.hostname;
    server_init_lists(&server);
    int r = load_settings(s);
    if (r == 0)
        r = take_tickets(s);
    if (r == 0)
        r = load_certificates();
    if (r == 0)
        r = open_limits(s);
    if (r == 0)
        r = open_once(s);
    if (r == 0)
        r = open_usage(s);
    if (r < 0)
        return r;
    r = injector_new(s->loop, s->shared.queue_directory, s->slot, COMMIT_THREADS, &server.injector);
    if (r < 0) {
        log_error("queue %s: %s; is master running?", s->shared.queue_directory, text_errno(r));
        return r;
    }
    r = injector_use_journal(server.injector, (uint64_t)s->shared.journal_segment_size, journal_trouble, NULL);
    if (r < 0) {
        log_error("queue %s: journal/%u: %s", s->shared.queue_directory, s->slot, text_errno(r));
        return r;
    }
    r = make_suppression_list(s);
    if (r == 0)
        r = suppression_open_reader(s->shared.suppression_database, &server.suppression);
    if (r < 0)
        log_error("suppression list %s: %s", s->shared.suppression_database, text_errno(r));
    return r;
}

static const struct settings_listener *listener_named(const char *name, size_t len)
{
    for (size_t i = 0; i < server.settings.listeners.count; i++) {
        const struct settings_listener *l = server.settings.listeners.items[i];
        if (strlen(l->name) == len && memcmp(l->name, name, len) == 0)
            return l;
    }
    return NULL;
}

/* Descriptors are named "listen:<block>:<index>". */
static int open_listeners(struct service *s)
{
    const char *passed;
    while ((passed = service_fd_name(s, "listen:", 0)) != NULL) {
        const char *name = passed + strlen("listen:");
        const char *colon = strrchr(name, ':');
        const struct settings_listener *l = listener_named(name, colon != NULL ? (size_t)(colon - name) : strlen(name));
        if (l == NULL) {
            log_error("master passed a socket %s, and smtpd.conf has no such listener; reload the suite", passed);
            return -EINVAL;
        }
        int r = listen_add(&server, l, service_take_fd(s, passed));
        if (r < 0) {
            log_error("listener %s: %s", l->name, text_errno(r));
            return r;
        }
    }
    if (TAILQ_EMPTY(&server.listeners))
        log_warning("no listening socket was passed: no client can connect");
    return 0;
}

static int start(struct service *s)
{
    umask(0007); /* all that it makes are queue files, which qmgr's group writes */
    qmgr_face =
        (struct ipc_face){.self = s->self, .handlers = qmgr_handlers, .on_up = on_qmgr_up, .on_down = on_qmgr_down};
    server.domains = domains_new(qmgr_channel, NULL);
    if (server.domains == NULL)
        return -ENOMEM;
    server.qmgr = ipc_client_new(s->loop, SERVICE_QMGR_SOCKET, ROLE_QMGR, &qmgr_face);
    server.auth = auth_client_new(s->loop, SERVICE_AUTH_SOCKET, &s->self);
    if (server.qmgr == NULL || server.auth == NULL)
        return -ENOMEM;
    return open_listeners(s);
}

static void on_idle(void *arg)
{
    service_finished(arg);
}

static void retire(struct service *s)
{
    server.on_idle = on_idle;
    server.on_idle_arg = s;
    server_retire(&server);
}

static void drain(struct service *s)
{
    server.on_idle = on_idle;
    server.on_idle_arg = s;
    server_drain(&server);
}

static void stop(struct service *s)
{
    struct session *session, *next;
    listen_stop(&server);
    TAILQ_FOREACH_SAFE (session, &server.sessions, link, next)
        session_free(session);
    auth_client_free(server.auth);
    ipc_client_free(server.qmgr);
    domains_free(server.domains);
    suppression_free(server.suppression);
    once_close(server.once);
    usage_close(server.usage);
    injector_free(server.injector);
    limits_free(server.limits);
    tls_server_free(server.tls);
    tickets_free(server.tickets);
    conf_free(&settings_smtpd_schema, &server.settings);
}

int main(int argc, char **argv)
{
    struct service service = {
        .role = ROLE_SMTPD,
        .prepare = prepare,
        .start = start,
        .retire = retire,
        .drain = drain,
        .stop = stop,
    };
    return service_main(&service, argc, argv);
}
