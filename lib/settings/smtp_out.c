#include "settings/smtp_out.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/net.h"
#include "base/text.h"

#define AT(field)    offsetof(struct settings_smtp_out, field)
#define ROUTE(field) offsetof(struct settings_route, field)
#define HOUR_MS      INT64_C(3600000)

static const char *const tls_policies[] = {"none", "opportunistic", "required", "verify", NULL};
static const char *const route_tls_policies[] = {"none", "opportunistic", "required", "verify", "default", NULL};
static const char *const address_preferences[] = {"prefer_ipv6", "prefer_ipv4", "only_ipv6", "only_ipv4", NULL};

static const struct conf_param params[] = {
    {"dns_servers", CONF_ADDRESSES, AT(dns_servers), "", 53, 0, NULL,
     "Name servers, tried in this order; empty = those of /etc/resolv.conf"},
    {"dns_trust_ad", CONF_BOOL, AT(dns_trust_ad), "no", 0, 0, NULL,
     "Whether the name servers validate DNSSEC and the path to them is safe, so that their AD bit counts"},
    {"dns_timeout", CONF_DURATION, AT(dns_timeout_ms), "3s", 50, 60000, NULL, "Wait for one answer of one name server"},
    {"dns_attempts", CONF_INT, AT(dns_attempts), "2", 1, 10, NULL, "How often the whole list of name servers is tried"},
    {"dns_lookups_max", CONF_INT, AT(dns_lookups_max), "200", 1, 10000, NULL,
     "DNS lookups in flight at a time; ten times as many may wait"},
    {"dns_cache_entries_max", CONF_INT, AT(dns_cache_entries_max), "20000", 10, 10000000, NULL,
     "DNS answers kept in memory"},
    {"dns_cache_ttl_max", CONF_DURATION, AT(dns_cache_ttl_max_ms), "1h", 0, 24 * HOUR_MS, NULL,
     "The longest time a DNS answer is kept, whatever its own TTL"},
    {"helo_name", CONF_STRING, AT(helo_name), "", 0, 0, NULL,
     "The name given in EHLO; empty = hostname of posthouse.conf"},
    {"delivery_port", CONF_INT, AT(delivery_port), "25", 1, 65535, NULL, "Port of the recipients' mail servers"},
    {"address_preference", CONF_ENUM, AT(address_preference), "prefer_ipv4", 0, 0, address_preferences,
     "Which addresses of a mail server are tried, and which first"},
    {"source_ipv4", CONF_STRING, AT(source_ipv4), "", 0, 0, NULL,
     "Local IPv4 address of outgoing connections; empty = the system's choice"},
    {"source_ipv6", CONF_STRING, AT(source_ipv6), "", 0, 0, NULL,
     "Local IPv6 address of outgoing connections; empty = the system's choice"},
    {"tls", CONF_ENUM, AT(tls), "opportunistic", 0, 0, tls_policies,
     "Use of TLS: none; opportunistic (when the server can); required (encrypted or not at all); verify (and with a "
     "certificate that is good for the host)"},
    {"ca_file", CONF_PATH, AT(ca_file), "", 0, 0, NULL,
     "Certificates (PEM) that servers are verified against; empty = the system's"},
    {"connect_timeout", CONF_DURATION, AT(connect_timeout_ms), "30s", 100, HOUR_MS, NULL, "Wait for a TCP connection"},
    {"greeting_timeout", CONF_DURATION, AT(greeting_timeout_ms), "5m", 100, HOUR_MS, NULL,
     "Wait for the server's greeting"},
    {"helo_timeout", CONF_DURATION, AT(helo_timeout_ms), "5m", 100, HOUR_MS, NULL,
     "Wait for the reply to EHLO and HELO"},
    {"starttls_timeout", CONF_DURATION, AT(starttls_timeout_ms), "1m", 100, HOUR_MS, NULL,
     "Wait for the reply to STARTTLS, and for the handshake"},
    {"auth_timeout", CONF_DURATION, AT(auth_timeout_ms), "1m", 100, HOUR_MS, NULL, "Wait for each reply in AUTH"},
    {"mail_timeout", CONF_DURATION, AT(mail_timeout_ms), "5m", 100, HOUR_MS, NULL,
     "Wait for the reply to MAIL and RSET"},
    {"rcpt_timeout", CONF_DURATION, AT(rcpt_timeout_ms), "5m", 100, HOUR_MS, NULL, "Wait for the reply to each RCPT"},
    {"data_timeout", CONF_DURATION, AT(data_timeout_ms), "2m", 100, HOUR_MS, NULL, "Wait for the reply to DATA"},
    {"content_timeout", CONF_DURATION, AT(content_timeout_ms), "3m", 100, HOUR_MS, NULL,
     "How long sending the message may stand still"},
    {"end_timeout", CONF_DURATION, AT(end_timeout_ms), "10m", 100, HOUR_MS, NULL,
     "Wait for the reply to the end of the message; short values deliver twice"},
    {"delivery_timeout", CONF_DURATION, AT(delivery_timeout_ms), "1h", 100, 24 * HOUR_MS, NULL,
     "How long one delivery may take in all"},
    {"deliveries_max", CONF_INT, AT(deliveries_max), "200", 1, 100000, NULL, "Deliveries at a time, of each worker"},
    {"addresses_max", CONF_INT, AT(addresses_max), "5", 1, 100, NULL,
     "Addresses tried in one delivery before it is put off"},
    {"idle_connections_max", CONF_INT, AT(idle_connections_max), "100", 0, 100000, NULL,
     "Connections kept open for the next message, of each worker; 0 = none"},
    {"idle_timeout", CONF_DURATION, AT(idle_timeout_ms), "5s", 0, HOUR_MS, NULL,
     "How long a connection is kept open for the next message; 0 = not at all"},
    {"messages_per_connection_max", CONF_INT, AT(messages_per_connection_max), "100", 1, 1000000, NULL,
     "Messages sent over one connection"},
    {"strict_deliver_by", CONF_BOOL, AT(strict_deliver_by), "no", 0, 0, NULL,
     "A message to be returned when it is late (BY=...;R) is also returned where the next server does not offer "
     "DELIVERBY, as RFC 2852 has it; few do"},
    {0},
};

static const struct conf_param route_params[] = {
    {"hosts", CONF_LIST, ROUTE(hosts), "", 0, 0, NULL,
     "Relays that take the mail, tried in this order: names or [addresses]; empty = the domain's own servers"},
    {"port", CONF_INT, ROUTE(port), "0", 0, 65535, NULL, "Their port; 0 = delivery_port"},
    {"tls", CONF_ENUM, ROUTE(tls), "default", 0, 0, route_tls_policies,
     "Use of TLS on this route, as tls; default = as tls says"},
    {"ca_file", CONF_PATH, ROUTE(ca_file), "", 0, 0, NULL,
     "Certificates (PEM) that these servers are verified against; empty = as ca_file says"},
    {"credentials_file", CONF_PATH, ROUTE(credentials_file), "", 0, 0, NULL,
     "File with the user name in its first line and the password in its second, readable to nobody else; empty = no "
     "authentication"},
    {"plaintext_auth", CONF_BOOL, ROUTE(plaintext_auth), "no", 0, 0, NULL,
     "Whether the password may be sent over a connection without TLS"},
    {0},
};

static const struct conf_block blocks[] = {
    {"route", route_params, sizeof(struct settings_route), AT(routes),
     "Mail for one domain; \".example.com\" is everything below it, \"*\" all the rest"},
    {0},
};

static int check_source(const char *name, const char *text, int family, struct buf *why)
{
    struct net_address address;
    if (text[0] == '\0' || (net_parse(text, 0, &address) == 0 && address.any.sa_family == family))
        return 0;
    buf_printf(why, "%s = %s: expected an IPv%d address", name, text, family == AF_INET ? 4 : 6);
    return -EINVAL;
}

/* A host name, an address, or one in brackets; a port stands in its own parameter. */
static bool is_host(const char *host)
{
    struct net_address address;
    size_t len = strlen(host);
    if (host[0] == '[')
        return host[len - 1] == ']' &&
               (net_parse(host, 0, &address) == 0 || text_equal_nocase_n(host, "[IPv6:", strlen("[IPv6:")));
    return net_parse(host, 0, &address) == 0 || strpbrk(host, ":/@[]") == NULL;
}

static int check_route(const struct settings_smtp_out *s, const struct settings_route *r, struct buf *why)
{
    for (size_t i = 0; i < r->hosts.count; i++) {
        if (is_host(r->hosts.items[i]))
            continue;
        buf_printf(why, "route \"%s\": hosts = %s: expected host names or [addresses], and the port in port", r->name,
                   r->hosts.items[i]);
        return -EINVAL;
    }
    if (r->credentials_file[0] != '\0' && r->hosts.count == 0) {
        buf_printf(why, "route \"%s\": credentials_file without hosts: expected the relays that know the credentials",
                   r->name);
        return -EINVAL;
    }
    int tls = r->tls == TLS_POLICY_DEFAULT ? s->tls : r->tls;
    if (r->credentials_file[0] != '\0' && tls < TLS_POLICY_REQUIRED && !r->plaintext_auth) {
        buf_printf(why,
                   "route \"%s\": credentials_file with tls = %s: expected tls = required or verify, or "
                   "plaintext_auth = yes",
                   r->name, tls_policies[tls]);
        return -EINVAL;
    }
    return 0;
}

static int check(const void *settings, struct buf *why)
{
    const struct settings_smtp_out *s = settings;
    int r = check_source("source_ipv4", s->source_ipv4, AF_INET, why);
    if (r == 0)
        r = check_source("source_ipv6", s->source_ipv6, AF_INET6, why);
    if (r == 0 && strpbrk(s->helo_name, " \t<>\"") != NULL) {
        buf_printf(why, "helo_name = %s: expected a host name", s->helo_name);
        r = -EINVAL;
    }
    for (size_t i = 0; i < s->routes.count && r == 0; i++)
        r = check_route(s, s->routes.items[i], why);
    return r;
}

const struct conf_schema settings_smtp_out_schema = {.file = "smtp-out.conf",
                                                     .params = params,
                                                     .blocks = blocks,
                                                     .size = sizeof(struct settings_smtp_out),
                                                     .check = check};
