/* database: what every SQLite file of lib/store shares: creation with the right owner, write-ahead log, migrations by
 * user_version, prepared statements by number.  Private to lib/store: the only folder that includes sqlite3.h.
 *
 * Readers need read permission only.  For that writers leave the -wal and -shm files behind when they close, and read
 * once after each commit (database_committed): a reader that cannot write the -shm file needs a read mark that somebody
 * else set. */
#ifndef POSTHOUSE_STORE_DATABASE_H
#define POSTHOUSE_STORE_DATABASE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DATABASE_STATEMENTS_MAX 16

struct database_schema {
    const char *const *migrations; /* migrations[n] leads from user_version n to n + 1 */
    unsigned version;              /* the number of migrations */
    const char *const *statements; /* SQL by number */
    unsigned statement_count;
    const char *pragmas; /* of this file, for writers */
    mode_t mode;         /* of a new file */
};

struct database {
    sqlite3 *handle; /* NULL: not open */
    const struct database_schema *schema;
    sqlite3_stmt *prepared[DATABASE_STATEMENTS_MAX];
};

/* Opens for reading and writing, creating and migrating as needed.  A new file belongs to the owner of its folder when
 * root makes it.  0, -ENOENT (no such folder), -EACCES, -EUCLEAN (not a database of this kind), -EPROTONOSUPPORT (made
 * by a newer version), -EBUSY, -ENOSPC, -EIO, -ENOMEM. */
int database_open_writer(struct database *db, const char *path, const struct database_schema *schema);
/* Opens for reading and touches the file, so that it can be read after a chroot.  Also -ENOENT while it is still empty.
 */
int database_open_reader(struct database *db, const char *path, const struct database_schema *schema);
void database_close(struct database *db);

/* A statement ready to bind, or NULL (memory; a schema that is not ours). */
sqlite3_stmt *database_statement(struct database *db, unsigned which);
/* Binds in order: 't' const char *, 'i' int64_t, 'b' const void * and size_t.  The values must live until the statement
 * is reset.  0 or -errno. */
int database_bind(sqlite3_stmt *st, const char *types, ...);
/* Steps: 1 a row, 0 no more (the statement is reset), negative errno (also reset). */
int database_step(sqlite3_stmt *st);
/* Statement, bind and step to the end.  0, -EEXIST (constraint), -errno. */
int database_run(struct database *db, unsigned which, const char *types, ...);
/* Rows that the last run changed. */
int database_changes(const struct database *db);
/* To be called after a writer's commit; see above. */
void database_committed(struct database *db);

/* A column as text, never NULL; copied and cut to the size of the array. */
void database_text(sqlite3_stmt *st, int column, char *out, size_t size);

#endif
