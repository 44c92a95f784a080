"""Runs the tests of the packer and prints the counts: python3 scripts/image/tests"""

import sys
import unittest
from pathlib import Path

HERE = str(Path(__file__).resolve().parent)


def main() -> None:
    suite = unittest.defaultTestLoader.discover(HERE, top_level_dir=HERE)
    result = unittest.TextTestRunner(stream=sys.stdout).run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    passed = result.testsRun - failed - len(result.skipped)
    # The form of `cargo test`, which scripts/count.sh adds up.
    print(f"test result: {'FAILED' if failed else 'ok'}. {passed} passed; {failed} failed; scripts/image")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
