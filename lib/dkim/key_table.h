/* key_table: the file that tells which keys sign for which domain.
 *
 *     # domain        selector  private key (relative to the folder of this file, or absolute)
 *     example.com     s2026a    /etc/posthouse/dkim/example.com.s2026a.pem
 *     example.com     e2026a    /etc/posthouse/dkim/example.com.e2026a.pem
 *
 * Every line of a domain signs: one RSA and one Ed25519 key together is the usual set. */
#ifndef POSTHOUSE_DKIM_KEY_TABLE_H
#define POSTHOUSE_DKIM_KEY_TABLE_H

#include <stddef.h>

#include "base/buf.h"
#include "dkim/key.h"

#define KEY_TABLE_BYTES_MAX      (16 * 1024 * 1024)
#define KEY_TABLE_PER_DOMAIN_MAX 8

struct key_table_row {
    char *domain; /* lower case, A-labels */
    char *selector;
    char *path;
    unsigned line;
    struct signing_key key; /* after key_table_load_keys */
};

struct key_table {
    struct key_table_row *rows; /* by domain, then by line */
    size_t count;
};

/* Reads the table, not the keys.  0; -EINVAL with every error as a line in errors ("/etc/posthouse/key-table:3: …"); or
 * -errno (-ENOENT) with a line.  On failure nothing is kept. */
int key_table_load(const char *path, struct key_table *out, struct buf *errors);
/* The same from a text, which it changes; path names the file in errors and its folder for relative key paths. */
int key_table_parse(const char *path, char *text, struct key_table *out, struct buf *errors);
/* Loads every key.  What is wrong goes to errors and makes the result -EINVAL, what is only unwise (a key file that
 * others can read, a short RSA key) goes to warnings; both with file and line. */
int key_table_load_keys(const char *path, struct key_table *table, struct buf *errors, struct buf *warnings);
void key_table_deinit(struct key_table *table);

/* The rows of a domain (lower case, A-labels); *count is 0 when it has none. */
const struct key_table_row *key_table_find(const struct key_table *table, const char *domain, size_t *count);
/* The rows that sign for mail from this domain: its own, or those of the nearest parent domain of two labels or more
 * that has any (RFC 7489 section 3.1.1: relaxed alignment). */
const struct key_table_row *key_table_find_signer(const struct key_table *table, const char *from_domain,
                                                  size_t *count);

/* Adds a line to the file (created with mode 0640 if missing).  0; -EEXIST (domain and selector are there already);
 * -EINVAL (not a domain or selector, or the table has errors); -errno.  why: one sentence, or the table's errors. */
int key_table_add(const char *path, const char *domain, const char *selector, const char *key_path, struct buf *why);

#endif
