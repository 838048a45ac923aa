#include "store/credentials.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "store/database.h"
#include "store/plain.h"

#define COLUMNS "name, tenant, note, enabled, created_s, changed_s, verifier, bulk, senders"

enum {
    ADD,
    SET_VERIFIER,
    SET_ENABLED,
    SET_BULK,
    SET_SENDERS,
    REMOVE,
    LOOKUP,
    LIST,
    ADD_CERTIFICATE,
    REMOVE_CERTIFICATE,
    REMOVE_CERTIFICATES,
    LOOKUP_CERTIFICATE,
    LIST_CERTIFICATES
};

static const char *const statements[] = {
    [ADD] = "INSERT INTO credentials (" COLUMNS ") VALUES (?1, ?2, ?3, 1, ?4, ?4, ?5, 0, '')",
    [SET_VERIFIER] = "UPDATE credentials SET verifier = ?1, changed_s = ?2 WHERE name = ?3",
    [SET_ENABLED] = "UPDATE credentials SET enabled = ?1, changed_s = ?2 WHERE name = ?3",
    [SET_BULK] = "UPDATE credentials SET bulk = ?1, changed_s = ?2 WHERE name = ?3",
    [SET_SENDERS] = "UPDATE credentials SET senders = ?1, changed_s = ?2 WHERE name = ?3",
    [REMOVE] = "DELETE FROM credentials WHERE name = ?1",
    [LOOKUP] = "SELECT " COLUMNS " FROM credentials WHERE name = ?1",
    [LIST] = "SELECT " COLUMNS " FROM credentials ORDER BY name",
    /* The name as its credential has it; nothing when there is none. */
    [ADD_CERTIFICATE] = "INSERT INTO certificates (fingerprint, name) SELECT ?1, name FROM credentials WHERE name = ?2",
    [REMOVE_CERTIFICATE] = "DELETE FROM certificates WHERE fingerprint = ?1 AND name = ?2",
    [REMOVE_CERTIFICATES] = "DELETE FROM certificates WHERE name = ?1",
    [LOOKUP_CERTIFICATE] = "SELECT " COLUMNS " FROM certificates NATURAL JOIN credentials WHERE fingerprint = ?1",
    [LIST_CERTIFICATES] = "SELECT fingerprint FROM certificates WHERE name = ?1 ORDER BY fingerprint",
};

static const char *const migrations[] = {
    /* NOCASE folds ASCII letters only. */
    "CREATE TABLE credentials ("
    " name TEXT NOT NULL PRIMARY KEY COLLATE NOCASE,"
    " tenant TEXT NOT NULL,"
    " note TEXT NOT NULL,"
    " enabled INTEGER NOT NULL,"
    " created_s INTEGER NOT NULL,"
    " changed_s INTEGER NOT NULL,"
    " verifier TEXT NOT NULL"
    ") WITHOUT ROWID",
    "ALTER TABLE credentials ADD COLUMN bulk INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE credentials ADD COLUMN senders TEXT NOT NULL DEFAULT '';"
    "CREATE TABLE certificates ("
    " fingerprint TEXT NOT NULL PRIMARY KEY,"
    " name TEXT NOT NULL COLLATE NOCASE"
    ") WITHOUT ROWID",
};

static const struct database_schema schema = {
    .migrations = migrations,
    .version = ARRAY_LENGTH(migrations),
    .statements = statements,
    .statement_count = ARRAY_LENGTH(statements),
    .pragmas = "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON",
    .mode = 0600,
};

struct credentials {
    struct database db;
};

static bool text_fits(const char *s, size_t max)
{
    size_t len = strlen(s);
    return len <= max && plain_text(s, len);
}

bool credential_name_valid(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && text_fits(name, CREDENTIAL_NAME_MAX) && name[0] != ' ' && name[len - 1] != ' ';
}

bool credential_tenant_valid(const char *tenant)
{
    return text_fits(tenant, CREDENTIAL_TENANT_MAX) && strchr(tenant, ' ') == NULL;
}

bool credential_password_valid(const char *password, size_t len)
{
    return len > 0 && len <= CREDENTIAL_PASSWORD_MAX && plain_text(password, len);
}

bool credential_fingerprint_valid(const char *fingerprint)
{
    size_t len = strspn(fingerprint, "0123456789abcdef");
    return len == CREDENTIAL_FINGERPRINT_LEN && fingerprint[len] == '\0';
}

static int open_with(int (*open_fn)(struct database *, const char *, const struct database_schema *), const char *path,
                     struct credentials **out)
{
    struct credentials *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return -ENOMEM;
    int r = open_fn(&c->db, path, &schema);
    if (r < 0) {
        free(c);
        return r;
    }
    *out = c;
    return 0;
}

int credentials_open(const char *path, struct credentials **out)
{
    return open_with(database_open_writer, path, out);
}

int credentials_open_reader(const char *path, struct credentials **out)
{
    return open_with(database_open_reader, path, out);
}

void credentials_free(struct credentials *c)
{
    if (c == NULL)
        return;
    database_close(&c->db);
    free(c);
}

int credentials_add(struct credentials *c, const char *name, const char *tenant, const char *note,
                    const struct scram_verifier *verifier)
{
    struct buf text;
    if (!credential_name_valid(name) || !credential_tenant_valid(tenant) || !text_fits(note, CREDENTIAL_NOTE_MAX))
        return -EINVAL;
    buf_init(&text, 1024);
    int r = scram_format(verifier, &text);
    if (r == 0)
        r = database_run(&c->db, ADD, "tttit", name, tenant, note, clock_wall_s(), buf_str(&text));
    if (r == 0)
        database_committed(&c->db);
    buf_deinit(&text);
    return r;
}

/* The row was there, or it was not. */
static int changed_one(struct credentials *c, int r)
{
    if (r < 0)
        return r;
    database_committed(&c->db);
    return database_changes(&c->db) > 0 ? 0 : -ENOENT;
}

int credentials_set_verifier(struct credentials *c, const char *name, const struct scram_verifier *verifier)
{
    struct buf text;
    buf_init(&text, 1024);
    int r = scram_format(verifier, &text);
    if (r == 0)
        r = database_run(&c->db, SET_VERIFIER, "tit", buf_str(&text), clock_wall_s(), name);
    buf_deinit(&text);
    return changed_one(c, r);
}

int credentials_set_enabled(struct credentials *c, const char *name, bool enabled)
{
    return changed_one(c, database_run(&c->db, SET_ENABLED, "iit", (int64_t)enabled, clock_wall_s(), name));
}

int credentials_set_bulk(struct credentials *c, const char *name, bool bulk)
{
    return changed_one(c, database_run(&c->db, SET_BULK, "iit", (int64_t)bulk, clock_wall_s(), name));
}

int credentials_set_senders(struct credentials *c, const char *name, const char *senders)
{
    if (!text_fits(senders, CREDENTIAL_SENDERS_MAX))
        return -EINVAL;
    return changed_one(c, database_run(&c->db, SET_SENDERS, "tit", senders, clock_wall_s(), name));
}

/* The certificates first: what is left when the second step fails is a credential that asks for its password. */
int credentials_remove(struct credentials *c, const char *name)
{
    int r = database_run(&c->db, REMOVE_CERTIFICATES, "t", name);
    return changed_one(c, r < 0 ? r : database_run(&c->db, REMOVE, "t", name));
}

int credentials_add_certificate(struct credentials *c, const char *name, const char *fingerprint)
{
    if (!credential_fingerprint_valid(fingerprint))
        return -EINVAL;
    return changed_one(c, database_run(&c->db, ADD_CERTIFICATE, "tt", fingerprint, name));
}

int credentials_remove_certificate(struct credentials *c, const char *name, const char *fingerprint)
{
    return changed_one(c, database_run(&c->db, REMOVE_CERTIFICATE, "tt", fingerprint, name));
}

int credentials_list_certificates(struct credentials *c, const char *name,
                                  int (*fn)(const char *fingerprint, void *arg), void *arg)
{
    char fingerprint[CREDENTIAL_FINGERPRINT_LEN + 1];
    sqlite3_stmt *st = database_statement(&c->db, LIST_CERTIFICATES);
    int r = database_bind(st, "t", name);
    while (r == 0 && (r = database_step(st)) == 1) {
        database_text(st, 0, fingerprint, sizeof(fingerprint));
        r = fn(fingerprint, arg);
    }
    sqlite3_reset(st);
    return r;
}

static int row_of(sqlite3_stmt *st, struct credential *out)
{
    *out = (struct credential){0};
    database_text(st, 0, out->name, sizeof(out->name));
    database_text(st, 1, out->tenant, sizeof(out->tenant));
    database_text(st, 2, out->note, sizeof(out->note));
    out->enabled = sqlite3_column_int(st, 3) != 0;
    out->created_s = sqlite3_column_int64(st, 4);
    out->changed_s = sqlite3_column_int64(st, 5);
    out->bulk = sqlite3_column_int(st, 7) != 0;
    database_text(st, 8, out->senders, sizeof(out->senders));
    const char *verifier = (const char *)sqlite3_column_text(st, 6);
    return verifier == NULL || scram_parse(verifier, &out->verifier) < 0 ? -EUCLEAN : 0;
}

static int look_up(struct credentials *c, unsigned statement, const char *key, struct credential *out)
{
    sqlite3_stmt *st = database_statement(&c->db, statement);
    int r = database_bind(st, "t", key);
    if (r == 0)
        r = database_step(st);
    if (r != 1)
        return r;
    r = row_of(st, out);
    sqlite3_reset(st);
    return r < 0 ? r : 1;
}

int credentials_lookup(struct credentials *c, const char *name, struct credential *out)
{
    return look_up(c, LOOKUP, name, out);
}

int credentials_lookup_certificate(struct credentials *c, const char *fingerprint, struct credential *out)
{
    return look_up(c, LOOKUP_CERTIFICATE, fingerprint, out);
}

int credentials_list(struct credentials *c, int (*fn)(const struct credential *row, void *arg), void *arg)
{
    sqlite3_stmt *st = database_statement(&c->db, LIST);
    struct credential row;
    int r = database_bind(st, "");
    while (r == 0 && (r = database_step(st)) == 1) {
        r = row_of(st, &row);
        if (r == 0)
            r = fn(&row, arg);
    }
    sqlite3_reset(st);
    return r;
}
