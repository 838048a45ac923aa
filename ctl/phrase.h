/* phrase: the admin command as a table.  A row is the words a person types, the arguments behind them, what is needed,
 * what runs, and one line of help; the parser of the arguments reads the very text that the usage line shows. */
#ifndef POSTHOUSE_CTL_PHRASE_H
#define POSTHOUSE_CTL_PHRASE_H

#include <stddef.h>

#include "ctl/ctl.h"

#define ARGS_MAX    256 /* positional ones */
#define OPTIONS_MAX 12

enum phrase_needs {
    NEEDS_NOTHING,
    NEEDS_SETTINGS, /* posthouse.conf */
    NEEDS_MASTER,   /* the suite running; peer is master */
    NEEDS_QMGR,     /* the suite running; peer is qmgr */
};

struct args {
    const char *positional[ARGS_MAX];
    size_t count;
    struct {
        const char *name, *value; /* value "" for a flag */
    } options[OPTIONS_MAX];
    size_t option_count;
};

struct phrase {
    const char *words; /* "user add"; NULL ends the table */
    /* Blanks between: NAME required, [NAME] optional, NAME... one or more, [--flag], [--option VALUE]. */
    const char *arguments;
    enum phrase_needs needs;
    int (*run)(struct ctl *c, const struct args *a);
    const char *help; /* one line */
};

/* The phrase that argv begins with, NULL if none; *used is how many words it has. */
const struct phrase *phrase_find(const struct phrase *table, int argc, char *const *argv, int *used);
/* Takes what stands behind the words.  0 or -EINVAL with a sentence in why. */
int phrase_parse(const struct phrase *p, int argc, char *const *argv, struct args *out, struct buf *why);

/* The value of an option, "" for a flag that was given, NULL if it was not. */
const char *args_option(const struct args *a, const char *name);
/* The n-th positional argument or NULL. */
const char *args_at(const struct args *a, size_t n);

/* The whole table for people, or only the phrases that begin with a word; returns how many were shown. */
int phrase_help(const struct phrase *table, const char *first_word, struct buf *out);

#endif
