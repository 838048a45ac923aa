/* posthouse-smtp-out: delivers messages to the mail servers of their recipients.
 *
 * Runs as its own user without access to the queue: a message is a read-only descriptor that qmgr hands over.  Talks to
 * qmgr, to name servers and to mail servers, and to nobody else. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "smtp-out/auth.h"
#include "log/log.h"
#include "smtp-out/order.h"
#include "smtp-out/out.h"
#include "service/service.h"

static struct {
    struct settings_smtp_out settings;
    bool settings_loaded, auth_ready;
    struct dns_config dns;
    struct out out;
} state;

static int load_settings(const struct service *s)
{
    struct buf errors;
    buf_init(&errors, 65536);
    int r = conf_load(&settings_smtp_out_schema, s->config_dir, &state.settings, &errors);
    if (r == 0) {
        state.settings_loaded = true;
        r = route_table_init(&state.out.routes, &state.settings, &errors);
    }
    if (r < 0)
        log_error("%s", buf_str(&errors));
    buf_deinit(&errors);
    return r;
}

/* Name servers are read now: the root folder is another one later. */
static void choose_name_servers(void)
{
    const struct settings_smtp_out *settings = &state.settings;
    struct dns_config *dns = &state.dns;
    *dns = (struct dns_config){
        .attempts = (unsigned)settings->dns_attempts,
        .timeout_ms = (uint64_t)settings->dns_timeout_ms,
        .in_flight_max = (size_t)settings->dns_lookups_max,
        .waiting_max = (size_t)settings->dns_lookups_max * 10,
        .trust_ad = settings->dns_trust_ad,
    };
    for (size_t i = 0; i < settings->dns_servers.count && dns->server_count < DNS_SERVERS_MAX; i++)
        dns->server[dns->server_count++] = settings->dns_servers.items[i];
    if (dns->server_count > 0)
        return;
    int found = dns_servers_read("/etc/resolv.conf", dns->server, DNS_SERVERS_MAX);
    dns->server_count = found > 0 ? (size_t)found : 0;
    if (found <= 0 && net_parse("127.0.0.1", 53, &dns->server[0]) == 0) {
        log_warning("/etc/resolv.conf names no name server, using 127.0.0.1");
        dns->server_count = 1;
    }
}

static int prepare(struct service *s)
{
    int r = load_settings(s);
    if (r < 0)
        return r;
    r = auth_library_init();
    if (r < 0) {
        log_error("libsasl2 can not be initialised; nothing was started");
        return r;
    }
    state.auth_ready = true;
    tzset();
    choose_name_servers();
    return 0;
}

static void drained(void *arg)
{
    service_finished(arg);
}

static int start(struct service *s)
{
    const struct settings_smtp_out *settings = &state.settings;
    struct out *out = &state.out;
    out->settings = settings;
    out->hostname = s->shared.hostname;
    out->helo_name = settings->helo_name[0] != '\0' ? settings->helo_name : s->shared.hostname;
    out->on_drained = drained;
    out->on_drained_arg = s;
    /* Checked with the settings; an empty text leaves the address empty. */
    net_parse(settings->source_ipv4, 0, &out->source_ipv4);
    net_parse(settings->source_ipv6, 0, &out->source_ipv6);
    int r = out_init(out, s->loop, &state.dns);
    if (r == 0)
        r = order_open(out, SERVICE_QMGR_SOCKET, &s->self);
    if (r < 0)
        log_error("out of memory; nothing was started");
    return r;
}

static void drain(struct service *s)
{
    out_drain(&state.out);
}

static void stop(struct service *s)
{
    out_deinit(&state.out);
    route_table_deinit(&state.out.routes);
    if (state.auth_ready)
        auth_library_deinit();
    if (state.settings_loaded)
        conf_free(&settings_smtp_out_schema, &state.settings);
}

static struct service service = {
    .role = ROLE_SMTP_OUT, .prepare = prepare, .start = start, .drain = drain, .stop = stop};

int main(int argc, char **argv)
{
    return service_main(&service, argc, argv);
}
