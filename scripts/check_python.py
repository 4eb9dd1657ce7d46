"""Say in one line why this interpreter cannot build goroutines, and exit with 1; else say nothing.

usage: PYTHON scripts/check_python.py [--tools]

Run by meson.build and, with --tools (compiler, headers, venv), by the Makefile.  Written so that
any Python can run it, however old: it is the unsupported ones that need the message.
"""

import os
import platform
import sys
import sysconfig

SUPPORTED = "goroutines supports CPython 3.11-3.15 with the GIL, on Linux x86-64 and aarch64"


def unsupported():
    """What about this interpreter or machine is not supported, or None."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if platform.python_implementation() != "CPython":
        return "this is " + platform.python_implementation()
    if not (3, 11) <= sys.version_info[:2] <= (3, 15):
        return "this is Python " + version
    if (3, 14) <= sys.version_info[:3] < (3, 14, 2):
        return "this is Python " + version + ", and of 3.14 it needs 3.14.2 or later"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "this is a free-threaded build"
    if not sys.platform.startswith("linux"):
        return "this is " + platform.system()
    if platform.machine() not in ("x86_64", "aarch64") or sys.maxsize < 2**32:
        return "this is a %s-bit interpreter on %s" % (
            platform.architecture()[0][:2],
            platform.machine(),
        )
    return None


def missing():
    """What building needs and this machine lacks, or None."""
    from shutil import which

    chosen = os.environ.get("CC", "").split()[:1]
    if not any(which(cc) for cc in chosen or ["cc", "gcc", "clang"]):
        return "a C compiler is required: install gcc or clang"
    if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
        return "the headers of %s are required: install its -dev package" % sys.executable
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        return "the venv module of %s is required: install its -venv package" % sys.executable
    return None


def main():
    reason = unsupported()
    if reason:
        print("%s; %s (%s)" % (SUPPORTED, reason, sys.executable))
        return 1
    reason = missing() if "--tools" in sys.argv[1:] else None
    if reason:
        print(reason)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
