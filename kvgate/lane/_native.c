/* The lane's hot paths in C: what kvgate.lane.machine.Lane._scan and _fed_by do, and kvgate.lane.driver around them.
 *
 * The Python methods are the reference: the same objects, the same order, the same bytes. Whatever is rare is left to
 * them; here is only what every command passes. The objects are ordinary Python objects with __slots__; `bind` looks up
 * where each slot lies, so that reading one costs a load. Nothing here lets go of the interpreter's lock.
 *
 * References are borrowed as long as no Python code runs; what is kept over a call into Python is owned, for the most part
 * by a struct (`Walk`, `Count`) that a function lets go of at its end.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#define LONGEST_HEAD 64
#define MOST_ABOVE 128
#define KEY_LENGTHS 4096    /* LENGTHS in kvgate.lane.machine */
#define LENGTH_DIGITS 9
#define RECEIVE (64 * 1024)
#define PIECES 64           /* joined by the kernel in one send */
#define EVENTS 512          /* sockets that one look at the epoll set names */
#ifndef TOGETHER            /* the fuzzer sets it, so that nothing depends on how fast this machine is */
#define TOGETHER 0.0001     /* seconds that what is to be sent may wait for more while other sockets are served */
#endif
#define MUCH (32 * 1024)    /* bytes for one store that wait for nothing */
#define BUFFERED_REPLY (1024 * 1024)
#define PAUSE_LOOK (1024 * 1024)
#define PAUSE_LOOK_COMMANDS 1000
#define LOOK 2              /* plans: kvgate.policy.compiled */
#define SUM 8
#define ALL_OK 12
#define MERGE 12
#define MORE 4
#define MOST_PARTS 64
#define MOST_KEYS 1000      /* a plan has fewer arguments */
#define BUCKETS 26
/* Those that stand in Python too; a test holds them equal. */
#define LIMITS(X) X(LONGEST_HEAD) X(MOST_ABOVE) X(KEY_LENGTHS) X(RECEIVE) X(BUFFERED_REPLY) X(PAUSE_LOOK) \
    X(PAUSE_LOOK_COMMANDS) X(LOOK) X(SUM) X(ALL_OK) X(MERGE) X(MORE) X(MOST_PARTS) X(BUCKETS)

/* ------------------------------------------------------------------ where the slots of the Python classes lie */

#define CLIENT(X) X(arrived) X(backlog) X(backlog_size) X(batch) X(busy) X(closed) X(closing) X(cut) X(depth) X(eof) X(held) \
    X(hung_up) X(inflight) X(inflight_bytes) X(last_fed) X(line) X(out) X(prefix) X(queue) X(received) X(routes) X(scanner) \
    X(sent) X(touched) X(transport) X(waiting)
#define UPSTREAM(X) X(fifo) X(held) X(last_read) X(measurer) X(out) X(queued) X(read_before) X(sent) X(state) X(timed) \
    X(touched) X(transport) X(unsent) X(untimed)
#define SLOT(X) X(account) X(client) X(frames) X(offset) X(parts) X(readonly) X(retried) X(started) X(want)
#define PART(X) X(number) X(owner) X(whole)
#define SPLIT(X) X(left) X(merge) X(order) X(raws) X(weight)
#define RUN(X) X(count) X(weight)
#define ACCOUNT(X) X(buckets) X(bytes_in) X(bytes_out) X(calls) X(errors) X(misses) X(readonly) X(seconds)
#define ROUTE(X) X(accounts) X(is_crc32) X(local) X(max_key) X(plans) X(quick) X(runs) X(slot_of) X(specs) X(tables) \
    X(tolls)
#define TOLL(X) X(bytes) X(commands)
#define SCANNER(X) X(_left) X(_line) X(size)
#define MEASURER(X) X(_left) X(_line) X(_skip)
#define TRANSPORT(X) X(behind) X(carries) X(fd) X(owner) X(paused) X(tls) X(want_out)

#define OFFSET(name) Py_ssize_t name;
static struct { PyTypeObject *type; CLIENT(OFFSET) } client_at;
static struct { PyTypeObject *type; UPSTREAM(OFFSET) } upstream_at;
static struct { PyTypeObject *type; SLOT(OFFSET) } slot_at;
static struct { PyTypeObject *type; PART(OFFSET) } part_at;
static struct { PyTypeObject *type; SPLIT(OFFSET) } split_at;
static struct { PyTypeObject *type; RUN(OFFSET) } run_at;
static struct { PyTypeObject *type; ACCOUNT(OFFSET) } account_at;
static struct { PyTypeObject *type; ROUTE(OFFSET) } route_at;
static struct { PyTypeObject *type; TOLL(OFFSET) } toll_at;
static struct { PyTypeObject *type; SCANNER(OFFSET) } scanner_at;
static struct { PyTypeObject *type; MEASURER(OFFSET) } measurer_at;
static struct { PyTypeObject *type; TRANSPORT(OFFSET) } transport_at;
static PyTypeObject *expired_type;
static PyTypeObject *deque_type;
static PyObject *state_up, *protocol_error, *deque_append, *deque_popleft, *measure, *no_colon, *no_text, *zero, *one;

#define STRINGS(X) X(_accept_some) X(_broken) X(_drop_held) X(_failed) X(_flush_client) X(_flush_upstream) X(_go_on) \
    X(_later) X(_left_over) X(_maybe_pause) X(_out_of_step) X(_paused) X(_ran_empty) X(_serve_one) X(_set_aside) X(_show) X(_slow) \
    X(_special) X(_take_in) X(_take_time) X(_time_taken) X(_unasked) X(_unusual) X(_watch) X(ask) X(close_client) X(commands) \
    X(feed) X(forward) X(gate) X(join) X(lane) X(limits) X(note) X(note_code) X(out_pause) X(readonly) X(refuse) X(reply) X(resumable) \
    X(run_batch) X(settle) X(slow) X(slow_after) X(to_connect) X(to_drop) X(touched_clients) X(touched_upstreams) X(unsampled)
#define STRING(name) static PyObject *str_##name;
STRINGS(STRING)

#define AT(object, offset) (*(PyObject **)((char *)(object) + (offset)))
#define C(field) AT(client, client_at.field)
#define U(field) AT(up, upstream_at.field)
#define S(field) AT(slot, slot_at.field)
#define A(field) AT(account, account_at.field)
#define R(field) AT(route, route_at.field)
#define M(field) AT(measurer, measurer_at.field)
#define T(field) AT(transport, transport_at.field)

/* Put an owned reference into a slot. */
static inline void
put(PyObject **slot, PyObject *owned)
{
    PyObject *old = *slot;
    *slot = owned;
    Py_XDECREF(old);
}

static inline void
put_borrowed(PyObject **slot, PyObject *borrowed)
{
    Py_INCREF(borrowed);
    put(slot, borrowed);
}

/* Most of the lane's integers are not negative and have at most two of Python's digits: they are read without a call, and one
 * that nobody else holds is changed where it lies, instead of a new one. Later Pythons lay them out in another way. */
#if PY_VERSION_HEX < 0x030C0000 && PY_SSIZE_T_MAX > INT32_MAX
#define SMALL_INTEGERS 256 /* up to here Python has one object for each, and `zero` is compared by identity */

static inline int
is_short(PyObject *value)
{
    return value != NULL && PyLong_CheckExact(value) && (size_t)Py_SIZE(value) <= 2;
}

static inline Py_ssize_t
short_value(PyObject *value)
{
    const digit *digits = ((PyLongObject *)value)->ob_digit;
    Py_ssize_t size = Py_SIZE(value);
    return size == 1 ? (Py_ssize_t)digits[0] : size ? (Py_ssize_t)digits[1] << PyLong_SHIFT | digits[0] : 0;
}

static inline int
add_in_place(PyObject *value, Py_ssize_t more)
{
    digit *digits;
    Py_ssize_t sum;
    if (!is_short(value) || !Py_SIZE(value) || Py_REFCNT(value) != 1 || more > PY_SSIZE_T_MAX / 2 || more < PY_SSIZE_T_MIN / 2)
        return 0;
    digits = ((PyLongObject *)value)->ob_digit;
    sum = short_value(value) + more;
    if (sum <= SMALL_INTEGERS || sum >> PyLong_SHIFT >> PyLong_SHIFT || (sum >> PyLong_SHIFT != 0) != (Py_SIZE(value) == 2))
        return 0;
    digits[0] = (digit)(sum & PyLong_MASK);
    if (Py_SIZE(value) == 2)
        digits[1] = (digit)(sum >> PyLong_SHIFT);
    return 1;
}
#else
#define is_short(value) 0
#define short_value(value) 0
#define add_in_place(value, more) 0
#endif

/* A slot's integer, -1 with an exception where there is none; the lane's own are never below 0, tolls may be. What is beyond
 * a Py_ssize_t (a limit that someone set to 10^30, a length that a store sent) is the largest or the smallest one. */
static inline int
number(PyObject *value, Py_ssize_t *result)
{
    int beyond = 0;
    if (is_short(value)) {
        *result = short_value(value);
        return 0;
    }
    if (value == NULL || !PyLong_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "a slot of the lane has no integer");
        return -1;
    }
    *result = PyLong_AsLongLongAndOverflow(value, &beyond);
    if (beyond)
        *result = beyond > 0 ? PY_SSIZE_T_MAX : PY_SSIZE_T_MIN;
    return 0;
}

static inline int
add(PyObject **slot, Py_ssize_t more)
{
    Py_ssize_t value;
    PyObject *sum, *boxed;
    if (add_in_place(*slot, more))
        return 0;
    if (number(*slot, &value) < 0)
        return -1;
    if (value > PY_SSIZE_T_MAX / 2 || value < PY_SSIZE_T_MIN / 2) { /* the sum may be beyond */
        boxed = PyLong_FromSsize_t(more);
        sum = boxed == NULL ? NULL : PyNumber_Add(*slot, boxed);
        Py_XDECREF(boxed);
    }
    else
        sum = PyLong_FromSsize_t(value + more);
    if (sum == NULL)
        return -1;
    put(slot, sum);
    return 0;
}

/* As `add`, to a float. */
static inline int
add_seconds(PyObject **slot, double more)
{
    PyObject *sum;
    if (*slot != NULL && PyFloat_CheckExact(*slot) && Py_REFCNT(*slot) == 1) {
        ((PyFloatObject *)*slot)->ob_fval += more;
        return 0;
    }
    sum = PyFloat_FromDouble(PyFloat_AsDouble(*slot) + more);
    if (sum == NULL || PyErr_Occurred()) {
        Py_XDECREF(sum);
        return -1;
    }
    put(slot, sum);
    return 0;
}

static inline int
is_list(PyObject *value)
{
    if (value != NULL && PyList_CheckExact(value))
        return 1;
    PyErr_SetString(PyExc_TypeError, "a slot of the lane has no list");
    return 0;
}

static inline int
append(PyObject *list, PyObject *item)
{
    return is_list(list) ? PyList_Append(list, item) : -1;
}

static inline int
push(PyObject *deque, PyObject *item)
{
    PyObject *args[2] = {deque, item};
    PyObject *none = deque == NULL ? NULL : PyObject_Vectorcall(deque_append, args, 2, NULL);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

/* len(deque); -1. */
static inline Py_ssize_t
length_of(PyObject *deque)
{
    return deque != NULL && Py_TYPE(deque) == deque_type ? Py_SIZE(deque) : PyObject_Size(deque);
}

static inline int
pop(PyObject *deque)
{
    PyObject *item = PyObject_Vectorcall(deque_popleft, &deque, 1, NULL);
    Py_XDECREF(item);
    return item == NULL ? -1 : 0;
}

static inline PyObject *
first(PyObject *deque)
{
    return PySequence_GetItem(deque, 0);
}

static int
attribute_number(PyObject *object, PyObject *name, Py_ssize_t *result)
{
    PyObject *value = PyObject_GetAttr(object, name);
    int bad = value == NULL ? -1 : number(value, result);
    Py_XDECREF(value);
    return bad;
}

static int
set_attribute_number(PyObject *object, PyObject *name, Py_ssize_t value)
{
    PyObject *boxed = PyLong_FromSsize_t(value);
    int bad = boxed == NULL ? -1 : PyObject_SetAttr(object, name, boxed);
    Py_XDECREF(boxed);
    return bad;
}

static int
append_to_attribute(PyObject *object, PyObject *name, PyObject *item)
{
    PyObject *list = PyObject_GetAttr(object, name);
    int bad = list == NULL ? -1 : append(list, item);
    Py_XDECREF(list);
    return bad;
}

/* On the lane's list of whom to flush, once. */
static inline int
touch(PyObject **touched, PyObject *lane, PyObject *list, PyObject *who)
{
    if (*touched == Py_True)
        return 0;
    put_borrowed(touched, Py_True);
    return append_to_attribute(lane, list, who);
}

static inline int
touch_client(PyObject *lane, PyObject *client)
{
    return touch(&C(touched), lane, str_touched_clients, client);
}

static inline int
is_stalled(PyObject *client)
{
    return C(busy) == Py_True || C(waiting) != Py_None || C(closing) == Py_True || C(hung_up) == Py_True;
}

static int
is_a(PyObject *object, PyTypeObject *type)
{
    if (type != NULL && PyObject_TypeCheck(object, type))
        return 1;
    PyErr_Format(PyExc_TypeError, "%s expected, not %s", type == NULL ? "bind() first: a class" : type->tp_name,
                 Py_TYPE(object)->tp_name);
    return 0;
}

static inline int
is_scanner_idle(PyObject *scanner)
{
    PyObject *left, *line;
    if (scanner == NULL || Py_TYPE(scanner) != scanner_at.type)
        return 0;
    left = AT(scanner, scanner_at._left);
    line = AT(scanner, scanner_at._line);
    return left == zero && PyBytes_Check(line) && PyBytes_GET_SIZE(line) == 0;
}

static Py_ssize_t calls_up; /* into Python methods that may wake a task: `rounds` ends so that it can have its turn */

static PyObject *
call(PyObject *object, PyObject *method, PyObject *one, PyObject *two, PyObject *three)
{
    PyObject *args[4] = {object, one, two, three};
    Py_ssize_t count = 1 + (one != NULL) + (two != NULL) + (three != NULL);
    calls_up++;
    return PyObject_VectorcallMethod(method, args, count, NULL);
}

static int
tell(PyObject *object, PyObject *method, PyObject *one, PyObject *two, PyObject *three)
{
    PyObject *none = call(object, method, one, two, three);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

/* As `tell`, a method that wakes no task. */
static int
tell_quietly(PyObject *object, PyObject *method, PyObject *one, PyObject *two)
{
    int bad = tell(object, method, one, two, NULL);
    calls_up--;
    return bad;
}

/* A method that gives a position. */
static int
ask_position(PyObject *position, Py_ssize_t *result)
{
    int bad;
    if (position == NULL)
        return -1;
    bad = number(position, result);
    Py_DECREF(position);
    return bad;
}

static inline PyObject *
piece(PyObject *data, Py_ssize_t start, Py_ssize_t end)
{
    if (start == 0 && end == PyBytes_GET_SIZE(data)) {
        Py_INCREF(data);
        return data;
    }
    return PyBytes_FromStringAndSize(PyBytes_AS_STRING(data) + start, end - start);
}

static uint32_t crc_table[8][256]; /* [n]: of a byte with n zero bytes behind it */

static void
fill_crc_table(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? 0xEDB88320 ^ (crc >> 1) : crc >> 1;
        crc_table[0][byte] = crc;
    }
    for (int zeros = 1; zeros < 8; zeros++)
        for (int byte = 0; byte < 256; byte++)
            crc_table[zeros][byte] = crc_table[zeros - 1][byte] >> 8 ^ crc_table[0][crc_table[zeros - 1][byte] & 0xFF];
}

/* zlib's, of what was summed up before and of a text; 0 at the beginning. Eight bytes at a time ("slicing by 8": Kounavis, Berry,
 * "A Systematic Approach to Building High Performance Software-based CRC Generators", 2005). */
static uint32_t
crc32_of(uint32_t crc, const char *text, Py_ssize_t size)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + size;
    crc ^= 0xFFFFFFFF;
    for (; end - at >= 8; at += 8)
        crc = crc_table[7][(crc ^ at[0]) & 0xFF] ^ crc_table[6][(crc >> 8 ^ at[1]) & 0xFF] ^
              crc_table[5][(crc >> 16 ^ at[2]) & 0xFF] ^ crc_table[4][crc >> 24 ^ at[3]] ^ crc_table[3][at[4]] ^
              crc_table[2][at[5]] ^ crc_table[1][at[6]] ^ crc_table[0][at[7]];
    while (at < end)
        crc = crc_table[0][(crc ^ *at++) & 0xFF] ^ crc >> 8;
    return crc ^ 0xFFFFFFFF;
}

/* Write "*12" or "$12" and a line's end; the position behind it. */
static inline char *
write_header(char *to, char kind, Py_ssize_t length)
{
    char digits[20];
    int count = 0;
    *to++ = kind;
    do
        digits[count++] = '0' + length % 10;
    while ((length /= 10) > 0);
    while (count)
        *to++ = digits[--count];
    *to++ = '\r';
    *to++ = '\n';
    return to;
}

static inline char *
write_text(char *to, const char *text, Py_ssize_t size)
{
    memcpy(to, text, size);
    return to + size;
}

/* Bytes that `write_header` writes. */
static inline Py_ssize_t
header_size(Py_ssize_t length)
{
    Py_ssize_t size = 4;
    while ((length /= 10) > 0)
        size++;
    return size;
}

/* ------------------------------------------------------------------ requests */

/* "\r\n$", beginning within [from, to - 3]. */
static Py_ssize_t
find_header(const char *text, Py_ssize_t from, Py_ssize_t to)
{
    while (from + 3 <= to) {
        const char *at = memchr(text + from, '\r', to - from - 2);
        if (at == NULL)
            return -1;
        if (at[1] == '\n' && at[2] == '$')
            return at - text;
        from = at - text + 1;
    }
    return -1;
}

/* The canonical decimal at `at`, and a line's end behind it: the position behind that, or -1. */
static inline Py_ssize_t
read_length(const char *text, Py_ssize_t at, Py_ssize_t size, Py_ssize_t *length)
{
    Py_ssize_t value = 0, start = at;
    while (at < size && at - start < LENGTH_DIGITS && text[at] >= '0' && text[at] <= '9')
        value = value * 10 + (text[at++] - '0');
    if (at == start || (text[start] == '0' && at - start > 1) || at + 2 > size || text[at] != '\r' || text[at + 1] != '\n')
        return -1;
    *length = value;
    return at + 2;
}

/* Whether "\r\n$4\r\nIFEQ\r\n", in any case, stands between the positions. */
static int
has_ifeq(const char *text, Py_ssize_t from, Py_ssize_t to)
{
    for (; (from = find_header(text, from, to)) >= 0; from++) {
        const char *word = text + from;
        if (to - from >= 12 && memcmp(word, "\r\n$4\r\n", 6) == 0 && (word[6] | 32) == 'i' && (word[7] | 32) == 'f' &&
            (word[8] | 32) == 'e' && (word[9] | 32) == 'q' && word[10] == '\r' && word[11] == '\n')
            return 1;
    }
    return 0;
}

/* One portion of a client's bytes on its way through `scan`: all objects are owned. */
typedef struct {
    PyObject *lane, *client, *data, *now; /* these four are borrowed from the caller */
    const char *text;
    PyObject *route, *table, *account, *toll, *local, *spec, *run, *name; /* of the request that is looked at */
    PyObject *prefix, *lead; /* lead: what stands before the rest of a key with that prefix (Lane._scan) */
    PyObject *run_up, *run_account, *run_toll;
    Py_ssize_t run_start, run_count;
    char *joined; /* with a prefix: the run's bytes */
    Py_ssize_t joined_size, joined_room;
    PyObject *words, *words_run, *words_spec, *words_account; /* of requests that wait to be taken by one call */
    Py_ssize_t words_count, words_size;
    Py_ssize_t commands, unsampled; /* the lane's, while `counts` is set */
    int counts;
} Walk;

static void
walk_end(Walk *walk)
{
    Py_CLEAR(walk->route);
    Py_CLEAR(walk->table);
    Py_CLEAR(walk->account);
    Py_CLEAR(walk->toll);
    Py_CLEAR(walk->local);
    Py_CLEAR(walk->spec);
    Py_CLEAR(walk->run);
    Py_CLEAR(walk->name);
    Py_CLEAR(walk->prefix);
    Py_CLEAR(walk->lead);
    Py_CLEAR(walk->run_up);
    Py_CLEAR(walk->run_account);
    Py_CLEAR(walk->run_toll);
    PyMem_Free(walk->joined);
    Py_CLEAR(walk->words);
    Py_CLEAR(walk->words_run);
    Py_CLEAR(walk->words_spec);
    Py_CLEAR(walk->words_account);
}

static inline Py_ssize_t
prefix_size(const Walk *walk)
{
    return PyBytes_GET_SIZE(walk->prefix);
}

/* Room for more bytes of a run that is joined; they are counted as if they were there. */
static char *
join(Walk *walk, Py_ssize_t more)
{
    Py_ssize_t size = walk->joined_size + more;
    char *place;
    if (size > walk->joined_room) {
        Py_ssize_t room = size + (walk->joined_size ? size : 0);
        if ((place = PyMem_Realloc(walk->joined, room)) == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        walk->joined = place;
        walk->joined_room = room;
    }
    place = walk->joined + walk->joined_size;
    walk->joined_size = size;
    return place;
}

/* See that the lane's counters are here. */
static int
take_counts(Walk *walk)
{
    if (walk->counts)
        return 0;
    if (attribute_number(walk->lane, str_commands, &walk->commands) < 0 ||
        attribute_number(walk->lane, str_unsampled, &walk->unsampled) < 0)
        return -1;
    walk->counts = 1;
    return 0;
}

/* Give the lane's counters back before Python may look at them. */
static int
give_back(Walk *walk)
{
    if (!walk->counts)
        return 0;
    walk->counts = 0;
    if (set_attribute_number(walk->lane, str_commands, walk->commands) < 0)
        return -1;
    return set_attribute_number(walk->lane, str_unsampled, walk->unsampled);
}

static int
is_spent(PyObject *toll, int *spent)
{
    Py_ssize_t commands, bytes;
    if (number(AT(toll, toll_at.commands), &commands) < 0 || number(AT(toll, toll_at.bytes), &bytes) < 0)
        return -1;
    *spent = commands <= 0 || bytes <= 0;
    return 0;
}

/* Send the run that ends before `end` on, as Lane.forward does. */
static int
forward(Walk *walk, Py_ssize_t end)
{
    PyObject *client = walk->client, *up = walk->run_up, *account = walk->run_account, *toll = walk->run_toll;
    PyObject *slot = NULL, *want = NULL;
    PyObject *frames = walk->joined_size ? PyBytes_FromStringAndSize(walk->joined, walk->joined_size)
                                         : piece(walk->data, walk->run_start, end);
    Py_ssize_t count = walk->run_count, size = walk->joined_size ? walk->joined_size : end - walk->run_start;
    int bad = -1;

    walk->joined_size = 0;
    if (frames == NULL || (want = PyLong_FromSsize_t(count)) == NULL || take_counts(walk) < 0)
        goto end;
    if (U(state) != state_up || walk->unsampled < count || Py_TYPE(account) != account_at.type) {
        PyObject *args[8] = {walk->lane, client, up, frames, walk->now, account, want, toll ? toll : Py_None};
        calls_up++;
        PyObject *none = give_back(walk) < 0 ? NULL : PyObject_VectorcallMethod(str_forward, args, 8, NULL);
        Py_XDECREF(none);
        bad = none == NULL ? -1 : 0;
        goto end;
    }
    if (toll != NULL && (add(&AT(toll, toll_at.commands), -count) < 0 || add(&AT(toll, toll_at.bytes), -size) < 0))
        goto end;
    if ((slot = slot_at.type->tp_alloc(slot_at.type, 0)) == NULL || (S(parts) = PyList_New(0)) == NULL)
        goto end;
    put_borrowed(&S(account), account);
    put_borrowed(&S(client), client);
    put_borrowed(&S(frames), frames);
    put_borrowed(&S(offset), U(queued));
    put_borrowed(&S(readonly), A(readonly));
    put_borrowed(&S(retried), Py_False);
    put_borrowed(&S(started), walk->now);
    put_borrowed(&S(want), want);
    if (push(C(queue), slot) < 0 || add(&C(inflight), count) < 0 || add(&C(inflight_bytes), size) < 0 ||
        add(&U(queued), size) < 0 || push(U(fifo), slot) < 0 || append(U(out), frames) < 0)
        goto end;
    walk->commands += count;
    walk->unsampled -= count;
    bad = touch(&U(touched), walk->lane, str_touched_upstreams, up);
end:
    Py_XDECREF(slot);
    Py_XDECREF(want);
    Py_XDECREF(frames);
    Py_CLEAR(walk->run_up);
    Py_CLEAR(walk->run_account);
    Py_CLEAR(walk->run_toll);
    return bad;
}

static int
set_aside(Walk *walk, Py_ssize_t pos, Py_ssize_t *size)
{
    PyObject *at = PyLong_FromSsize_t(pos);
    int bad = at == NULL ? -1 : ask_position(call(walk->lane, str__set_aside, walk->client, walk->data, at), size);
    Py_XDECREF(at);
    return bad;
}

/* One request by the Python scanner that knows all rules. */
static int
slow(Walk *walk, Py_ssize_t *pos)
{
    PyObject *at, *args[5] = {walk->lane, walk->client, walk->data, NULL, walk->now};
    int bad = -1;
    if (give_back(walk) == 0 && (at = PyLong_FromSsize_t(*pos)) != NULL) {
        args[3] = at;
        calls_up++;
        bad = ask_position(PyObject_VectorcallMethod(str__slow, args, 5, NULL), pos);
        Py_DECREF(at);
    }
    return bad;
}

/* Put the request's arguments behind its name, whose key stands at `key` and gets its prefix, into `args`: from `index` on, or
 * behind what is in it. */
static int
take_arguments(Walk *walk, PyObject *args, Py_ssize_t index, Py_ssize_t key, Py_ssize_t key_length, Py_ssize_t more,
               Py_ssize_t end, int appends)
{
    Py_ssize_t start = key, length = key_length, before = prefix_size(walk);
    for (Py_ssize_t left = more;; left--) {
        PyObject *arg = PyBytes_FromStringAndSize(NULL, before + length);
        if (arg == NULL)
            return -1;
        write_text(write_text(PyBytes_AS_STRING(arg), PyBytes_AS_STRING(walk->prefix), before), walk->text + start, length);
        before = 0;
        if (appends) {
            int bad = PyList_Append(args, arg);
            Py_DECREF(arg);
            if (bad < 0)
                return -1;
        }
        else
            PyList_SET_ITEM(args, index++, arg);
        if (!left)
            return 0;
        start = read_length(walk->text, start + length + 3, end, &length);
        if (start < 0 || start + length > end) {
            PyErr_SetString(PyExc_SystemError, "a request that was measured has another length");
            return -1;
        }
    }
}

/* The arguments of a request whose key stands at `key`; the key with its prefix. */
static PyObject *
arguments(Walk *walk, Py_ssize_t key, Py_ssize_t key_length, Py_ssize_t more, Py_ssize_t end)
{
    PyObject *args = PyList_New(2 + more);
    if (args == NULL)
        return NULL;
    Py_INCREF(walk->name);
    PyList_SET_ITEM(args, 0, walk->name);
    if (take_arguments(walk, args, 1, key, key_length, more, end, 0) < 0)
        Py_CLEAR(args);
    return args;
}

/* Let the requests that wait be taken; `rest` bytes follow. */
static int
take_words(Walk *walk, Py_ssize_t rest)
{
    PyObject *count, *size = NULL, *behind = NULL, *done = NULL, *run = walk->words_run;
    walk->words_run = NULL;
    if ((count = PyLong_FromSsize_t(walk->words_count)) != NULL && (size = PyLong_FromSsize_t(walk->words_size)) != NULL &&
        (behind = PyLong_FromSsize_t(rest)) != NULL && give_back(walk) == 0) {
        PyObject *args[8] = {walk->client, walk->words_spec, walk->words, count, size, walk->now, walk->words_account,
                             behind};
        calls_up++;
        done = PyObject_Vectorcall(run, args, 8, NULL);
    }
    Py_DECREF(run);
    Py_XDECREF(count);
    Py_XDECREF(size);
    Py_XDECREF(behind);
    Py_XDECREF(done);
    Py_CLEAR(walk->words);
    return done == NULL ? -1 : 0;
}

/* Add the request to those that wait to be taken by one call. */
static int
add_words(Walk *walk, Py_ssize_t key, Py_ssize_t key_length, Py_ssize_t more, Py_ssize_t end, Py_ssize_t size)
{
    if (walk->words_run == NULL) {
        if ((walk->words = PyList_New(0)) == NULL)
            return -1;
        Py_INCREF(walk->run);
        walk->words_run = walk->run;
        Py_INCREF(walk->spec);
        Py_XSETREF(walk->words_spec, walk->spec);
        Py_INCREF(walk->account);
        Py_XSETREF(walk->words_account, walk->account);
        walk->words_count = walk->words_size = 0;
    }
    walk->words_count++;
    walk->words_size += size;
    return take_arguments(walk, walk->words, 0, key, key_length, more, end, 1);
}

/* What a request that begins as this one does may do: 1 and all of `walk` filled in, 0 when it is not known, -1. */
static int
look_up(Walk *walk, Py_ssize_t pos, Py_ssize_t size, Py_ssize_t *plan, Py_ssize_t *key, Py_ssize_t *key_length,
        Py_ssize_t *quick, Py_ssize_t *begin_length)
{
    PyObject *client = walk->client, *head = NULL, *found, *route, *item = NULL;
    Py_ssize_t limit, last = pos + LONGEST_HEAD < size ? pos + LONGEST_HEAD : size;
    Py_ssize_t name_end = find_header(walk->text, pos + 5, last), colon = -1, start;
    const char *mark;
    int known = 0;

    Py_CLEAR(walk->toll);
    Py_CLEAR(walk->local);
    Py_CLEAR(walk->spec);
    Py_CLEAR(walk->run);
    *begin_length = 0;
    if (name_end < 0 || (start = read_length(walk->text, name_end + 3, size, key_length)) < 0 || *key_length >= KEY_LENGTHS)
        return 0;
    *key = start - pos;
    if (!PyDict_Check(C(routes)))
        return 0;
    if (prefix_size(walk)) { /* any key of this length may follow */
        colon = start - 1;
        if ((item = PyBytes_FromStringAndSize(PyBytes_AS_STRING(walk->prefix), prefix_size(walk) - 1)) == NULL)
            return -1;
        route = PyDict_GetItemWithError(C(routes), item);
        Py_DECREF(item);
    }
    else if (start < size &&
             (mark = memchr(walk->text + start, ':', *key_length < size - start ? *key_length : size - start)) != NULL) {
        colon = mark - walk->text;
        if ((item = PyBytes_FromStringAndSize(walk->text + start, colon - start)) == NULL)
            return -1;
        route = PyDict_GetItemWithError(C(routes), item);
        Py_DECREF(item);
    }
    else
        route = PyDict_GetItemWithError(C(routes), no_colon);
    if (route == NULL)
        return PyErr_Occurred() ? -1 : 0;
    if (Py_TYPE(route) != route_at.type)
        return 0;
    Py_INCREF(route);
    Py_XSETREF(walk->route, route);
    if (number(R(max_key), &limit) < 0)
        return -1;
    if (*key_length > limit)
        return 0;
    if ((head = PyBytes_FromStringAndSize(walk->text + pos, name_end - pos)) == NULL)
        return -1;
    if (!PyDict_Check(R(plans)) || !PyDict_Check(R(specs)) || !PyDict_Check(R(runs)))
        goto end;
    found = PyDict_GetItemWithError(R(plans), head);
    if (found == NULL) {
        known = PyErr_Occurred() ? -1 : 0;
        goto end;
    }
    known = -1;
    if (number(found, plan) < 0 || number(R(quick), quick) < 0)
        goto end;
    if (R(local) != Py_None) {
        walk->spec = PyDict_GetItemWithError(R(specs), head);
        Py_XINCREF(walk->spec);
        if (walk->spec == NULL) {
            int passed_on = PyErr_Occurred() ? -1 : PyObject_IsTrue(R(tables));
            if (passed_on <= 0) { /* learned by another namespace of the backend: they share plans only */
                known = passed_on;
                goto end;
            }
        }
        else {
            const char *text = PyBytes_AS_STRING(head), *name = memchr(text + 4, '\n', PyBytes_GET_SIZE(head) - 4);
            name = name == NULL ? text : name + 1;
            for (const char *next = name; (next = memchr(next, '\n', text + PyBytes_GET_SIZE(head) - next)) != NULL;)
                name = ++next;
            Py_XSETREF(walk->name, PyBytes_FromStringAndSize(name, text + PyBytes_GET_SIZE(head) - name));
            if (walk->name == NULL)
                goto end;
            walk->local = R(local);
            Py_INCREF(walk->local);
            walk->run = PyDict_GetItemWithError(R(runs), head);
            Py_XINCREF(walk->run);
            if (walk->run == NULL && PyErr_Occurred())
                goto end;
        }
    }
    if (walk->local == NULL) {
        PyObject *line = C(line), *table = PyObject_GetItem(R(tables), line);
        if (table == NULL)
            goto end;
        Py_XSETREF(walk->table, table);
        if (!PyTuple_Check(table) && !PyList_Check(table)) {
            known = 0;
            goto end;
        }
    }
    if (R(tolls) != Py_None) {
        PyObject *toll = PySequence_GetItem(R(tolls), *plan & 1);
        int spent = 0;
        if (toll == NULL)
            goto end;
        if (toll == Py_None)
            Py_DECREF(toll);
        else {
            walk->toll = toll;
            if (Py_TYPE(toll) != toll_at.type || is_spent(toll, &spent) < 0) {
                if (!PyErr_Occurred())
                    known = 0;
                goto end;
            }
            if (spent) { /* over a limit, or looked at anew: that is decided above */
                known = 0;
                goto end;
            }
        }
    }
    {
        PyObject *account = PyObject_GetItem(R(accounts), head);
        if (account == NULL)
            goto end;
        Py_XSETREF(walk->account, account);
    }
    if (prefix_size(walk)) {
        Py_ssize_t whole = prefix_size(walk) + *key_length;
        PyObject *lead = PyBytes_FromStringAndSize(NULL, PyBytes_GET_SIZE(head) + 2 + header_size(whole) + prefix_size(walk));
        char *to;
        if (lead == NULL)
            goto end;
        to = write_text(PyBytes_AS_STRING(lead), PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head));
        to = write_header(write_text(to, "\r\n", 2), '$', whole);
        write_text(to, PyBytes_AS_STRING(walk->prefix), prefix_size(walk));
        Py_XSETREF(walk->lead, lead);
    }
    if (colon >= 0) /* a key without it says nothing of the next one */
        *begin_length = colon + 1 - pos;
    known = 1;
end:
    Py_XDECREF(head);
    return known;
}

/* The upstream of a key; a new reference. */
static PyObject *
upstream_of(Walk *walk, Py_ssize_t key, Py_ssize_t key_length)
{
    PyObject *route = walk->route, *table = walk->table, *up;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(table), at = 0;
    if (count > 1) {
        const char *text = walk->text + key, *prefix = PyBytes_AS_STRING(walk->prefix);
        if (R(is_crc32) == Py_True && memchr(text, '{', key_length) == NULL &&
            memchr(prefix, '{', prefix_size(walk)) == NULL) {
            uint32_t crc = crc32_of(crc32_of(0, prefix, prefix_size(walk)), text, key_length);
            at = count <= UINT32_MAX ? crc % (uint32_t)count : crc;
        }
        else {
            PyObject *whole = PyBytes_FromStringAndSize(NULL, prefix_size(walk) + key_length), *slot;
            if (whole == NULL)
                return NULL;
            write_text(write_text(PyBytes_AS_STRING(whole), prefix, prefix_size(walk)), text, key_length);
            slot = PyObject_CallOneArg(R(slot_of), whole);
            Py_DECREF(whole);
            if (ask_position(slot, &at) < 0)
                return NULL;
        }
    }
    if (at < 0 || at >= PySequence_Fast_GET_SIZE(table)) {
        PyErr_SetString(PyExc_IndexError, "a key has no slot");
        return NULL;
    }
    up = PySequence_Fast_GET_ITEM(table, at);
    if (!PyObject_TypeCheck(up, upstream_at.type)) {
        PyErr_SetString(PyExc_TypeError, "a route leads to no upstream");
        return NULL;
    }
    Py_INCREF(up);
    return up;
}

/* A request with several keys and the stores of these, as kvgate.lane.split.Cut. */
typedef struct {
    struct {
        Py_ssize_t start, end, key_length; /* from the key's header to the end of what belongs to it */
        int part;
    } keys[MOST_KEYS];
    PyObject *ups[MOST_PARTS]; /* owned */
    Py_ssize_t count, name, end, step; /* name: where the command's begins, with the line's end before its header */
    int parts;
} Cut;

static void
cut_end(Cut *cut)
{
    while (cut->parts)
        Py_DECREF(cut->ups[--cut->parts]);
}

/* kvgate.lane.split.cut: the number of parts, 0 when it gives None, -1. What there is of `cut` has to be ended. */
static int
find_parts(Walk *walk, Cut *cut, Py_ssize_t plan, Py_ssize_t pos, Py_ssize_t size, Py_ssize_t first)
{
    PyObject *client = walk->client, *route = walk->route;
    const char *text = walk->text, *space = NULL;
    Py_ssize_t at = first - 3, limit, space_length = -1;

    cut->parts = 0;
    cut->step = (plan & MERGE) == ALL_OK ? 2 : 1;
    cut->count = ((plan >> MORE) + 1) / cut->step;
    if (number(R(max_key), &limit) < 0)
        return -1;
    if (cut->count > MOST_KEYS)
        return 0;
    while (text[at] != '$')
        at--;
    cut->name = (const char *)memchr(text + pos, '\n', size - pos) - text - 1;
    at -= 2;
    for (Py_ssize_t index = 0; index < cut->count; index++) {
        Py_ssize_t key, length, value, value_length;
        PyObject *up;
        int part = 0;
        if (size - at < 3 || text[at] != '\r' || text[at + 1] != '\n' || text[at + 2] != '$' ||
            (key = read_length(text, at + 3, size, &length)) < 0 || length >= KEY_LENGTHS || length > limit)
            return 0;
        cut->keys[index].start = at + 2;
        cut->keys[index].key_length = length;
        at = key + length;
        if (cut->step == 2) {
            if (size - at < 3 || text[at] != '\r' || text[at + 1] != '\n' || text[at + 2] != '$' ||
                (value = read_length(text, at + 3, size, &value_length)) < 0)
                return 0;
            at = value + value_length;
        }
        if (size - at < 2 || text[at] != '\r' || text[at + 1] != '\n')
            return 0;
        cut->keys[index].end = at + 2;
        if (!prefix_size(walk)) {
            const char *colon = memchr(text + key, ':', length);
            Py_ssize_t to_colon = colon == NULL ? -1 : colon - (text + key);
            if (!index) { /* this has led to the route */
                space = text + key;
                space_length = to_colon;
            }
            else if (to_colon != space_length || (to_colon > 0 && memcmp(text + key, space, to_colon) != 0)) {
                PyObject *item, *other;
                if (to_colon < 0) {
                    item = no_colon;
                    Py_INCREF(item);
                }
                else if ((item = PyBytes_FromStringAndSize(text + key, to_colon)) == NULL)
                    return -1;
                other = PyDict_GetItemWithError(C(routes), item);
                Py_DECREF(item);
                if (other != route)
                    return PyErr_Occurred() ? -1 : 0;
            }
        }
        if ((up = upstream_of(walk, key, length)) == NULL)
            return -1;
        while (part < cut->parts && cut->ups[part] != up)
            part++;
        if (part == cut->parts) {
            if (part == MOST_PARTS) {
                Py_DECREF(up);
                return 0;
            }
            cut->ups[cut->parts++] = up;
        }
        else
            Py_DECREF(up);
        cut->keys[index].part = part;
    }
    cut->end = at + 2;
    return cut->parts;
}

/* What each key's header, the key and what belongs to it come to, as they are sent. */
static inline Py_ssize_t
chunk_size(const Walk *walk, const Cut *cut, Py_ssize_t index)
{
    Py_ssize_t size = cut->keys[index].end - cut->keys[index].start, length = cut->keys[index].key_length;
    if (prefix_size(walk))
        size += prefix_size(walk) + header_size(length + prefix_size(walk)) - header_size(length);
    return size;
}

/* Cut.request, or with part -1 Cut.size's request: its size, and its number of keys. */
static Py_ssize_t
request_size(const Walk *walk, const Cut *cut, int part, Py_ssize_t *count)
{
    Py_ssize_t size = 0;
    *count = 0;
    for (Py_ssize_t index = 0; index < cut->count; index++)
        if (part < 0 || cut->keys[index].part == part) {
            size += chunk_size(walk, cut, index);
            ++*count;
        }
    return size + header_size(1 + cut->step * *count) - 2 + cut->keys[0].start - cut->name;
}

static void
write_request(const Walk *walk, const Cut *cut, int part, Py_ssize_t count, char *to)
{
    to = write_header(to, '*', 1 + cut->step * count) - 2;
    to = write_text(to, walk->text + cut->name, cut->keys[0].start - cut->name);
    for (Py_ssize_t index = 0; index < cut->count; index++)
        if (part < 0 || cut->keys[index].part == part) {
            Py_ssize_t start = cut->keys[index].start;
            if (prefix_size(walk)) {
                Py_ssize_t length = cut->keys[index].key_length;
                to = write_header(to, '$', length + prefix_size(walk));
                to = write_text(to, PyBytes_AS_STRING(walk->prefix), prefix_size(walk));
                start += header_size(length);
            }
            to = write_text(to, walk->text + start, cut->keys[index].end - start);
        }
}

/* One part of a command that was cut, on its way to its store: Lane.ask. */
static int
send_part(Walk *walk, Cut *cut, PyObject *whole, int part, PyObject *readonly)
{
    PyObject *up = cut->ups[part], *slot = part_at.type->tp_alloc(part_at.type, 0);
    Py_ssize_t count, size = request_size(walk, cut, part, &count);
    int bad = -1;
    if (slot == NULL || (S(frames) = PyBytes_FromStringAndSize(NULL, size)) == NULL || (S(parts) = PyList_New(0)) == NULL ||
        (AT(slot, part_at.number) = PyLong_FromLong(part)) == NULL)
        goto end;
    write_request(walk, cut, part, count, PyBytes_AS_STRING(S(frames)));
    put_borrowed(&S(account), walk->account);
    put_borrowed(&S(client), Py_None);
    put_borrowed(&S(offset), U(queued));
    put_borrowed(&S(readonly), readonly);
    put_borrowed(&S(retried), Py_False);
    put_borrowed(&S(started), walk->now);
    put_borrowed(&S(want), one);
    put_borrowed(&AT(slot, part_at.owner), walk->client);
    put_borrowed(&AT(slot, part_at.whole), whole);
    if (U(state) != state_up)
        bad = give_back(walk) < 0 ? -1 : tell(walk->lane, str_ask, up, slot, NULL);
    else if (add(&U(queued), size) == 0 && push(U(fifo), slot) == 0 && append(U(out), S(frames)) == 0)
        bad = touch(&U(touched), walk->lane, str_touched_upstreams, up);
end:
    Py_XDECREF(slot);
    return bad;
}

/* Lane._show: 1, or 0 when it has to go by itself. */
static int
show(Walk *walk, const Cut *cut)
{
    Py_ssize_t count, size = request_size(walk, cut, -1, &count);
    PyObject *frame = PyBytes_FromStringAndSize(NULL, size), *answer = NULL;
    int shown = -1;
    if (frame != NULL) {
        write_request(walk, cut, -1, count, PyBytes_AS_STRING(frame));
        if (give_back(walk) == 0)
            answer = call(walk->lane, str__show, walk->client, walk->account, frame);
    }
    if (answer != NULL && take_counts(walk) == 0)
        shown = PyObject_IsTrue(answer);
    Py_XDECREF(frame);
    Py_XDECREF(answer);
    return shown;
}

/* Lane.split. */
static int
split(Walk *walk, Cut *cut, Py_ssize_t plan)
{
    PyObject *client = walk->client, *slot = NULL, *readonly = NULL;
    Py_ssize_t count, size = request_size(walk, cut, -1, &count);
    int bad = -1;

    if (walk->toll != NULL && (add(&AT(walk->toll, toll_at.commands), -1) < 0 || add(&AT(walk->toll, toll_at.bytes), -size) < 0))
        return -1;
    if ((slot = split_at.type->tp_alloc(split_at.type, 0)) == NULL || (S(parts) = PyList_New(0)) == NULL ||
        (AT(slot, split_at.left) = PyLong_FromLong(cut->parts)) == NULL ||
        (AT(slot, split_at.merge) = PyLong_FromSsize_t(plan & MERGE)) == NULL ||
        (AT(slot, split_at.order) = PyBytes_FromStringAndSize(NULL, cut->count)) == NULL ||
        (AT(slot, split_at.raws) = PyList_New(cut->parts)) == NULL ||
        (AT(slot, split_at.weight) = PyLong_FromSsize_t(size)) == NULL)
        goto end;
    for (Py_ssize_t index = 0; index < cut->count; index++)
        PyBytes_AS_STRING(AT(slot, split_at.order))[index] = (char)cut->keys[index].part;
    for (int part = 0; part < cut->parts; part++) {
        Py_INCREF(Py_None);
        PyList_SET_ITEM(AT(slot, split_at.raws), part, Py_None);
    }
    put_borrowed(&S(account), Py_None);
    put_borrowed(&S(client), client);
    put_borrowed(&S(frames), no_text);
    put_borrowed(&S(offset), zero);
    put_borrowed(&S(readonly), Py_False);
    put_borrowed(&S(retried), Py_False);
    put_borrowed(&S(started), walk->now);
    put_borrowed(&S(want), one);
    if ((readonly = PyObject_GetAttr(walk->account, str_readonly)) == NULL || push(C(queue), slot) < 0 ||
        add(&C(inflight), 1) < 0 || add(&C(inflight_bytes), size) < 0)
        goto end;
    walk->commands++;
    walk->unsampled--;
    bad = 0;
    for (int part = 0; bad == 0 && part < cut->parts; part++)
        bad = send_part(walk, cut, slot, part, readonly);
end:
    Py_XDECREF(readonly);
    Py_XDECREF(slot);
    return bad;
}

/* Lane._scan. */
static int
scan(PyObject *lane, PyObject *client, PyObject *data, PyObject *now)
{
    Walk walk = {.lane = lane, .client = client, .data = data, .now = now, .text = PyBytes_AS_STRING(data)};
    const char *text = walk.text;
    Py_ssize_t pos = 0, size = PyBytes_GET_SIZE(data), plan = 0, skip = 0, key_length = 0, quick = 0;
    Py_ssize_t begin = 0, begin_length = 0; /* how the request before began, up to the ":" in its key */
    int known = 0, above = 0, bad = -1;
    Cut parts; /* 32 KB, which costs nothing until it is used */

    parts.parts = 0;
    if (!is_scanner_idle(C(scanner))) {
        if (slow(&walk, &pos) < 0 || (is_stalled(client) && set_aside(&walk, pos, &size) < 0))
            goto end;
    }
    while (pos < size) {
        if (walk.prefix == NULL || C(prefix) != walk.prefix) {
            if (!is_a(C(prefix), &PyBytes_Type))
                goto end;
            put_borrowed(&walk.prefix, C(prefix));
            begin_length = 0;
        }
        if (!begin_length || size - pos < begin_length || memcmp(text + begin, text + pos, begin_length) != 0) {
            begin = pos;
            known = look_up(&walk, pos, size, &plan, &skip, &key_length, &quick, &begin_length);
            if (known < 0)
                goto end;
        }
        if (known) {
            Py_ssize_t more = plan >> MORE, key = pos + skip, key_end = key + key_length, end = key_end, length;
            if (plan & MERGE) {
                cut_end(&parts);
                if ((more = find_parts(&walk, &parts, plan, pos, size, key)) < 0)
                    goto end;
                end = more ? parts.end - 2 : size;
                more = 0;
            }
            while (more) {
                Py_ssize_t start;
                if (size - end < 3 || text[end] != '\r' || text[end + 1] != '\n' || text[end + 2] != '$' ||
                    (start = read_length(text, end + 3, size, &length)) < 0)
                    break;
                end = start + length;
                more--;
            }
            end += 2;
            if (!more && end <= size && end - pos <= quick && text[end - 2] == '\r' && text[end - 1] == '\n' &&
                !((plan & LOOK) && has_ifeq(text, key_end, end))) {
                int spent = 0;
                if (walk.words_run != NULL && (walk.words_run != walk.run || walk.words_account != walk.account)) {
                    if (take_words(&walk, size - pos) < 0)
                        goto end;
                    if (is_stalled(client)) {
                        if (set_aside(&walk, pos, &size) < 0)
                            goto end;
                        continue;
                    }
                }
                if (plan & MERGE && parts.parts > 1) {
                    if (walk.run_up != NULL) {
                        if (forward(&walk, pos) < 0 || (walk.toll != NULL && is_spent(walk.toll, &spent) < 0))
                            goto end;
                        if (spent) {
                            begin_length = 0;
                            continue;
                        }
                    }
                    if (take_counts(&walk) < 0)
                        goto end;
                    if (walk.unsampled <= 0) {
                        int shown = show(&walk, &parts);
                        if (shown < 0)
                            goto end;
                        if (!shown)
                            goto above;
                    }
                    if (split(&walk, &parts, plan) < 0 || (walk.toll != NULL && is_spent(walk.toll, &spent) < 0))
                        goto end;
                    if (spent)
                        begin_length = 0;
                    pos = end;
                    if (++above == MOST_ABOVE && set_aside(&walk, pos, &size) < 0)
                        goto end;
                    continue;
                }
                if (walk.local != NULL) {
                    PyObject *frame = NULL, *args, *done;
                    Py_ssize_t taken = prefix_size(&walk) ? PyBytes_GET_SIZE(walk.lead) + end - key : end - pos;
                    if (walk.run_up != NULL && forward(&walk, pos) < 0)
                        goto end;
                    if (walk.toll != NULL) {
                        if (add(&AT(walk.toll, toll_at.commands), -1) < 0 ||
                            add(&AT(walk.toll, toll_at.bytes), -taken) < 0 || is_spent(walk.toll, &spent) < 0)
                            goto end;
                    }
                    above++;
                    if (walk.run != NULL) {
                        if (add_words(&walk, key, key_length, plan >> MORE, end, taken) < 0)
                            goto end;
                        if (above == MOST_ABOVE && take_words(&walk, size - end) < 0)
                            goto end;
                    }
                    else {
                        if (prefix_size(&walk)) {
                            frame = PyBytes_FromStringAndSize(NULL, taken);
                            if (frame != NULL)
                                write_text(write_text(PyBytes_AS_STRING(frame), PyBytes_AS_STRING(walk.lead),
                                                      PyBytes_GET_SIZE(walk.lead)), text + key, end - key);
                        }
                        else
                            frame = piece(data, pos, end);
                        if (frame == NULL)
                            goto end;
                        if ((args = arguments(&walk, key, key_length, plan >> MORE, end)) == NULL || give_back(&walk) < 0) {
                            Py_XDECREF(args);
                            Py_DECREF(frame);
                            goto end;
                        }
                        PyObject *given[6] = {client, walk.spec, args, frame, now, walk.account};
                        calls_up++;
                        done = PyObject_Vectorcall(walk.local, given, 6, NULL);
                        Py_DECREF(args);
                        Py_DECREF(frame);
                        Py_XDECREF(done);
                        if (done == NULL)
                            goto end;
                    }
                    if (spent)
                        begin_length = 0;
                    pos = end;
                    if ((above == MOST_ABOVE || (walk.words_run == NULL && is_stalled(client))) &&
                        set_aside(&walk, pos, &size) < 0)
                        goto end;
                    continue;
                }
                PyObject *up = NULL;
                if (plan & MERGE) {
                    up = parts.ups[0];
                    Py_INCREF(up);
                }
                else if ((up = upstream_of(&walk, key, key_length)) == NULL)
                    goto end;
                int joins = up == walk.run_up && walk.account == walk.run_account;
                if (joins && walk.toll != NULL) {
                    Py_ssize_t left;
                    if (number(AT(walk.toll, toll_at.commands), &left) < 0) {
                        Py_DECREF(up);
                        goto end;
                    }
                    joins = walk.run_count < left;
                }
                if (joins) {
                    Py_DECREF(up);
                    walk.run_count++;
                }
                else {
                    if (walk.run_up != NULL) {
                        if (forward(&walk, pos) < 0 || (walk.toll != NULL && is_spent(walk.toll, &spent) < 0)) {
                            Py_DECREF(up);
                            goto end;
                        }
                        if (spent) {
                            Py_DECREF(up);
                            begin_length = 0;
                            continue;
                        }
                    }
                    walk.run_up = up;
                    walk.run_start = pos;
                    walk.run_count = 1;
                    Py_INCREF(walk.account);
                    walk.run_account = walk.account;
                    Py_XINCREF(walk.toll);
                    walk.run_toll = walk.toll;
                }
                if (prefix_size(&walk)) {
                    Py_ssize_t count = 0, lead = PyBytes_GET_SIZE(walk.lead);
                    char *to = join(&walk, plan & MERGE ? request_size(&walk, &parts, 0, &count) : lead + end - key);
                    if (to == NULL)
                        goto end;
                    if (plan & MERGE)
                        write_request(&walk, &parts, 0, count, to);
                    else
                        write_text(write_text(to, PyBytes_AS_STRING(walk.lead), lead), text + key, end - key);
                }
                pos = end;
                continue;
            }
        }
above:
        if (walk.run_up != NULL && forward(&walk, pos) < 0)
            goto end;
        if (walk.words_run != NULL) {
            if (take_words(&walk, size - pos) < 0)
                goto end;
            if (is_stalled(client)) {
                if (set_aside(&walk, pos, &size) < 0)
                    goto end;
                continue;
            }
        }
        if (slow(&walk, &pos) < 0)
            goto end;
        above++;
        begin_length = 0;
        {
            Py_ssize_t depth, inflight;
            if (number(C(depth), &depth) < 0 || number(C(inflight), &inflight) < 0)
                goto end;
            if ((above == MOST_ABOVE || is_stalled(client) || (depth > 0 && inflight >= depth)) &&
                set_aside(&walk, pos, &size) < 0)
                goto end;
        }
    }
    bad = walk.run_up != NULL ? forward(&walk, pos) : 0;
    if (bad == 0 && walk.words_run != NULL)
        bad = take_words(&walk, 0);
    if (bad == 0)
        bad = give_back(&walk);
end:
    if (bad < 0 && walk.counts) { /* what was forwarded was forwarded, whatever went wrong behind it */
        PyObject *type, *value, *trace;
        PyErr_Fetch(&type, &value, &trace);
        if (give_back(&walk) < 0)
            PyErr_Clear();
        PyErr_Restore(type, value, trace);
    }
    cut_end(&parts);
    walk_end(&walk);
    return bad;
}

/* ------------------------------------------------------------------ where a reply ends: kvgate.wire.measure */

#define UNFINISHED -1
#define ODD -2 /* spelled as no store does: Python says what it is */
#define LONGEST_HEADER 32

/* The number in a header of `size` bytes, the last of which is its line's end: canonical or -1; else 0 is given. */
static inline int
header_number(const char *header, Py_ssize_t size, Py_ssize_t *value)
{
    if (read_length(header, 1, size, value) == size)
        return 1;
    *value = -1;
    return size == 5 && memcmp(header + 1, "-1\r\n", 4) == 0;
}

/* What the header of a value of `kind` means: `length` is a string's, -1 for what has no more bytes; `left` grows by the
 * values that an aggregate still asks for. */
static inline int
read_header(const char *header, Py_ssize_t size, Py_ssize_t *left, Py_ssize_t *length)
{
    Py_ssize_t many = 0;
    *length = -1;
    switch (header[0]) {
    case '+': case '-': case ':': case '_': case '#': case ',': case '(':
        return 1;
    case '$': case '=': case '!':
        return header_number(header, size, length);
    case '*': case '~': case '>':
        if (!header_number(header, size, &many))
            return 0;
        *left += many > 0 ? many : 0;
        return 1;
    case '%':
        if (!header_number(header, size, &many))
            return 0;
        *left += many > 0 ? 2 * many : 0;
        return 1;
    case '|': /* it stands before the value that it belongs to */
        if (!header_number(header, size, &many))
            return 0;
        *left += 2 * many + 1;
        return 1;
    }
    return 0;
}

/* Bulk strings with the same header as the one before, whose length is known: lists of ids, counters and candles are such. */
static inline Py_ssize_t
skip_equal(const char *text, Py_ssize_t pos, Py_ssize_t size, const char *header, Py_ssize_t header_size, Py_ssize_t length,
           Py_ssize_t *left)
{
    Py_ssize_t step = header_size + length + 2;
    if (header_size == 4) { /* up to nine bytes, the most frequent: one comparison of a word */
        unsigned int wanted, found;
        memcpy(&wanted, header, 4);
        while (*left && step <= size - pos && (memcpy(&found, text + pos, 4), found == wanted)) {
            pos += step;
            (*left)--;
        }
    }
    else
        while (*left && step <= size - pos && memcmp(text + pos, header, header_size) == 0) {
            pos += step;
            (*left)--;
        }
    return pos;
}

/* Walk over `left` values from `pos`: the position behind the last one, or UNFINISHED: then `left` are still to come, after
 * `skip` more bytes of a string, and the header that begins at `cut` has no end yet; or ODD. */
static Py_ssize_t
walk_values(const char *text, Py_ssize_t pos, Py_ssize_t size, Py_ssize_t *left, Py_ssize_t *skip, Py_ssize_t *cut)
{
    *skip = 0;
    while (*left) {
        const char *line_end = pos < size ? memchr(text + pos, '\n', size - pos) : NULL;
        Py_ssize_t start = pos, length;
        if (line_end == NULL) {
            *cut = pos;
            if (pos < size && (text[pos] == 0 || strchr("+-:_#,($=!*~>%|", text[pos]) == NULL))
                return ODD;
            return UNFINISHED;
        }
        pos = line_end + 1 - text;
        --*left;
        if (!read_header(text + start, pos - start, left, &length))
            return ODD;
        if (length >= 0) {
            if (length > size - pos - 2) {
                *cut = size;
                *skip = pos + length + 2 - size;
                return UNFINISHED;
            }
            if (*left)
                pos = skip_equal(text, pos + length + 2, size, text + start, pos - start, length, left);
            else
                pos += length + 2;
        }
    }
    return pos;
}

/* Measurer.feed: the position behind the reply, -1 when more is to come, -3 with an exception. */
static Py_ssize_t
follow(PyObject *measurer, PyObject *data, Py_ssize_t pos)
{
    const char *text = PyBytes_AS_STRING(data);
    Py_ssize_t size = PyBytes_GET_SIZE(data), left, skip, cut = size, end = UNFINISHED, header_size = 0, from = pos;
    PyObject *line;
    if (!is_a(measurer, measurer_at.type) || number(M(_left), &left) < 0 || number(M(_skip), &skip) < 0 ||
        !is_a(line = M(_line), &PyBytes_Type))
        return -3;
    if (left > PY_SSIZE_T_MAX / 4 || skip > PY_SSIZE_T_MAX / 4) /* what no store sends */
        goto python;
    if ((header_size = PyBytes_GET_SIZE(line))) { /* a header that was cut: join it */
        const char *line_end = pos < size ? memchr(text + pos, '\n', size - pos) : NULL;
        Py_ssize_t more = line_end == NULL ? 0 : line_end + 1 - text - pos, length;
        char header[LONGEST_HEADER];
        if (line_end == NULL || skip || !left || header_size + more > LONGEST_HEADER)
            goto python;
        memcpy(header, PyBytes_AS_STRING(line), header_size);
        memcpy(header + header_size, text + pos, more);
        left--;
        if (!read_header(header, header_size + more, &left, &length))
            goto python;
        pos += more;
        skip = length < 0 ? 0 : length + 2;
    }
    if (skip > size - pos)
        skip -= size - pos;
    else {
        Py_ssize_t behind = pos + skip;
        if ((end = walk_values(text, behind, size, &left, &skip, &cut)) == ODD)
            goto python;
    }
    {
        PyObject *boxed_left = PyLong_FromSsize_t(left), *boxed_skip = PyLong_FromSsize_t(skip);
        PyObject *rest = end >= 0 ? PyBytes_FromStringAndSize(NULL, 0) : PyBytes_FromStringAndSize(text + cut, size - cut);
        if (boxed_left == NULL || boxed_skip == NULL || rest == NULL) {
            Py_XDECREF(boxed_left);
            Py_XDECREF(boxed_skip);
            Py_XDECREF(rest);
            return -3;
        }
        put(&M(_left), boxed_left);
        put(&M(_skip), boxed_skip);
        put(&M(_line), rest);
        return end;
    }
python: {
        PyObject *at = PyLong_FromSsize_t(from), *found = at == NULL ? NULL : call(measurer, str_feed, data, at, NULL);
        Py_XDECREF(at);
        return ask_position(found, &end) < 0 ? -3 : end;
    }
}

/* measure(): the position behind the reply at `pos`, -1 when it does not lie there whole, -3 with an exception. */
static Py_ssize_t
measured(PyObject *data, Py_ssize_t pos)
{
    Py_ssize_t left = 1, skip, cut;
    Py_ssize_t end = walk_values(PyBytes_AS_STRING(data), pos, PyBytes_GET_SIZE(data), &left, &skip, &cut);
    if (end == ODD) {
        PyObject *place = PyLong_FromSsize_t(pos), *args[2] = {data, place};
        PyObject *found = place == NULL ? NULL : PyObject_Vectorcall(measure, args, 2, NULL);
        Py_XDECREF(place);
        return ask_position(found, &end) < 0 ? -3 : end;
    }
    return end;
}

/* ------------------------------------------------------------------ replies */

/* What is counted for one account while the replies of commands that began together are walked over. */
typedef struct {
    PyObject *account, *began; /* owned */
    double seconds;
    Py_ssize_t calls, errors, misses, taken, given;
} Count;

static int
count_end(Count *count)
{
    PyObject *account = count->account;
    int bad = 0;
    if (account != NULL && account != Py_None && count->calls) {
        if (Py_TYPE(account) == account_at.type) {
            Py_ssize_t at = 0;
            double micros = count->seconds * 1000000;
            /* the bits of the whole microseconds */
            for (unsigned long long whole = micros > 0 ? (micros < 9e18 ? (unsigned long long)micros : ~0ULL >> 1) : 0; whole;
                 whole >>= 1)
                at++;
            if (at >= BUCKETS)
                at = BUCKETS - 1;
            bad = add(&A(calls), count->calls) < 0 || (count->errors && add(&A(errors), count->errors) < 0) ||
                  (count->misses && add(&A(misses), count->misses) < 0) || add(&A(bytes_in), count->taken) < 0 ||
                  add(&A(bytes_out), count->given) < 0;
            if (!bad && (!is_list(A(buckets)) || PyList_GET_SIZE(A(buckets)) != BUCKETS)) {
                if (!PyErr_Occurred())
                    PyErr_SetString(PyExc_TypeError, "an account has other buckets");
                bad = 1;
            }
            if (!bad)
                bad = add_seconds(&A(seconds), count->calls * count->seconds) < 0 ||
                      add(&((PyListObject *)A(buckets))->ob_item[at], count->calls) < 0;
            bad = bad ? -1 : 0;
        }
        else {
            calls_up++;
            PyObject *note = PyObject_GetAttr(account, str_note);
            PyObject *none = note == NULL ? NULL : PyObject_CallFunction(note, "ndnnnn", count->calls, count->seconds,
                                                                         count->errors, count->misses, count->taken, count->given);
            Py_XDECREF(note);
            Py_XDECREF(none);
            bad = none == NULL ? -1 : 0;
        }
    }
    Py_CLEAR(count->account);
    Py_CLEAR(count->began);
    count->calls = count->errors = count->misses = count->taken = count->given = 0;
    return bad;
}

static int
note_code(PyObject *account, PyObject *data, Py_ssize_t pos)
{
    PyObject *at;
    int bad;
    if (account == NULL || account == Py_None)
        return 0;
    if ((at = PyLong_FromSsize_t(pos)) == NULL)
        return -1;
    bad = tell(account, str_note_code, data, at, NULL);
    Py_DECREF(at);
    return bad;
}

static int
begins_store_error(const char *text, Py_ssize_t size)
{
#define BEGINS(word) (size >= (Py_ssize_t)sizeof(word) - 1 && memcmp(text, word, sizeof(word) - 1) == 0)
    return BEGINS("-NOAUTH") || BEGINS("-NOPERM") || BEGINS("-READONLY") || BEGINS("-MASTERDOWN");
}

/* The reply that lies whole at `pos`: the position behind it, or -1 when it does not, -2 for what the lane looks at anew,
 * -3 with an exception. Counts errors and nils. */
static Py_ssize_t
one_reply(PyObject *data, const char *text, Py_ssize_t pos, Py_ssize_t size, Count *count)
{
    const char *line_end;
    Py_ssize_t at, length = 0;
    switch (text[pos]) {
    case '$':
        if ((line_end = memchr(text + pos, '\n', size - pos)) == NULL)
            return -1;
        at = line_end - text;
        if (read_length(text, pos + 1, size, &length) == at + 1) {
            if (length > size - at - 3)
                return -1;
            return at + 3 + length;
        }
        if (at - pos != 4 || text[pos + 1] != '-' || text[pos + 2] != '1') { /* as Python's int() reads it */
            PyObject *digits = PyBytes_FromStringAndSize(text + pos + 1, at - pos > 2 ? at - pos - 2 : 0);
            PyObject *value = digits == NULL ? NULL : PyNumber_Long(digits);
            Py_XDECREF(digits);
            if (ask_position(value, &length) < 0)
                return -3;
            if (length >= 0)
                return length > size - at - 3 ? -1 : at + 3 + length;
        }
        count->misses++;
        return at + 1;
    case '+':
    case ':':
        line_end = memchr(text + pos, '\n', size - pos);
        return line_end == NULL ? -1 : line_end - text + 1;
    case '>':
        return -2;
    case '-':
        if (begins_store_error(text + pos, size - pos))
            return -2;
        if ((line_end = memchr(text + pos, '\n', size - pos)) == NULL)
            return -1;
        count->errors++;
        return note_code(count->account, data, pos) < 0 ? -3 : line_end - text + 1;
    case '_':
        if ((line_end = memchr(text + pos, '\n', size - pos)) == NULL)
            return -1;
        count->misses++;
        return line_end - text + 1;
    }
    return measured(data, pos);
}

/* Lane.settle, where plain slots stand at the head of the queue; at another kind Python goes on. */
static int
settle(PyObject *lane, PyObject *client)
{
    PyObject *queue = C(queue);
    Py_ssize_t left;
    while ((left = length_of(queue)) > 0) {
        PyObject *slot = first(queue), *parts;
        int bad = -1, open;
        if (slot == NULL)
            return -1;
        if (Py_TYPE(slot) != slot_at.type) {
            Py_DECREF(slot);
            return tell(lane, str_settle, client, NULL, NULL);
        }
        parts = S(parts);
        if (!is_list(parts) || (open = PyObject_IsTrue(S(want))) < 0)
            goto end;
        if (PyList_GET_SIZE(parts)) {
            PyObject *out = C(out);
            Py_ssize_t size = 0;
            if (!is_list(out))
                goto end;
            for (Py_ssize_t at = 0; at < PyList_GET_SIZE(parts); at++) {
                PyObject *part = PyList_GET_ITEM(parts, at);
                size += PyBytes_Check(part) ? PyBytes_GET_SIZE(part) : 0;
                if (PyList_Append(out, part) < 0)
                    goto end;
            }
            if (add(&C(held), -size) < 0 || PyList_SetSlice(parts, 0, PyList_GET_SIZE(parts), NULL) < 0)
                goto end;
        }
        else if (open) {
            Py_DECREF(slot);
            break;
        }
        bad = open ? 0 : pop(queue);
end:
        Py_DECREF(slot);
        if (bad < 0)
            return -1;
        if (open)
            break;
    }
    if (left < 0 || touch_client(lane, client) < 0)
        return -1;
    if (left == 0 && (C(waiting) != Py_None || C(eof) == Py_True || length_of(C(backlog)) > 0))
        return tell(lane, str__ran_empty, client, NULL, NULL);
    return 0;
}

/* A part's reply: what stands in `raws`, or the one that has just come. */
static inline PyObject *
raw_of(PyObject *raws, Py_ssize_t part, Py_ssize_t number, PyObject *raw)
{
    return part == number ? raw : PyList_GET_ITEM(raws, part);
}

/* kvgate.lane.split.merged, `raw` being the reply of the part `number`; NULL, without an exception where Python is to try. */
static PyObject *
merged(Py_ssize_t merge, PyObject *raws, Py_ssize_t number, PyObject *raw, PyObject *order)
{
    const char *text[MOST_PARTS];
    Py_ssize_t at[MOST_PARTS], size[MOST_PARTS], parts = PyList_GET_SIZE(raws), sum = 0, length;
    Py_ssize_t keys = PyBytes_GET_SIZE(order), all = header_size(keys);
    PyObject *reply;
    char *to;

    for (Py_ssize_t part = 0; part < parts; part++) {
        PyObject *one_raw = raw_of(raws, part, number, raw);
        if (!PyBytes_Check(one_raw) || !PyBytes_GET_SIZE(one_raw))
            return NULL;
        text[part] = PyBytes_AS_STRING(one_raw);
        size[part] = PyBytes_GET_SIZE(one_raw);
        if (text[part][0] == '-') {
            Py_INCREF(one_raw);
            return one_raw;
        }
    }
    if (merge == ALL_OK) {
        reply = raw_of(raws, 0, number, raw);
        Py_INCREF(reply);
        return reply;
    }
    for (Py_ssize_t part = 0; part < parts; part++) {
        at[part] = read_length(text[part], 1, size[part], &length);
        if (text[part][0] != (merge == SUM ? ':' : '*') || at[part] < 0 || (merge == SUM && at[part] != size[part]))
            return NULL;
        sum += length;
        all += size[part] - at[part];
    }
    if (merge == SUM) {
        char number_text[24];
        to = write_header(number_text, ':', sum);
        return PyBytes_FromStringAndSize(number_text, to - number_text);
    }
    if ((reply = PyBytes_FromStringAndSize(NULL, all)) == NULL)
        return NULL;
    to = write_header(PyBytes_AS_STRING(reply), '*', keys);
    for (Py_ssize_t key = 0; key < keys; key++) {
        Py_ssize_t part = (unsigned char)PyBytes_AS_STRING(order)[key], start, end;
        if (part >= parts || (start = at[part]) >= size[part])
            goto unusual;
        if (text[part][start] == '$' && (end = read_length(text[part], start + 1, size[part], &length)) >= 0)
            end += length + 2;
        else if (size[part] - start >= 5 && memcmp(text[part] + start, "$-1\r\n", 5) == 0)
            end = start + 5;
        else if (size[part] - start >= 3 && memcmp(text[part] + start, "_\r\n", 3) == 0)
            end = start + 3;
        else
            goto unusual;
        if (end > size[part])
            goto unusual;
        to = write_text(to, text[part] + start, end - start);
        at[part] = end;
    }
    if (to == PyBytes_AS_STRING(reply) + all)
        return reply;
unusual:
    Py_DECREF(reply);
    return NULL;
}

/* Whether anything of the client's oldest slot may be written; 0 when it has none, -1. */
static int
is_head_ready(PyObject *client)
{
    Py_ssize_t waiting = length_of(C(queue)), want;
    PyObject *head, *parts;
    int ready = -1;
    if (waiting <= 0)
        return (int)waiting;
    if ((head = first(C(queue))) == NULL)
        return -1;
    if (is_a(head, slot_at.type) && number(AT(head, slot_at.want), &want) == 0 && is_list(parts = AT(head, slot_at.parts)))
        ready = !want || PyList_GET_SIZE(parts) > 0;
    Py_DECREF(head);
    return ready;
}

/* Write a whole reply out that stands for `count` commands of `weight` bytes, or keep it for its turn: that of a Pending slot
 * which has none yet, and whose client is there. */
static int
fill(PyObject *lane, PyObject *client, PyObject *slot, PyObject *reply, Py_ssize_t count, Py_ssize_t weight)
{
    PyObject *head;
    int is_first, ready;
    put_borrowed(&S(want), zero);
    if ((head = first(C(queue))) == NULL)
        return -1;
    is_first = head == slot;
    Py_DECREF(head);
    if (!is_first) {
        if (append(S(parts), reply) < 0 || add(&C(held), PyBytes_GET_SIZE(reply)) < 0)
            return -1;
        return touch_client(lane, client);
    }
    if (append(C(out), reply) < 0 || touch_client(lane, client) < 0 || pop(C(queue)) < 0 || add(&C(inflight), -count) < 0 ||
        add(&C(inflight_bytes), -weight) < 0 || (ready = is_head_ready(client)) < 0)
        return -1;
    if (!ready && length_of(C(queue)) == 0)
        ready = C(waiting) != Py_None || C(eof) == Py_True || length_of(C(backlog)) != 0;
    return ready ? settle(lane, client) : 0;
}

/* Lane.answer. */
static int
answer(PyObject *lane, PyObject *slot, PyObject *raw, double now)
{
    PyObject *client, *held;
    Py_ssize_t commands, weight, want;
    Count count = {0};
    int bad;
    if (number(AT(slot, run_at.count), &commands) < 0 || number(AT(slot, run_at.weight), &weight) < 0 ||
        number(S(want), &want) < 0 || !is_a(S(started), &PyFloat_Type) || S(account) == NULL)
        return -1;
    count.account = Py_NewRef(S(account));
    count.seconds = now - PyFloat_AS_DOUBLE(S(started));
    count.calls = commands;
    count.taken = weight;
    count.given = PyBytes_GET_SIZE(raw);
    if (count_end(&count) < 0)
        return -1;
    client = S(client);
    if (client == Py_None)
        return 0;
    if (!is_a(client, client_at.type))
        return -1;
    held = Py_NewRef(client);
    bad = want ? fill(lane, client, slot, raw, commands, weight) : settle(lane, client);
    Py_DECREF(held);
    return bad;
}

/* Lane.give. */
static int
give(PyObject *lane, PyObject *client, PyObject *raw, Count *count)
{
    Py_ssize_t waiting = length_of(C(queue));
    if (waiting < 0 || count_end(count) < 0)
        return -1;
    if (waiting)
        return tell_quietly(lane, str_reply, client, raw);
    return append(C(out), raw) < 0 ? -1 : touch_client(lane, client);
}

/* Lane._special for a Part's reply: 1 when it is done, 0 when the Python method has to do it, -1. */
static int
take_part(PyObject *lane, PyObject *up, PyObject *slot, PyObject *raw)
{
    PyObject *whole = AT(slot, part_at.whole), *client, *raws, *order, *reply = NULL;
    Py_ssize_t left, number_of, merge, weight;
    int bad;
    if (whole == NULL || Py_TYPE(whole) != split_at.type)
        return 0;
    client = AT(whole, slot_at.client);
    raws = AT(whole, split_at.raws);
    order = AT(whole, split_at.order);
    if (number(AT(whole, split_at.left), &left) < 0 || number(AT(slot, part_at.number), &number_of) < 0 ||
        number(AT(whole, split_at.merge), &merge) < 0 || number(AT(whole, split_at.weight), &weight) < 0 || !is_list(raws))
        return -1;
    if (number_of < 0 || number_of >= PyList_GET_SIZE(raws) || PyList_GET_SIZE(raws) > MOST_PARTS || !PyBytes_Check(order))
        return 0;
    if (left == 1 && client != Py_None && (reply = merged(merge, raws, number_of, raw, order)) == NULL)
        return PyErr_Occurred() ? -1 : 0;
    put_borrowed(&S(want), zero);
    put_borrowed(&((PyListObject *)raws)->ob_item[number_of], raw);
    if (add(&AT(whole, split_at.left), -1) < 0 || pop(U(fifo)) < 0) {
        Py_XDECREF(reply);
        return -1;
    }
    if (reply == NULL)
        return 1;
    Py_INCREF(client);
    Py_INCREF(whole);
    bad = fill(lane, client, whole, reply, 1, weight);
    Py_DECREF(whole);
    Py_DECREF(client);
    Py_DECREF(reply);
    return bad < 0 ? -1 : 1;
}

/* Lane._fed_by. */
static int
fed_by(PyObject *lane, PyObject *up, PyObject *data, PyObject *now)
{
    const char *text = PyBytes_AS_STRING(data);
    Py_ssize_t pos = 0, size = PyBytes_GET_SIZE(data);
    Count count = {0};
    PyObject *slot = NULL, *client = NULL, *bytes = NULL, *fifo = U(fifo), *queue = NULL;
    double time_now = PyFloat_AsDouble(now), slow_after;
    int is_slow = 0, bad = -1;

    {
        PyObject *value = PyObject_GetAttr(lane, str_slow_after);
        if (value == NULL)
            return -1;
        slow_after = PyFloat_AsDouble(value);
        Py_DECREF(value);
        if (PyErr_Occurred())
            return -1;
    }
    put_borrowed(&U(read_before), U(last_read));
    put_borrowed(&U(last_read), now);
    if (U(measurer) != Py_None) {
        PyObject *measurer = U(measurer);
        Py_INCREF(measurer);
        int failed = ask_position(call(lane, str__go_on, up, measurer, data), &pos);
        Py_DECREF(measurer);
        if (failed < 0)
            return -1;
        if (pos < 0)
            return 0;
    }
    Py_INCREF(fifo);
    Py_INCREF(Py_None);
    Py_INCREF(now);
    count.account = Py_None; /* nothing is counted yet */
    count.began = now;
    while (pos < size) {
        Py_ssize_t waiting = length_of(fifo), start = pos, want, wanted, most, next = 0;
        int special;
        if (waiting < 0)
            goto end;
        if (!waiting) {
            PyObject *at = PyLong_FromSsize_t(pos);
            int failed = at == NULL ? -1 : ask_position(call(lane, str__unasked, up, data, at), &pos);
            Py_XDECREF(at);
            if (failed < 0)
                goto end;
            continue;
        }
        Py_XSETREF(slot, first(fifo));
        if (slot == NULL || !PyObject_TypeCheck(slot, slot_at.type)) {
            if (slot != NULL)
                PyErr_SetString(PyExc_TypeError, "a queue of replies has no slot");
            goto end;
        }
        if (number(S(want), &want) < 0)
            goto end;
        wanted = want;
        if (S(account) != count.account || S(started) != count.began) {
            double began = PyFloat_AsDouble(S(started));
            /* the same moment in another object is the same moment */
            if (S(account) != count.account || began != PyFloat_AsDouble(count.began)) {
                if (count_end(&count) < 0)
                    goto end;
                Py_INCREF(S(account));
                Py_INCREF(S(started));
                count.account = S(account);
                count.began = S(started);
                count.seconds = time_now - began;
                is_slow = count.seconds > slow_after;
            }
            if (PyErr_Occurred())
                goto end;
        }
        special = Py_TYPE(slot) != slot_at.type && Py_TYPE(slot) != expired_type;
        most = special ? want - 1 : 0; /* special slots get one reply at a time */
        while (want > most && pos < size) {
            next = one_reply(data, text, pos, size, &count);
            if (next < 0)
                break;
            pos = next;
            want--;
        }
        if (next == -3)
            goto end;
        if (pos > start) {
            Py_ssize_t replies = wanted - want;
            count.calls += replies;
            count.given += pos - start;
            if (!want)
                count.taken += PyObject_Size(S(frames));
            if (is_slow) {
                PyObject *gate = PyObject_GetAttr(lane, str_gate), *many = PyLong_FromSsize_t(replies);
                PyObject *args[5] = {gate, up, slot, many, now};
                calls_up++;
                PyObject *none = gate == NULL || many == NULL ? NULL : PyObject_VectorcallMethod(str_slow, args, 5, NULL);
                Py_XDECREF(gate);
                Py_XDECREF(many);
                Py_XDECREF(none);
                if (none == NULL)
                    goto end;
            }
            Py_XSETREF(client, S(client));
            Py_INCREF(client);
            if (special) {
                int taken = (bytes = piece(data, start, pos)) == NULL ? -1 : 0;
                if (taken == 0 && Py_TYPE(slot) == part_at.type)
                    taken = take_part(lane, up, slot, bytes);
                if (taken == 0) {
                    calls_up++;
                    PyObject *many = PyLong_FromSsize_t(replies), *args[5] = {lane, up, slot, bytes, many};
                    PyObject *none = many == NULL ? NULL : PyObject_VectorcallMethod(str__special, args, 5, NULL);
                    Py_XDECREF(many);
                    Py_XDECREF(none);
                    taken = none == NULL ? -1 : 1;
                }
                Py_CLEAR(bytes);
                if (taken < 0)
                    goto end;
            }
            else {
                PyObject *left = PyLong_FromSsize_t(want);
                if (left == NULL)
                    goto end;
                put(&S(want), left);
                if (client == Py_None) { /* it left, or its time ran out */
                    if (!want && pop(fifo) < 0)
                        goto end;
                }
                else {
                    if (add(&C(inflight), -replies) < 0 || (bytes = piece(data, start, pos)) == NULL)
                        goto end;
                    Py_XSETREF(queue, first(C(queue)));
                    if (queue == NULL)
                        goto end;
                    if (queue == slot) {
                        if (append(C(out), bytes) < 0 || touch_client(lane, client) < 0)
                            goto end;
                        Py_CLEAR(bytes);
                        if (!want) {
                            Py_ssize_t behind;
                            if (pop(fifo) < 0 || add(&C(inflight_bytes), -PyObject_Size(S(frames))) < 0 ||
                                pop(C(queue)) < 0 || (behind = length_of(C(queue))) < 0)
                                goto end;
                            if (!behind) {
                                if ((C(waiting) != Py_None || C(eof) == Py_True) &&
                                    tell(lane, str__ran_empty, client, NULL, NULL) < 0)
                                    goto end;
                            }
                            else {
                                PyObject *after = first(C(queue));
                                int ready = after == NULL ? -1 : 0;
                                if (after != NULL && PyObject_TypeCheck(after, slot_at.type)) {
                                    PyObject *parts = AT(after, slot_at.parts), *open = AT(after, slot_at.want);
                                    ready = (parts != NULL && PyList_CheckExact(parts) && PyList_GET_SIZE(parts)) ||
                                            (open != NULL && PyLong_Check(open) && !PyObject_IsTrue(open));
                                }
                                Py_XDECREF(after);
                                if (ready < 0 || (ready && settle(lane, client) < 0))
                                    goto end;
                            }
                        }
                    }
                    else {
                        Py_ssize_t held;
                        if (append(S(parts), bytes) < 0 || add(&C(held), pos - start) < 0 || number(C(held), &held) < 0)
                            goto end;
                        Py_CLEAR(bytes);
                        if (held > BUFFERED_REPLY && touch_client(lane, client) < 0) /* the driver looks at its limits */
                            goto end;
                        if (!want && (pop(fifo) < 0 || add(&C(inflight_bytes), -PyObject_Size(S(frames))) < 0))
                            goto end;
                    }
                }
            }
        }
        if (want && pos < size && want > most) {
            PyObject *at = PyLong_FromSsize_t(pos), *args[5] = {lane, up, data, at, now};
            calls_up++;
            PyObject *found = at == NULL ? NULL : PyObject_VectorcallMethod(str__unusual, args, 5, NULL);
            Py_XDECREF(at);
            if (ask_position(found, &pos) < 0)
                goto end;
        }
    }
    bad = count_end(&count);
    if (bad == 0 && U(held) != Py_False)
        bad = tell(lane, str__drop_held, up, NULL, NULL);
end:
    Py_CLEAR(count.account);
    Py_CLEAR(count.began);
    Py_XDECREF(slot);
    Py_XDECREF(client);
    Py_XDECREF(bytes);
    Py_XDECREF(queue);
    Py_DECREF(fifo);
    return bad;
}

/* ------------------------------------------------------------------ sockets */

static double
monotonic(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* The exception that is set, as an object; it is not set any more. */
static PyObject *
caught(void)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    if (trace != NULL && value != NULL)
        PyException_SetTraceback(value, trace);
    Py_XDECREF(type);
    Py_XDECREF(trace);
    return value;
}

/* Hand an exception of the wanted kind to a method; -1 when it is of another one, or that fails, too. */
static int
hand_over(PyObject *kind, PyObject *object, PyObject *method, PyObject *who)
{
    PyObject *error;
    int bad;
    if (!PyErr_ExceptionMatches(kind))
        return -1;
    error = caught();
    bad = error == NULL ? -1 : tell(object, method, who, error, NULL);
    Py_XDECREF(error);
    return bad;
}

static char received[RECEIVE]; /* one lane reads at a time: nothing between recv and the copy lets go of the lock */

/* Bytes of a socket: their number, 0 at its end, -1 when there are none now, -2 when it broke (see errno). */
static Py_ssize_t
receive(PyObject *transport)
{
    Py_ssize_t fd, got;
    if (number(T(fd), &fd) < 0) {
        PyErr_Clear();
        errno = EBADF;
        return -2;
    }
    got = recv((int)fd, received, RECEIVE, MSG_DONTWAIT);
    if (got >= 0)
        return got;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? -1 : -2;
}

/* Lane.feed, for a client that nothing holds up. */
static int
feed(PyObject *lane, PyObject *client, PyObject *data, PyObject *now)
{
    Py_ssize_t backlog = length_of(C(backlog));
    if (backlog < 0)
        return -1;
    if (backlog || is_stalled(client) || C(depth) != zero)
        return tell(lane, str_feed, client, data, now);
    put_borrowed(&C(last_fed), now);
    put_borrowed(&C(arrived), now);
    if (add(&C(received), PyBytes_GET_SIZE(data)) < 0)
        return -1;
    if (scan(lane, client, data, now) < 0 && hand_over(protocol_error, lane, str_refuse, client) < 0)
        return -1;
    if (!is_list(C(batch)))
        return -1;
    if (PyList_GET_SIZE(C(batch))) {
        PyObject *gate = PyObject_GetAttr(lane, str_gate);
        int bad = gate == NULL ? -1 : tell(gate, str_run_batch, client, NULL, NULL);
        Py_XDECREF(gate);
        if (bad < 0)
            return -1;
    }
    if ((backlog = length_of(C(backlog))) < 0)
        return -1;
    return backlog && !is_stalled(client) ? tell(lane, str__later, client, NULL, NULL) : 0;
}

/* Driver._client_readable. */
static int
read_client(PyObject *driver, PyObject *lane, PyObject *transport, PyObject *client)
{
    Py_ssize_t got = receive(transport), inflight, inflight_bytes, backlog;
    PyObject *data, *now, *scanner;
    int bad;
    if (got == -1)
        return 0;
    if (got == -2)
        return tell(driver, str_close_client, client, NULL, NULL);
    if (got == 0)
        return tell(driver, str__take_in, transport, no_text, NULL);
    data = PyBytes_FromStringAndSize(received, got);
    now = PyFloat_FromDouble(monotonic());
    bad = data == NULL || now == NULL ? -1 : feed(lane, client, data, now);
    Py_XDECREF(data);
    Py_XDECREF(now);
    if (bad < 0 || number(C(inflight), &inflight) < 0 || number(C(inflight_bytes), &inflight_bytes) < 0 ||
        number(C(backlog_size), &backlog) < 0)
        return -1;
    scanner = C(scanner);
    if (!is_scanner_idle(scanner)) {
        Py_ssize_t half_read;
        if (!is_a(scanner, scanner_at.type) || number(AT(scanner, scanner_at.size), &half_read) < 0)
            return -1;
        if (half_read > PAUSE_LOOK)
            backlog = half_read;
    }
    if (inflight_bytes > PAUSE_LOOK || inflight > PAUSE_LOOK_COMMANDS || backlog)
        return tell(driver, str__maybe_pause, transport, client, NULL);
    return 0;
}

/* Driver._upstream_readable. */
static int
read_upstream(PyObject *driver, PyObject *lane, PyObject *transport, PyObject *up)
{
    Py_ssize_t got = receive(transport), left;
    PyObject *data, *now;
    int bad;
    if (got == -1)
        return 0;
    if (got <= 0) {
        PyObject *number_of_error = PyLong_FromLong(got == 0 ? 0 : errno);
        bad = number_of_error == NULL ? -1 : tell(driver, str__broken, up, number_of_error, NULL);
        Py_XDECREF(number_of_error);
        return bad;
    }
    data = PyBytes_FromStringAndSize(received, got);
    now = PyFloat_FromDouble(monotonic());
    bad = data == NULL || now == NULL ? -1 : fed_by(lane, up, data, now);
    Py_XDECREF(data);
    if (bad < 0)
        bad = hand_over(protocol_error, driver, str__out_of_step, up);
    else if (U(timed) != Py_None && PyObject_TypeCheck(U(timed), slot_at.type)) {
        bad = number(AT(U(timed), slot_at.want), &left);
        if (bad == 0 && !left)
            bad = tell_quietly(driver, str__time_taken, up, now);
    }
    Py_XDECREF(now);
    return bad;
}

/* Send the bytes of a list, as many pieces at once as the kernel takes, and take them off it. The bytes that the kernel did
 * not take are put into `rest` (a new reference, or NULL). 0, or 1 when the connection is broken, -1 with an exception. */
static int
send_all(PyObject *transport, PyObject *out, Py_ssize_t *total_sent, PyObject **rest, Py_ssize_t *sends)
{
    struct iovec pieces[PIECES];
    Py_ssize_t fd;
    *rest = NULL;
    *total_sent = *sends = 0;
    if (number(T(fd), &fd) < 0)
        return -1;
    while (PyList_GET_SIZE(out)) {
        struct msghdr message = {.msg_iov = pieces};
        Py_ssize_t count = PyList_GET_SIZE(out), size = 0, sent;
        int broken = 0;
        if (count > PIECES)
            count = PIECES;
        for (Py_ssize_t at = 0; at < count; at++) {
            PyObject *one = PyList_GET_ITEM(out, at);
            if (!PyBytes_Check(one)) {
                PyErr_SetString(PyExc_TypeError, "what is to be sent is no bytes");
                return -1;
            }
            pieces[at].iov_base = PyBytes_AS_STRING(one);
            pieces[at].iov_len = PyBytes_GET_SIZE(one);
            size += PyBytes_GET_SIZE(one);
        }
        message.msg_iovlen = count;
        sent = size ? sendmsg((int)fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
        if (sent < 0) {
            broken = errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
            sent = 0;
        }
        *total_sent += sent;
        (*sends)++;
        if (sent < size) {
            PyObject *whole = call(no_text, str_join, out, NULL, NULL);
            if (whole == NULL)
                return -1;
            *rest = piece(whole, sent, PyBytes_GET_SIZE(whole));
            Py_DECREF(whole);
            if (*rest == NULL || PyList_SetSlice(out, 0, PyList_GET_SIZE(out), NULL) < 0)
                return -1;
            return broken;
        }
        if (PyList_SetSlice(out, 0, count, NULL) < 0)
            return -1;
    }
    return 0;
}

/* Driver._flush_upstream. */
static int
flush_upstream(PyObject *driver, PyObject *up)
{
    PyObject *transport = U(transport), *rest;
    Py_ssize_t sent, sends, untimed;
    int broken, bad = 0;
    if (transport == Py_None)
        return 0;
    if (Py_TYPE(transport) != transport_at.type)
        return tell(driver, str__flush_upstream, up, NULL, NULL);
    if (T(want_out) == Py_True)
        return 0;
    if (T(tls) != Py_None || U(held) != Py_False || !PyBytes_Check(U(unsent)) || PyBytes_GET_SIZE(U(unsent)))
        return tell(driver, str__flush_upstream, up, NULL, NULL);
    if (!is_list(U(out)))
        return -1;
    if (!PyList_GET_SIZE(U(out)))
        return 0;
    Py_INCREF(transport);
    broken = send_all(transport, U(out), &sent, &rest, &sends);
    if (add(&U(sent), sent) < 0 || broken < 0) /* what was sent was sent: else it would be sent twice */
        bad = -1;
    else if (rest != NULL) {
        put_borrowed(&U(unsent), rest);
        if (!broken) { /* the end of a broken connection is found when it is read */
            put_borrowed(&T(want_out), Py_True);
            bad = tell(driver, str__watch, transport, NULL, NULL);
        }
    }
    else if ((bad = number(U(untimed), &untimed)) == 0) {
        bad = add(&U(untimed), -sends);
        if (bad == 0 && untimed < sends && U(timed) == Py_None && length_of(U(fifo)) > 0)
            bad = tell_quietly(driver, str__take_time, up, NULL);
    }
    Py_XDECREF(rest);
    Py_DECREF(transport);
    return bad;
}

/* Driver._flush_client. */
static int
flush_client(PyObject *driver, PyObject *client, Py_ssize_t out_pause)
{
    PyObject *transport = C(transport), *rest;
    Py_ssize_t held, behind, sent, sends;
    int broken, bad = 0;
    if (number(C(held), &held) < 0)
        return -1;
    if (C(cut) == Py_True || C(closing) == Py_True || held > out_pause || Py_TYPE(transport) != transport_at.type ||
        T(tls) != Py_None)
        return tell(driver, str__flush_client, client, NULL, NULL);
    if ((behind = PyObject_Size(T(behind))) < 0)
        return -1;
    if (behind)
        return tell(driver, str__flush_client, client, NULL, NULL);
    if (!is_list(C(out)))
        return -1;
    Py_INCREF(transport);
    if ((broken = send_all(transport, C(out), &sent, &rest, &sends)) < 0)
        bad = -1;
    else if (add(&C(sent), sent + (rest == NULL ? 0 : PyBytes_GET_SIZE(rest))) < 0)
        bad = -1;
    else if (broken)
        bad = tell(driver, str_close_client, client, NULL, NULL);
    else if (rest != NULL)
        bad = tell(driver, str__left_over, transport, client, rest);
    Py_XDECREF(rest);
    Py_DECREF(transport);
    return bad;
}

/* An exception while one socket is served closes that socket and nothing else. */
static int
socket_failed(PyObject *driver, PyObject *transport)
{
    return hand_over(PyExc_Exception, driver, str__failed, transport);
}

/* ------------------------------------------------------------------ what Python calls */

static int
takes(const char *name, Py_ssize_t count, Py_ssize_t wanted)
{
    if (count == wanted)
        return 1;
    PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, not %zd", name, wanted, count);
    return 0;
}

static PyObject *
done(int bad)
{
    if (bad < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* A step of the machine: (lane, client or upstream, bytes, now). */
static PyObject *
step(const char *name, PyTypeObject *whose, int (*of)(PyObject *, PyObject *, PyObject *, PyObject *), PyObject *const *args,
     Py_ssize_t count)
{
    if (!takes(name, count, 4) || !is_a(args[1], whose) || !is_a(args[2], &PyBytes_Type) || !is_a(args[3], &PyFloat_Type))
        return NULL;
    return done(of(args[0], args[1], args[2], args[3]));
}

static PyObject *
py_scan(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    return step("scan", client_at.type, scan, args, count);
}

/* Measurer.feed, for lanes that run in C. */
static PyObject *
py_follow(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    Py_ssize_t pos, end;
    if (!takes("follow", count, 3) || !is_a(args[1], &PyBytes_Type) || number(args[2], &pos) < 0)
        return NULL;
    if (pos < 0 || pos > PyBytes_GET_SIZE(args[1])) {
        PyErr_SetString(PyExc_IndexError, "a position outside of the bytes");
        return NULL;
    }
    end = follow(args[0], args[1], pos);
    return end == -3 ? NULL : PyLong_FromSsize_t(end);
}

/* measure, for tests that compare it with Python's. */
static PyObject *
py_measure(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    Py_ssize_t pos, end;
    if (!takes("measure", count, 2) || !is_a(args[0], &PyBytes_Type) || number(args[1], &pos) < 0)
        return NULL;
    if (pos < 0 || pos > PyBytes_GET_SIZE(args[0])) {
        PyErr_SetString(PyExc_IndexError, "a position outside of the bytes");
        return NULL;
    }
    end = measured(args[0], pos);
    return end == -3 ? NULL : PyLong_FromSsize_t(end);
}

static PyObject *
py_fed_by(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    return step("fed_by", upstream_at.type, fed_by, args, count);
}

static PyObject *
py_answer(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (!takes("answer", count, 4) || !is_a(args[1], run_at.type) || !is_a(args[2], &PyBytes_Type) ||
        !is_a(args[3], &PyFloat_Type))
        return NULL;
    return done(answer(args[0], args[1], args[2], PyFloat_AS_DOUBLE(args[3])));
}

static PyObject *
py_give(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    Count counted = {0};
    if (!takes("give", count, 8) || !is_a(args[1], client_at.type) || !is_a(args[3], &PyBytes_Type) ||
        number(args[4], &counted.calls) < 0 || number(args[5], &counted.misses) < 0 || number(args[6], &counted.taken) < 0 ||
        !is_a(args[7], &PyFloat_Type))
        return NULL;
    counted.account = Py_NewRef(args[2]);
    counted.seconds = PyFloat_AS_DOUBLE(args[7]);
    counted.given = PyBytes_GET_SIZE(args[3]);
    return done(give(args[0], args[1], args[3], &counted));
}

/* Driver._serve for one socket. */
static int
serve_event(PyObject *driver, PyObject *lane, PyObject *transports, PyObject *fd, PyObject *mask)
{
    PyObject *transport = PyDict_GetItemWithError(transports, fd), *owner;
    int bad;
    if (transport == NULL)
        return PyErr_Occurred() ? -1 : tell(driver, str__accept_some, fd, NULL, NULL);
    Py_INCREF(transport);
    if (Py_TYPE(transport) == transport_at.type && PyLong_Check(mask) && PyLong_AsLong(mask) == EPOLLIN &&
        T(carries) == Py_True && T(tls) == Py_None && T(paused) == Py_False) {
        owner = T(owner);
        Py_INCREF(owner);
        if (PyObject_TypeCheck(owner, client_at.type))
            bad = read_client(driver, lane, transport, owner);
        else if (PyObject_TypeCheck(owner, upstream_at.type))
            bad = read_upstream(driver, lane, transport, owner);
        else
            bad = tell(driver, str__serve_one, transport, mask, NULL);
        Py_DECREF(owner);
        if (bad < 0)
            bad = socket_failed(driver, transport);
    }
    else
        bad = tell(driver, str__serve_one, transport, mask, NULL);
    Py_DECREF(transport);
    return bad;
}

/* Driver._serve. */
static PyObject *
py_serve(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    PyObject *driver, *lane, *transports, *events;
    double until;
    int any = 0, bad = 0;
    Py_ssize_t left;
    if (!takes("serve", count, 4) || !is_a(args[1], &PyDict_Type))
        return NULL;
    driver = args[0];
    transports = args[1];
    events = args[2];
    until = PyFloat_AsDouble(args[3]);
    if (PyErr_Occurred() || (lane = PyObject_GetAttr(driver, str_lane)) == NULL)
        return NULL;
    while (bad == 0 && (left = PyObject_Size(events)) > 0) {
        PyObject *event = PyObject_Vectorcall(deque_popleft, &events, 1, NULL);
        any = 1;
        if (event == NULL || !PyTuple_Check(event) || PyTuple_GET_SIZE(event) != 2) {
            if (event != NULL)
                PyErr_SetString(PyExc_TypeError, "an event is a descriptor and a mask");
            Py_XDECREF(event);
            bad = -1;
            break;
        }
        bad = serve_event(driver, lane, transports, PyTuple_GET_ITEM(event, 0), PyTuple_GET_ITEM(event, 1));
        Py_DECREF(event);
        if (monotonic() > until)
            break;
    }
    Py_DECREF(lane);
    return bad < 0 || left < 0 ? NULL : PyBool_FromLong(any);
}

/* Send to all stores that are touched. */
static int
flush_upstreams(PyObject *driver, PyObject *upstreams)
{
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(upstreams); at++) { /* sees what is added while it runs */
        PyObject *up = PyList_GET_ITEM(upstreams, at);
        if (!is_a(up, upstream_at.type))
            return -1;
        Py_INCREF(up);
        put_borrowed(&U(touched), Py_False);
        int failed = flush_upstream(driver, up) < 0 && socket_failed(driver, U(transport)) < 0;
        Py_DECREF(up);
        if (failed)
            return -1;
    }
    return PyList_SetSlice(upstreams, 0, PyList_GET_SIZE(upstreams), NULL);
}

/* Send to the clients that are touched: to all, or to those that await no further reply; the others stay on the list. */
static int
flush_clients(PyObject *driver, PyObject *clients, Py_ssize_t out_pause, int all)
{
    Py_ssize_t kept = 0;
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(clients); at++) {
        PyObject *client = PyList_GET_ITEM(clients, at);
        Py_ssize_t awaited = 0;
        if (!is_a(client, client_at.type) || (!all && (awaited = length_of(C(queue))) < 0))
            return -1;
        if (awaited) {
            PyObject **items = ((PyListObject *)clients)->ob_item; /* those before `kept` stay, the others are served */
            items[at] = items[kept];
            items[kept++] = client;
            continue;
        }
        Py_INCREF(client);
        put_borrowed(&C(touched), Py_False);
        int failed = C(closed) != Py_True && flush_client(driver, client, out_pause) < 0 &&
                     socket_failed(driver, C(transport)) < 0;
        Py_DECREF(client);
        if (failed)
            return -1;
    }
    return PyList_SetSlice(clients, kept, PyList_GET_SIZE(clients), NULL);
}

/* The part of Driver._settle that sends. */
static int
flush(PyObject *driver, PyObject *upstreams, PyObject *clients, Py_ssize_t out_pause)
{
    return flush_upstreams(driver, upstreams) < 0 ? -1 : flush_clients(driver, clients, out_pause, 1);
}

/* Whether any store's unsent bytes are worth a send of their own. */
static int
is_much(PyObject *upstreams)
{
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(upstreams); at++) {
        PyObject *up = PyList_GET_ITEM(upstreams, at);
        Py_ssize_t queued, sent;
        if (!is_a(up, upstream_at.type) || number(U(queued), &queued) < 0 || number(U(sent), &sent) < 0)
            return -1;
        if (queued - sent > MUCH)
            return 1;
    }
    return 0;
}

/* What a round looks at, besides the sockets: containers that live as long as the lane. All owned. */
typedef struct {
    PyObject *upstreams, *clients, *resumable, *to_drop, *to_connect, *paused;
    Py_ssize_t out_pause;
} Around;

static void
around_end(Around *around)
{
    Py_XDECREF(around->upstreams);
    Py_XDECREF(around->clients);
    Py_XDECREF(around->resumable);
    Py_XDECREF(around->to_drop);
    Py_XDECREF(around->to_connect);
    Py_XDECREF(around->paused);
}

static int
look_around(PyObject *driver, PyObject *lane, Around *around)
{
    PyObject *limits;
    int bad;
    if ((around->upstreams = PyObject_GetAttr(lane, str_touched_upstreams)) == NULL ||
        (around->clients = PyObject_GetAttr(lane, str_touched_clients)) == NULL || !is_list(around->upstreams) ||
        !is_list(around->clients) || (around->resumable = PyObject_GetAttr(lane, str_resumable)) == NULL ||
        (around->to_drop = PyObject_GetAttr(lane, str_to_drop)) == NULL ||
        (around->to_connect = PyObject_GetAttr(lane, str_to_connect)) == NULL ||
        (around->paused = PyObject_GetAttr(driver, str__paused)) == NULL ||
        (limits = PyObject_GetAttr(driver, str_limits)) == NULL)
        return -1;
    bad = attribute_number(limits, str_out_pause, &around->out_pause);
    Py_DECREF(limits);
    return bad;
}

/* Whether there is something to do that Driver._settle does: 1, 0, or -1 with an exception. Whom it does not read is only a
 * reason after something was served: else nothing has changed for them. */
static int
is_to_settle(Around *around, int served)
{
    PyObject *all[] = {around->resumable, around->to_drop, around->to_connect, around->paused};
    for (int at = 0; at < 3 + served; at++) {
        Py_ssize_t size = PyObject_Size(all[at]);
        if (size)
            return size < 0 ? -1 : 1;
    }
    return 0;
}

static PyObject *
py_flush(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    Around around = {0};
    int bad;
    if (!takes("flush", count, 2))
        return NULL;
    bad = look_around(args[0], args[1], &around);
    if (bad == 0)
        bad = flush(args[0], around.upstreams, around.clients, around.out_pause);
    around_end(&around);
    return done(bad);
}

/* Serve what one look named; what there is no time for goes to the events of the next turn. */
static int
serve_named(PyObject *driver, PyObject *lane, PyObject *transports, PyObject *later, const struct epoll_event *named,
            int count, double until)
{
    int late = 0;
    for (int at = 0; at < count; at++) {
        PyObject *fd = PyLong_FromLong(named[at].data.fd), *mask = PyLong_FromUnsignedLong(named[at].events);
        int bad = -1;
        if (fd != NULL && mask != NULL && late) {
            PyObject *event = PyTuple_Pack(2, fd, mask);
            bad = event == NULL ? -1 : push(later, event);
            Py_XDECREF(event);
        }
        else if (fd != NULL && mask != NULL)
            bad = serve_event(driver, lane, transports, fd, mask);
        Py_XDECREF(fd);
        Py_XDECREF(mask);
        if (bad < 0)
            return -1;
        late = late || monotonic() > until;
    }
    return 0;
}

/* Driver._rounds: rounds as long as nothing happens that Python has to look at.
 *
 * What is to be sent to a store, and to a client that awaits further replies, waits while other sockets are ready, TOGETHER at
 * most: a send costs more than all else that is done for a request, and so it is one for the requests of several clients.
 * Nothing waits once no socket is ready. */
static PyObject *
py_rounds(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    PyObject *driver, *lane, *transports, *later;
    struct epoll_event named[EVENTS];
    Around around = {0};
    Py_ssize_t epoll, most, calls = calls_up;
    double until, since = 0, now;
    int more = -1;
    if (!takes("rounds", count, 7) || !is_a(args[2], &PyDict_Type) || number(args[4], &epoll) < 0 ||
        number(args[6], &most) < 0)
        return NULL;
    driver = args[0];
    lane = args[1];
    transports = args[2];
    later = args[3];
    until = PyFloat_AsDouble(args[5]);
    if (PyErr_Occurred() || look_around(driver, lane, &around) < 0)
        goto end;
    for (;;) {
        int found, unsettled;
        Py_BEGIN_ALLOW_THREADS
        found = epoll_wait((int)epoll, named, EVENTS, 0);
        Py_END_ALLOW_THREADS
        if (found < 0 && errno != EINTR) {
            PyErr_SetFromErrno(PyExc_OSError);
            break;
        }
        if (found <= 0) { /* what waited for company goes now */
            if (flush(driver, around.upstreams, around.clients, around.out_pause) == 0)
                more = is_to_settle(&around, 0);
            break;
        }
        if (serve_named(driver, lane, transports, later, named, found, until) < 0)
            break;
        if ((unsettled = is_to_settle(&around, 1)) < 0)
            break;
        if (unsettled) {
            more = 1;
            break;
        }
        now = monotonic();
        if (since == 0)
            since = now;
        if (most < 2 || now - since > TOGETHER || now >= until) {
            since = 0;
            unsettled = flush(driver, around.upstreams, around.clients, around.out_pause);
        }
        else {
            int much = is_much(around.upstreams);
            unsettled = much < 0 || (much && flush_upstreams(driver, around.upstreams) < 0) ||
                        flush_clients(driver, around.clients, around.out_pause, 0) < 0 ? -1 : 0;
        }
        if (unsettled < 0 || (unsettled = is_to_settle(&around, 1)) < 0)
            break;
        if (unsettled || calls != calls_up || --most <= 0 || now >= until) {
            more = 1;
            break;
        }
    }
end:
    around_end(&around);
    return more < 0 ? NULL : PyBool_FromLong(more);
}

typedef struct {
    const char *name;
    Py_ssize_t *offset;
} Field;

/* Find out where the slots of a class lie. */
static int
look_at_class(PyObject *cls, PyTypeObject **type, const Field *fields)
{
    if (!PyType_Check(cls)) {
        PyErr_SetString(PyExc_TypeError, "bind() takes classes");
        return -1;
    }
    for (; fields->name != NULL; fields++) {
        PyObject *member = PyObject_GetAttrString(cls, fields->name);
        PyMemberDef *found;
        if (member == NULL)
            return -1;
        found = Py_IS_TYPE(member, &PyMemberDescr_Type) ? ((PyMemberDescrObject *)member)->d_member : NULL;
        if (found == NULL || found->type != T_OBJECT_EX) {
            PyErr_Format(PyExc_TypeError, "%s.%s is no slot", ((PyTypeObject *)cls)->tp_name, fields->name);
            Py_DECREF(member);
            return -1;
        }
        *fields->offset = found->offset;
        Py_DECREF(member);
    }
    Py_INCREF(cls);
    Py_XSETREF(*type, (PyTypeObject *)cls);
    return 0;
}

#define LOOK_AT(cls, group, LIST, X) \
    do { \
        const Field fields[] = {LIST(X){NULL, NULL}}; \
        if (look_at_class(cls, &group.type, fields) < 0) \
            return NULL; \
    } while (0)
#define CLIENT_FIELD(n) {#n, &client_at.n},
#define UPSTREAM_FIELD(n) {#n, &upstream_at.n},
#define SLOT_FIELD(n) {#n, &slot_at.n},
#define PART_FIELD(n) {#n, &part_at.n},
#define SPLIT_FIELD(n) {#n, &split_at.n},
#define RUN_FIELD(n) {#n, &run_at.n},
#define ACCOUNT_FIELD(n) {#n, &account_at.n},
#define ROUTE_FIELD(n) {#n, &route_at.n},
#define TOLL_FIELD(n) {#n, &toll_at.n},
#define SCANNER_FIELD(n) {#n, &scanner_at.n},
#define MEASURER_FIELD(n) {#n, &measurer_at.n},
#define TRANSPORT_FIELD(n) {#n, &transport_at.n},

static PyObject *
py_bind(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    PyObject *collections, *deque;
    if (!takes("bind", count, 16))
        return NULL;
    LOOK_AT(args[0], client_at, CLIENT, CLIENT_FIELD);
    LOOK_AT(args[1], upstream_at, UPSTREAM, UPSTREAM_FIELD);
    LOOK_AT(args[2], slot_at, SLOT, SLOT_FIELD);
    LOOK_AT(args[4], account_at, ACCOUNT, ACCOUNT_FIELD);
    LOOK_AT(args[5], route_at, ROUTE, ROUTE_FIELD);
    LOOK_AT(args[6], toll_at, TOLL, TOLL_FIELD);
    LOOK_AT(args[7], scanner_at, SCANNER, SCANNER_FIELD);
    LOOK_AT(args[12], part_at, PART, PART_FIELD);
    LOOK_AT(args[13], split_at, SPLIT, SPLIT_FIELD);
    LOOK_AT(args[14], measurer_at, MEASURER, MEASURER_FIELD);
    LOOK_AT(args[15], run_at, RUN, RUN_FIELD);
    if (!PyType_Check(args[3]) || !PyExceptionClass_Check(args[9])) {
        PyErr_SetString(PyExc_TypeError, "bind() takes classes");
        return NULL;
    }
    Py_INCREF(args[3]);
    Py_XSETREF(expired_type, (PyTypeObject *)args[3]);
    put_borrowed(&state_up, args[8]);
    put_borrowed(&protocol_error, args[9]);
    put_borrowed(&measure, args[10]);
    put_borrowed(&no_colon, args[11]);
    if ((collections = PyImport_ImportModule("collections")) == NULL)
        return NULL;
    deque = PyObject_GetAttrString(collections, "deque");
    Py_DECREF(collections);
    if (deque == NULL)
        return NULL;
    put(&deque_append, PyObject_GetAttrString(deque, "append"));
    put(&deque_popleft, PyObject_GetAttrString(deque, "popleft"));
    if (!PyType_Check(deque)) {
        Py_DECREF(deque);
        PyErr_SetString(PyExc_TypeError, "collections has no deque");
        return NULL;
    }
    Py_XSETREF(deque_type, (PyTypeObject *)deque);
    return deque_append == NULL || deque_popleft == NULL ? NULL : done(0);
}

static PyObject *
py_bind_transport(PyObject *module, PyObject *cls)
{
    LOOK_AT(cls, transport_at, TRANSPORT, TRANSPORT_FIELD);
    return done(0);
}

static PyMethodDef methods[] = {
    {"scan", (PyCFunction)(void (*)(void))py_scan, METH_FASTCALL, "scan(lane, client, data, now): see Lane._scan."},
    {"fed_by", (PyCFunction)(void (*)(void))py_fed_by, METH_FASTCALL, "fed_by(lane, up, data, now): see Lane._fed_by."},
    {"answer", (PyCFunction)(void (*)(void))py_answer, METH_FASTCALL, "answer(lane, run, raw, now): see Lane.answer."},
    {"give", (PyCFunction)(void (*)(void))py_give, METH_FASTCALL,
     "give(lane, client, account, raw, count, misses, size, seconds): see Lane.give."},
    {"follow", (PyCFunction)(void (*)(void))py_follow, METH_FASTCALL, "follow(measurer, data, pos): see Measurer.feed."},
    {"measure", (PyCFunction)(void (*)(void))py_measure, METH_FASTCALL, "measure(data, pos): see kvgate.wire.measure."},
    {"serve", (PyCFunction)(void (*)(void))py_serve, METH_FASTCALL,
     "serve(driver, transports, events, until): see Driver._serve."},
    {"rounds", (PyCFunction)(void (*)(void))py_rounds, METH_FASTCALL,
     "rounds(driver, lane, transports, later, epoll, until, most): see Driver._rounds."},
    {"flush", (PyCFunction)(void (*)(void))py_flush, METH_FASTCALL, "flush(driver, lane): see Driver._flush."},
    {"bind", (PyCFunction)(void (*)(void))py_bind, METH_FASTCALL,
     "bind(Client, Upstream, Slot, Expired, Account, Route, Toll, RequestScanner, State.UP, ProtocolError, measure, NO_COLON,"
     " Part, Split, Measurer, PendingRun)"},
    {"bind_transport", py_bind_transport, METH_O, "bind_transport(Transport)"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "The lane's hot paths in C; see kvgate.lane.native.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    PyObject *module, *limits;
#define INTERN(name) \
    if ((str_##name = PyUnicode_InternFromString(#name)) == NULL) \
        return NULL;
    STRINGS(INTERN)
    if ((zero = PyLong_FromLong(0)) == NULL || (one = PyLong_FromLong(1)) == NULL || (no_text = PyBytes_FromStringAndSize(NULL, 0)) == NULL)
        return NULL;
    fill_crc_table();
#define LIMIT_FORMAT(name) "si"
#define LIMIT_VALUE(name) , #name, (int)name
    module = PyModule_Create(&definition);
    limits = Py_BuildValue("{" LIMITS(LIMIT_FORMAT) "}" LIMITS(LIMIT_VALUE));
    if (module == NULL || limits == NULL || PyModule_AddObject(module, "LIMITS", limits) < 0) {
        Py_XDECREF(module);
        Py_XDECREF(limits);
        return NULL;
    }
    return module;
}
