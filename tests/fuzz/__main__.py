"""`make fuzz`: feeds bytes to what reads a source's stream, guided by coverage; only its own error may come out.

One reader after the other, each in a process of its own that begins with messages which real servers sent. An input
that raises anything else ends the run, is printed, and stays below `var/fuzz` with everything that was learned.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from tests.unit.test_relay import HEAD, ending
from tests.unit.test_relay_tails import FAILURES, ROWS

ROOT = Path(__file__).parents[2]
READERS = ("test_decoding", "pgoutput", "tuples", "relay")


def seeds(reader: str, folder: Path) -> None:
    """Write each recorded message into a file: the beginnings from which others are made."""
    for path in sorted((ROOT / "tests" / "unit" / "data").glob(f"{reader}-*.jsonl")):
        for number, line in enumerate(path.read_text().splitlines()):
            (folder / f"{path.stem}-{number}").write_bytes(json.loads(line).encode("latin-1"))
    if reader == "relay":
        for number, tail in enumerate([ending(2), *FAILURES.values()]):
            for size in (6, 255):
                (folder / f"tail-{number}-{size}").write_bytes(bytes([size]) + HEAD + ROWS * 30 + tail)


def main() -> int:
    """Fuzz each reader for some seconds. Returns 1 when one let something out."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("readers", nargs="*", choices=[[], *READERS], help="all without any")
    options = parser.parse_args()
    failed = []
    for reader in options.readers or READERS:
        corpus = ROOT / "var" / "fuzz" / reader
        corpus.mkdir(parents=True, exist_ok=True)
        seeds(reader, corpus)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.fuzz.reader", reader, str(corpus)),
                *(
                    f"-max_total_time={options.seconds}",
                    f"-seed={options.seed}",
                    "-max_len=4096",
                    "-print_final_stats=1",
                ),
                f"-artifact_prefix={corpus.parent}/{reader}-",
            ],
            cwd=ROOT,
            check=False,
        )
        print(f"{reader}: {'nothing but its own error came out' if done.returncode == 0 else 'FAILED'}", flush=True)
        failed += [reader] if done.returncode else []
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
