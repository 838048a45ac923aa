/* smtpd.conf: the listeners, who may use them, and the limits on what clients may do. */
#ifndef POSTHOUSE_SETTINGS_SMTPD_H
#define POSTHOUSE_SETTINGS_SMTPD_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"

enum listener_tls { LISTENER_TLS_NONE, LISTENER_TLS_STARTTLS, LISTENER_TLS_IMPLICIT };
enum listener_auth { LISTENER_AUTH_NO, LISTENER_AUTH_OPTIONAL, LISTENER_AUTH_REQUIRED };
enum listener_role { LISTENER_RELAY, LISTENER_SUBMISSION };

/* listener "submission" { ... } */
enum listener_line_ends { LISTENER_REFUSE, LISTENER_NORMALISE };
enum listener_lane { LISTENER_LANE_TRANSACTIONAL, LISTENER_LANE_BULK };

struct settings_listener {
    char *name;
    struct conf_addresses address;
    int tls;  /* enum listener_tls */
    int auth; /* enum listener_auth */
    bool auth_without_tls, client_certificates, check_sender_domain, check_recipient_domains;
    int role; /* enum listener_role */
    struct conf_networks trusted_networks;
    char *tenant;  /* of mail that comes without authentication */
    char *senders; /* whom such mail may come from (mail/senders.h); "" = anybody */
    bool add_missing_from;
    int lane;     /* enum listener_lane */
    char *banner; /* "" = smtpd's */
    /* 0 = as outside of listeners */
    int64_t max_message_size_bytes, max_recipients, max_errors, max_connections, idle_timeout_ms;
    struct conf_list discard_ehlo_keywords;
    int bare_line_ends; /* enum listener_line_ends */
    struct conf_networks normalise_networks, xclient_networks, proxy_networks;
    int64_t greet_wait_ms; /* 0 = greet at once */
};

/* certificate "example" { ... }: for clients that name a host of it (SNI). */
struct settings_certificate {
    char *name;
    char *chain;
    char *key; /* "" = in the chain file */
};

/* quota "free" { ... }: what each of those it names may send.  0 = any number. */
struct settings_quota {
    char *name;
    struct conf_list credentials, tenants, listeners; /* "*" = all that no other block names */
    struct conf_networks clients, networks;
    int64_t network_prefix_ipv4, network_prefix_ipv6; /* bits */
    int64_t messages_per_minute, messages_per_hour, messages_per_day;
    int64_t recipients_per_minute, recipients_per_hour, recipients_per_day;
    int64_t sessions;
};

struct settings_smtpd {
    char *banner;
    char *certificate, *key; /* PEM files; key "" = in the file of the certificate */
    char *client_ca;         /* "" = none */
    int64_t max_message_size_bytes, max_header_size_bytes, max_line_length;
    int64_t max_recipients, max_hops;
    char *postmaster;                       /* "" = at our hostname, for clients that may relay */
    char *lane_header, *idempotency_header; /* "" = none */
    int64_t future_release_max_ms;
    int64_t max_errors, max_login_attempts;
    int64_t max_connections, max_connections_per_address, max_connections_per_network;
    int64_t network_prefix_ipv4, network_prefix_ipv6;
    int64_t connections_per_minute, failed_logins_per_minute;
    int64_t idle_timeout_ms, command_time_limit_ms, min_data_rate_bytes;
    int64_t min_free_space_bytes;
    struct conf_list auth_mechanisms;
    int tls_min_version; /* index into 1.2, 1.3 */
    char *tls_ciphers;
    struct conf_blocks listeners;    /* struct settings_listener */
    struct conf_blocks certificates; /* struct settings_certificate */
    struct conf_blocks quotas;       /* struct settings_quota */
};

extern const struct conf_schema settings_smtpd_schema;

#endif
