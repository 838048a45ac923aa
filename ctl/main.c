/* posthouse: the admin command.  Works on the databases and key files directly, and on the running suite over its
 * control sockets.  table.c has the phrases. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "ctl/commands.h"
#include "service/service.h"

#define DEFAULT_CONFIG_DIR "/etc/posthouse" /* may be missing: defaults throughout */

/* The phrases that begin with this word, or all of them. */
static void usage(FILE *to, const char *first_word)
{
    struct buf text;
    buf_init(&text, 65536);
    fputs("usage: posthouse [-c DIR] [--json] PHRASE ...\n", to);
    if (phrase_help(phrases, first_word, &text) == 0)
        phrase_help(phrases, NULL, &text);
    fwrite(buf_str(&text), 1, text.len, to);
    if (first_word == NULL)
        fputs("  version\n      Print the version\n"
              "  help [WORD]\n      Print this, or the phrases that begin with a word\n",
              to);
    fputs("See posthouse(1).\n", to);
    buf_deinit(&text);
}

static int no_such_phrase(const char *word)
{
    struct buf text;
    buf_init(&text, 65536);
    int known = phrase_help(phrases, word, &text);
    buf_deinit(&text);
    if (known == 0)
        return ctl_say(CTL_USAGE, "no phrase begins with '%s'; 'posthouse help' lists them", word);
    usage(stderr, word);
    return CTL_USAGE;
}

static int load_shared(struct ctl *c)
{
    struct buf errors;
    buf_init(&errors, 65536);
    int r = settings_posthouse_load(c->config_dir, &c->shared, &errors);
    if (r < 0)
        fputs(buf_str(&errors), stderr);
    buf_deinit(&errors);
    return r < 0 ? ctl_say(CTL_FAILED, "nothing was done; correct %s/posthouse.conf", c->config_dir) : CTL_OK;
}

static int run_with_settings(struct ctl *c, const struct phrase *p, const struct args *a)
{
    int status = load_shared(c);
    if (status != CTL_OK)
        return status;
    if (p->needs == NEEDS_MASTER)
        status = ctl_connect(c, SERVICE_MASTER_SOCKET, false, &c->peer);
    else if (p->needs == NEEDS_QMGR)
        status = ctl_connect(c, SERVICE_QMGR_SOCKET, false, &c->peer);
    if (status == CTL_OK)
        status = p->run(c, a);
    ipc_sync_close(c->peer);
    settings_posthouse_free(&c->shared);
    return status;
}

static int run_phrase(struct ctl *c, int argc, char **argv)
{
    struct args args;
    struct buf why;
    int used;
    const struct phrase *p = phrase_find(phrases, argc, argv, &used);
    if (p == NULL)
        return no_such_phrase(argv[0]);
    buf_init(&why, 4096);
    int status = CTL_USAGE;
    if (phrase_parse(p, argc - used, argv + used, &args, &why) < 0) {
        ctl_say(CTL_USAGE, "%s", buf_str(&why));
        fprintf(stderr, "usage: posthouse %s %s\n", p->words, p->arguments);
    } else {
        status = p->needs == NEEDS_NOTHING ? p->run(c, &args) : run_with_settings(c, p, &args);
    }
    buf_deinit(&why);
    return status;
}

/* Takes --json from anywhere, and -c DIR in front of the phrase; returns how many words are left, -1 if that failed. */
static int take_globals(struct ctl *c, int argc, char **argv)
{
    int kept = 0;
    bool plain = false; /* behind "--" */
    for (int i = 0; i < argc; i++) {
        plain = plain || strcmp(argv[i], "--") == 0;
        if (!plain && strcmp(argv[i], "--json") == 0)
            c->json = true;
        else if (kept == 0 && strcmp(argv[i], "-c") == 0 && i + 1 < argc)
            c->config_dir = argv[++i];
        else if (kept == 0 && strcmp(argv[i], "-c") == 0)
            return -1;
        else
            argv[kept++] = argv[i];
    }
    return kept;
}

static bool is_any(const char *word, const char *a, const char *b, const char *c)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

int main(int argc, char **argv)
{
    struct ctl c = {.config_dir = DEFAULT_CONFIG_DIR};
    int left = take_globals(&c, argc - 1, argv + 1);
    if (left <= 0) {
        usage(stderr, NULL);
        return CTL_USAGE;
    }
    char **words = argv + 1;
    if (is_any(words[0], "help", "--help", "-h")) {
        usage(stdout, left > 1 ? words[1] : NULL);
        return CTL_OK;
    }
    if (is_any(words[0], "version", "--version", "-V")) {
        printf("posthouse %s\n", POSTHOUSE_VERSION);
        return CTL_OK;
    }
    umask(0027);
    /* The working directory changes on the way to a socket. */
    char *absolute = realpath(c.config_dir, NULL);
    if (absolute == NULL && strcmp(c.config_dir, DEFAULT_CONFIG_DIR) != 0)
        return ctl_say(CTL_USAGE, "-c %s: %s", c.config_dir, text_errno(errno));
    if (absolute != NULL)
        c.config_dir = absolute;
    int status = run_phrase(&c, left, words);
    free(absolute);
    if (fflush(stdout) != 0 || ferror(stdout))
        status = ctl_say(CTL_FAILED, "standard output can not be written");
    return status;
}
