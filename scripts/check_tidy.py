#!/usr/bin/env python3
"""Runs clang-tidy over every C++ source whose content it has not seen passing.

  check_tidy.py [BUILD] [--all] [--record] [--jobs N]    BUILD: build/asan; its compile_commands.json has the flags

A source is read unless scripts/tidy_checked.txt has a line with its name and its present fingerprint. The fingerprint is
a hash of all that a reading depends on within this repository: the source, every header of the project that it includes
in however many steps (under whatever #if), .clang-tidy, the flags, and clang-tidy's version. So a change of any of them
means another reading, a line that is missing or old means no more than a reading, and nothing but a reading that found no
fault while none of these files changed writes a line. A line stays true whatever else changes: lists of two branches merge
to their union (.gitattributes), and lines that a merge left over or broke match nothing.

A developer runs it with --record and commits the list; what was forgotten, continuous integration reads.

  --all      reads every source, whatever the list says
  --record   writes each source that passes into the list at once, also where others fail or the run is stopped
"""
import argparse
import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIST = ROOT / "scripts/tidy_checked.txt"
# Also strings that a macro names for an #include (Highway's HWY_TARGET_INCLUDE).
INCLUDE = re.compile(r'^\s*#\s*(?:include|define\s+\w+)\s*["<]([^">\n]+)[">]', re.MULTILINE)
# Needs the omp.h of an OpenMP library for clang, which nothing else does.
LEFT_OUT = {"bench/onednn_linear.cc"}
# What a build with kernels for GPUs defines.
DEFINED = {"src/device/gpu/gfx942/coverage_test.cc": ['--extra-arg=-DTESSERA_LISTINGS_UNDER="."']}


@functools.cache
def read(path, stamp):
    """Returns the hash of one file, and the names that it includes. `stamp` tells versions of the file apart."""
    content = path.read_bytes()
    return hashlib.sha256(content).hexdigest(), INCLUDE.findall(content.decode(errors="replace"))


def read_now(path):
    state = path.stat()
    return read(path, (state.st_mtime_ns, state.st_size, state.st_ino))


def find_include(name, includer, folders):
    """Returns the file of the project that `includer` means by `name`, or None if it is another library's."""
    for folder in (includer.parent, *folders):
        path = pathlib.Path(os.path.normpath(folder / name))
        if path.is_relative_to(ROOT) and path.is_file():
            return path
    return None


class Reader:
    def __init__(self, build):
        version = subprocess.run(["clang-tidy-16", "--version"], capture_output=True, text=True, check=True).stdout
        self.build = build
        self.rules = [re.search(r"version \S+", version)[0], hashlib.sha256((ROOT / ".clang-tidy").read_bytes()).hexdigest()]
        self.flags, self.folders = {}, {}
        for entry in json.loads((ROOT / build / "compile_commands.json").read_text()):
            path = os.path.normpath(os.path.join(entry["directory"], entry["file"]))
            words = shlex.split(entry["command"])[1:]
            if "-o" in words:
                del words[words.index("-o"):words.index("-o") + 2]
            # A source in several targets is read with the flags of each.
            self.flags.setdefault(path, []).append(" ".join(words).replace(str(ROOT), "."))
            self.folders.setdefault(path, []).extend(pathlib.Path(word[2:]) for word in words if word.startswith("-I"))

    def line(self, source):
        """Returns the line that says that the present content of `source` has passed."""
        # What this build does not compile clang-tidy reads with the flags of its neighbours.
        folders = [*self.folders.get(str(source), []), ROOT / "src", ROOT / "include", ROOT / "tests"]
        reached, left = {}, [source]
        while left:
            path = left.pop()
            if path not in reached:
                reached[path], names = read_now(path)
                left.extend(found for name in names if (found := find_include(name, path, folders)))
        parts = [*self.rules, *sorted(self.flags.get(str(source), [])),
                 *(f"{path.relative_to(ROOT)} {reached[path]}" for path in sorted(reached))]
        return f"{source.relative_to(ROOT)} {hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:32]}"

    def passes(self, source):
        """Reads `source`. Returns the line of the content that passed, or None and prints what is wrong."""
        before = self.line(source)
        defined = DEFINED.get(str(source.relative_to(ROOT)), [])
        done = subprocess.run(["clang-tidy-16", "--quiet", *defined, "-p", self.build, source], capture_output=True, text=True)
        if done.returncode != 0:
            errors = "\n".join(line for line in done.stderr.splitlines() if "warnings generated" not in line)
            print(f"{source.relative_to(ROOT)}:\n{done.stdout}{errors}", flush=True)
            return None
        if self.line(source) != before:
            print(f"{source.relative_to(ROOT)} changed while it was read", flush=True)
            return None
        return before


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", nargs="?", default="build/asan")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    os.chdir(ROOT)

    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.cc"],
                           capture_output=True, text=True, check=True).stdout.split("\0")
    sources = [ROOT / name for name in names if name not in LEFT_OUT and (ROOT / name).is_file()]
    reader = Reader(args.build)
    recorded = set(LIST.read_text().splitlines()) if LIST.exists() else set()
    unread = [source for source in sources if args.all or reader.line(source) not in recorded]

    good = recorded & {reader.line(source) for source in sources if source not in set(unread)}
    failed = []
    lock = threading.Lock()

    def write():
        if args.record:
            LIST.write_text("".join(line + "\n" for line in sorted(good)))

    def check(source):
        line = reader.passes(source)
        with lock:
            if line:
                good.add(line)
                write()
            else:
                failed.append(str(source.relative_to(ROOT)))

    write()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(check, unread))
    if failed:
        sys.exit("clang-tidy has not passed " + ", ".join(sorted(failed)))
    print(f"clang-tidy: {len(unread)} of {len(sources)} sources read without a finding; the others passed before")


main()
