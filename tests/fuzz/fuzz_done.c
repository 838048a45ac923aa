/* Notes of what left the queue: whatever stands in the file, an id that is read is one. */
#include <stdlib.h>
#include <string.h>

#include "queue/done.h"
#include "queue/id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(void *arg, const char *id, uint64_t time_ns)
{
    if (!queue_id_valid(id))
        abort();
    ++*(size_t *)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t boot = 0;
    size_t count = 0;
    if (size >= sizeof(boot))
        memcpy(&boot, data, sizeof(boot));
    done_parse((const char *)data, size, boot, check, &count);
    if (count > size / DONE_RECORD)
        abort();
    return 0;
}
