/* Any content in a queue file: whatever dkim-signer signs must verify in its own eyes, or be refused with a reason. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dkim-signer/signer.h"
#include "dkim-signer/self_test.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char domain[] = "example.com", selector[] = "s";
static struct key_table_row row = {.domain = domain, .selector = selector};
static struct key_table table = {&row, 1};

static struct signer *open_signer(void)
{
    static const bool by_handle[] = {true, true};
    struct settings_dkim_signer settings = {0};
    struct signer *signer;
    if (signing_key_generate(SIGNING_KEY_ED25519, 0, &row.key) < 0 ||
        signer_build(&settings, &table, by_handle, &signer) < 0)
        abort();
    return signer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct signer *signer;
    struct signer_answer answer;
    if (signer == NULL)
        signer = open_signer();
    int fd = memfd_create("message", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    signer_answer_init(&answer);
    enum ipc_sign_status status = signer_sign(signer, &(struct signer_request){"1", fd, 0, size}, &answer);
    if ((status == SIGN_SIGNED) != (answer.headers.len > 0) || (status == SIGN_SIGNED) == (answer.reason.len > 0))
        abort();
    signer_answer_deinit(&answer);
    close(fd);
    return 0;
}
