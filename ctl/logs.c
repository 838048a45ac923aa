#include "ctl/logs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "ctl/ctl.h"

static void add(struct logs *l, const char *path)
{
    FILE *f = path != NULL && l->count < LOGS_FILES ? fopen(path, "re") : NULL;
    if (f != NULL)
        l->files[l->count++] = f;
    else if (errno != ENOENT)
        ctl_say(CTL_FAILED, "%s: %s", path, text_errno(errno));
}

bool logs_open(struct logs *l, const char *path)
{
    _cleanup_(freep) char *older = text_format("%s.1", path);
    *l = (struct logs){.path = strdup(path)};
    add(l, older);
    add(l, path);
    return l->count > 0;
}

static void read_file(FILE *f, void (*fn)(void *arg, char *line), void *arg)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    clearerr(f);
    while ((n = getline(&line, &size, f)) > 0) {
        if (line[n - 1] == '\n') {
            fn(arg, line);
            continue;
        }
        fseeko(f, -(off_t)n, SEEK_CUR); /* its end is being written */
        break;
    }
    free(line);
}

/* Another file stands under the name now. */
static bool rotated(const struct logs *l)
{
    struct stat ours, now;
    return l->count > 0 && l->count < LOGS_FILES && l->path != NULL && stat(l->path, &now) == 0 &&
           fstat(fileno(l->files[l->count - 1]), &ours) == 0 &&
           (now.st_ino != ours.st_ino || now.st_dev != ours.st_dev);
}

void logs_read(struct logs *l, void (*fn)(void *arg, char *line), void *arg)
{
    for (size_t i = 0; i < l->count; i++) {
        read_file(l->files[i], fn, arg);
        if (i + 1 == l->count && rotated(l))
            add(l, l->path);
    }
}

void logs_close(struct logs *l)
{
    for (size_t i = 0; i < l->count; i++)
        fclose(l->files[i]);
    free(l->path);
    *l = (struct logs){0};
}
