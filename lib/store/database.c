#include "store/database.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"

#define WRITER_BUSY_MS 5000
#define READER_BUSY_MS 250

static const struct {
    int code;
    int result;
} results[] = {
    {SQLITE_OK, 0},
    {SQLITE_DONE, 0},
    {SQLITE_ROW, 1},
    {SQLITE_BUSY, -EBUSY},
    {SQLITE_LOCKED, -EBUSY},
    {SQLITE_NOMEM, -ENOMEM},
    {SQLITE_READONLY, -EROFS},
    {SQLITE_FULL, -ENOSPC},
    {SQLITE_PERM, -EACCES},
    {SQLITE_CANTOPEN, -EACCES},
    {SQLITE_CORRUPT, -EUCLEAN},
    {SQLITE_NOTADB, -EUCLEAN},
    {SQLITE_ERROR, -EUCLEAN},
    {SQLITE_SCHEMA, -EUCLEAN},
    {SQLITE_CONSTRAINT, -EEXIST},
    {SQLITE_TOOBIG, -EMSGSIZE},
};

static int result_of(int code)
{
    for (size_t i = 0; i < ARRAY_LENGTH(results); i++)
        if (results[i].code == (code & 0xff))
            return results[i].result;
    return -EIO;
}

static int exec(struct database *db, const char *sql)
{
    return result_of(sqlite3_exec(db->handle, sql, NULL, NULL, NULL));
}

/* When root makes the file the daemons that use it must still be able to: it belongs to whoever owns the folder. */
static int give_to_folder_owner(int fd, const char *path)
{
    char copy[PATH_MAX];
    struct stat folder;
    if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
        return -ENAMETOOLONG;
    if (stat(dirname(copy), &folder) < 0 || fchown(fd, folder.st_uid, folder.st_gid) < 0)
        return -errno;
    return 0;
}

static int create_file(const char *path, mode_t mode)
{
    _cleanup_(fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? 0 : -errno;
    int r = geteuid() == 0 ? give_to_folder_owner(fd, path) : 0;
    if (r == 0 && fchmod(fd, mode) < 0) /* SQLite gives the -wal and -shm files the same mode */
        r = -errno;
    if (r < 0)
        unlink(path);
    return r;
}

static int user_version(struct database *db, unsigned *out)
{
    sqlite3_stmt *st = NULL;
    int r = result_of(sqlite3_prepare_v2(db->handle, "PRAGMA user_version", -1, &st, NULL));
    if (r == 0)
        r = result_of(sqlite3_step(st));
    if (r == 1)
        *out = (unsigned)sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    return r < 0 ? r : 0;
}

static int apply_migrations(struct database *db, unsigned from)
{
    for (unsigned v = from; v < db->schema->version; v++) {
        char sql[64];
        int r = exec(db, db->schema->migrations[v]);
        if (r < 0)
            return r;
        snprintf(sql, sizeof(sql), "PRAGMA user_version = %u", v + 1);
        r = exec(db, sql);
        if (r < 0)
            return r;
    }
    return 0;
}

static int migrate(struct database *db)
{
    unsigned version = 0;
    int r = user_version(db, &version);
    if (r < 0 || version == db->schema->version)
        return r;
    r = exec(db, "BEGIN IMMEDIATE");
    if (r < 0)
        return r;
    r = user_version(db, &version); /* again, now that nobody else can be at it */
    if (r == 0 && version > db->schema->version)
        r = -EPROTONOSUPPORT;
    if (r == 0)
        r = apply_migrations(db, version);
    int end = exec(db, r == 0 ? "COMMIT" : "ROLLBACK");
    return r < 0 ? r : end;
}

static int open_handle(struct database *db, const char *path, int flags, int busy_ms)
{
    unsigned char seed;
    sqlite3_randomness(sizeof(seed), &seed); /* reads /dev/urandom now, while it can be seen */
    int r = result_of(sqlite3_open_v2(path, &db->handle, flags | SQLITE_OPEN_FULLMUTEX, NULL));
    if (r < 0)
        return r;
    sqlite3_busy_timeout(db->handle, busy_ms);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    /* Else a statement is prepared again for each value that a partial index could depend on: each lookup's time. */
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_ENABLE_QPSG, 1, NULL);
    return exec(db, "PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF");
}

int database_open_writer(struct database *db, const char *path, const struct database_schema *schema)
{
    *db = (struct database){.schema = schema};
    int keep = 1;
    int r = create_file(path, schema->mode);
    if (r == 0)
        r = open_handle(db, path, SQLITE_OPEN_READWRITE, WRITER_BUSY_MS);
    if (r == 0 && sqlite3_db_readonly(db->handle, "main") == 1) /* what SQLite makes of a file it may only read */
        r = -EACCES;
    if (r == 0)
        r = result_of(sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_PERSIST_WAL, &keep));
    if (r == 0)
        r = exec(db, "PRAGMA journal_mode = WAL");
    if (r == 0)
        r = exec(db, schema->pragmas);
    if (r == 0)
        r = migrate(db);
    if (r < 0)
        database_close(db);
    else
        database_committed(db);
    return r;
}

int database_open_reader(struct database *db, const char *path, const struct database_schema *schema)
{
    *db = (struct database){.schema = schema};
    unsigned version = 0;
    if (access(path, R_OK) < 0)
        return -errno;
    int r = open_handle(db, path, SQLITE_OPEN_READONLY, READER_BUSY_MS);
    if (r == 0)
        r = user_version(db, &version);
    if (r == 0 && version > schema->version)
        r = -EPROTONOSUPPORT;
    /* Older is for a writer to mend: a daemon that owns the file opens it so when it starts. */
    if (r == 0 && version < schema->version)
        r = -ENOENT;
    if (r < 0)
        database_close(db);
    return r;
}

void database_close(struct database *db)
{
    for (unsigned i = 0; i < DATABASE_STATEMENTS_MAX; i++)
        sqlite3_finalize(db->prepared[i]);
    sqlite3_close(db->handle);
    *db = (struct database){.schema = db->schema};
}

sqlite3_stmt *database_statement(struct database *db, unsigned which)
{
    if (db->prepared[which] == NULL)
        sqlite3_prepare_v3(db->handle, db->schema->statements[which], -1, SQLITE_PREPARE_PERSISTENT,
                           &db->prepared[which], NULL);
    return db->prepared[which];
}

static int bind_one(sqlite3_stmt *st, int index, char type, va_list *ap)
{
    if (type == 'i')
        return sqlite3_bind_int64(st, index, va_arg(*ap, int64_t));
    if (type == 't')
        return sqlite3_bind_text(st, index, va_arg(*ap, const char *), -1, SQLITE_STATIC);
    const void *data = va_arg(*ap, const void *);
    return sqlite3_bind_blob64(st, index, data, va_arg(*ap, size_t), SQLITE_STATIC);
}

static int bind_all(sqlite3_stmt *st, const char *types, va_list *ap)
{
    if (st == NULL)
        return -EUCLEAN;
    int code = SQLITE_OK;
    for (int i = 0; types[i] != '\0' && code == SQLITE_OK; i++)
        code = bind_one(st, i + 1, types[i], ap);
    return result_of(code);
}

int database_bind(sqlite3_stmt *st, const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    int r = bind_all(st, types, &ap);
    va_end(ap);
    return r;
}

int database_step(sqlite3_stmt *st)
{
    int r = result_of(sqlite3_step(st));
    if (r != 1)
        sqlite3_reset(st);
    return r;
}

int database_run(struct database *db, unsigned which, const char *types, ...)
{
    sqlite3_stmt *st = database_statement(db, which);
    va_list ap;
    va_start(ap, types);
    int r = bind_all(st, types, &ap);
    va_end(ap);
    if (r < 0)
        return r;
    do
        r = database_step(st);
    while (r == 1);
    sqlite3_clear_bindings(st);
    return r;
}

int database_changes(const struct database *db)
{
    return sqlite3_changes(db->handle);
}

void database_committed(struct database *db)
{
    exec(db, "SELECT count(*) FROM sqlite_schema");
}

void database_text(sqlite3_stmt *st, int column, char *out, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(st, column);
    snprintf(out, size, "%s", text != NULL ? text : "");
}
