#include "smtpd/limits.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

/* A region per process; at a reload the old processes finish beside the new ones. */
enum { ROWS = 2, COLUMNS = 16384, REGIONS = 256, HEARTBEAT_MS = 2000, HEARTBEAT_LOST_S = 10, CROWDED_PART = 16 };

#define LIMITS_MAGIC UINT64_C(0x31736d696c687000)
#define IPV6_MARK    UINT64_C(0x36000000000000) /* or short prefixes of both kinds would be the same numbers */

/* A minute's count: the minute in the upper half, the count in the lower. */
typedef _Atomic uint64_t minute_cell;

struct limits_sessions {
    _Atomic int32_t total;
    _Atomic int32_t cells[ROWS][COLUMNS], network_cells[ROWS][COLUMNS], owner_cells[ROWS][COLUMNS];
};

/* The memory.  Untouched pages take no room. */
struct limits_table {
    uint64_t magic, key[4];
    _Atomic int64_t heartbeat_s[REGIONS]; /* CLOCK_MONOTONIC; 0 = no process */
    minute_cell connections[ROWS][COLUMNS], failed_logins[ROWS][COLUMNS];
    struct limits_sessions regions[REGIONS];
};

struct limits {
    struct limits_table *table;
    int region; /* ours */
    struct limits_sessions *own;
    struct limits_maxima maxima;
    bool crowded; /* when the last session came */
    struct timer heartbeat;
};

/* The two columns of an address, and those of its network. */
struct cells {
    uint32_t column[ROWS], network[ROWS];
};

struct counts {
    int64_t total, of_address, of_network;
};

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    h ^= h >> 32;
    h *= UINT64_C(0xd6e8feb86659fd93);
    return h ^ h >> 29;
}

/* Keyed with the file's own random numbers, so that all processes agree and no client can choose its neighbours. */
static uint32_t column_of(const struct limits *limits, int row, uint64_t what)
{
    uint64_t h = mix(mix(limits->table->key[2 * row], what), limits->table->key[2 * row + 1]);
    return (uint32_t)(h >> 32) % COLUMNS;
}

/* The first bits of so many, as a number. */
static uint64_t first_bits(uint64_t address, int width, int64_t bits)
{
    return bits <= 0 ? 0 : bits >= width ? address : address >> (width - bits);
}

static struct cells cells_of(const struct limits *limits, const struct net_address *client)
{
    const struct limits_maxima *m = &limits->maxima;
    const uint8_t *ipv6 = client->in6.sin6_addr.s6_addr;
    uint64_t address = 0, network = 0;
    uint32_t ipv4 = 0;
    if (client->any.sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&client->in6.sin6_addr)) {
        memcpy(&address, ipv6, 8);
        network = first_bits(be64toh(address), 64, m->ipv6_prefix) ^ IPV6_MARK;
    } else if (client->any.sa_family == AF_INET || client->any.sa_family == AF_INET6) {
        memcpy(&ipv4, client->any.sa_family == AF_INET ? (void *)&client->in4.sin_addr.s_addr : ipv6 + 12, 4);
        address = ipv4;
        network = first_bits(be32toh(ipv4), 32, m->ipv4_prefix);
    }
    struct cells c;
    for (int row = 0; row < ROWS; row++) {
        c.column[row] = column_of(limits, row, address);
        c.network[row] = column_of(limits, row, network);
    }
    return c;
}

static uint32_t minute_now(void)
{
    return (uint32_t)(clock_mono_ms() / 60000);
}

static uint32_t cell_count(const minute_cell *cell, uint32_t minute)
{
    uint64_t v = atomic_load_explicit(cell, memory_order_relaxed);
    return (uint32_t)(v >> 32) == minute ? (uint32_t)v : 0;
}

static void cell_add(minute_cell *cell, uint32_t minute)
{
    uint64_t seen = atomic_load_explicit(cell, memory_order_relaxed), wanted;
    do
        wanted = (uint32_t)(seen >> 32) == minute ? seen + 1 : (uint64_t)minute << 32 | 1;
    while (!atomic_compare_exchange_weak_explicit(cell, &seen, wanted, memory_order_relaxed, memory_order_relaxed));
}

static uint32_t minute_count(minute_cell cells[ROWS][COLUMNS], const struct cells *c)
{
    uint32_t a = cell_count(&cells[0][c->column[0]], minute_now());
    uint32_t b = cell_count(&cells[1][c->column[1]], minute_now());
    return a < b ? a : b;
}

static void minute_add(minute_cell cells[ROWS][COLUMNS], const struct cells *c)
{
    for (int row = 0; row < ROWS; row++)
        cell_add(&cells[row][c->column[row]], minute_now());
}

static bool is_alive(struct limits_table *table, int region, int64_t now_s)
{
    int64_t heartbeat_s = atomic_load_explicit(&table->heartbeat_s[region], memory_order_relaxed);
    return heartbeat_s != 0 && now_s - heartbeat_s <= HEARTBEAT_LOST_S;
}

/* Sessions in all, of this address and of its network, over the processes that live. */
static struct counts count_sessions(const struct limits *limits, const struct cells *c)
{
    int64_t now_s = (int64_t)(clock_mono_ms() / 1000), rows[ROWS] = {0}, network_rows[ROWS] = {0}, total = 0;
    for (int region = 0; region < REGIONS; region++) {
        struct limits_sessions *s = &limits->table->regions[region];
        if (region != limits->region && !is_alive(limits->table, region, now_s))
            continue;
        total += atomic_load_explicit(&s->total, memory_order_relaxed);
        for (int row = 0; row < ROWS; row++) {
            rows[row] += atomic_load_explicit(&s->cells[row][c->column[row]], memory_order_relaxed);
            network_rows[row] += atomic_load_explicit(&s->network_cells[row][c->network[row]], memory_order_relaxed);
        }
    }
    return (struct counts){total, rows[0] < rows[1] ? rows[0] : rows[1],
                           network_rows[0] < network_rows[1] ? network_rows[0] : network_rows[1]};
}

static void session_add(struct limits *limits, const struct net_address *client, int32_t n)
{
    atomic_fetch_add_explicit(&limits->own->total, n, memory_order_relaxed);
    if (client == NULL)
        return;
    const struct cells c = cells_of(limits, client);
    for (int row = 0; row < ROWS; row++) {
        atomic_fetch_add_explicit(&limits->own->cells[row][c.column[row]], n, memory_order_relaxed);
        atomic_fetch_add_explicit(&limits->own->network_cells[row][c.network[row]], n, memory_order_relaxed);
    }
}

static bool reached(int64_t count, int64_t maximum)
{
    return maximum > 0 && count >= maximum;
}

/* Whose session it is shall be told; limits_move then counts it as that one's. */
static int connect_proxy(struct limits *limits)
{
    const struct cells nobody = {0};
    struct counts now = count_sessions(limits, &nobody);
    limits->crowded = reached(now.total, limits->maxima.sessions - limits->maxima.sessions / CROWDED_PART);
    if (reached(now.total, limits->maxima.sessions))
        return LIMITS_TOO_MANY;
    session_add(limits, NULL, 1);
    return 0;
}

int limits_connect(struct limits *limits, const struct net_address *client)
{
    const struct limits_maxima *m = &limits->maxima;
    if (client == NULL)
        return connect_proxy(limits);
    struct cells c = cells_of(limits, client);
    struct counts now = count_sessions(limits, &c);
    limits->crowded = reached(now.total, m->sessions - m->sessions / CROWDED_PART);
    if (reached(now.of_address, m->sessions_per_address))
        return LIMITS_TOO_MANY_FROM_ADDRESS;
    if (reached(now.of_network, m->sessions_per_network))
        return LIMITS_TOO_MANY_FROM_NETWORK;
    if (m->connections_per_minute > 0 &&
        reached(minute_count(limits->table->connections, &c), m->connections_per_minute))
        return LIMITS_TOO_FAST;
    if (reached(now.total, m->sessions))
        return LIMITS_TOO_MANY;
    if (m->connections_per_minute > 0)
        minute_add(limits->table->connections, &c);
    session_add(limits, client, 1);
    return 0;
}

bool limits_crowded(const struct limits *limits)
{
    return limits->crowded;
}

void limits_disconnect(struct limits *limits, const struct net_address *client)
{
    session_add(limits, client, -1);
}

int limits_move(struct limits *limits, const struct net_address *from, const struct net_address *to)
{
    limits_disconnect(limits, from);
    int reason = limits_connect(limits, to);
    /* Not by limits_connect, which might refuse it too: whoever ends the session takes it off again. */
    if (reason != 0)
        session_add(limits, from, 1);
    return reason;
}

static uint64_t owner_number(unsigned kind, const char *name)
{
    uint64_t h = kind;
    for (; *name != '\0'; name++)
        h = mix(h, (unsigned char)*name);
    return h;
}

static void owner_add(struct limits *limits, uint64_t owner, int32_t n)
{
    for (int row = 0; row < ROWS; row++)
        atomic_fetch_add_explicit(&limits->own->owner_cells[row][column_of(limits, row, owner)], n,
                                  memory_order_relaxed);
}

int64_t limits_enter(struct limits *limits, unsigned kind, const char *name)
{
    int64_t now_s = (int64_t)(clock_mono_ms() / 1000), rows[ROWS] = {0};
    uint64_t owner = owner_number(kind, name);
    /* First, so that of two that come at the same time each sees the other. */
    owner_add(limits, owner, 1);
    for (int region = 0; region < REGIONS; region++)
        for (int row = 0; row < ROWS && (region == limits->region || is_alive(limits->table, region, now_s)); row++)
            rows[row] += atomic_load_explicit(
                &limits->table->regions[region].owner_cells[row][column_of(limits, row, owner)], memory_order_relaxed);
    return (rows[0] < rows[1] ? rows[0] : rows[1]) - 1;
}

void limits_leave(struct limits *limits, unsigned kind, const char *name)
{
    owner_add(limits, owner_number(kind, name), -1);
}

void limits_login_failed(struct limits *limits, const struct net_address *client)
{
    struct cells c = cells_of(limits, client);
    minute_add(limits->table->failed_logins, &c);
}

bool limits_login_blocked(struct limits *limits, const struct net_address *client)
{
    struct cells c = cells_of(limits, client);
    return reached(minute_count(limits->table->failed_logins, &c), limits->maxima.failed_logins_per_minute);
}

static int64_t heartbeat_now_s(void)
{
    return (int64_t)(clock_mono_ms() / 1000) + 1;
}

static void on_heartbeat(void *arg)
{
    struct limits *limits = arg;
    atomic_store_explicit(&limits->table->heartbeat_s[limits->region], heartbeat_now_s(), memory_order_relaxed);
    timer_set_ms(&limits->heartbeat, HEARTBEAT_MS);
}

/* For those who start at the same time.  Not OFD's: master hands the same open file to all. */
static int set_lock(int memory, short type)
{
    struct flock whole = {.l_type = type, .l_whence = SEEK_SET};
    while (fcntl(memory, F_SETLKW, &whole) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

/* The first process gives the table its size and keys. */
static int table_map(int memory, struct limits_table **out)
{
    struct stat st;
    /* Sealed, so that nobody can take it away from under the others. */
    if (fstat(memory, &st) < 0 || (st.st_size == 0 && (ftruncate(memory, (off_t)sizeof(**out)) < 0 ||
                                                       fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)))
        return -errno;
    if (st.st_size != 0 && st.st_size != (off_t)sizeof(**out))
        return -EINVAL;
    struct limits_table *table = mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (table == MAP_FAILED)
        return -errno;
    if (table->magic != LIMITS_MAGIC && getrandom(table->key, sizeof(table->key), 0) != (ssize_t)sizeof(table->key)) {
        munmap(table, sizeof(*table));
        return -EIO;
    }
    table->magic = LIMITS_MAGIC;
    *out = table;
    return 0;
}

/* Takes a region that no living process has. */
static int region_claim(struct limits *limits)
{
    int64_t now_s = heartbeat_now_s();
    for (int region = 0; region < REGIONS; region++) {
        if (is_alive(limits->table, region, now_s))
            continue;
        limits->region = region;
        limits->own = &limits->table->regions[region];
        memset((void *)limits->own, 0, sizeof(*limits->own));
        on_heartbeat(limits);
        return 0;
    }
    return -EAGAIN;
}

static int take_place(struct limits *limits, struct loop *l, int memory)
{
    int r = table_map(memory, &limits->table);
    if (r == 0)
        r = timer_init(&limits->heartbeat, l, on_heartbeat, limits);
    if (r == 0)
        r = region_claim(limits);
    return r;
}

int limits_new(struct loop *l, int memory, const struct limits_maxima *maxima, struct limits **out)
{
    struct limits *limits = calloc(1, sizeof(*limits));
    if (limits == NULL)
        return -ENOMEM;
    limits->maxima = *maxima;
    int r = set_lock(memory, F_WRLCK);
    if (r == 0) {
        r = take_place(limits, l, memory);
        set_lock(memory, F_UNLCK);
    }
    if (r < 0) {
        timer_deinit(&limits->heartbeat);
        if (limits->table != NULL)
            munmap(limits->table, sizeof(*limits->table));
        free(limits);
        return r;
    }
    *out = limits;
    return 0;
}

void limits_free(struct limits *limits)
{
    if (limits == NULL)
        return;
    atomic_store_explicit(&limits->table->heartbeat_s[limits->region], 0, memory_order_relaxed);
    timer_deinit(&limits->heartbeat);
    munmap(limits->table, sizeof(*limits->table));
    free(limits);
}
