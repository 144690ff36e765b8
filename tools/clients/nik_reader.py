"""Reads a .nik file (docs/FORMATS.md) with nothing of Nikola's: numpy, lz4, blake3 and, for encrypted files, cryptography.

    python nik_reader.py FILE.nik [--key-file KEY] [--npy PSI.npy]

Checks the header, every checksum of every payload, and the Merkle root of the last snapshot; loads Psi in canonical
order; prints a line of JSON. Ends with code 1 and a message when something is not as the format says.
"""

import argparse
import json
import struct
import sys

import blake3
import lz4.block
import numpy

NO_PAGE = 2**64 - 1
SCALARS, ABOUT = 254, 255
ENCODED, ENCRYPTED, DELETED = 2, 4, 8


class Damaged(Exception):
    """What is wrong, and where."""


def crc32c_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


TABLE = crc32c_table()


def crc32c(data):
    state = 0xFFFFFFFF
    for byte in data:
        state = state >> 8 ^ TABLE[(state ^ byte) & 0xFF]
    return state ^ 0xFFFFFFFF


def require(holds, place):
    if not holds:
        raise Damaged(place)


def footer_at(data, offset):
    """The whole footer at offset, or None."""
    raw = data[offset : offset + 128]
    if offset < 64 or len(raw) < 128 or raw[120:] != b"NIKOEND4":
        return None
    if struct.unpack_from("<I", raw, 116)[0] != crc32c(data[:64] + raw[:116]):
        return None
    names = "snapshot tick payloads live begin end time".split()
    footer = dict(zip(names, struct.unpack_from("<QQIIQQQ", raw, 0)))
    footer["root"] = raw[48:80]
    footer["previous"] = struct.unpack_from("<Q", raw, 80)[0]
    footer["salt"] = raw[88:104]
    footer["headers_checksum"] = struct.unpack_from("<I", raw, 108)[0]
    return footer if footer["end"] == offset else None


def footers(data):
    """All footers, oldest first: the last whole one, then along the chain."""
    at, last = len(data), None
    while last is None:
        at = data.rfind(b"NIKOEND4", 64, at)
        require(at >= 0, "no whole snapshot")
        last = footer_at(data, at + 8 - 128)
        at += 7
    chain = [last]
    while chain[-1]["previous"]:
        before = footer_at(data, chain[-1]["previous"])
        require(before is not None, f"footer at byte {chain[-1]['previous']}")
        require(before["end"] + 128 == chain[-1]["begin"], "snapshots that lie end to end")
        chain.append(before)
    require(chain[-1]["begin"] == 64, "the first snapshot begins at byte 64")
    return chain[::-1]


def payloads(data, chain):
    """The live payloads: (page id, column) to (header, payload, snapshot's salt)."""
    live = {}
    for footer in chain:
        at, headers, count = footer["begin"], b"", 0
        while at < footer["end"]:
            raw = data[at : at + 24]
            page, checksum, flags, length, column, codec, _, snapshot = struct.unpack("<QIBIBBBI", raw)
            payload = data[at + 24 : at + 24 + length]
            require(crc32c(payload) == checksum, f"checksum of page {page}, column {column}, byte {at + 24}")
            require(snapshot == footer["snapshot"], f"snapshot of page {page}, column {column}")
            headers += raw
            count += 1
            at += 24 + length
            if flags & DELETED:
                live.pop((page, column), None)
            else:
                live[page, column] = raw, payload, footer["salt"]
        require(at == footer["end"] and count == footer["payloads"], f"payloads of snapshot {footer['snapshot']}")
        require(crc32c(headers) == footer["headers_checksum"], f"page headers of snapshot {footer['snapshot']}")
        require(len(live) == footer["live"], f"live payloads of snapshot {footer['snapshot']}")
    return live


def decrypt(master, header, raw, payload, salt):
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    page, column, snapshot = struct.unpack_from("<Q", raw)[0], raw[17], raw[20:24]
    material = master + header[28:44] + salt + bytes([column])
    key = blake3.blake3(material, derive_key_context="nikola .nik 0.4 payload key").digest()
    associated = header + raw[:8] + bytes(4) + raw[12:]
    try:
        return ChaCha20Poly1305(key).decrypt(snapshot + struct.pack("<Q", page), payload, associated)
    except InvalidTag:
        raise Damaged(f"authenticity of page {page}, column {column}") from None


def planes(stored, width, count):
    out, at = numpy.empty((count, width), numpy.uint8), 0
    for byte in range(width):
        method, length = struct.unpack_from("<BI", stored, at)
        body = stored[at + 5 : at + 5 + length]
        at += 5 + length
        plane = lz4.block.decompress(body, uncompressed_size=count) if method == 1 else body
        out[:, byte] = numpy.frombuffer(plane, numpy.uint8, count)
    require(at == len(stored), "the end of the byte planes")
    return out.tobytes()


def nonary(stored, width, count):
    scale, at = struct.unpack_from("<d", stored)[0], 8
    digits = []
    while len(digits) < count:
        token = stored[at]
        at += 1
        number = token & 127
        if number == 127:
            shift = 0
            while True:
                byte = stored[at]
                at += 1
                number += (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
        if token & 128:
            packed = stored[at : at + (number + 1) // 2]
            at += len(packed)
            digits += [digit for byte in packed for digit in (byte & 15, byte >> 4)][:number]
        else:
            digits += [4] * number
    require(len(digits) == count and at == len(stored), "the end of the nonary digits")
    values = (numpy.array(digits, numpy.float64) - 4) * scale
    return values.astype("<f4" if width == 4 else "<f8").tobytes()


def read(path, master=None):
    """Everything: (footers, description, {(page id, column): content})."""
    with open(path, "rb") as file:
        data = file.read()
    header = data[:64]
    require(len(header) == 64 and header[:4] == b"NIKO", "the magic NIKO")
    require(struct.unpack_from("<HH", header, 4) == (0, 4), "version 0.4")
    require(struct.unpack_from("<I", header, 60)[0] == crc32c(header[:60]), "the header's checksum")
    require(header[24] == 9, "nine axes")
    is_encrypted, page_nodes = header[25] == 1, struct.unpack_from("<I", header, 56)[0]
    require(not is_encrypted or master, "a key for this encrypted file")
    chain = footers(data)
    plain = {}
    for key, (raw, payload, salt) in payloads(data, chain).items():
        plain[key] = raw, decrypt(master, header, raw, payload, salt) if raw[12] & ENCRYPTED else payload
    about = json.loads(plain[NO_PAGE, ABOUT][1])
    shapes = {column["id"]: (column["bytes"], column.get("numbers", page_nodes)) for column in about["columns"]}
    contents = {}
    for (page, column), (raw, stored) in plain.items():
        decode = {0: lambda stored, *_: stored, 1: planes, 2: nonary}[raw[18]]
        width, count = shapes.get(column, (1, page_nodes))
        contents[page, column] = decode(stored, width, count)
        require(page == NO_PAGE or len(contents[page, column]) == width * count, f"length of page {page}")
    check_root(chain[-1], contents, tree_key(master, header) if is_encrypted else None)
    return chain, about, contents


def tree_key(master, header):
    return blake3.blake3(master + header[28:44], derive_key_context="nikola .nik 0.4 tree key").digest()


def check_root(footer, contents, key):
    def digest(data):
        return (blake3.blake3(data, key=key) if key else blake3.blake3(data)).digest()

    level = [digest(b"\0" + struct.pack("<QB", *name) + contents[name]) for name in sorted(contents)]
    leaves = len(level)
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [digest(b"\1" + pair[0] + pair[1]) if len(pair) == 2 else pair[0] for pair in pairs]
    root = digest(b"\2" + struct.pack("<QQQ", footer["snapshot"], footer["tick"], leaves) + level[0])
    require(root == footer["root"], "the Merkle root")


def psi(about, contents):
    """Psi in canonical order r...z; pages that the file does not hold are vacuum."""
    ids = {column["name"]: column["id"] for column in about["columns"]}
    width = next(column["bytes"] for column in about["columns"] if column["name"] == "psi_re")
    real = "<f4" if width == 4 else "<f8"
    out = numpy.zeros(about["extents"], "<c8" if width == 4 else "<c16")
    axes = about["axes"]
    order = [axes.index(axis) for axis in about["storage_order"]]
    order = [axis for axis in range(9) if axis not in order] + order
    for page, *first in about["pages"]:
        shape = [about["page_shape"][axis] for axis in order]
        planes = [numpy.frombuffer(contents[page, ids[name]], real).reshape(shape) for name in ("psi_re", "psi_im")]
        block = (planes[0] + numpy.array(1j, out.dtype) * planes[1]).transpose(numpy.argsort(order))
        place = tuple(slice(at, at + side) for at, side in zip(first, about["page_shape"]))
        out.real[place], out.imag[place] = block.real, block.imag
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--key-file")
    parser.add_argument("--npy", help="write Psi here, axes of one node dropped")
    arguments = parser.parse_args()
    master = None
    if arguments.key_file:
        with open(arguments.key_file, "rb") as file:
            master = file.read()
    try:
        chain, about, contents = read(arguments.file, master)
    except (Damaged, KeyError, ValueError, IndexError, struct.error, RuntimeError) as error:
        sys.exit(f"{arguments.file}: not as the format says: {error!r}")
    field = psi(about, contents)
    if arguments.npy:
        numpy.save(arguments.npy, field.squeeze())
    last = chain[-1]
    norm = float(numpy.sum(numpy.abs(field.astype(numpy.complex128)) ** 2))
    print(json.dumps({"tick": last["tick"], "snapshots": len(chain), "root": last["root"].hex(), "sum_psi2": norm}))


if __name__ == "__main__":
    main()
