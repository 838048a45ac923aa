/* dns/fake: DNS for tests from lines of a zone file instead of the network; the answers go through the real codec. */
#ifndef POSTHOUSE_DNS_FAKE_H
#define POSTHOUSE_DNS_FAKE_H

#include "dns/resolver.h"

/* Makes r answer from lines, a NULL-terminated list that must outlive it, such as "example.test. 300 IN MX 10
 * mx.example.test." Aliases are followed.  A name in no line is NXDOMAIN; "name. SERVFAIL" and "name. SILENT" do what
 * they say. */
void dns_fake_answer(void *lines, const void *query, size_t query_len, struct buf *reply);
void dns_fake_use(struct dns_resolver *r, const char *const *lines);

#endif
