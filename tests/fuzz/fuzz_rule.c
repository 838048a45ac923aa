/* The file of rules as a disk might give it back: what is taken is written again byte for byte. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "qmgr/rule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct rule_subject mail = {
        .domain = "example.com", .site = "mx1.example.com/0badcafe", .tenant = "shop", .sender = "app@sender.test"};
    struct rule_list rules;
    struct buf again;
    unsigned line;
    if (size > RULES_FILE_MAX || rule_list_parse((const char *)data, size, &rules, &line) < 0)
        return 0;
    buf_init(&again, RULES_FILE_MAX);
    if (rule_list_format(&rules, &again) < 0 || again.len != size || memcmp(buf_str(&again), data, size) != 0)
        abort();
    for (size_t i = 0; i < rules.count; i++)
        rule_matches(&rules.items[i], &mail);
    buf_deinit(&again);
    rule_list_free(&rules);
    return 0;
}
