/* A thread that writes a record of the journal and syncs it, without ever taking the interpreter's lock: as one of Python's
 * it and the lane would hand that lock to and fro some ten times for each group of writes. An eventfd says that it is done.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { IDLE, GIVEN, DONE };

typedef struct {
    PyObject_HEAD
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int notify;              /* the eventfd, which is the caller's */
    int state, ending, alive; /* under the lock, as all below while GIVEN */
    int file, sync, error;
    off_t place;
    PyObject *data; /* owned while GIVEN or DONE; the thread only reads its bytes */
} Syncer;

static int
write_all(int file, const char *data, size_t size, off_t place)
{
    while (size) {
        ssize_t done = pwrite(file, data, size, place);
        if (done < 0) {
            if (errno == EINTR)
                continue;
            return errno;
        }
        data += done;
        size -= (size_t)done;
        place += done;
    }
    return 0;
}

static void *
work(void *argument)
{
    Syncer *self = argument;
    pthread_mutex_lock(&self->lock);
    while (1) {
        uint64_t one = 1;
        int error;
        while (self->state != GIVEN && !self->ending)
            pthread_cond_wait(&self->changed, &self->lock);
        if (self->state != GIVEN)
            break;
        pthread_mutex_unlock(&self->lock);
        error = write_all(self->file, PyBytes_AS_STRING(self->data), (size_t)PyBytes_GET_SIZE(self->data), self->place);
        if (!error && self->sync && fdatasync(self->file) < 0)
            error = errno;
        pthread_mutex_lock(&self->lock);
        self->error = error;
        self->state = DONE;
        pthread_cond_broadcast(&self->changed);
        while (write(self->notify, &one, sizeof one) < 0 && errno == EINTR)
            ;
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

static int
syncer_init(Syncer *self, PyObject *args, PyObject *keywords)
{
    sigset_t all, before;
    int error;
    if (self->alive) {
        PyErr_SetString(PyExc_RuntimeError, "it is running");
        return -1;
    }
    if (keywords != NULL && PyDict_GET_SIZE(keywords)) {
        PyErr_SetString(PyExc_TypeError, "takes (eventfd)");
        return -1;
    }
    if (!PyArg_ParseTuple(args, "i", &self->notify))
        return -1;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->changed, NULL);
    sigfillset(&all); /* signals are for Python's threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&self->thread, NULL, work, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    self->alive = 1;
    return 0;
}

/* start(file, data, place, sync): write, and sync, behind the caller's back. */
static PyObject *
syncer_start(Syncer *self, PyObject *args)
{
    PyObject *data;
    int file, sync, busy;
    long long place;
    if (!PyArg_ParseTuple(args, "iSLp", &file, &data, &place, &sync))
        return NULL;
    pthread_mutex_lock(&self->lock);
    busy = !self->alive || self->state != IDLE;
    if (!busy) {
        Py_INCREF(data);
        self->data = data;
        self->file = file;
        self->place = (off_t)place;
        self->sync = sync;
        self->state = GIVEN;
        pthread_cond_signal(&self->changed);
    }
    pthread_mutex_unlock(&self->lock);
    if (busy) {
        PyErr_SetString(PyExc_RuntimeError, "something else is under way, or it was closed");
        return NULL;
    }
    Py_RETURN_NONE;
}

/* result(): wait for what was started; its errno, 0 when all is well. */
static PyObject *
syncer_result(Syncer *self, PyObject *unused)
{
    PyObject *data = NULL;
    int error = 0, idle;
    Py_BEGIN_ALLOW_THREADS
    pthread_mutex_lock(&self->lock);
    while (self->state == GIVEN)
        pthread_cond_wait(&self->changed, &self->lock);
    idle = self->state == IDLE;
    error = self->error;
    data = self->data;
    self->data = NULL;
    self->state = IDLE;
    pthread_mutex_unlock(&self->lock);
    Py_END_ALLOW_THREADS
    Py_XDECREF(data);
    if (idle) {
        PyErr_SetString(PyExc_RuntimeError, "nothing was started");
        return NULL;
    }
    return PyLong_FromLong(error);
}

static void
end(Syncer *self)
{
    if (!self->alive)
        return;
    Py_BEGIN_ALLOW_THREADS
    pthread_mutex_lock(&self->lock);
    self->ending = 1;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
    pthread_join(self->thread, NULL);
    Py_END_ALLOW_THREADS
    self->alive = 0;
}

/* close(): end the thread; what was started is done before. */
static PyObject *
syncer_close(Syncer *self, PyObject *unused)
{
    end(self);
    Py_RETURN_NONE;
}

static void
syncer_dealloc(Syncer *self)
{
    end(self);
    Py_XDECREF(self->data);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef syncer_methods[] = {
    {"start", (PyCFunction)syncer_start, METH_VARARGS, "start(file, data, place, sync): write, and sync, on the thread."},
    {"result", (PyCFunction)syncer_result, METH_NOARGS, "result(): wait for it; its errno, 0 when all is well."},
    {"close", (PyCFunction)syncer_close, METH_NOARGS, "close(): end the thread; what was started is done before."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject SyncerType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "kvgate_lmdb._syncer.Syncer",
    .tp_basicsize = sizeof(Syncer),
    .tp_dealloc = (destructor)syncer_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "Syncer(eventfd): a thread that writes and syncs, one thing at a time.",
    .tp_methods = syncer_methods,
    .tp_init = (initproc)syncer_init,
    .tp_new = PyType_GenericNew,
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_syncer", "Writes and syncs beside the interpreter; see kvgate_lmdb.flights.", -1, NULL, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__syncer(void)
{
    PyObject *module;
    if (PyType_Ready(&SyncerType) < 0 || (module = PyModule_Create(&definition)) == NULL)
        return NULL;
    Py_INCREF(&SyncerType);
    if (PyModule_AddObject(module, "Syncer", (PyObject *)&SyncerType) < 0) {
        Py_DECREF(&SyncerType);
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
