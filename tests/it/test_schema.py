# SPDX-License-Identifier: Apache-2.0
"""Random letters against the RELAX NG schemas: what cwc_validate() lets through is valid there, too,
and what breaks one rule is refused there wherever a schema can see it. The independent validators
are libxml2's (xmllint) and, where it is installed, jing. CWC_LONG=1: four times as many letters."""

import os
import re
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cwc_tools  # noqa: E402

COUNT = int(os.environ.get("CWC_LETTERS", "3000" if os.environ.get("CWC_LONG") else "750"))
SEED = os.environ.get("CWC_SEED", "20260302")
BATCH = 500


def xmllint(chamber, files):
    """The names of the files that are valid."""
    good = set()
    for i in range(0, len(files), BATCH):
        run = subprocess.run(
            ["xmllint", "--nonet", "--noout", "--relaxng", cwc_tools.SCHEMA[chamber]] + files[i:i + BATCH],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        text = run.stderr.decode("utf-8", "replace")
        good.update(re.findall(r"^(\S+) validates$", text, re.MULTILINE))
    return good


def jing(chamber, files):
    """The names of the files in which jing finds a mistake."""
    bad = set()
    for i in range(0, len(files), BATCH):
        run = subprocess.run(["jing", cwc_tools.SCHEMA[chamber]] + files[i:i + BATCH],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        text = run.stdout.decode("utf-8", "replace")
        bad.update(re.findall(r"^(\S+?):\d+:\d+: (?:fatal|error)", text, re.MULTILINE))
    return bad


class Schema(cwc_tools.ToolCase):
    tool = "letters"

    def make(self, chamber, *mode):
        directory = os.path.join(self.directory, "-".join((chamber,) + mode))
        os.mkdir(directory)
        subprocess.check_call([self.program, SEED, str(COUNT), chamber, directory] + list(mode))
        files = [os.path.join(directory, "%d.xml" % i) for i in range(COUNT)]
        for f in files:
            self.assertTrue(os.path.isfile(f))
        return directory, files

    def check_valid(self, chamber):
        _, files = self.make(chamber)
        self.assertEqual(sorted(set(files) - xmllint(chamber, files)), [])
        if shutil.which("jing"):
            self.assertEqual(sorted(jing(chamber, files)), [])

    def check_broken(self, chamber):
        directory, files = self.make(chamber, "broken")
        with open(os.path.join(directory, "index")) as index:
            rows = [line.split() for line in index]
        self.assertEqual(len(rows), COUNT)
        visible = {files[int(number)]: (element, rule) for number, element, rule, seen in rows if seen == "yes"}
        self.assertGreater(len(visible), COUNT // 3)
        missed = xmllint(chamber, sorted(visible)) & set(visible)
        self.assertEqual([(f, visible[f]) for f in sorted(missed)], [])
        if shutil.which("jing"):
            # jing ends at the first file that is not well-formed.
            formed = [f for f in sorted(visible) if visible[f][1] not in ("encoding", "control_character")]
            missed = set(formed) - jing(chamber, formed)
            self.assertEqual([(f, visible[f]) for f in sorted(missed)], [])
        # The rules that are drawn rarely have been drawn, too.
        self.assertGreaterEqual({rule for _, _, rule, _ in rows}, {
            "missing", "too_short", "too_long", "encoding", "control_character", "pattern", "value", "too_many",
            "duplicate", "no_body", "same_body", "chamber"})

    def test_valid_house(self):
        self.check_valid("house")

    def test_valid_senate(self):
        self.check_valid("senate")

    def test_broken_house(self):
        self.check_broken("house")

    def test_broken_senate(self):
        self.check_broken("senate")

    def test_golden_files(self):
        golden = os.path.join(cwc_tools.ROOT, "tests/golden")
        for chamber, names in (("house", ("house", "house-minimal", "sample-house")),
                               ("senate", ("senate", "senate-minimal"))):
            files = [os.path.join(golden, name + ".xml") for name in names]
            self.assertEqual(xmllint(chamber, files), set(files))
            other = "senate" if chamber == "house" else "house"
            self.assertEqual(xmllint(other, files), set())


if __name__ == "__main__":
    unittest.main()
