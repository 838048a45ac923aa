/* conf: configuration files as tables.
 *
 * A parameter is one row: parser, range check, defaults, dump and the list in the man page all come from it.  A file is
 *
 *     # comment
 *     name = value
 *     kind "name" {            a block, where the schema has one of that kind
 *         name = value
 *     }
 *
 * A value runs to the end of the line; blanks around it are dropped; double quotes keep blanks and '#' (\" and
 * \\ inside). Lists are separated by blanks or commas.  Durations: 500ms 30s 5m 4h 5d (a bare number is seconds).
 * Sizes: 10 64k 30M 2G (powers of 1024).  A file that does not exist means defaults throughout. */
#ifndef POSTHOUSE_CONF_CONF_H
#define POSTHOUSE_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/net.h"

enum conf_type {
    CONF_STRING,    /* char *, "" when empty */
    CONF_PATH,      /* char *, absolute or "" */
    CONF_BOOL,      /* bool: yes or no */
    CONF_INT,       /* int64_t within min..max */
    CONF_SIZE,      /* int64_t bytes */
    CONF_DURATION,  /* int64_t milliseconds */
    CONF_ENUM,      /* int: index into choices */
    CONF_LIST,      /* struct conf_list of words */
    CONF_ADDRESSES, /* struct conf_addresses: numeric IP with port, or unix:/path; min = default port, 0 = port required
                     */
    CONF_NETWORKS,  /* struct conf_networks: CIDR */
};

struct conf_list {
    char **items;
    size_t count;
};
struct conf_addresses {
    struct net_address *items;
    size_t count;
};
struct conf_networks {
    struct net_cidr *items;
    size_t count;
};

struct conf_param {
    const char *name;
    enum conf_type type;
    size_t offset;              /* in the settings struct */
    const char *default_value;  /* as an admin would write it */
    int64_t min, max;           /* CONF_INT, CONF_SIZE (bytes), CONF_DURATION (ms) */
    const char *const *choices; /* CONF_ENUM, NULL-terminated */
    const char *help;           /* one sentence, no final full stop */
};

/* A kind of named block; each becomes one heap struct whose first member is `char *name`. */
struct conf_block {
    const char *kind;                /* NULL ends the table */
    const struct conf_param *params; /* ends with a row without name */
    size_t size;                     /* of the struct */
    size_t offset;                   /* of a struct conf_blocks in the settings struct */
    const char *help;
};
struct conf_blocks {
    void **items;
    size_t count;
};

struct conf_schema {
    const char *file;                /* "smtpd.conf" */
    const struct conf_param *params; /* ends with a row without name */
    const struct conf_block *blocks; /* NULL = none */
    size_t size;                     /* of the settings struct */
    /* What no single row can check (two parameters that exclude each other, a listener without certificate).  Returns 0
     * or -EINVAL with the sentence in why. */
    int (*check)(const void *settings, struct buf *why);
    /* Blocks (all of one kind) the program has when the file names none of that kind, in the file's own syntax; NULL =
     * none. */
    const char *default_blocks;
};

/* Fills the zeroed settings struct from DIR/schema->file.  0; -EINVAL with every error in `errors`, one line each
 * ("/etc/posthouse/smtpd.conf:12: max_recipients = many: expected a number from 1 to 50000"); -errno when the file can
 * not be read, with a line that says so.  On failure nothing is kept. */
int conf_load(const struct conf_schema *schema, const char *dir, void *settings, struct buf *errors);
/* The same from a text, for tests and fuzzing; path only names it in errors. */
int conf_parse(const struct conf_schema *schema, const char *path, const char *text, void *settings,
               struct buf *errors);
void conf_free(const struct conf_schema *schema, void *settings);

/* One value as an admin would write it, quoted where the file needs it. */
int conf_format(const struct conf_param *param, const void *settings, struct buf *out);
/* What the row accepts, in words: "a number from 1 to 50000". */
int conf_expected(const struct conf_param *param, struct buf *out);

#endif
