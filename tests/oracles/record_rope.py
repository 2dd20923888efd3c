"""Records rotary embeddings for src/model/rope_test.cc: record_rope.py > rope.json

An implementation of the published formulas in float64, apart from the C++ one: linear position interpolation (arXiv
2306.15595), NTK-aware scaling of the base, Llama 3.1's piecewise scaling (arXiv 2407.21783), and YaRN (arXiv 2309.00071) with
the two mscales of DeepSeek. Needs numpy.
"""

import json
import math

import numpy as np

POSITIONS = [0, 1, 17, 1000, 4095]


def frequencies(rope, size, max_positions, max_len):
    theta, kind = rope.get("rope_theta", 10000.0), rope.get("rope_type", "default")
    index = np.arange(0, size, 2, dtype=np.float64)
    inverse, attention = theta ** (-index / size), 1.0
    factor = rope.get("factor", 1.0)
    original = rope.get("original_max_position_embeddings", max_positions)
    if kind == "linear":
        inverse = inverse / factor
    elif kind == "dynamic":
        length = max(max_len, max_positions)
        stretch = factor * length / max_positions - (factor - 1)
        inverse = (theta * stretch ** (size / (size - 2))) ** (-index / size)
    elif kind == "llama3":
        turns = original * inverse / (2 * math.pi)  # in the original context
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        kept = np.clip((turns - low) / (high - low), 0, 1)
        inverse = kept * inverse + (1 - kept) * inverse / factor
    elif kind == "yarn":
        def dimension(rotations):
            return size * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(theta))

        low, high = dimension(rope.get("beta_fast", 32)), dimension(rope.get("beta_slow", 1))
        if rope.get("truncate", True):
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, size - 1)
        if low == high:
            high += 0.001
        ramp = np.clip((np.arange(size // 2) - low) / (high - low), 0, 1)
        inverse = inverse / factor * ramp + inverse * (1 - ramp)

        def mscale(scale):
            return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0

        attention = rope.get("attention_factor")
        if attention is None:
            if rope.get("mscale") and rope.get("mscale_all_dim"):
                attention = mscale(rope["mscale"]) / mscale(rope["mscale_all_dim"])
            else:
                attention = mscale(1.0)
    return inverse, attention


LLAMA3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8192}
YARN = {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0, "original_max_position_embeddings": 32768}

# name, rope_parameters, head size, max_position_embeddings, longest sequence
CASES = [
    ("default", {"rope_theta": 10000.0}, 64, 4096, 4096),
    ("one_pair", {"rope_theta": 10000.0}, 2, 4096, 4096),
    ("theta_of_llama3", {"rope_theta": 500000.0}, 128, 8192, 8192),
    ("partial", {"rope_theta": 10000.0, "partial_rotary_factor": 0.5}, 80, 4096, 4096),
    ("linear", {"rope_type": "linear", "factor": 4.0}, 64, 4096, 16384),
    ("dynamic_within", {"rope_type": "dynamic", "factor": 2.0}, 64, 4096, 4096),
    ("dynamic_shorter", {"rope_type": "dynamic", "factor": 2.0}, 64, 4096, 100),
    ("dynamic_beyond", {"rope_type": "dynamic", "factor": 2.0}, 64, 4096, 8192),
    ("llama3_8b", LLAMA3, 128, 131072, 131072),
    ("llama3_1b", {**LLAMA3, "factor": 32.0}, 64, 131072, 131072),
    ("llama3_small", {**LLAMA3, "original_max_position_embeddings": 64}, 16, 4096, 4096),
    ("yarn", YARN, 128, 131072, 131072),
    ("yarn_no_truncation", {**YARN, "truncate": False, "factor": 32.0, "original_max_position_embeddings": 4096}, 64, 131072,
     131072),
    ("yarn_mscales", {**YARN, "mscale": 0.707, "mscale_all_dim": 1.0, "factor": 40.0}, 64, 163840, 163840),
    ("yarn_attention_factor", {**YARN, "attention_factor": 1.5}, 64, 131072, 131072),
    ("yarn_betas", {**YARN, "beta_fast": 16, "beta_slow": 2}, 64, 131072, 131072),
    ("yarn_short_context", {**YARN, "original_max_position_embeddings": 5}, 16, 4096, 4096),
]


def main():
    cases = []
    for name, rope, head_size, max_positions, max_len in CASES:
        size = int(head_size * rope.get("partial_rotary_factor", 1.0)) // 2 * 2
        inverse, attention = frequencies(rope, size, max_positions, max_len)
        angles = np.outer([p for p in POSITIONS if p < max_len], inverse)
        cases.append({
            "name": name, "rope_parameters": rope, "head_size": head_size, "max_position_embeddings": max_positions,
            "max_model_len": max_len, "rotary_size": size, "attention_factor": attention,
            "inverse": [float(f"{x:.12g}") for x in inverse],
            "cos": [[round(float(x), 9) for x in row] for row in np.cos(angles) * attention],
            "sin": [[round(float(x), 9) for x in row] for row in np.sin(angles) * attention],
        })
    print('{"positions": ' + json.dumps(POSITIONS) + ', "cases": [')
    print(",\n".join(json.dumps(case, separators=(",", ":")) for case in cases))
    print("]}")


if __name__ == "__main__":
    main()
