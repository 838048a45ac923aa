/* powercut-check QUEUE: what a start of the suite would find.  One line for each file in new, deferred, hold and
 * corrupt:
 *
 *     new/0/1K0Z21H50C001 whole 1K0Z21H50C001 <sha-256 of the content> done,todo
 *     new/0/1K0Z21H50C002 broken */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "queue/file.h"

static bool hash_content(int fd, const struct envelope *e, char hex[2 * EVP_MAX_MD_SIZE + 1])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    char *content = malloc(e->content_length);
    bool ok = content != NULL &&
              pread(fd, content, e->content_length, (off_t)e->content_offset) == (ssize_t)e->content_length &&
              EVP_Digest(content, e->content_length, digest, &size, EVP_sha256(), NULL) == 1;
    free(content);
    for (unsigned i = 0; i < size; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return ok;
}

static void check(const char *file, const char *name)
{
    char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
    struct envelope e;
    _cleanup_(fd_closep) int fd = open(file, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : queue_file_read(fd, &e);
    bool whole = r == 0 && strncmp(name, e.id, QUEUE_ID_LEN) == 0 && hash_content(fd, &e, hex);
    if (!whole) {
        printf("%s broken\n", file);
    } else {
        printf("%s whole %s %s ", file, e.id, hex);
        for (size_t i = 0; i < e.recipient_count; i++)
            printf("%s%s", i > 0 ? "," : "", recipient_status_name(e.recipients[i].status));
        printf("\n");
    }
    if (r == 0)
        envelope_free(&e);
}

int main(int argc, char **argv)
{
    char *roots[] = {(char *)"new", (char *)"deferred", (char *)"hold", (char *)"corrupt", NULL};
    if (argc != 2 || chdir(argv[1]) < 0) {
        fprintf(stderr, "usage: powercut-check QUEUE\n");
        return 2;
    }
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    for (FTSENT *entry; walk != NULL && (entry = fts_read(walk)) != NULL;)
        if (entry->fts_info == FTS_F)
            check(entry->fts_path, entry->fts_name);
    if (walk != NULL)
        fts_close(walk);
    return 0;
}
