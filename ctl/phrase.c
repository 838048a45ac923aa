#include "ctl/phrase.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* How many words of the phrase argv begins with, 0 if not all of them. */
static int words_matched(const char *words, int argc, char *const *argv)
{
    int n = 0;
    for (const char *w = words; *w != '\0'; n++) {
        size_t len = strcspn(w, " ");
        if (n >= argc || strlen(argv[n]) != len || strncmp(argv[n], w, len) != 0)
            return 0;
        w += len + strspn(w + len, " ");
    }
    return n;
}

const struct phrase *phrase_find(const struct phrase *table, int argc, char *const *argv, int *used)
{
    const struct phrase *best = NULL;
    *used = 0;
    for (const struct phrase *p = table; p->words != NULL; p++) {
        int n = words_matched(p->words, argc, argv);
        if (n > *used) {
            best = p;
            *used = n;
        }
    }
    return best;
}

struct token {
    char text[64];  /* without brackets and dots */
    char value[64]; /* of "--option VALUE" */
    bool optional, option, repeated;
};

/* The next token of an argument text; false at its end. */
static bool next_token(const char **spec, struct token *t)
{
    const char *s = *spec + strspn(*spec, " ");
    *t = (struct token){.optional = *s == '['};
    if (*s == '\0')
        return false;
    size_t len = t->optional ? strcspn(++s, "]") : strcspn(s, " ");
    *spec = s + len + (s[len] == ']');
    size_t name = strcspn(s, " ]");
    t->option = s[0] == '-' && s[1] == '-';
    if (name < len)
        snprintf(t->value, sizeof(t->value), "%.*s", (int)(len - name - 1), s + name + 1);
    t->repeated = name > 3 && strncmp(s + name - 3, "...", 3) == 0;
    snprintf(t->text, sizeof(t->text), "%.*s", (int)(name - (t->repeated ? 3 : 0)), s);
    return true;
}

static bool find_option(const char *spec, const char *given, size_t len, struct token *t)
{
    while (next_token(&spec, t))
        if (t->option && strlen(t->text) == len && strncmp(t->text, given, len) == 0)
            return true;
    return false;
}

/* "--name", "--name value" or "--name=value" at argv[*i]. */
static int take_option(const struct phrase *p, int argc, char *const *argv, int *i, struct args *out, struct buf *why)
{
    const char *given = argv[*i], *equals = strchr(given, '=');
    size_t len = equals != NULL ? (size_t)(equals - given) : strlen(given);
    struct token t;
    if (!find_option(p->arguments, given, len, &t) || out->option_count == OPTIONS_MAX) {
        buf_printf(why, "'%s' has no option %s", p->words, given);
        return -EINVAL;
    }
    const char *value = "";
    if (t.value[0] == '\0' && equals != NULL) {
        buf_printf(why, "option %s takes no value", t.text);
        return -EINVAL;
    }
    if (t.value[0] != '\0') {
        value = equals != NULL ? equals + 1 : *i + 1 < argc ? argv[++*i] : NULL;
        if (value == NULL) {
            buf_printf(why, "option %s needs a value: %s", t.text, t.value);
            return -EINVAL;
        }
    }
    out->options[out->option_count].name = given + 2;
    out->options[out->option_count++].value = value;
    return 0;
}

static int check_count(const struct phrase *p, const struct args *a, struct buf *why)
{
    const char *spec = p->arguments;
    size_t least = 0, most = 0;
    struct token t;
    while (next_token(&spec, &t)) {
        if (t.option)
            continue;
        if (!t.optional && ++least > a->count) {
            buf_printf(why, "%s is missing", t.text);
            return -EINVAL;
        }
        most = t.repeated ? ARGS_MAX : most + 1;
    }
    if (a->count <= most)
        return 0;
    buf_printf(why, "%s is too much", a->positional[most]);
    return -EINVAL;
}

int phrase_parse(const struct phrase *p, int argc, char *const *argv, struct args *out, struct buf *why)
{
    bool options_end = false;
    *out = (struct args){0};
    for (int i = 0; i < argc; i++) {
        if (!options_end && strcmp(argv[i], "--") == 0) {
            options_end = true;
        } else if (!options_end && strncmp(argv[i], "--", 2) == 0) {
            if (take_option(p, argc, argv, &i, out, why) < 0)
                return -EINVAL;
        } else if (out->count == ARGS_MAX) {
            buf_printf(why, "more than %d arguments", ARGS_MAX);
            return -EINVAL;
        } else {
            out->positional[out->count++] = argv[i];
        }
    }
    return check_count(p, out, why);
}

const char *args_option(const struct args *a, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < a->option_count; i++) {
        const char *given = a->options[i].name;
        if (strncmp(given, name, len) == 0 && (given[len] == '\0' || given[len] == '='))
            return a->options[i].value;
    }
    return NULL;
}

const char *args_at(const struct args *a, size_t n)
{
    return n < a->count ? a->positional[n] : NULL;
}

static bool begins_with_word(const char *words, const char *word)
{
    size_t len = strlen(word);
    return strncmp(words, word, len) == 0 && (words[len] == '\0' || words[len] == ' ');
}

int phrase_help(const struct phrase *table, const char *first_word, struct buf *out)
{
    int shown = 0;
    for (const struct phrase *p = table; p->words != NULL; p++) {
        if (first_word != NULL && !begins_with_word(p->words, first_word))
            continue;
        buf_printf(out, "  %s%s%s\n      %s\n", p->words, p->arguments[0] != '\0' ? " " : "", p->arguments, p->help);
        shown++;
    }
    return shown;
}
