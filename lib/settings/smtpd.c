#include "settings/smtpd.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "mail/address.h"
#include "mail/senders.h"
#include "smtp/ehlo.h"

#define AT(field)             offsetof(struct settings_smtpd, field)
#define AT_LISTENER(field)    offsetof(struct settings_listener, field)
#define AT_QUOTA(field)       offsetof(struct settings_quota, field)
#define AT_CERTIFICATE(field) offsetof(struct settings_certificate, field)

#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

static const char *const tls_modes[] = {"none", "starttls", "implicit", NULL};
static const char *const auth_modes[] = {"no", "optional", "required", NULL};
static const char *const roles[] = {"relay", "submission", NULL};
static const char *const tls_versions[] = {"1.2", "1.3", NULL};

static const struct conf_param params[] = {
    {"banner", CONF_STRING, AT(banner), "Posthouse", 0, 0, NULL,
     "What follows the host name and ESMTP in the greeting"},
    {"certificate", CONF_PATH, AT(certificate), "/etc/posthouse/tls/chain.pem", 0, 0, NULL,
     "PEM file of the TLS certificate and the intermediate ones, for clients that name no host or an unknown one"},
    {"key", CONF_PATH, AT(key), "/etc/posthouse/tls/key.pem", 0, 0, NULL,
     "PEM file of its key; empty = in the certificate's file"},
    {"client_ca", CONF_PATH, AT(client_ca), "", 0, 0, NULL,
     "PEM file of authorities: a client certificate they signed logs in (EXTERNAL) as the credential with its e-mail "
     "address or common name; empty = only certificates added by posthouse user certificate"},
    {"max_message_size", CONF_SIZE, AT(max_message_size_bytes), "50M", 0, 2 * GIB, NULL,
     "Largest message taken, announced by SIZE; 0 = any"},
    {"max_header_size", CONF_SIZE, AT(max_header_size_bytes), "256k", KIB, 16 * MIB, NULL,
     "Largest header of a message, and of one field in it"},
    {"max_line_length", CONF_SIZE, AT(max_line_length), "0", 0, GIB, NULL,
     "Longest line of a message without its CRLF; 0 = any; RFC 5321 allows 998"},
    {"max_recipients", CONF_INT, AT(max_recipients), "1000", 1, 50000, NULL, "Recipients one message may have"},
    {"max_hops", CONF_INT, AT(max_hops), "100", 1, 1000, NULL,
     "Received fields a message may carry before it is taken for one that loops"},
    {"postmaster", CONF_STRING, AT(postmaster), "", 0, 0, NULL,
     "Who gets the mail to postmaster without a domain, which is then taken from everybody; empty = postmaster at "
     "hostname of posthouse.conf, from clients that may relay"},
    {"lane_header", CONF_STRING, AT(lane_header), "", 0, 0, NULL,
     "Header field by which an application tells the lane of a message (X-Priority: 5, or bulk, transactional); it is "
     "left out of the message; empty = none"},
    {"idempotency_header", CONF_STRING, AT(idempotency_header), "Idempotency-Key", 0, 0, NULL,
     "Header field with a key: what a credential sends again with the same one to the same recipients within a day is "
     "answered with the first queue id and not queued again; left out of the message; empty = none"},
    {"future_release_max", CONF_DURATION, AT(future_release_max_ms), "30d", 0, INT64_C(31536000000), NULL,
     "How far in the future a submitted message may ask to be sent (FUTURERELEASE); 0 = not offered"},
    {"max_errors", CONF_INT, AT(max_errors), "20", 1, 100000, NULL,
     "Refused commands and recipients after which a session is ended"},
    {"max_login_attempts", CONF_INT, AT(max_login_attempts), "3", 1, 100, NULL,
     "Failed logins after which a session is ended"},
    {"max_connections", CONF_INT, AT(max_connections), "10000", 1, 1000000, NULL,
     "Simultaneous sessions in all, counted over all smtpd processes; when so many are there, whoever has been idle "
     "longest makes room for a new client, those who have not logged in first"},
    {"max_connections_per_address", CONF_INT, AT(max_connections_per_address), "0", 0, 1000000, NULL,
     "Simultaneous sessions of one client address with all smtpd processes; 0 = any number"},
    {"max_connections_per_network", CONF_INT, AT(max_connections_per_network), "0", 0, 1000000, NULL,
     "Simultaneous sessions of one client network with all smtpd processes; 0 = any number"},
    {"network_prefix_ipv4", CONF_INT, AT(network_prefix_ipv4), "24", 0, 32, NULL,
     "Bits of an IPv4 address that tell its network, for max_connections_per_network"},
    {"network_prefix_ipv6", CONF_INT, AT(network_prefix_ipv6), "56", 0, 64, NULL,
     "Bits of an IPv6 address that tell its network, for max_connections_per_network"},
    {"connections_per_minute", CONF_INT, AT(connections_per_minute), "0", 0, 10000000, NULL,
     "New sessions of one client address a minute, counted over all smtpd processes; 0 = any number"},
    {"failed_logins_per_minute", CONF_INT, AT(failed_logins_per_minute), "10", 0, 1000000, NULL,
     "Failed logins of one client address a minute before it has to wait, counted over all smtpd processes; 0 = any "
     "number"},
    {"idle_timeout", CONF_DURATION, AT(idle_timeout_ms), "5m", 1000, 86400000, NULL,
     "How long a client may be silent, and how long it may leave replies unread"},
    {"command_time_limit", CONF_DURATION, AT(command_time_limit_ms), "1m", 1000, 86400000, NULL,
     "How long a client may take for one command once it began it, for the TLS handshake, and for a PROXY header"},
    {"min_data_rate", CONF_SIZE, AT(min_data_rate_bytes), "100", 0, GIB, NULL,
     "Bytes a second at which the content of a message must come on average, after a first idle_timeout; 0 = any"},
    {"min_free_space", CONF_SIZE, AT(min_free_space_bytes), "100M", 0, 1024 * GIB, NULL,
     "Free space on the queue's file system below which no mail is taken; 0 = not checked"},
    {"auth_mechanisms", CONF_LIST, AT(auth_mechanisms), "PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS EXTERNAL", 0, 0,
     NULL,
     "SASL mechanisms offered, in this order, each where it is possible: EXTERNAL to a client that showed a "
     "certificate, SCRAM-SHA-256-PLUS within TLS"},
    {"tls_min_version", CONF_ENUM, AT(tls_min_version), "1.2", 0, 0, tls_versions, "Oldest TLS version spoken"},
    {"tls_ciphers", CONF_STRING, AT(tls_ciphers), "", 0, 0, NULL,
     "Cipher suites of TLS 1.2 as OpenSSL writes them; empty = Mozilla's intermediate list"},
    {0},
};

static const char *const line_ends[] = {"refuse", "normalise", NULL};
static const char *const lanes[] = {"transactional", "bulk", NULL};

static const struct conf_param listener_params[] = {
    {"address", CONF_ADDRESSES, AT_LISTENER(address), "", 0, 0, NULL, "Addresses with port to listen on"},
    {"tls", CONF_ENUM, AT_LISTENER(tls), "starttls", 0, 0, tls_modes,
     "TLS not at all, after STARTTLS, or from the first byte on"},
    {"auth", CONF_ENUM, AT_LISTENER(auth), "no", 0, 0, auth_modes,
     "Whether clients can log in, or must; only ever offered under TLS"},
    {"auth_without_tls", CONF_BOOL, AT_LISTENER(auth_without_tls), "no", 0, 0, NULL,
     "Login is also offered without TLS; for Unix sockets, where nobody can listen"},
    {"client_certificates", CONF_BOOL, AT_LISTENER(client_certificates), "no", 0, 0, NULL,
     "Clients are asked for a certificate, with which they can log in by EXTERNAL instead of a password"},
    {"role", CONF_ENUM, AT_LISTENER(role), "relay", 0, 0, roles,
     "Relay passes mail on as it is; submission completes what an application left out (Date, Message-ID) and drops "
     "Bcc"},
    {"trusted_networks", CONF_NETWORKS, AT_LISTENER(trusted_networks), "", 0, 0, NULL,
     "Networks whose clients may relay without login"},
    {"tenant", CONF_STRING, AT_LISTENER(tenant), "", 0, 0, NULL, "Whose mail it is when the client did not log in"},
    {"senders", CONF_STRING, AT_LISTENER(senders), "", 0, 0, NULL,
     "Addresses (user@domain), domains (domain, .subdomains) or * that mail without login may come from, in its "
     "envelope "
     "and in From; empty = any"},
    {"add_missing_from", CONF_BOOL, AT_LISTENER(add_missing_from), "no", 0, 0, NULL,
     "A submission without From, or with several authors and no Sender, gets one with the envelope sender's address"},
    {"check_sender_domain", CONF_BOOL, AT_LISTENER(check_sender_domain), "no", 0, 0, NULL,
     "Mail whose sender's domain does not exist, or says that it takes no mail, is refused: no notice could reach it"},
    {"check_recipient_domains", CONF_BOOL, AT_LISTENER(check_recipient_domains), "no", 0, 0, NULL,
     "Recipients whose domain does not exist, or says that it takes no mail, are refused at once and not by a notice"},
    {"lane", CONF_ENUM, AT_LISTENER(lane), "transactional", 0, 0, lanes,
     "Bulk mail waits behind everybody's transactional mail"},
    {"banner", CONF_STRING, AT_LISTENER(banner), "", 0, 0, NULL,
     "What follows the host name in the greeting here; empty = banner"},
    {"max_message_size", CONF_SIZE, AT_LISTENER(max_message_size_bytes), "0", 0, 2 * GIB, NULL,
     "Largest message taken here; 0 = as outside of listeners, here and below"},
    {"max_recipients", CONF_INT, AT_LISTENER(max_recipients), "0", 0, 50000, NULL,
     "Recipients one message may have here"},
    {"max_errors", CONF_INT, AT_LISTENER(max_errors), "0", 0, 100000, NULL,
     "Refused commands and recipients after which a session is ended here"},
    {"max_connections", CONF_INT, AT_LISTENER(max_connections), "0", 0, 1000000, NULL,
     "Simultaneous sessions here, counted over all smtpd processes; those of all listeners are limited beside that"},
    {"idle_timeout", CONF_DURATION, AT_LISTENER(idle_timeout_ms), "0", 0, 86400000, NULL,
     "How long a client may be silent here"},
    {"discard_ehlo_keywords", CONF_LIST, AT_LISTENER(discard_ehlo_keywords), "", 0, 0, NULL,
     "Extensions not offered here, by their EHLO keywords"},
    {"bare_line_ends", CONF_ENUM, AT_LISTENER(bare_line_ends), "refuse", 0, 0, line_ends,
     "Messages and commands with a CR or LF alone are refused, or each becomes CRLF; only CRLF . CRLF ends a message "
     "either way"},
    {"normalise_networks", CONF_NETWORKS, AT_LISTENER(normalise_networks), "", 0, 0, NULL,
     "Networks of old devices whose line ends are mended whatever bare_line_ends says"},
    {"xclient_networks", CONF_NETWORKS, AT_LISTENER(xclient_networks), "", 0, 0, NULL,
     "Networks of proxies that may tell of their clients by XCLIENT"},
    {"proxy_networks", CONF_NETWORKS, AT_LISTENER(proxy_networks), "", 0, 0, NULL,
     "Networks of load balancers that begin each connection with a PROXY header, version 1 or 2"},
    {"greet_wait", CONF_DURATION, AT_LISTENER(greet_wait_ms), "0", 0, 60000, NULL,
     "How long the greeting waits for clients that speak before it, as only junk senders do, and are turned away; 0 = "
     "not at all; trusted networks are greeted at once"},
    {0},
};

static const struct conf_param certificate_params[] = {
    {"chain", CONF_PATH, AT_CERTIFICATE(chain), "", 0, 0, NULL,
     "PEM file: the certificate, then the intermediate ones"},
    {"key", CONF_PATH, AT_CERTIFICATE(key), "", 0, 0, NULL, "PEM file of the key; empty = in the chain file"},
    {0},
};

#define QUOTA(field, help)                                                                                             \
    {                                                                                                                  \
#field, CONF_INT, AT_QUOTA(field), "0", 0, 1000000000, NULL, help                                              \
    }

static const struct conf_param quota_params[] = {
    {"credentials", CONF_LIST, AT_QUOTA(credentials), "", 0, 0, NULL,
     "Credentials it counts for, each by itself; * = every one that no other block names"},
    {"tenants", CONF_LIST, AT_QUOTA(tenants), "", 0, 0, NULL,
     "Tenants it counts for, each by itself; * = every one that no other block names"},
    {"clients", CONF_NETWORKS, AT_QUOTA(clients), "", 0, 0, NULL,
     "Networks whose clients it counts for, each address (IPv6: each /64) by itself, logged in or not"},
    {"networks", CONF_NETWORKS, AT_QUOTA(networks), "", 0, 0, NULL,
     "Networks whose clients it counts for, all of a network of the sizes below together"},
    {"network_prefix_ipv4", CONF_INT, AT_QUOTA(network_prefix_ipv4), "24", 0, 32, NULL,
     "Bits of an IPv4 address that tell its network"},
    {"network_prefix_ipv6", CONF_INT, AT_QUOTA(network_prefix_ipv6), "56", 0, 64, NULL,
     "Bits of an IPv6 address that tell its network"},
    {"listeners", CONF_LIST, AT_QUOTA(listeners), "", 0, 0, NULL, "Listeners on which it counts, by name; empty = all"},
    QUOTA(messages_per_minute, "Messages in a minute; 0 = any number, here and below"),
    QUOTA(messages_per_hour, "Messages in an hour"),
    QUOTA(messages_per_day, "Messages in a day"),
    QUOTA(recipients_per_minute, "Recipients in a minute"),
    QUOTA(recipients_per_hour, "Recipients in an hour"),
    QUOTA(recipients_per_day, "Recipients in a day"),
    QUOTA(sessions, "Sessions at the same time, of a credential or tenant, counted over all smtpd processes"),
    {0},
};

static const struct conf_block blocks[] = {
    {"listener", listener_params, sizeof(struct settings_listener), AT(listeners), "Where clients connect"},
    {"certificate", certificate_params, sizeof(struct settings_certificate), AT(certificates),
     "One more TLS certificate, for clients that name a host of it (SNI)"},
    {"quota", quota_params, sizeof(struct settings_quota), AT(quotas),
     "How much credentials, tenants, clients or networks may send"},
    {0},
};

static int listener_check(const struct settings_listener *l, bool have_certificate, struct buf *why)
{
    const char *trouble = NULL;
    char wrong[256];
    if (l->address.count == 0)
        trouble = "has no address";
    else if (strchr(l->name, ':') != NULL || strchr(l->name, ' ') != NULL || strchr(l->name, '=') != NULL)
        trouble = "has a name with a blank, ':' or '='";
    else if (l->auth != LISTENER_AUTH_NO && l->tls == LISTENER_TLS_NONE && !l->auth_without_tls)
        trouble = "offers login, which needs tls = starttls or implicit, or auth_without_tls = yes";
    else if (mail_senders_check(l->senders, wrong, sizeof(wrong)) < 0)
        trouble = "has senders with a word that is no address, domain or *";
    else if (l->client_certificates && l->tls == LISTENER_TLS_NONE)
        trouble = "asks for client certificates, which needs tls = starttls or implicit";
    else if (l->tls != LISTENER_TLS_NONE && !have_certificate)
        trouble = "offers TLS, which needs a certificate";
    for (size_t i = 0; i < l->discard_ehlo_keywords.count && trouble == NULL; i++)
        if (smtp_extension_named(l->discard_ehlo_keywords.items[i]) == 0)
            trouble = "discards an EHLO keyword that is none of ours";
    if (trouble == NULL)
        return 0;
    buf_printf(why, "listener \"%s\" %s", l->name, trouble);
    return -EINVAL;
}

static int postmaster_check(const char *postmaster, struct buf *why)
{
    struct mail_address address;
    int r = postmaster[0] != '\0' ? mail_address_parse(postmaster, strlen(postmaster), 0, &address) : 0;
    if (r == 0)
        return 0;
    buf_printf(why, "postmaster = %s: %s", postmaster, mail_address_problem(r));
    return -EINVAL;
}

static int quota_listeners_check(const struct settings_smtpd *s, const struct settings_quota *q, struct buf *why)
{
    for (size_t i = 0; i < q->listeners.count; i++) {
        bool found = false;
        for (size_t k = 0; k < s->listeners.count && !found; k++)
            found = strcmp(((struct settings_listener *)s->listeners.items[k])->name, q->listeners.items[i]) == 0;
        if (!found) {
            buf_printf(why, "quota \"%s\" names listener %s, which there is not", q->name, q->listeners.items[i]);
            return -EINVAL;
        }
    }
    return 0;
}

static int check(const void *settings, struct buf *why)
{
    const struct settings_smtpd *s = settings;
    int r = postmaster_check(s->postmaster, why);
    if (r < 0)
        return r;
    for (size_t i = 0; i < s->certificates.count; i++) {
        const struct settings_certificate *c = s->certificates.items[i];
        if (c->chain[0] == '\0') {
            buf_printf(why, "certificate \"%s\" has no chain", c->name);
            return -EINVAL;
        }
    }
    for (size_t i = 0; i < s->quotas.count; i++) {
        const struct settings_quota *q = s->quotas.items[i];
        if (q->credentials.count + q->tenants.count + q->clients.count + q->networks.count == 0) {
            buf_printf(why, "quota \"%s\" counts for nobody: it needs credentials, tenants, clients or networks",
                       q->name);
            return -EINVAL;
        }
        r = quota_listeners_check(s, q, why);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < s->listeners.count; i++) {
        r = listener_check(s->listeners.items[i], s->certificate[0] != '\0', why);
        if (r < 0)
            return r;
    }
    return 0;
}

const struct conf_schema settings_smtpd_schema = {
    .file = "smtpd.conf",
    .params = params,
    .blocks = blocks,
    .size = sizeof(struct settings_smtpd),
    .check = check,
    .default_blocks = "listener \"smtp\" {\n"
                      "    address = 0.0.0.0:25 [::]:25\n"
                      "    trusted_networks = 127.0.0.0/8 ::1\n"
                      "}\n"
                      "listener \"submission\" {\n"
                      "    address = 0.0.0.0:587 [::]:587\n"
                      "    auth = required\n"
                      "    role = submission\n"
                      "}\n"
                      "listener \"submissions\" {\n"
                      "    address = 0.0.0.0:465 [::]:465\n"
                      "    tls = implicit\n"
                      "    auth = required\n"
                      "    role = submission\n"
                      "}\n",
};
