/* posthouse-parameters: what the tables of lib/settings say, for the tests of the pages and of the shipped
 * configuration, and for whoever writes them.
 *
 *     posthouse-parameters             every parameter, fields separated by tabs:
 *                                      file, block, name, type, default, range or choices, help
 *     posthouse-parameters mdoc FILE   the list for FILE's page
 *     posthouse-parameters conf FILE   the shipped FILE
 *     posthouse-parameters check DIR   reads every configuration file in DIR */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "settings/settings.h"

#define LINE_MAX_BYTES 76

static const struct {
    const char *name, *meta; /* what stands for the value in a synopsis */
} types[] = {
    [CONF_STRING] = {"string", "text"},
    [CONF_PATH] = {"path", "path"},
    [CONF_BOOL] = {"bool", "yes|no"},
    [CONF_INT] = {"int", "number"},
    [CONF_SIZE] = {"size", "size"},
    [CONF_DURATION] = {"duration", "time"},
    [CONF_ENUM] = {"enum", "choice"},
    [CONF_LIST] = {"list", "words"},
    [CONF_ADDRESSES] = {"addresses", "addresses"},
    [CONF_NETWORKS] = {"networks", "networks"},
};

/* The bounds of a row as an admin would write them: conf_expected without its words. */
static void print_range(const struct conf_param *p)
{
    struct buf text;
    buf_init(&text, 4096);
    if (p->type == CONF_INT || p->type == CONF_SIZE || p->type == CONF_DURATION) {
        conf_expected(p, &text);
        const char *from = strstr(buf_str(&text), " from ");
        printf("%s", from != NULL ? from + 1 : "");
    } else if (p->type == CONF_ENUM) {
        for (int i = 0; p->choices[i] != NULL; i++)
            printf("%s%s", i > 0 ? "|" : "", p->choices[i]);
    }
    buf_deinit(&text);
}

static void print_rows(const struct conf_schema *s, const char *block, const struct conf_param *params)
{
    for (const struct conf_param *p = params; p->name != NULL; p++) {
        printf("%s\t%s\t%s\t%s\t%s\t", s->file, block, p->name, types[p->type].name, p->default_value);
        print_range(p);
        printf("\t%s\n", p->help);
    }
}

static void print_all(void)
{
    for (const struct conf_schema *const *s = settings_all; *s != NULL; s++) {
        print_rows(*s, "", (*s)->params);
        for (const struct conf_block *b = (*s)->blocks; b != NULL && b->kind != NULL; b++)
            print_rows(*s, b->kind, b->params);
    }
}

static void print_mdoc_list(const struct conf_param *params)
{
    printf(".Bl -tag -width Ds\n");
    for (const struct conf_param *p = params; p->name != NULL; p++) {
        printf(".It Ic %s No = Ar %s\n%s.\n", p->name, types[p->type].meta, p->help);
        if (p->type == CONF_ENUM) {
            printf("One of\n");
            for (int i = 0; p->choices[i] != NULL; i++)
                printf(".Cm %s%s\n", p->choices[i], p->choices[i + 1] == NULL ? " ." : " ,");
        } else if (p->type == CONF_INT || p->type == CONF_SIZE || p->type == CONF_DURATION) {
            printf("Range: ");
            print_range(p);
            printf(".\n");
        }
        if (*p->default_value != '\0')
            printf("Default:\n.Cm %s .\n", p->default_value);
        else
            printf("Default: empty.\n");
    }
    printf(".El\n");
}

/* Text as comment lines of readable length. */
static void print_comment(const char *text)
{
    size_t column = 0;
    for (const char *word = text; *word != '\0';) {
        size_t len = strcspn(word, " ");
        if (column > 0 && column + 1 + len > LINE_MAX_BYTES) {
            printf("\n");
            column = 0;
        }
        column += (size_t)printf("%s%.*s", column == 0 ? "# " : " ", (int)len, word);
        word += len + strspn(word + len, " ");
    }
    printf(".\n");
}

static void print_conf_rows(const char *indent, const struct conf_param *params)
{
    for (const struct conf_param *p = params; p->name != NULL; p++) {
        printf("\n");
        print_comment(p->help);
        printf("#%s%s =%s%s\n", indent, p->name, *p->default_value != '\0' ? " " : "", p->default_value);
    }
}

static void print_conf_block(const struct conf_block *b)
{
    printf("\n");
    print_comment(b->help);
    printf("#%s \"name\" {\n", b->kind);
    print_conf_rows("    ", b->params);
    printf("#}\n");
}

static void print_conf(const struct conf_schema *s)
{
    printf("# %s: see %s(5).  Lines that begin with # are the defaults.\n", s->file, s->file);
    print_conf_rows("", s->params);
    for (const struct conf_block *b = s->blocks; b != NULL && b->kind != NULL; b++)
        print_conf_block(b);
}

static void print_mdoc(const struct conf_schema *s)
{
    print_mdoc_list(s->params);
    for (const struct conf_block *b = s->blocks; b != NULL && b->kind != NULL; b++) {
        printf(".Ss %s \"name\" { ... }\n%s.\n", b->kind, b->help);
        print_mdoc_list(b->params);
    }
}

static int check(const char *dir)
{
    int failed = 0;
    for (const struct conf_schema *const *s = settings_all; *s != NULL; s++) {
        void *settings = calloc(1, (*s)->size);
        struct buf errors;
        buf_init(&errors, 65536);
        if (settings != NULL && conf_load(*s, dir, settings, &errors) == 0)
            conf_free(*s, settings);
        else
            failed = 1;
        printf("%s", buf_str(&errors));
        buf_deinit(&errors);
        free(settings);
    }
    return failed;
}

int main(int argc, char **argv)
{
    const struct conf_schema *s = argc == 3 ? settings_find(argv[2]) : NULL;
    if (argc == 1) {
        print_all();
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "check") == 0)
        return check(argv[2]);
    if (s == NULL || (strcmp(argv[1], "mdoc") != 0 && strcmp(argv[1], "conf") != 0)) {
        fprintf(stderr, "usage: posthouse-parameters [mdoc FILE | conf FILE | check DIR]\n");
        return 2;
    }
    if (strcmp(argv[1], "mdoc") == 0)
        print_mdoc(s);
    else
        print_conf(s);
    return 0;
}
