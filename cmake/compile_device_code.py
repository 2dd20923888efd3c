#!/usr/bin/env python3
"""Compiles one kernel source for one GPU architecture, and fails if what comes out would be slow.

  compile_device_code.py --compiler nvcc --arch sm_90a --output x.bin --depfile x.d
                         [--matrix REGEX] [--may-spill REGEX BYTES] [--objdump llvm-objdump-19] [-I DIR]... SOURCE

No kernel may keep registers in memory (bytes stored by NVIDIA's spills; AMD's spilled registers, and bytes of scratch memory),
but for those whose "ARCH NAME" matches --may-spill, up to that number. Kernels whose names match --matrix must contain matrix
instructions. What every kernel takes is written to OUTPUT.txt. With --objdump the code is written to OUTPUT.listing as text,
for the interpreter (src/device/gpu/gfx942).
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
import zlib


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(" ".join(map(str, command)) + "\n" + done.stdout + done.stderr)
    return done.stdout + done.stderr


def compile_nvidia(args, folder):
    """Returns {kernel: {registers, spills, matrix}}."""
    number = args.arch.removeprefix("sm_")
    log = run([args.compiler, "-std=c++20", "-O3", "-x", "cu", "-gencode", f"arch=compute_{number},code={args.arch}",
               *[f"-I{i}" for i in args.I], "-Xptxas", "-v", "--keep", "--keep-dir", folder, "-MD", "-MF", args.depfile,
               "-MT", args.output, "-cubin", "-o", args.output, args.source])
    kernels = {}
    name = None
    for line in log.splitlines():
        if found := re.search(r"Compiling entry function '(\w+)'", line):
            name = found[1]
            kernels[name] = {"registers": 0, "spills": 0, "matrix": 0}
        if name is None:
            continue
        if found := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            kernels[name]["spills"] += int(found[1])
        if found := re.search(r"Used (\d+) registers", line):
            kernels[name]["registers"] = int(found[1])
    for ptx in pathlib.Path(folder).glob("*.ptx"):
        for entry in re.finditer(r"\.entry (\w+)\(.*?^}", ptx.read_text(), re.MULTILINE | re.DOTALL):
            if entry[1] in kernels:
                kernels[entry[1]]["matrix"] = len(re.findall(r"\bmma\.sync|\bwgmma\.mma_async", entry[0]))
    return kernels


def compile_amd(args, folder):
    """Returns {kernel: {registers, spills, scratch, matrix}}."""
    assembly = pathlib.Path(folder) / "kernels.s"
    run([args.compiler, "-std=c++20", "-x", "hip", "-nogpuinc", "-nogpulib", f"--offload-arch={args.arch}",
         "--offload-device-only", "--no-gpu-bundle-output", "-O3", *[f"-I{i}" for i in args.I], "-MD", "-MF", args.depfile,
         "-MT", args.output, "-S", "-o", assembly, args.source])
    run([args.compiler, "--target=amdgcn-amd-amdhsa", f"-mcpu={args.arch}", "-x", "assembler", assembly, "-o", args.output])
    text = assembly.read_text()
    kernels = {}
    for block in text.split("  - .agpr_count:")[1:] if "  - .agpr_count:" in text else text.split("\n  - .args:")[1:]:
        fields = {key: int(value) for key, value in re.findall(
            r"\.(vgpr_count|vgpr_spill_count|sgpr_spill_count|private_segment_fixed_size|group_segment_fixed_size): +(\d+)",
            block)}
        name = re.search(r"\n    \.name: +(\w+)", block)[1]
        body = text[text.index(f"\n{name}:"):]
        body = body[:body.index(".Lfunc_end")]
        kernels[name] = {"registers": fields["vgpr_count"], "spills": fields["vgpr_spill_count"],
                         "scratch": fields["private_segment_fixed_size"], "shared": fields["group_segment_fixed_size"],
                         "matrix": len(re.findall(r"\bv_(?:mfma|wmma)_", body))}
    return kernels


def write_listing(args):
    """The disassembler's text, less what the interpreter does not read: encodings and blanks. And packed
    (gfx942/packed_listing.h), which is what the program holds."""
    text = run([args.objdump, "-d", args.output])
    text = re.sub(r" *// 0*([0-9A-F]+):(?: [0-9A-F]{8})+( <.*>)?$", r" //\1:\2", text, flags=re.MULTILINE)
    pathlib.Path(args.output + ".listing").write_text(text)
    encoded = text.encode()
    packed = len(encoded).to_bytes(8, "little") + zlib.compress(encoded, 9)
    pathlib.Path(args.output + ".listing.packed").write_bytes(packed)


def main():
    parser = argparse.ArgumentParser()
    for option in ("--compiler", "--arch", "--output", "--depfile"):
        parser.add_argument(option, required=True)
    parser.add_argument("--matrix", default="$^")
    parser.add_argument("--may-spill", nargs=2, default=["$^", "0"])
    parser.add_argument("--objdump")
    parser.add_argument("-I", action="append", default=[])
    parser.add_argument("source")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        kernels = (compile_nvidia if args.arch.startswith("sm_") else compile_amd)(args, folder)
    problems = [] if kernels else ["no kernel is in it"]
    for name, facts in kernels.items():
        allowed = int(args.may_spill[1]) if re.search(args.may_spill[0], f"{args.arch} {name}") else 0
        if facts["spills"] > allowed:
            problems.append(f"{name} keeps registers in memory ({facts['spills']} spilled)")
        if facts.get("scratch", 0) > allowed:
            problems.append(f"{name} uses {facts['scratch']} bytes of scratch memory")
        if re.search(args.matrix, name) and not facts["matrix"]:
            problems.append(f"{name} has no matrix instruction")
    lines = [f"{args.arch} {name}: " + ", ".join(f"{key} {value}" for key, value in facts.items())
             for name, facts in sorted(kernels.items())]
    pathlib.Path(args.output + ".txt").write_text("\n".join(lines) + "\n")
    if problems:
        pathlib.Path(args.output).unlink(missing_ok=True)
        sys.exit("\n".join(f"{args.source} for {args.arch}: {problem}" for problem in problems))
    if args.objdump:
        write_listing(args)


main()
