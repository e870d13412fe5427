# SPDX-License-Identifier: Apache-2.0
"""Finds the helper programs of tests/tools: in $CWC_TOOLS, or built into a directory of its own."""

import os
import shlex
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCHEMA = {
    "house": os.path.join(ROOT, "tests/schema/cwc-2.0.rng"),
    "senate": os.path.join(ROOT, "tests/schema/cwc-2.0-senate.rng"),
}
SOURCES = {
    "letters": ["tests/tools/letters.c"],
    "eastern": ["tests/tools/eastern.c"],
    "windows": ["tests/tools/windows.c"],
}
PACKAGES = ["jansson", "libsodium", "libcbor"]


def build(name, directory):
    """Compiles one of the programs and returns its path."""
    folder = os.path.join(ROOT, "cwc")
    sources = SOURCES[name] + sorted("cwc/" + f for f in os.listdir(folder) if f.endswith(".c"))
    sources += ["worker/base/%s.c" % f for f in ("buf", "text", "cbor", "err")]
    flags = subprocess.check_output(["pkg-config", "--cflags", "--libs"] + PACKAGES, text=True)
    target = os.path.join(directory, name)
    subprocess.check_call(
        [os.environ.get("CC", "cc"), "-std=c17", "-D_GNU_SOURCE", "-O1", "-I."]
        + sources + shlex.split(flags) + ["-o", target],
        cwd=ROOT)
    return target


class ToolCase(unittest.TestCase):
    """A test case with one of the programs (`tool`) and a directory that goes away."""

    tool = None

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="cwc-test-")
        given = os.path.join(os.environ.get("CWC_TOOLS", ""), cls.tool)
        if os.environ.get("CWC_TOOLS") and os.access(given, os.X_OK):
            cls.program = os.path.abspath(given)
        else:
            cls.program = build(cls.tool, cls.directory)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.directory)
