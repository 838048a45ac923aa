#include "dns/fake.h"

#include <ldns/ldns.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

enum { FAKE_ALIASES_MAX = 8 };

static void pkt_freep(ldns_pkt **p)
{
    ldns_pkt_free(*p);
}

static bool line_is_about(const char *line, const char *name)
{
    size_t len = strlen(name);
    return text_equal_nocase_n(line, name, len) && line[len] == ' ';
}

/* Adds the lines about name to the answer, and those about its alias; false when no line is about it. */
static bool add_lines(ldns_pkt *reply, const char *const *lines, const char *name, ldns_rr_type type, unsigned depth)
{
    bool known = false;
    for (size_t i = 0; lines[i] != NULL; i++) {
        ldns_rr *rr = NULL;
        if (!line_is_about(lines[i], name))
            continue;
        known = true;
        if (ldns_rr_new_frm_str(&rr, lines[i], 300, NULL, NULL) != LDNS_STATUS_OK)
            continue;
        if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_CNAME && depth < FAKE_ALIASES_MAX) {
            _cleanup_(freep) char *target = ldns_rdf2str(ldns_rr_rdf(rr, 0));
            add_lines(reply, lines, target, type, depth + 1);
        } else if (ldns_rr_get_type(rr) != type) {
            ldns_rr_free(rr);
            continue;
        }
        ldns_pkt_push_rr(reply, LDNS_SECTION_ANSWER, rr);
    }
    return known;
}

static const char *line_with_word(const char *const *lines, const char *name, const char *word)
{
    for (size_t i = 0; lines[i] != NULL; i++)
        if (line_is_about(lines[i], name) && strcmp(lines[i] + strlen(name) + 1, word) == 0)
            return lines[i];
    return NULL;
}

void dns_fake_answer(void *arg, const void *query, size_t query_len, struct buf *out)
{
    const char *const *lines = arg;
    _cleanup_(pkt_freep) ldns_pkt *pkt = NULL;
    _cleanup_(freep) char *name = NULL;
    _cleanup_(freep) uint8_t *wire = NULL;
    size_t len = 0;
    if (ldns_wire2pkt(&pkt, query, query_len) != LDNS_STATUS_OK)
        return;
    const ldns_rr *question = ldns_rr_list_rr(ldns_pkt_question(pkt), 0);
    name = ldns_rdf2str(ldns_rr_owner(question));
    ldns_pkt_set_qr(pkt, true);
    ldns_pkt_set_ad(pkt, true);
    if (line_with_word(lines, name, "SILENT") != NULL)
        return;
    if (line_with_word(lines, name, "SERVFAIL") != NULL)
        ldns_pkt_set_rcode(pkt, LDNS_RCODE_SERVFAIL);
    else if (!add_lines(pkt, lines, name, ldns_rr_get_type(question), 0))
        ldns_pkt_set_rcode(pkt, LDNS_RCODE_NXDOMAIN);
    if (ldns_pkt2wire(&wire, pkt, &len) == LDNS_STATUS_OK)
        buf_append(out, wire, len);
}

void dns_fake_use(struct dns_resolver *r, const char *const *lines)
{
    dns_resolver_set_fake(r, dns_fake_answer, (void *)lines);
}
