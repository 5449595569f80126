/* A load generator for one RESP server that sends at fixed times, whether or not earlier replies are there, and counts each
 * latency from the time at which its request was due: a stall of the server is felt by every request that fell into it.
 *
 *   pace PORT CONNECTIONS PIPELINE RATE SECONDS WARMUP KEYSPACE [AUTH WORD ...] -- COMMAND WORD ...
 *
 * RATE is in requests per second over all connections, which take turns; 0 is a closed loop instead: each connection sends
 * PIPELINE requests at once when all its replies are there, and counts from the sending. __rand_int__ in a word is a random number
 * below KEYSPACE, in 12 digits. What is due in the first WARMUP seconds is not counted. Connects, logs in, prints "ready", waits
 * for a line of input, runs, and prints one line of JSON: how many requests it sent, how many of them are counted and in how many
 * seconds they were answered, and two histograms [[upper bound in ns, count], ...]: of latency, and of how late the generator
 * itself was in sending. An error reply ends it with status 1. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000ull
#define GRACE (10 * SECOND)      /* for the last replies */
#define IN_FLIGHT (1u << 16)     /* of one connection; a power of two */
#define BUCKETS 4096             /* 64 for each power of two of nanoseconds: a bound is at most 1.6 % above the value */
#define PLACES 64                /* of __rand_int__ in one command */
static const char RANDOM[] = "__rand_int__";

typedef struct {
    int fd, waiting;             /* waiting: for room in the socket's buffer */
    uint64_t *due;               /* a ring: when each unanswered request was due */
    uint32_t first, last;
    char *out;
    size_t out_from, out_to, out_room;
    char line[256];
    size_t line_length, skip;    /* skip: bytes of a bulk string still to come, its CRLF included */
} Connection;

static uint64_t latency[BUCKETS], lateness[BUCKETS], asked, counted, unanswered, measured_from;
static char *request;
static size_t request_length, places[PLACES], place_count;
static uint64_t keyspace, seed = 88172645463325252ull;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static void count(uint64_t *histogram, uint64_t value) {
    unsigned shift = value < 64 ? 0 : 63 - __builtin_clzll(value) - 6;
    histogram[(shift << 6) + (value >> shift)]++;
}

static uint64_t bound(unsigned bucket) {
    return bucket < 64 ? bucket : ((uint64_t)(bucket & 63) + 65) << ((bucket >> 6) - 1);
}

static void print(const char *name, const uint64_t *histogram) {
    const char *comma = "";
    printf(", \"%s\": [", name);
    for (unsigned bucket = 0; bucket < BUCKETS; bucket++)
        if (histogram[bucket]) {
            printf("%s[%llu, %llu]", comma, (unsigned long long)bound(bucket), (unsigned long long)histogram[bucket]);
            comma = ", ";
        }
    printf("]");
}

static char *encoded(char **words, int word_count, size_t *length) {
    size_t room = 32;
    for (int at = 0; at < word_count; at++)
        room += strlen(words[at]) + 32;
    char *text = malloc(room);
    if (!text)
        fail("out of memory");
    *length = (size_t)sprintf(text, "*%d\r\n", word_count);
    for (int at = 0; at < word_count; at++)
        *length += (size_t)sprintf(text + *length, "$%zu\r\n%s\r\n", strlen(words[at]), words[at]);
    return text;
}

static void watch(int set, Connection *connection, int how, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(set, how, connection->fd, &event) < 0)
        fail("epoll_ctl: %s", strerror(errno));
}

static void flush(int set, Connection *connection) {
    while (connection->out_from < connection->out_to) {
        char *begin = connection->out + connection->out_from;
        ssize_t sent = send(connection->fd, begin, connection->out_to - connection->out_from, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0)
            fail("send: %s", strerror(errno));
        connection->out_from += (size_t)sent;
    }
    int waiting = connection->out_from < connection->out_to;
    if (!waiting)
        connection->out_from = connection->out_to = 0;
    if (waiting != connection->waiting)
        watch(set, connection, EPOLL_CTL_MOD, waiting ? EPOLLIN | EPOLLOUT : EPOLLIN);
    connection->waiting = waiting;
}

/* One request goes behind the others that are to be sent. */
static void put(Connection *connection, uint64_t due) {
    if (connection->last - connection->first == IN_FLIGHT)
        fail("the server does not keep up: %u requests of one connection are unanswered", IN_FLIGHT);
    if (connection->out_to + request_length > connection->out_room) {
        connection->out_room = 2 * (connection->out_to + request_length);
        if (!(connection->out = realloc(connection->out, connection->out_room)))
            fail("out of memory");
    }
    char *begin = connection->out + connection->out_to;
    memcpy(begin, request, request_length);
    for (size_t at = 0; at < place_count; at++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17; /* xorshift */
        uint64_t number = seed % keyspace;
        for (char *digit = begin + places[at] + 12; digit-- > begin + places[at]; number /= 10)
            *digit = (char)('0' + number % 10);
    }
    connection->out_to += request_length;
    connection->due[connection->last++ % IN_FLIGHT] = due;
    asked++;
    unanswered++;
}

static void send_batch(int set, Connection *connection, int pipeline) {
    uint64_t now = now_ns();
    while (pipeline--)
        put(connection, now);
    flush(set, connection);
}

static void answered(Connection *connection, uint64_t now) {
    if (connection->first == connection->last)
        fail("a reply to nothing");
    uint64_t due = connection->due[connection->first++ % IN_FLIGHT];
    unanswered--;
    if (due >= measured_from) {
        counted++;
        count(latency, now - due);
    }
}

static void read_replies(Connection *connection, const char *data, size_t length, uint64_t now) {
    while (length) {
        if (connection->skip) {
            size_t some = length < connection->skip ? length : connection->skip;
            data += some, length -= some, connection->skip -= some;
            if (!connection->skip)
                answered(connection, now);
            continue;
        }
        if (connection->line_length == sizeof connection->line - 1)
            fail("a line of more than %zu bytes", sizeof connection->line - 1);
        char byte = connection->line[connection->line_length++] = *data++;
        length--;
        if (byte != '\n')
            continue;
        connection->line[connection->line_length] = 0;
        connection->line_length = 0;
        if (*connection->line == '$' && connection->line[1] != '-')
            connection->skip = strtoull(connection->line + 1, NULL, 10) + 2;
        else if (strchr("+:$", *connection->line))
            answered(connection, now);
        else
            fail("%s", connection->line);
    }
}

static void open_connection(Connection *connection, int port, const char *login, size_t login_length) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int yes = 1;
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->fd < 0 || connect(connection->fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect: %s", strerror(errno));
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (!(connection->due = malloc(IN_FLIGHT * sizeof *connection->due)))
        fail("out of memory");
    if (login_length) {
        size_t length = 0;
        if (send(connection->fd, login, login_length, MSG_NOSIGNAL) != (ssize_t)login_length)
            fail("AUTH: %s", strerror(errno));
        while (!length || connection->line[length - 1] != '\n') {
            ssize_t some = recv(connection->fd, connection->line + length, sizeof connection->line - 1 - length, 0);
            if (some <= 0)
                fail("AUTH: the connection ended");
            length += (size_t)some;
        }
        connection->line[length] = 0;
        if (strcmp(connection->line, "+OK\r\n"))
            fail("AUTH: %s", connection->line);
    }
    if (fcntl(connection->fd, F_SETFL, O_NONBLOCK) < 0)
        fail("fcntl: %s", strerror(errno));
}

int main(int argc, char **argv) {
    int split = 8;
    while (split < argc && strcmp(argv[split], "--"))
        split++;
    if (split + 1 >= argc)
        fail("usage: pace PORT CONNECTIONS PIPELINE RATE SECONDS WARMUP KEYSPACE [AUTH WORD ...] -- COMMAND WORD ...");
    int port = atoi(argv[1]), connection_count = atoi(argv[2]), pipeline = atoi(argv[3]);
    double rate = atof(argv[4]), seconds = atof(argv[5]), warmup = atof(argv[6]);
    keyspace = strtoull(argv[7], NULL, 10);
    if (port <= 0 || connection_count <= 0 || pipeline <= 0 || rate < 0 || seconds <= 0 || warmup < 0 || !keyspace)
        fail("a number is out of its range");
    if (rate > 0 && pipeline > 1)
        fail("a pipeline belongs to the closed loop");
    request = encoded(argv + split + 1, argc - split - 1, &request_length);
    for (char *place = request; (place = strstr(place, RANDOM)); place += sizeof RANDOM - 1) {
        if (place_count == PLACES)
            fail("more than %d random numbers in one command", PLACES);
        places[place_count++] = (size_t)(place - request);
    }
    char *login = NULL;
    size_t login_length = 0;
    if (split > 8) {
        static char name[] = "AUTH";
        argv[7] = name; /* the word before the login; what stood there is read */
        login = encoded(argv + 7, split - 7, &login_length);
    }
    Connection *connections = calloc((size_t)connection_count, sizeof *connections);
    int set = epoll_create1(EPOLL_CLOEXEC);
    if (!connections || set < 0)
        fail("out of memory or files");
    for (int at = 0; at < connection_count; at++) {
        open_connection(&connections[at], port, login, login_length);
        watch(set, &connections[at], EPOLL_CTL_ADD, EPOLLIN);
    }
    prctl(PR_SET_TIMERSLACK, 1);
    puts("ready");
    fflush(stdout);
    if (getchar() == EOF)
        return 1;

    static char data[1 << 16];
    struct epoll_event events[256];
    uint64_t begin = now_ns(), due = begin, last_reply = begin;
    uint64_t end = begin + (uint64_t)((warmup + seconds) * SECOND);
    measured_from = begin + (uint64_t)(warmup * SECOND);
    if (rate == 0)
        for (int at = 0; at < connection_count; at++)
            send_batch(set, &connections[at], pipeline);
    for (;;) {
        uint64_t now = now_ns();
        while (rate > 0 && due < end && due <= now) {
            if (due >= measured_from)
                count(lateness, now - due);
            Connection *next = &connections[asked % (uint64_t)connection_count];
            put(next, due);
            flush(set, next);
            due = begin + (uint64_t)((double)asked * SECOND / rate);
            now = now_ns();
        }
        int sending = rate > 0 ? due < end : now < end;
        if (!sending && !unanswered)
            break;
        if (now > end + GRACE)
            fail("%llu replies did not come", (unsigned long long)unanswered);
        uint64_t until = rate > 0 && sending ? due : end + GRACE + 1, wait = until > now ? until - now : 0;
        struct timespec patience = {(time_t)(wait / SECOND), (long)(wait % SECOND)};
        int ready = epoll_pwait2(set, events, 256, &patience, NULL);
        if (ready < 0 && errno != EINTR)
            fail("epoll_pwait2: %s", strerror(errno));
        for (int at = 0; at < ready; at++) {
            Connection *connection = events[at].data.ptr;
            if (events[at].events & EPOLLOUT)
                flush(set, connection);
            if (!(events[at].events & ~EPOLLOUT))
                continue;
            ssize_t length = recv(connection->fd, data, sizeof data, 0);
            if (length < 0 && errno == EAGAIN)
                continue;
            if (length <= 0)
                fail("the connection ended");
            last_reply = now_ns();
            read_replies(connection, data, (size_t)length, last_reply);
            if (rate == 0 && connection->first == connection->last && last_reply < end)
                send_batch(set, connection, pipeline);
        }
    }
    printf("{\"sent\": %llu, \"counted\": %llu, \"seconds\": %.6f", (unsigned long long)asked, (unsigned long long)counted,
           (double)(last_reply - measured_from) / (double)SECOND);
    print("latency", latency);
    print("lateness", lateness);
    printf("}\n");
    return 0;
}
