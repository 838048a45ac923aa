/* The key table as an admin might have written it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "dkim/key_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct key_table table;
    struct buf errors;
    size_t count;
    char *text = text_dup_n((const char *)data, size);
    if (text == NULL)
        return 0;
    buf_init(&errors, 65536);
    if (key_table_parse("/etc/posthouse/key-table", text, &table, &errors) == 0) {
        for (size_t i = 0; i < table.count; i++)
            if (key_table_find_signer(&table, table.rows[i].domain, &count) == NULL || count == 0)
                abort();
        key_table_deinit(&table);
    } else if (errors.len == 0) {
        abort();
    }
    buf_deinit(&errors);
    free(text);
    return 0;
}
