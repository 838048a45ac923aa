/* base64 has one spelling for every text; xtext and addresses survive a round trip. */
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/net.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_base64(const char *data, size_t size)
{
    struct buf plain, again;
    buf_init(&plain, size);
    buf_init(&again, size);
    if (base64_decode(data, size, &plain) == 0 &&
        (base64_encode(plain.data, plain.len, &again) < 0 || again.len != size || memcmp(again.data, data, size) != 0))
        abort();
    buf_deinit(&plain);
    buf_deinit(&again);
}

static void check_xtext(const char *data, size_t size)
{
    struct buf plain, coded, again;
    buf_init(&plain, size);
    buf_init(&coded, 3 * size);
    buf_init(&again, size);
    if (xtext_decode(data, size, &plain) == 0 && strlen(buf_str(&plain)) == plain.len &&
        (xtext_encode(buf_str(&plain), &coded) < 0 || xtext_decode(buf_str(&coded), coded.len, &again) < 0 ||
         strcmp(buf_str(&plain), buf_str(&again)) != 0))
        abort();
    buf_deinit(&plain);
    buf_deinit(&coded);
    buf_deinit(&again);
}

static void check_net(const char *text)
{
    struct net_address a, b;
    struct net_cidr net;
    char form[NET_TEXT_MAX], again[NET_TEXT_MAX];
    if (net_parse(text, 25, &a) == 0 && (net_parse(net_format(&a, form), 0, &b) < 0 || net_port(&a) != net_port(&b) ||
                                         strcmp(form, net_format(&b, again)) != 0))
        abort();
    if (net_cidr_parse(text, &net) == 0)
        net_cidr_contains(&net, &a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = text_dup_n((const char *)data, size);
    check_base64(text, size);
    check_xtext(text, size);
    check_net(text);
    free(text);
    return 0;
}
