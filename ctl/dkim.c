/* posthouse dkim ...: signing keys and the records that publish them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "ctl/commands.h"
#include "ctl/keys.h"
#include "ctl/listing.h"
#include "mail/domain.h"

#define SELECTOR_MAX 63 /* one label, of which "-ed25519" is added to the second key */
#define RECORD_MAX   16384

/* -- list and dns -- */

static const struct listing_column list_columns[] = {
    {"domain", "DOMAIN", 24}, {"selector", "SELECTOR", 16}, {"type", "TYPE", 7},
    {"bits", "BITS", 4},      {"file", "FILE", 0},          {NULL, NULL, 0},
};

int dkim_list(struct ctl *c, const struct args *a)
{
    _cleanup_(freep) char *path = NULL;
    struct key_table table = {0};
    struct listing l;
    int status = keys_load(c, &path, &table);
    if (status == CTL_OK) {
        listing_begin(&l, stdout, c->json, list_columns);
        for (size_t i = 0; i < table.count; i++) {
            const struct key_table_row *row = &table.rows[i];
            listing_text(&l, row->domain);
            listing_text(&l, row->selector);
            listing_text(&l, signing_key_type_name(row->key.type));
            listing_number(&l, row->key.bits);
            listing_text(&l, row->path);
        }
        listing_end(&l);
    }
    key_table_deinit(&table);
    return status;
}

static const struct listing_column dns_columns[] = {
    {"domain", NULL, 0}, {"selector", NULL, 0}, {"type", NULL, 0},
    {"name", NULL, 0},   {"record", NULL, 0},   {NULL, NULL, 0},
};

static int show_record(const struct ctl *c, const struct key_table_row *row, struct listing *l)
{
    _cleanup_(freep) char *name = text_format("%s._domainkey.%s.", row->selector, row->domain);
    struct buf record, line;
    buf_init(&record, RECORD_MAX);
    buf_init(&line, RECORD_MAX * 2);
    int r = name != NULL ? signing_key_record(&row->key, &record) : -ENOMEM;
    if (r == 0 && !c->json)
        r = signing_key_zone_line(row->selector, row->domain, buf_str(&record), &line);
    if (r == 0 && c->json) {
        listing_text(l, row->domain);
        listing_text(l, row->selector);
        listing_text(l, signing_key_type_name(row->key.type));
        listing_text(l, name);
        listing_text(l, buf_str(&record));
    } else if (r == 0) {
        fputs(buf_str(&line), stdout);
        if (line.len > 0 && line.data[line.len - 1] != '\n')
            fputc('\n', stdout);
    }
    buf_deinit(&record);
    buf_deinit(&line);
    return r < 0 ? ctl_say(CTL_FAILED, "%s %s: %s", row->domain, row->selector, text_errno(r)) : CTL_OK;
}

/* The records of one domain, or of all. */
static int show_records(const struct ctl *c, const char *domain)
{
    _cleanup_(freep) char *path = NULL;
    struct key_table table = {0};
    struct listing l = {0};
    size_t shown = 0;
    int status = keys_load(c, &path, &table);
    if (status == CTL_OK && c->json)
        listing_begin(&l, stdout, true, dns_columns);
    for (size_t i = 0; status == CTL_OK && i < table.count; i++) {
        if (domain != NULL && strcmp(domain, table.rows[i].domain) != 0)
            continue;
        status = show_record(c, &table.rows[i], &l);
        shown++;
    }
    if (l.to != NULL)
        listing_end(&l);
    key_table_deinit(&table);
    if (status == CTL_OK && shown == 0)
        return ctl_say(CTL_FAILED, "%s has no key%s%s; 'posthouse dkim generate DOMAIN' makes some", path,
                       domain != NULL ? " of " : "", domain != NULL ? domain : "");
    return status;
}

static int take_domain(const char *text, char out[MAIL_DNS_NAME_MAX + 1])
{
    if (mail_domain_to_ascii(text, out) == 0)
        return CTL_OK;
    return ctl_say(CTL_USAGE, "%s: expected a domain name", text);
}

int dkim_dns(struct ctl *c, const struct args *a)
{
    char domain[MAIL_DNS_NAME_MAX + 1];
    if (args_at(a, 0) == NULL)
        return show_records(c, NULL);
    int status = take_domain(args_at(a, 0), domain);
    return status == CTL_OK ? show_records(c, domain) : status;
}

/* -- generate -- */

struct plan {
    char domain[MAIL_DNS_NAME_MAX + 1];
    char selector[SELECTOR_MAX + 1];
    int bits;
    char *table, *folder;
};

/* One key: file first, then the table's line; neither without the other. */
static int make_key(const struct plan *p, enum signing_key_type type, const char *suffix)
{
    _cleanup_(freep) char *selector = text_format("%s%s", p->selector, suffix);
    _cleanup_(freep) char *file = text_format("%s/%s.%s%s.pem", p->folder, p->domain, p->selector, suffix);
    struct signing_key key = {0};
    struct buf why;
    bool written = false;
    buf_init(&why, 65536);
    int r = selector == NULL || file == NULL ? -ENOMEM : signing_key_generate(type, p->bits, &key);
    if (r == 0)
        r = signing_key_write(&key, file, &why);
    written = r == 0;
    if (r == 0)
        r = key_table_add(p->table, p->domain, selector, file, &why);
    if (r < 0 && written)
        unlink(file);
    if (r < 0)
        ctl_say(CTL_FAILED, "%s", why.len > 0 ? buf_str(&why) : text_errno(r));
    signing_key_deinit(&key);
    buf_deinit(&why);
    return r < 0 ? CTL_FAILED : CTL_OK;
}

/* "ph202601": tells when the key was made, which is when it should be replaced a while later. */
static void default_selector(char out[SELECTOR_MAX + 1])
{
    time_t now = (time_t)clock_wall_s();
    struct tm tm;
    if (gmtime_r(&now, &tm) == NULL || strftime(out, SELECTOR_MAX + 1, "ph%Y%m", &tm) == 0)
        snprintf(out, SELECTOR_MAX + 1, "ph");
}

static int make_plan(const struct ctl *c, const struct args *a, struct plan *p)
{
    uint64_t bits = SIGNING_KEY_RSA_BITS_ADVISED;
    const char *bits_text = args_option(a, "bits"), *selector = args_at(a, 1);
    int status = take_domain(args_at(a, 0), p->domain);
    if (status != CTL_OK)
        return status;
    if (bits_text != NULL && (text_parse_u64(bits_text, 8192, &bits) < 0 || bits < SIGNING_KEY_RSA_BITS_MIN))
        return ctl_say(CTL_USAGE, "--bits %s: expected a number from %d to 8192", bits_text, SIGNING_KEY_RSA_BITS_MIN);
    p->bits = (int)bits;
    if (selector == NULL)
        default_selector(p->selector);
    else if (strlen(selector) > SELECTOR_MAX - strlen("-ed25519") || strchr(selector, '/') != NULL)
        return ctl_say(CTL_USAGE, "%s: expected a selector of letters, digits and hyphens", selector);
    else
        snprintf(p->selector, sizeof(p->selector), "%s", selector);
    text_lower(p->selector);
    p->folder = text_format("%s/dkim", c->shared.state_directory);
    if (p->folder == NULL)
        return ctl_say(CTL_FAILED, "not enough memory");
    return keys_path(c, &p->table);
}

int dkim_generate(struct ctl *c, const struct args *a)
{
    struct plan p = {0};
    int status = make_plan(c, a, &p);
    if (status == CTL_OK) {
        _cleanup_(freep) char *file = text_format("%s/key", p.folder);
        status = file == NULL ? CTL_FAILED : ctl_make_folder(c, file, NULL, NULL);
    }
    if (status == CTL_OK)
        status = make_key(&p, SIGNING_KEY_RSA, "");
    if (status == CTL_OK)
        status = make_key(&p, SIGNING_KEY_ED25519, "-ed25519");
    if (status == CTL_OK) {
        ctl_note(c,
                 "keys made and added to %s; publish these records, then 'posthouse reload' begins to sign:", p.table);
        status = show_records(c, p.domain);
    }
    free(p.table);
    free(p.folder);
    return status;
}
