"""Builds the hot paths in C; where no compiler is, the gate is installed without them and runs the Python ones."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "kvgate.lane._native",
            ["kvgate/lane/_native.c"],
            extra_compile_args=["-O2", "-std=gnu11"],
            optional=True,
        ),
        Extension(
            "kvgate.model._short",
            ["kvgate/model/_short.c"],
            extra_compile_args=["-O2", "-std=gnu11"],
            optional=True,
        ),
        Extension(
            "kvgate_lmdb._syncer",
            ["backends/kvgate_lmdb/_syncer.c"],
            extra_compile_args=["-O2", "-std=gnu11", "-pthread"],
            extra_link_args=["-pthread"],
            optional=True,
        ),
    ]
)
