/* The short ways of kvgate.model.short in C: runs of GET, HGET, SET and HSET over an engine that answers at once.
 *
 * The Python functions there are the reference: the same arguments, the same replies, the same records. What is rare (a long
 * key, data outside the record, an expiry that a write would have to undo) is left to the handlers: a function stops there.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

#define TEXT_LIMIT 400
#define GROUP_LIMIT 64
#define CHUNK 32640
#define UNIT 512
#define SMALL_FIELDS 128
#define SMALL_BYTES 4096
#define STRING 1
#define HASH 2
#define EXPIRES 1
#define HEAD 18 /* of a record: type, flags, generation, revision */
/* Those that stand in Python too; a test holds them equal. */
#define LIMITS(X) X(TEXT_LIMIT) X(GROUP_LIMIT) X(CHUNK) X(UNIT) X(SMALL_FIELDS) X(SMALL_BYTES) X(STRING) X(HASH)

/* ------------------------------------------------------------------ BLAKE2b of 8 bytes (RFC 7693), unkeyed */

static const uint64_t blake_start[8] = {
    0x6a09e667f3bcc908ULL, 0xbb67ae8584caa73bULL, 0x3c6ef372fe94f82bULL, 0xa54ff53a5f1d36f1ULL,
    0x510e527fade682d1ULL, 0x9b05688c2b3e6c1fULL, 0x1f83d9abfb41bd6bULL, 0x5be0cd19137e2179ULL,
};
static const uint8_t blake_order[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static inline uint64_t
turn(uint64_t word, int bits)
{
    return word >> bits | word << (64 - bits);
}

static inline uint64_t
little(const uint8_t *at)
{
    uint64_t word = 0;
    for (int byte = 7; byte >= 0; byte--)
        word = word << 8 | at[byte];
    return word;
}

#define MIX(a, b, c, d, x, y) \
    do { \
        v[a] += v[b] + (x); \
        v[d] = turn(v[d] ^ v[a], 32); \
        v[c] += v[d]; \
        v[b] = turn(v[b] ^ v[c], 24); \
        v[a] += v[b] + (y); \
        v[d] = turn(v[d] ^ v[a], 16); \
        v[c] += v[d]; \
        v[b] = turn(v[b] ^ v[c], 63); \
    } while (0)

/* kvgate.model.keyspace.hash64. */
static uint64_t
hash64(const uint8_t *text, size_t size)
{
    uint64_t h[8], result = 0;
    size_t done = 0;
    memcpy(h, blake_start, sizeof h);
    h[0] ^= 0x01010000 ^ 8;
    do {
        uint8_t block[128] = {0};
        uint64_t v[16], m[16];
        size_t part = size - done < 128 ? size - done : 128;
        if (part)
            memcpy(block, text + done, part);
        done += part;
        for (int at = 0; at < 16; at++)
            m[at] = little(block + 8 * at);
        for (int at = 0; at < 8; at++) {
            v[at] = h[at];
            v[at + 8] = blake_start[at];
        }
        v[12] ^= done;
        if (done == size)
            v[14] = ~v[14];
#pragma GCC unroll 12 /* so that the compiler knows which words are mixed */
        for (int round = 0; round < 12; round++) {
            const uint8_t *s = blake_order[round % 10];
            MIX(0, 4, 8, 12, m[s[0]], m[s[1]]);
            MIX(1, 5, 9, 13, m[s[2]], m[s[3]]);
            MIX(2, 6, 10, 14, m[s[4]], m[s[5]]);
            MIX(3, 7, 11, 15, m[s[6]], m[s[7]]);
            MIX(0, 5, 10, 15, m[s[8]], m[s[9]]);
            MIX(1, 6, 11, 12, m[s[10]], m[s[11]]);
            MIX(2, 7, 8, 13, m[s[12]], m[s[13]]);
            MIX(3, 4, 9, 14, m[s[14]], m[s[15]]);
        }
        for (int at = 0; at < 8; at++)
            h[at] ^= v[at] ^ v[at + 8];
    } while (done < size);
    for (int byte = 0; byte < 8; byte++) /* the digest's bytes, read as a number that begins with its highest */
        result = result << 8 | (h[0] >> (8 * byte) & 0xff);
    return result;
}

/* ------------------------------------------------------------------ where keys lie */

/* The group of the key before, with what is known of it. */
typedef struct {
    PyObject *generations;       /* borrowed */
    PyObject *group;             /* owned; NULL before the first key */
    uint64_t head, generation;
    int known;                   /* whether `generations` has it */
} Groups;

static PyObject *hashed_group; /* the one that was hashed last, by whichever call, and what came of it */
static uint64_t hashed_head;

static inline int
is_group(PyObject *group, const char *text, Py_ssize_t length)
{
    return group != NULL && PyBytes_GET_SIZE(group) == length && memcmp(PyBytes_AS_STRING(group), text, length) == 0;
}

static int
group_of(Groups *groups, const char *key, Py_ssize_t size)
{
    const char *colon = memchr(key, ':', size < GROUP_LIMIT + 1 ? size : GROUP_LIMIT + 1);
    Py_ssize_t length = colon == NULL ? 0 : colon - key;
    PyObject *found;
    if (length && memchr(key, '.', length) == NULL)
        length = 0;
    if (is_group(groups->group, key, length))
        return 0;
    if (!is_group(hashed_group, key, length)) {
        PyObject *group = PyBytes_FromStringAndSize(key, length);
        if (group == NULL)
            return -1;
        Py_XSETREF(hashed_group, group);
        hashed_head = hash64((const uint8_t *)key, length) >> 52 << 36;
    }
    Py_XSETREF(groups->group, Py_NewRef(hashed_group));
    groups->head = hashed_head;
    found = PyDict_GetItemWithError(groups->generations, groups->group);
    groups->known = found != NULL;
    if (found != NULL)
        groups->generation = PyLong_AsUnsignedLongLong(found);
    return PyErr_Occurred() ? -1 : 0;
}

/* The engine key of a key's record, whose group `groups` then has; a new reference. The key is not above TEXT_LIMIT. */
static PyObject *
place_of(Groups *groups, PyObject *key)
{
    const char *text = PyBytes_AS_STRING(key);
    Py_ssize_t size = PyBytes_GET_SIZE(key);
    PyObject *place;
    uint64_t position;
    char *to;
    if (group_of(groups, text, size) < 0 || (place = PyBytes_FromStringAndSize(NULL, size + 8)) == NULL)
        return NULL;
    position = groups->head | hash64((const uint8_t *)text, size) >> 28;
    to = PyBytes_AS_STRING(place);
    to[0] = 'M';
    for (int byte = 0; byte < 6; byte++)
        to[1 + byte] = (char)(position >> (8 * (5 - byte)));
    to[7] = 0;
    memcpy(to + 8, text, size);
    return place;
}

static inline uint64_t
big(const char *at, int bytes)
{
    uint64_t number = 0;
    for (int byte = 0; byte < bytes; byte++)
        number = number << 8 | (uint8_t)at[byte];
    return number;
}

static inline void
put_big(char *at, uint64_t number, int bytes)
{
    for (int byte = bytes - 1; byte >= 0; byte--, number >>= 8)
        at[byte] = (char)number;
}

static int
is_bytes(PyObject *object)
{
    if (PyBytes_Check(object))
        return 1;
    PyErr_SetString(PyExc_TypeError, "words and records are bytes");
    return 0;
}

/* ------------------------------------------------------------------ replies */

typedef struct {
    PyObject *bytes;
    Py_ssize_t size;
} Text;

static int
extend(Text *text, const char *more, Py_ssize_t size, int framed)
{
    Py_ssize_t wanted = text->size + size + (framed ? 32 : 0), room;
    char *to;
    if (text->bytes == NULL && (text->bytes = PyBytes_FromStringAndSize(NULL, wanted < 1024 ? 1024 : wanted)) == NULL)
        return -1;
    room = PyBytes_GET_SIZE(text->bytes);
    if (wanted > room && _PyBytes_Resize(&text->bytes, wanted > 2 * room ? wanted : 2 * room) < 0)
        return -1;
    to = PyBytes_AS_STRING(text->bytes) + text->size;
    if (framed)
        to += sprintf(to, "$%zd\r\n", size);
    memcpy(to, more, size);
    to += size;
    if (framed) {
        *to++ = '\r';
        *to++ = '\n';
    }
    text->size = to - PyBytes_AS_STRING(text->bytes);
    return 0;
}

/* All of the text, a new reference. */
static PyObject *
finish(Text *text)
{
    PyObject *bytes = text->bytes;
    text->bytes = NULL;
    if (bytes == NULL)
        return PyBytes_FromStringAndSize(NULL, 0);
    _PyBytes_Resize(&bytes, text->size);
    return bytes;
}

/* The value of a field of a small hash: 1, 0 when there is none, -2 when the payload has what the handlers have to look at.
 * Positions are those of the value's length, and of its end. */
static int
find_small(const char *payload, Py_ssize_t size, const char *field, Py_ssize_t field_size, Py_ssize_t *value, Py_ssize_t *end,
           Py_ssize_t *count)
{
    Py_ssize_t at = 0;
    int found = 0;
    *count = 0;
    while (at < size) {
        Py_ssize_t name, length, after;
        if (size - at < 9 || payload[at] != 0)
            return -2;
        name = at + 5;
        length = (Py_ssize_t)big(payload + at + 1, 4);
        if (length > size - name - 4)
            return -2;
        after = name + length + 4 + (Py_ssize_t)big(payload + name + length, 4);
        if (after > size)
            return -2;
        if (!found && length == field_size && memcmp(payload + name, field, length) == 0) {
            *value = name + length;
            *end = after;
            found = 1;
        }
        (*count)++;
        at = after;
    }
    return found;
}

/* ------------------------------------------------------------------ reads */

/* Add the reply of one read; 1, 0 when the handler has to look, -1. */
static int
reply_of(Text *text, Groups *groups, PyObject *raw, int kind, PyObject *field, uint64_t now, PyObject *null, Py_ssize_t *misses)
{
    const char *record;
    Py_ssize_t size, at = HEAD;
    if (raw != Py_None) {
        if (!is_bytes(raw))
            return -1;
        record = PyBytes_AS_STRING(raw);
        size = PyBytes_GET_SIZE(raw);
        if (size < HEAD || record[0] != kind || (record[1] & ~EXPIRES))
            return 0;
        if (big(record + 2, 8) >= groups->generation) {
            if (record[1]) {
                uint64_t expires;
                if (size < HEAD + 8)
                    return 0;
                expires = big(record + HEAD, 8);
                at += 8;
                if (expires && expires <= now)
                    goto missing;
            }
            if (field == NULL)
                return extend(text, record + at, size - at, 1) < 0 ? -1 : 1;
            Py_ssize_t value = 0, end = 0, count;
            int found = find_small(record + at, size - at, PyBytes_AS_STRING(field), PyBytes_GET_SIZE(field), &value, &end,
                                   &count);
            if (found < 0)
                return 0;
            if (found)
                return extend(text, record + at + value + 4, end - value - 4, 1) < 0 ? -1 : 1;
        }
    }
missing:
    (*misses)++;
    return extend(text, PyBytes_AS_STRING(null), PyBytes_GET_SIZE(null), 0) < 0 ? -1 : 1;
}

/* short.gets and short.hgets: (read, generations, now, null, words, start). */
static PyObject *
reads(PyObject *const *args, Py_ssize_t count, int kind)
{
    Py_ssize_t width = kind == HASH ? 2 : 1, at, misses = 0, taken = 0, size;
    Groups groups = {0};
    Text text = {0};
    PyObject *words, *replies, *result = NULL;
    uint64_t now;
    if (count != 6 || !PyDict_Check(args[1]) || !PyBytes_Check(args[3]) || !PyList_Check(args[4])) {
        PyErr_SetString(PyExc_TypeError, "takes (read, generations, now, null, words, start)");
        return NULL;
    }
    groups.generations = args[1];
    now = PyLong_AsUnsignedLongLong(args[2]);
    words = args[4];
    at = PyLong_AsSsize_t(args[5]);
    if (PyErr_Occurred())
        return NULL;
    if (at < 0)
        at = 0;
    for (size = PyList_GET_SIZE(words); at + width <= size && PyList_GET_SIZE(words) == size; at += width) {
        PyObject *key = PyList_GET_ITEM(words, at), *field = kind == HASH ? PyList_GET_ITEM(words, at + 1) : NULL, *place, *raw;
        int done;
        if (!is_bytes(key) || (field != NULL && !is_bytes(field)))
            goto end;
        if (PyBytes_GET_SIZE(key) > TEXT_LIMIT)
            break;
        if ((place = place_of(&groups, key)) == NULL)
            goto end;
        if (!groups.known) {
            Py_DECREF(place);
            break;
        }
        Py_XINCREF(field);
        raw = PyObject_CallOneArg(args[0], place);
        Py_DECREF(place);
        done = raw == NULL ? -1 : reply_of(&text, &groups, raw, kind, field, now, args[3], &misses);
        Py_XDECREF(raw);
        Py_XDECREF(field);
        if (done < 0)
            goto end;
        if (!done)
            break;
        taken++;
    }
    if ((replies = finish(&text)) != NULL)
        result = Py_BuildValue("(Nnn)", replies, taken, misses);
end:
    Py_XDECREF(text.bytes);
    Py_XDECREF(groups.group);
    return result;
}

static PyObject *
py_gets(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    return reads(args, count, STRING);
}

static PyObject *
py_hgets(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    return reads(args, count, HASH);
}

/* ------------------------------------------------------------------ writes */

/* Where a run of writes stands. */
typedef struct {
    Groups groups;
    PyObject *get, *writes, *below, *words; /* borrowed */
    PyObject *fresh;                        /* owned: what the run itself has written */
    uint64_t revision, now;
    Py_ssize_t units;
} Run;

/* The record at `place` as the run sees it: a new reference, None when there is none. */
static PyObject *
present(Run *run, PyObject *place)
{
    PyObject *layers[3] = {run->fresh, run->writes, run->below}, *found;
    for (int layer = 0; layer < 3; layer++) {
        found = PyDict_GetItemWithError(layers[layer], place);
        if (found != NULL) {
            Py_INCREF(found);
            return found;
        }
        if (PyErr_Occurred())
            return NULL;
    }
    return PyObject_CallOneArg(run->get, place);
}

/* A record without anything but its payload, a new reference: the payload is to be filled in. */
static PyObject *
record_of(Run *run, int kind, Py_ssize_t payload)
{
    PyObject *record = PyBytes_FromStringAndSize(NULL, HEAD + payload);
    if (record != NULL) {
        char *to = PyBytes_AS_STRING(record);
        to[0] = (char)kind;
        to[1] = 0;
        put_big(to + 2, run->groups.generation, 8);
        put_big(to + 10, ++run->revision, 8);
    }
    return record;
}

static inline Py_ssize_t
units_of(PyObject *raw)
{
    return raw == Py_None ? 1 : 1 + PyBytes_GET_SIZE(raw) / UNIT;
}

/* Whether nothing but the record itself goes when it does. */
static inline int
is_alone(PyObject *raw)
{
    const char *record;
    if (raw == Py_None)
        return 1;
    record = PyBytes_AS_STRING(raw);
    return PyBytes_GET_SIZE(raw) >= HEAD && record[1] == 0 && record[0] >= 1 && record[0] <= 8;
}

/* The new record in the place of `raw`, None when a handler has to write it, NULL. */
static PyObject *
string_over(Run *run, PyObject *raw, PyObject *value)
{
    PyObject *record;
    Py_ssize_t size = PyBytes_GET_SIZE(value);
    if (size > CHUNK || !is_alone(raw))
        Py_RETURN_NONE;
    if ((record = record_of(run, STRING, size)) != NULL)
        memcpy(PyBytes_AS_STRING(record) + HEAD, PyBytes_AS_STRING(value), size);
    return record;
}

static PyObject *
hash_over(Run *run, PyObject *raw, PyObject *field, PyObject *value, int *is_new)
{
    const char *old = "";
    Py_ssize_t size = 0, at = 0, end = 0, count = 0, name = PyBytes_GET_SIZE(field), length = PyBytes_GET_SIZE(value), whole;
    PyObject *record;
    char *to;
    if (!is_alone(raw))
        Py_RETURN_NONE;
    if (raw != Py_None && big(PyBytes_AS_STRING(raw) + 2, 8) >= run->groups.generation) {
        if (PyBytes_AS_STRING(raw)[0] != HASH)
            Py_RETURN_NONE;
        old = PyBytes_AS_STRING(raw) + HEAD;
        size = PyBytes_GET_SIZE(raw) - HEAD;
    }
    int found = find_small(old, size, PyBytes_AS_STRING(field), name, &at, &end, &count);
    if (found < 0)
        Py_RETURN_NONE;
    *is_new = !found;
    whole = found ? size - (end - at - 4) + length : size + 9 + name + length;
    if (count + !found > SMALL_FIELDS || whole > SMALL_BYTES)
        Py_RETURN_NONE;
    if ((record = record_of(run, HASH, whole)) == NULL)
        return NULL;
    to = PyBytes_AS_STRING(record) + HEAD;
    if (found) { /* the others stay as they are, before and behind it */
        memcpy(to, old, at);
        put_big(to + at, length, 4);
        memcpy(to + at + 4, PyBytes_AS_STRING(value), length);
        memcpy(to + at + 4 + length, old + end, size - end);
    }
    else {
        memcpy(to, old, size);
        to += size;
        *to = 0;
        put_big(to + 1, name, 4);
        memcpy(to + 5, PyBytes_AS_STRING(field), name);
        put_big(to + 5 + name, length, 4);
        memcpy(to + 9 + name, PyBytes_AS_STRING(value), length);
    }
    return record;
}

/* short.sets and short.hsets: (get, writes, below, generations, revision, words). */
static PyObject *
writes(PyObject *const *args, Py_ssize_t count, int kind)
{
    Py_ssize_t width = kind == HASH ? 3 : 2, size;
    Run run = {0};
    Text text = {0};
    PyObject *result = NULL, *replies;
    if (count != 6 || !PyDict_Check(args[1]) || !PyDict_Check(args[2]) || !PyDict_Check(args[3]) || !PyList_Check(args[5])) {
        PyErr_SetString(PyExc_TypeError, "takes (get, writes, below, generations, revision, words)");
        return NULL;
    }
    run.get = args[0];
    run.writes = args[1];
    run.below = args[2];
    run.groups.generations = args[3];
    run.revision = PyLong_AsUnsignedLongLong(args[4]);
    run.words = args[5];
    if (PyErr_Occurred() || (run.fresh = PyDict_New()) == NULL)
        return NULL;
    size = PyList_GET_SIZE(run.words);
    for (Py_ssize_t at = 0; at + width <= size && PyList_GET_SIZE(run.words) == size; at += width) {
        PyObject *key = PyList_GET_ITEM(run.words, at), *word = PyList_GET_ITEM(run.words, at + 1), *place, *raw, *record;
        PyObject *value = PyList_GET_ITEM(run.words, at + width - 1);
        int is_new = 0, bad;
        if (!is_bytes(key) || !is_bytes(word) || !is_bytes(value))
            goto end;
        if (PyBytes_GET_SIZE(key) > TEXT_LIMIT)
            goto not_here;
        if ((place = place_of(&run.groups, key)) == NULL)
            goto end;
        if (!run.groups.known) {
            Py_DECREF(place);
            result = run.groups.group;
            Py_INCREF(result);
            goto end;
        }
        Py_INCREF(word);
        Py_INCREF(value);
        raw = present(&run, place);
        if (raw != NULL && raw != Py_None && !is_bytes(raw))
            Py_CLEAR(raw);
        record = raw == NULL ? NULL : kind == HASH ? hash_over(&run, raw, word, value, &is_new) : string_over(&run, raw, value);
        Py_DECREF(word);
        Py_DECREF(value);
        bad = record == NULL || (record != Py_None && PyDict_SetItem(run.fresh, place, record) < 0);
        if (!bad && record != Py_None) {
            run.units += units_of(raw) + units_of(record);
            if (kind == HASH)
                bad = extend(&text, is_new ? ":1\r\n" : ":0\r\n", 4, 0) < 0;
        }
        Py_XDECREF(raw);
        Py_DECREF(place);
        if (bad) {
            Py_XDECREF(record);
            goto end;
        }
        Py_DECREF(record);
        if (record == Py_None)
            goto not_here;
    }
    if (PyDict_Update(run.writes, run.fresh) < 0)
        goto end;
    if (kind == STRING) {
        for (Py_ssize_t at = 0; at + width <= size; at += width) {
            if (extend(&text, "+OK\r\n", 5, 0) < 0)
                goto end;
        }
    }
    if ((replies = finish(&text)) != NULL)
        result = Py_BuildValue("(NnK)", replies, run.units, (unsigned long long)run.revision);
    goto end;
not_here:
    result = Py_None;
    Py_INCREF(result);
end:
    Py_XDECREF(text.bytes);
    Py_XDECREF(run.fresh);
    Py_XDECREF(run.groups.group);
    return result;
}

static PyObject *
py_sets(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    return writes(args, count, STRING);
}

static PyObject *
py_hsets(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    return writes(args, count, HASH);
}

static PyMethodDef methods[] = {
    {"gets", (PyCFunction)(void (*)(void))py_gets, METH_FASTCALL, "See kvgate.model.short.gets."},
    {"hgets", (PyCFunction)(void (*)(void))py_hgets, METH_FASTCALL, "See kvgate.model.short.hgets."},
    {"sets", (PyCFunction)(void (*)(void))py_sets, METH_FASTCALL, "See kvgate.model.short.sets."},
    {"hsets", (PyCFunction)(void (*)(void))py_hsets, METH_FASTCALL, "See kvgate.model.short.hsets."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_short", "The short ways in C; see kvgate.model.short.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__short(void)
{
    PyObject *module = PyModule_Create(&definition), *limits;
#define LIMIT_FORMAT(name) "si"
#define LIMIT_VALUE(name) , #name, (int)name
    limits = Py_BuildValue("{" LIMITS(LIMIT_FORMAT) "}" LIMITS(LIMIT_VALUE));
    if (module == NULL || limits == NULL || PyModule_AddObject(module, "LIMITS", limits) < 0) {
        Py_XDECREF(module);
        Py_XDECREF(limits);
        return NULL;
    }
    return module;
}
