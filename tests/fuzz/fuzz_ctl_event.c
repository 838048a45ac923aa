/* Lines of the log as the admin command takes them apart and counts them, and any bytes as JSON and on a terminal. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "ctl/event.h"
#include "ctl/ledger.h"
#include "ctl/listing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void output(const char *text)
{
    struct buf out;
    struct json j = {.out = &out};
    buf_init(&out, 1024 * 1024);
    json_string(&j, NULL, text);
    listing_printable(text, &out);
    for (size_t i = 0; i < out.len; i++)
        if ((unsigned char)out.data[i] < 0x20 || out.data[i] == 0x7f)
            abort();
    buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *line = text_dup_n((const char *)data, size);
    struct event e;
    if (line == NULL)
        return 0;
    output(line);
    struct ledger ledger = {0};
    char *lines = strdup(line), *save = NULL;
    for (char *p = strtok_r(lines, "\n", &save); p != NULL; p = strtok_r(NULL, "\n", &save))
        ledger_line(&ledger, p);
    ledger_first_read(&ledger);
    for (struct ledger_message *m = ledger.messages; m != NULL; m = m->hh.next) {
        ledger_judge(&ledger, m);
        ledger_add(&ledger, m);
    }
    ledger_deinit(&ledger);
    free(lines);
    if (event_parse(line, "1P8X2K7Q3M40A", &e))
        output(e.text);
    free(line);
    return 0;
}
