/* The IPC codec: what decodes encodes to the same bytes again; whatever else comes is refused. */
#include <stdlib.h>
#include <string.h>

#include "ipc/catalogue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum ipc_type type;
    union ipc_any message;
    struct buf again;
    char *copy = malloc(size); /* decoded in place; no byte more, so that AddressSanitizer sees one too many */
    if (size > 0)
        memcpy(copy, data, size);
    if (ipc_decode(copy, size, &type, &message) == 0) {
        buf_init(&again, size);
        if (ipc_encode(type, &message, &again) < 0 || again.len != size || memcmp(again.data, data, size) != 0)
            abort();
        buf_deinit(&again);
        ipc_decoded_free(type, &message);
    }
    free(copy);
    return 0;
}
