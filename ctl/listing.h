/* listing: rows of named columns on standard output, as a table for people or as a JSON array for programs, from one
 * and the same calls. */
#ifndef POSTHOUSE_CTL_LISTING_H
#define POSTHOUSE_CTL_LISTING_H

#include <stdio.h>

#include "ctl/json.h"

struct listing_column {
    const char *key;   /* in JSON; NULL ends the table */
    const char *title; /* for people; NULL = only in JSON */
    int width;         /* at least */
};

struct listing {
    FILE *to;
    bool as_json;
    const struct listing_column *columns;
    size_t at; /* next column */
    struct buf row;
    struct json json;
    size_t rows;
};

void listing_begin(struct listing *l, FILE *to, bool as_json, const struct listing_column *columns);
/* One call per column, in the order of the table; the last one ends the row. */
void listing_text(struct listing *l, const char *value);
void listing_number(struct listing *l, int64_t value);
void listing_bool(struct listing *l, bool value);
void listing_time(struct listing *l, int64_t value_s); /* 0 = never */
void listing_end(struct listing *l);

/* Text for a terminal: control bytes are shown as \xNN. */
void listing_printable(const char *text, struct buf *out);
/* Local time as "2026-01-31 23:59:59"; "-" for 0. */
void listing_format_time(int64_t value_s, struct buf *out);

#endif
