/* route: the route blocks of smtp-out.conf, ready for use: trust anchors and credentials read. */
#ifndef POSTHOUSE_SMTP_OUT_ROUTE_H
#define POSTHOUSE_SMTP_OUT_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "settings/smtp_out.h"
#include "tls/client.h"

struct route {
    const char *name;              /* as in route "…"; "" = no route block, the domain's own servers */
    const struct conf_list *hosts; /* NULL = the domain's own servers */
    uint16_t port;
    enum settings_tls_policy tls;
    struct tls_client *client;
    char *user, *password; /* NULL = no authentication; wiped when freed */
    bool plaintext_auth;
};

struct route_table {
    struct route *items; /* the last one is for what no other fits */
    size_t count;
    struct tls_client *default_client;
};

/* Reads all files: call before privileges are given up.  settings must outlive the table.  0, or -errno with the reason
 * in why. */
int route_table_init(struct route_table *t, const struct settings_smtp_out *settings, struct buf *why);
void route_table_deinit(struct route_table *t);

/* The exact domain before ".example.com" (the longest), before "*".  Never NULL. */
const struct route *route_find(const struct route_table *t, const char *domain);

/* The block of exactly this name; NULL = none. */
const struct route *route_find_name(const struct route_table *t, const char *name);
/* For what no block fits. */
const struct route *route_default(const struct route_table *t);

#endif
