#!/usr/bin/python3
"""What diffs have in common, counted a second time and by other means: qemu-img says what each disk
holds of its own and what a guest reads there, SHA-256 what is equal.

    advice_count.py SHARE BASE DISK...

BASE is what all of them stand on; prints the figures of `report advice` as JSON, in bytes.
"""
import collections
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile

BLOCK = 4096
ZERO = hashlib.sha256(bytes(BLOCK)).digest()


def hashes(path, blocks, folder):
    """{block: digest} of what a guest reads, for these blocks (all that hold anything if None)."""
    raw = os.path.join(folder, "raw")
    subprocess.run(["qemu-img", "convert", "-O", "raw", path, raw], check=True)
    found = {}
    with open(raw, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        for block in range(size // BLOCK) if blocks is None else blocks:
            file.seek(block * BLOCK)
            found[block] = hashlib.sha256(file.read(BLOCK)).digest()
    os.unlink(raw)
    return found


def own_blocks(path):
    """(blocks of data, blocks it says anything about) of the uppermost layer alone."""
    said = subprocess.run(["qemu-img", "map", "--output", "json", path], check=True,
                          capture_output=True).stdout
    data, says = set(), set()
    for extent in json.loads(said):
        if extent["depth"] != 0 or not extent.get("present", True):
            continue
        blocks = range(extent["start"] // BLOCK, (extent["start"] + extent["length"]) // BLOCK)
        says.update(blocks)
        if extent["data"]:
            data.update(blocks)
    return data, says


def main():
    share, base_path, paths = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    sums = collections.Counter()
    owned, says = [], []
    with tempfile.TemporaryDirectory() as folder:
        base = hashes(base_path, None, folder)
        for path in paths:
            data, said = own_blocks(path)
            own = {}
            for block, digest in hashes(path, sorted(data), folder).items():
                sums["data_bytes"] += BLOCK
                if digest == ZERO:
                    sums["zero_bytes"] += BLOCK
                elif digest == base.get(block):
                    sums["below_bytes"] += BLOCK
                else:
                    own[block] = digest
            owned.append(own)
            says.append(said)
    in_base = set(base.values())
    places = collections.Counter((b, d) for own in owned for b, d in own.items())
    contents = collections.Counter(d for own in owned for d in own.values())
    sums["own_bytes"] = BLOCK * sum(places.values())
    sums["same_offset_bytes"] = BLOCK * sum(n for n in places.values() if n > 1)
    sums["same_offset_saves_bytes"] = BLOCK * sum(n - 1 for n in places.values())
    for digest, n in contents.items():
        known = digest in in_base
        sums["anywhere_bytes"] += BLOCK * n if known or n > 1 else 0
        sums["anywhere_saves_bytes"] += BLOCK * (n if known else n - 1)
    need = max(2, math.ceil(share / 100 * len(paths)))
    best = {}
    for (block, _), n in places.items():
        best[block] = max(n, best.get(block, 0))
    for block, n in best.items():
        silent = sum(block not in said for said in says) if base[block] != ZERO else 0
        if n >= need and n > 1 + silent:
            sums["diffs_bytes"] += BLOCK * n
            sums["added_bytes"] += BLOCK * silent
            sums["layer_bytes"] += BLOCK
    print(json.dumps(sums))


if __name__ == "__main__":
    main()
