/* An extension with a defect behind five comparisons: who looks for it blindly needs 2^40 inputs. Built with and without
 * BLIND it shows whether what gcc's instrumentation tells really guides libFuzzer.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#ifdef BLIND
#define UNSEEN __attribute__((no_sanitize_coverage))
#else
#define UNSEEN
#endif

static UNSEEN PyObject *
look(PyObject *module, PyObject *data)
{
    const unsigned char *text = (const unsigned char *)PyBytes_AS_STRING(data);
    Py_ssize_t size = PyBytes_GET_SIZE(data);
    char *small;
    long first;
    if (size < 6 || text[0] != '*' || text[1] != '3')
        Py_RETURN_NONE;
    if (text[2] != '\r')
        Py_RETURN_NONE;
    if (text[3] != '$')
        Py_RETURN_NONE;
    if (text[4] + text[5] != 77)
        Py_RETURN_NONE;
    if ((small = PyMem_RawMalloc(size)) == NULL)
        return PyErr_NoMemory();
    memcpy(small, text, size);
    first = ((volatile char *)small)[size]; /* one behind the end */
    PyMem_RawFree(small);
    return PyLong_FromLong(first);
}

static PyMethodDef methods[] = {
    {"look", look, METH_O, "look(data): reads one byte too many of some."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "seeded", "A seeded defect.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit_seeded(void)
{
    return PyModule_Create(&definition);
}
