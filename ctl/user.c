/* posthouse user ...: the credentials database. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "ctl/commands.h"
#include "ctl/credentials.h"
#include "ctl/listing.h"
#include "ctl/password.h"
#include "mail/senders.h"
#include "settings/auth.h"
#include "store/credentials.h"

int ctl_credentials_open(struct ctl *c, struct credentials **out)
{
    const char *path = c->shared.credentials_database;
    int status = ctl_make_folder(c, path, c->shared.auth_user, NULL);
    if (status != CTL_OK)
        return status;
    int r = credentials_open(path, out);
    if (r == -EBUSY)
        return ctl_say(CTL_TRY_LATER, "%s is busy; try again later", path);
    return r < 0 ? ctl_say(CTL_FAILED, "%s: %s", path, text_errno(r)) : CTL_OK;
}

static int outcome(const char *name, int r)
{
    switch (r) {
    case 0:
        return CTL_OK;
    case -ENOENT:
        return ctl_say(CTL_FAILED, "%s: no such credential", name);
    case -EEXIST:
        return ctl_say(CTL_FAILED, "%s: exists already; 'posthouse user passwd' sets another password", name);
    case -EBUSY:
        return ctl_say(CTL_TRY_LATER, "%s: the credentials database is busy; try again later", name);
    default:
        return ctl_say(CTL_FAILED, "%s: %s; nothing was changed", name, text_errno(r));
    }
}

static int iterations(const struct ctl *c, unsigned *out)
{
    struct settings_auth settings = {0};
    struct buf errors;
    buf_init(&errors, 65536);
    int r = conf_load(&settings_auth_schema, c->config_dir, &settings, &errors);
    if (r == 0) {
        *out = (unsigned)settings.iterations;
        conf_free(&settings_auth_schema, &settings);
    } else {
        fputs(buf_str(&errors), stderr);
    }
    buf_deinit(&errors);
    return r < 0 ? ctl_say(CTL_FAILED, "nothing was changed; correct %s/auth.conf", c->config_dir) : CTL_OK;
}

/* What was made up is shown once, and on standard output alone, so that a script can take it. */
static void show_generated(const struct ctl *c, const char *name, const char *password)
{
    struct buf text;
    buf_init(&text, 8192);
    struct json j = {.out = &text};
    if (!c->json) {
        puts(password);
        return;
    }
    json_begin_object(&j, NULL);
    json_string(&j, "name", name);
    json_string(&j, "password", password);
    json_end_object(&j);
    puts(buf_str(&text));
    if (text.base != NULL)
        explicit_bzero(text.base, text.capacity);
    buf_deinit(&text);
}

/* Gets a password, derives its verifier and hands that to `store`. */
static int with_new_password(struct ctl *c, const struct args *a, struct credentials *db,
                             int (*store)(struct credentials *db, const struct args *a, const struct scram_verifier *v))
{
    const char *name = args_at(a, 0);
    bool generate = args_option(a, "generate") != NULL;
    struct scram_verifier v;
    struct buf password;
    unsigned rounds = 0;
    int status = iterations(c, &rounds);
    if (status != CTL_OK)
        return status;
    status = generate ? password_generate(&password) : password_read(name, &password);
    if (status == CTL_OK) {
        int r = scram_derive(buf_str(&password), password.len, rounds, &v);
        status = outcome(name, r < 0 ? r : store(db, a, &v));
    }
    if (status == CTL_OK && generate)
        show_generated(c, name, buf_str(&password));
    password_wipe(&password);
    explicit_bzero(&v, sizeof(v));
    return status;
}

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

/* 1 bulk, 0 transactional (or not given), negative: no such lane. */
static int lane_of(const char *name)
{
    if (name == NULL || strcmp(name, "transactional") == 0)
        return 0;
    return strcmp(name, "bulk") == 0 ? 1 : -EINVAL;
}

static int store_new(struct credentials *db, const struct args *a, const struct scram_verifier *v)
{
    int r = credentials_add(db, args_at(a, 0), or_empty(args_option(a, "tenant")), or_empty(args_option(a, "note")), v);
    return r == 0 && lane_of(args_option(a, "lane")) == 1 ? credentials_set_bulk(db, args_at(a, 0), true) : r;
}

static int store_changed(struct credentials *db, const struct args *a, const struct scram_verifier *v)
{
    return credentials_set_verifier(db, args_at(a, 0), v);
}

static int refuse_lane(const char *name)
{
    return ctl_say(CTL_USAGE, "%s is not a lane: expected transactional or bulk", name);
}

/* Before a password is asked for. */
static int check_new(struct credentials *db, const struct args *a)
{
    struct credential row;
    const char *name = args_at(a, 0);
    if (!credential_name_valid(name))
        return ctl_say(
            CTL_USAGE,
            "not accepted as a name: expected 1 to %d bytes of UTF-8 without control characters, not beginning "
            "or ending with a blank",
            CREDENTIAL_NAME_MAX);
    if (!credential_tenant_valid(or_empty(args_option(a, "tenant"))))
        return ctl_say(CTL_USAGE, "not accepted as a tenant: expected at most %d bytes of UTF-8 without blanks",
                       CREDENTIAL_TENANT_MAX);
    if (lane_of(args_option(a, "lane")) < 0)
        return refuse_lane(args_option(a, "lane"));
    int r = credentials_lookup(db, name, &row);
    return r == 1 ? outcome(name, -EEXIST) : outcome(name, r);
}

int user_add(struct ctl *c, const struct args *a)
{
    struct credentials *db = NULL;
    int status = ctl_credentials_open(c, &db);
    if (status == CTL_OK)
        status = check_new(db, a);
    if (status == CTL_OK)
        status = with_new_password(c, a, db, store_new);
    if (status == CTL_OK)
        ctl_note(c, "credential %s added", args_at(a, 0));
    credentials_free(db);
    return status;
}

int user_passwd(struct ctl *c, const struct args *a)
{
    struct credentials *db = NULL;
    struct credential row;
    int status = ctl_credentials_open(c, &db);
    if (status == CTL_OK) {
        int r = credentials_lookup(db, args_at(a, 0), &row);
        status = outcome(args_at(a, 0), r == 0 ? -ENOENT : r == 1 ? 0 : r);
    }
    if (status == CTL_OK)
        status = with_new_password(c, a, db, store_changed);
    if (status == CTL_OK) {
        ctl_void_sessions(c, args_at(a, 0));
        ctl_note(c, "credential %s has another password", args_at(a, 0));
    }
    credentials_free(db);
    return status;
}

static const struct listing_column columns[] = {
    {"name", "NAME", 24},     {"tenant", "TENANT", 12}, {"lane", "LANE", 13},       {"enabled", "ENABLED", 7},
    {"frozen", "FROZEN", 19}, {"created", "ADDED", 19}, {"changed", "CHANGED", 19}, {"senders", "SENDERS", 20},
    {"note", "NOTE", 0},      {NULL, NULL, 0},
};

struct user_listing {
    struct listing listing;
    struct usage *usage;
};

static int show_row(const struct credential *row, void *arg)
{
    struct user_listing *u = arg;
    struct listing *l = &u->listing;
    listing_text(l, row->name);
    listing_text(l, row->tenant);
    listing_text(l, row->bulk ? "bulk" : "transactional");
    listing_bool(l, row->enabled);
    listing_time(l, ctl_frozen_since_s(u->usage, row->name));
    listing_time(l, row->created_s);
    listing_time(l, row->changed_s);
    listing_text(l, row->senders);
    listing_text(l, row->note);
    return 0;
}

int user_list(struct ctl *c, const struct args *a)
{
    struct credentials *db = NULL;
    struct user_listing l = {0};
    int unreadable, r = credentials_open_reader(c->shared.credentials_database, &db);
    if (r < 0 && r != -ENOENT)
        return ctl_say(CTL_FAILED, "%s: %s", c->shared.credentials_database, text_errno(r));
    l.usage = ctl_usage_open(c, &unreadable);
    if (unreadable < 0)
        ctl_note(c, "%s/usage: %s: who is frozen is not shown", c->shared.state_directory, text_errno(unreadable));
    listing_begin(&l.listing, stdout, c->json, columns);
    r = db != NULL ? credentials_list(db, show_row, &l) : 0; /* none made yet: an empty list */
    listing_end(&l.listing);
    credentials_free(db);
    usage_close(l.usage);
    return r < 0 ? ctl_say(CTL_FAILED, "%s: %s", c->shared.credentials_database, text_errno(r)) : CTL_OK;
}

int user_lane(struct ctl *c, const struct args *a)
{
    struct credentials *db = NULL;
    const char *name = args_at(a, 0), *lane = args_at(a, 1);
    int bulk = lane_of(lane), status = bulk < 0 ? refuse_lane(lane) : ctl_credentials_open(c, &db);
    if (status == CTL_OK)
        status = outcome(name, credentials_set_bulk(db, name, bulk == 1));
    if (status == CTL_OK) {
        ctl_void_sessions(c, name);
        ctl_note(c, "mail of credential %s is %s", name, lane);
    }
    credentials_free(db);
    return status;
}

static int refuse_sender(const char *wrong)
{
    return ctl_say(CTL_USAGE, "%s is no sender: expected an address, a domain, .domain for its subdomains, or *",
                   wrong);
}

static int join_senders(const struct args *a, struct buf *senders)
{
    int r = 0;
    for (size_t i = 1; i < a->count && r == 0; i++)
        r = buf_printf(senders, "%s%s", i > 1 ? " " : "", a->positional[i]);
    return r;
}

int user_senders(struct ctl *c, const struct args *a)
{
    struct credentials *db = NULL;
    struct buf senders;
    char wrong[MAIL_ADDRESS_MAX + 1];
    const char *name = args_at(a, 0);
    int status = CTL_OK;
    buf_init(&senders, CREDENTIAL_SENDERS_MAX);
    if (join_senders(a, &senders) < 0)
        status = ctl_say(CTL_USAGE, "too many senders: expected at most %d bytes in all", CREDENTIAL_SENDERS_MAX);
    else if (mail_senders_check(buf_str(&senders), wrong, sizeof(wrong)) < 0)
        status = refuse_sender(wrong);
    if (status == CTL_OK)
        status = ctl_credentials_open(c, &db);
    if (status == CTL_OK)
        status = outcome(name, credentials_set_senders(db, name, buf_str(&senders)));
    if (status == CTL_OK) {
        ctl_void_sessions(c, name);
        ctl_note(c, "credential %s may send as %s", name, senders.len > 0 ? buf_str(&senders) : "anybody");
    }
    credentials_free(db);
    buf_deinit(&senders);
    return status;
}

/* openssl x509 -fingerprint writes AB:CD:..., sha256sum abcd... */
static bool take_fingerprint(const char *text, char out[CREDENTIAL_FINGERPRINT_LEN + 1])
{
    size_t len = 0;
    const char *equals = strrchr(text, '=');
    for (const char *at = equals != NULL ? equals + 1 : text; *at != '\0'; at++) {
        if (*at == ':')
            continue;
        if (len == CREDENTIAL_FINGERPRINT_LEN)
            return false;
        out[len++] = text_lower_char(*at);
    }
    out[len] = '\0';
    return credential_fingerprint_valid(out);
}

static int show_fingerprint(const char *fingerprint, void *arg)
{
    struct listing *l = arg;
    listing_text(l, fingerprint);
    return 0;
}

static int list_certificates(struct ctl *c, struct credentials *db, const char *name)
{
    static const struct listing_column fingerprint_column[] = {{"fingerprint", "FINGERPRINT", 64}, {NULL, NULL, 0}};
    struct listing l;
    listing_begin(&l, stdout, c->json, fingerprint_column);
    int r = credentials_list_certificates(db, name, show_fingerprint, &l);
    listing_end(&l);
    return outcome(name, r);
}

static int change_certificate(struct ctl *c, struct credentials *db, const struct args *a)
{
    char fingerprint[CREDENTIAL_FINGERPRINT_LEN + 1];
    const char *name = args_at(a, 0);
    bool removes = args_option(a, "remove") != NULL;
    if (!take_fingerprint(args_at(a, 1), fingerprint))
        return ctl_say(CTL_USAGE,
                       "%s is no fingerprint: expected the 64 hexadecimal digits of SHA-256, with or without "
                       "colons, as 'openssl x509 -in FILE -noout -fingerprint -sha256' prints them",
                       args_at(a, 1));
    int r = removes ? credentials_remove_certificate(db, name, fingerprint)
                    : credentials_add_certificate(db, name, fingerprint);
    if (r == -EEXIST)
        return ctl_say(CTL_FAILED, "%s: the certificate logs in as a credential already; remove it there first",
                       fingerprint);
    if (r == -ENOENT && removes)
        return ctl_say(CTL_FAILED, "%s: no such certificate of credential %s", fingerprint, name);
    if (r == 0 && removes)
        ctl_void_sessions(c, name);
    if (r == 0)
        ctl_note(c, removes ? "the certificate no longer logs in as %s" : "the certificate logs in as %s", name);
    return outcome(name, r);
}

int user_certificate(struct ctl *c, const struct args *a)
{
    struct credentials *db = NULL;
    int status = ctl_credentials_open(c, &db);
    if (status == CTL_OK)
        status = a->count > 1 ? change_certificate(c, db, a) : list_certificates(c, db, args_at(a, 0));
    credentials_free(db);
    return status;
}

static int set_disabled(struct credentials *db, const char *name)
{
    return credentials_set_enabled(db, name, false);
}

static int set_enabled(struct credentials *db, const char *name)
{
    return credentials_set_enabled(db, name, true);
}

static int change_each(struct ctl *c, const struct args *a, int (*change)(struct credentials *db, const char *name),
                       const char *done)
{
    struct credentials *db = NULL;
    int status = ctl_credentials_open(c, &db);
    for (size_t i = 0; db != NULL && i < a->count; i++) {
        int one = outcome(a->positional[i], change(db, a->positional[i]));
        if (one != CTL_OK) {
            status = one;
            continue;
        }
        ctl_void_sessions(c, a->positional[i]);
        ctl_note(c, "credential %s %s", a->positional[i], done);
    }
    credentials_free(db);
    return status;
}

int user_disable(struct ctl *c, const struct args *a)
{
    return change_each(c, a, set_disabled, "disabled");
}

int user_enable(struct ctl *c, const struct args *a)
{
    return change_each(c, a, set_enabled, "enabled");
}

int user_remove(struct ctl *c, const struct args *a)
{
    return change_each(c, a, credentials_remove, "removed");
}
