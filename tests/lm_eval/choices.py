"""Results of a problem to choose from, the same on every run: for tiny_math_choice.yaml."""

import zlib


def target(doc):
    return zlib.crc32(doc["question"].encode()) % 4


def choices(doc):
    result = int(doc["answer"].rsplit("#### ", 1)[1])
    numbers = [result + 1, result + 2, result + 10]
    numbers.insert(target(doc), result)
    return [f"#### {number}" for number in numbers]
