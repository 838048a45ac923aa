/* Texts that reach lib/store from outside: verifiers out of a database, addresses to look up, names and passwords. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "store/credentials.h"
#include "store/suppression.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void verifier(const char *text)
{
    struct scram_verifier v;
    struct buf out;
    buf_init(&out, 4096);
    if (scram_parse(text, &v) == 0 && scram_format(&v, &out) < 0)
        abort();
    buf_deinit(&out);
}

static void address(const char *text)
{
    char once[SUPPRESSION_ADDRESS_MAX + 1], twice[SUPPRESSION_ADDRESS_MAX + 1];
    if (suppression_normalise(text, once) < 0)
        return;
    /* A normal form stays as it is, but for one more dot that may be dropped. */
    if (suppression_normalise(once, twice) == 0 && strncmp(once, twice, strlen(twice)) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = text_dup_n((const char *)data, size);
    if (text == NULL)
        return 0;
    verifier(text);
    address(text);
    (void)credential_name_valid(text);
    (void)credential_password_valid((const char *)data, size);
    free(text);
    return 0;
}
