/* smtp-out.conf: how mail leaves: DNS, connections, time-outs, TLS, and routes to other relays. */
#ifndef POSTHOUSE_SETTINGS_SMTP_OUT_H
#define POSTHOUSE_SETTINGS_SMTP_OUT_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"

/* Weakest first. */
enum settings_tls_policy {
    TLS_POLICY_NONE,          /* never */
    TLS_POLICY_OPPORTUNISTIC, /* when the server can; in plain text when it can not */
    TLS_POLICY_REQUIRED,      /* encrypted or not at all; any certificate */
    TLS_POLICY_VERIFY,        /* and the certificate must be good for the host */
    TLS_POLICY_DEFAULT,       /* in a route: what the file says outside of it */
};

/* route "example.com" { … }: mail for one domain, ".example.com" for everything below it, "*" for all the rest. */
struct settings_route {
    char *name;
    struct conf_list hosts; /* instead of the domain's own servers; empty = those */
    int64_t port;           /* 0 = delivery_port */
    int tls;                /* enum settings_tls_policy */
    char *ca_file;
    char *credentials_file;
    bool plaintext_auth;
};

struct settings_smtp_out {
    struct conf_addresses dns_servers;
    bool dns_trust_ad;
    int64_t dns_timeout_ms, dns_attempts, dns_lookups_max, dns_cache_entries_max, dns_cache_ttl_max_ms;
    char *helo_name;
    int64_t delivery_port;
    int address_preference; /* enum dns_family */
    char *source_ipv4, *source_ipv6;
    int tls; /* enum settings_tls_policy, never TLS_POLICY_DEFAULT */
    char *ca_file;
    int64_t connect_timeout_ms, greeting_timeout_ms, helo_timeout_ms, starttls_timeout_ms, auth_timeout_ms;
    int64_t mail_timeout_ms, rcpt_timeout_ms, data_timeout_ms, content_timeout_ms, end_timeout_ms;
    int64_t delivery_timeout_ms;
    int64_t deliveries_max, addresses_max;
    int64_t idle_connections_max, idle_timeout_ms, messages_per_connection_max;
    bool strict_deliver_by;
    struct conf_blocks routes; /* of struct settings_route */
};

extern const struct conf_schema settings_smtp_out_schema;

#endif
