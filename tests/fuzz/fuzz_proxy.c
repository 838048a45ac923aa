/* The header of a load balancer: what is taken must lie within what came, and be the same however it is cut. */
#include "smtp/proxy.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smtp_proxy whole, part;
    size_t used, cut;
    int r = smtp_proxy_parse((const char *)data, size, &whole, &used);
    if (used > size || (r == 0 && used == 0))
        abort();
    for (size_t n = 0; r == 0 && n < used; n++)
        if (smtp_proxy_parse((const char *)data, n, &part, &cut) != SMTP_PROXY_MORE)
            abort();
    return 0;
}
