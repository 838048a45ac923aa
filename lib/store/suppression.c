#include "store/suppression.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "store/database.h"
#include "store/plain.h"

#define REOPEN_INTERVAL_MS 100
#define COLUMNS            "address, scope, reason, code, enhanced, reply, queue_id, added_by, since_s, expires_s"

enum { ADD, REMOVE, EXPIRE, LOOKUP, LIST };

static const char *const statements[] = {
    [ADD] = "INSERT INTO suppression (" COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
            " ON CONFLICT (address, scope) DO UPDATE SET reason = excluded.reason, code = excluded.code,"
            " enhanced = excluded.enhanced, reply = excluded.reply, queue_id = excluded.queue_id,"
            " added_by = excluded.added_by, expires_s = excluded.expires_s",
    [REMOVE] = "DELETE FROM suppression WHERE address = ?1 AND scope = ?2",
    [EXPIRE] = "DELETE FROM suppression WHERE expires_s > 0 AND expires_s <= ?1",
    [LOOKUP] = "SELECT " COLUMNS " FROM suppression WHERE address = ?1 AND (scope = '' OR scope = ?2)"
               " AND (expires_s = 0 OR expires_s > ?3) ORDER BY scope DESC LIMIT 1",
    [LIST] = "SELECT " COLUMNS " FROM suppression WHERE (address, scope) > (?1, ?2) ORDER BY address, scope LIMIT ?3",
};

static const char *const migrations[] = {
    "CREATE TABLE suppression ("
    " address TEXT NOT NULL,"
    " scope TEXT NOT NULL,"
    " reason TEXT NOT NULL,"
    " code INTEGER NOT NULL,"
    " enhanced TEXT NOT NULL,"
    " reply TEXT NOT NULL,"
    " queue_id TEXT NOT NULL,"
    " added_by TEXT NOT NULL,"
    " since_s INTEGER NOT NULL,"
    " expires_s INTEGER NOT NULL,"
    " PRIMARY KEY (address, scope)"
    ") WITHOUT ROWID;"
    "CREATE INDEX suppression_expiry ON suppression (expires_s) WHERE expires_s > 0",
};

static const struct database_schema schema = {
    .migrations = migrations,
    .version = ARRAY_LENGTH(migrations),
    .statements = statements,
    .statement_count = ARRAY_LENGTH(statements),
    .pragmas = "PRAGMA synchronous = NORMAL",
    .mode = 0640,
};

struct suppression {
    struct database db;
    char *path;            /* readers: where to look again while the file is not there */
    uint64_t next_open_ms; /* not before */
};

/* Quoted local parts (RFC 5321 section 4.1.2) may hold blanks. */
static bool address_text(const char *address, size_t len)
{
    return len <= SUPPRESSION_ADDRESS_MAX && plain_text(address, len) &&
           (address[0] == '"' || strchr(address, ' ') == NULL);
}

int suppression_normalise(const char *address, char out[SUPPRESSION_ADDRESS_MAX + 1])
{
    size_t len = strlen(address);
    const char *at = strrchr(address, '@');
    if (at == NULL || at == address || !address_text(address, len))
        return -EINVAL;
    if (address[len - 1] == '.')
        len--;
    if (len <= (size_t)(at - address) + 1)
        return -EINVAL;
    memcpy(out, address, len);
    out[len] = '\0';
    text_lower(out);
    return 0;
}

static struct suppression *suppression_new(const char *path)
{
    struct suppression *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    s->path = strdup(path);
    if (s->path == NULL) {
        free(s);
        return NULL;
    }
    return s;
}

int suppression_open_writer(const char *path, struct suppression **out)
{
    struct suppression *s = suppression_new(path);
    if (s == NULL)
        return -ENOMEM;
    int r = database_open_writer(&s->db, path, &schema);
    if (r < 0) {
        suppression_free(s);
        return r;
    }
    *out = s;
    return 0;
}

/* 0 it is open, -ENOENT not there, -errno. */
static int open_again(struct suppression *s)
{
    if (s->db.handle != NULL)
        return 0;
    uint64_t now = clock_mono_ms();
    if (now < s->next_open_ms)
        return -ENOENT;
    int r = database_open_reader(&s->db, s->path, &schema);
    if (r == -ENOENT)
        s->next_open_ms = now + REOPEN_INTERVAL_MS;
    return r;
}

int suppression_open_reader(const char *path, struct suppression **out)
{
    *out = suppression_new(path);
    if (*out == NULL)
        return -ENOMEM;
    (void)open_again(*out);   /* the next lookup tells */
    (*out)->next_open_ms = 0; /* … and tries at once: whoever makes the file may be at it just now */
    return 0;
}

void suppression_free(struct suppression *s)
{
    if (s == NULL)
        return;
    database_close(&s->db);
    free(s->path);
    free(s);
}

/* Remote replies come as they came: what is no plain text is shown as '?', and the whole is cut to size. */
static char *cleaned(const char *text, size_t max)
{
    size_t len = strnlen(text, max);
    char *copy = text_dup_n(text, len);
    if (copy == NULL || plain_text(copy, len))
        return copy;
    for (char *p = copy; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
            *p = '?';
    return copy;
}

int suppression_add(struct suppression *s, const struct suppression_row *row)
{
    char address[SUPPRESSION_ADDRESS_MAX + 1];
    if (suppression_normalise(row->address, address) < 0 || !plain_text(row->scope, strlen(row->scope)))
        return -EINVAL;
    _cleanup_(freep) char *reply = cleaned(row->reply, SUPPRESSION_REPLY_MAX);
    if (reply == NULL)
        return -ENOMEM;
    int r = database_run(&s->db, ADD, "tttittttii", address, row->scope, row->reason, (int64_t)row->code, row->enhanced,
                         reply, row->queue_id, row->added_by, row->since_s != 0 ? row->since_s : clock_wall_s(),
                         row->expires_s);
    if (r == 0)
        database_committed(&s->db);
    return r;
}

int suppression_remove(struct suppression *s, const char *address, const char *scope)
{
    char normal[SUPPRESSION_ADDRESS_MAX + 1];
    if (suppression_normalise(address, normal) < 0)
        return -EINVAL;
    int r = database_run(&s->db, REMOVE, "tt", normal, scope);
    if (r < 0)
        return r;
    database_committed(&s->db);
    return database_changes(&s->db) > 0 ? 0 : -ENOENT;
}

int suppression_expire(struct suppression *s)
{
    int r = database_run(&s->db, EXPIRE, "i", clock_wall_s());
    if (r < 0)
        return r;
    database_committed(&s->db);
    return database_changes(&s->db);
}

static void row_of(sqlite3_stmt *st, struct suppression_row *out)
{
    *out = (struct suppression_row){0};
    database_text(st, 0, out->address, sizeof(out->address));
    database_text(st, 1, out->scope, sizeof(out->scope));
    database_text(st, 2, out->reason, sizeof(out->reason));
    out->code = (unsigned)sqlite3_column_int(st, 3);
    database_text(st, 4, out->enhanced, sizeof(out->enhanced));
    database_text(st, 5, out->reply, sizeof(out->reply));
    database_text(st, 6, out->queue_id, sizeof(out->queue_id));
    database_text(st, 7, out->added_by, sizeof(out->added_by));
    out->since_s = sqlite3_column_int64(st, 8);
    out->expires_s = sqlite3_column_int64(st, 9);
}

int suppression_lookup(struct suppression *s, const char *address, const char *tenant, struct suppression_row *out)
{
    char normal[SUPPRESSION_ADDRESS_MAX + 1];
    if (suppression_normalise(address, normal) < 0)
        return 0;
    int r = open_again(s);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    sqlite3_stmt *st = database_statement(&s->db, LOOKUP);
    r = database_bind(st, "tti", normal, tenant, clock_wall_s());
    if (r == 0)
        r = database_step(st);
    if (r == 1)
        row_of(st, out);
    sqlite3_reset(st); /* ends the read transaction: an open one would keep the log from being checkpointed */
    return r;
}

int suppression_list(struct suppression *s, struct suppression_cursor *cursor, unsigned limit,
                     int (*fn)(const struct suppression_row *row, void *arg), void *arg)
{
    int shown = 0;
    int r = open_again(s);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    struct suppression_cursor from = *cursor;
    struct suppression_row row;
    sqlite3_stmt *st = database_statement(&s->db, LIST);
    r = database_bind(st, "tti", from.address, from.scope, (int64_t)limit);
    while (r == 0 && (r = database_step(st)) == 1) {
        row_of(st, &row);
        snprintf(cursor->address, sizeof(cursor->address), "%s", row.address);
        snprintf(cursor->scope, sizeof(cursor->scope), "%s", row.scope);
        shown++;
        r = fn(&row, arg);
    }
    sqlite3_reset(st);
    return r < 0 ? r : shown;
}
