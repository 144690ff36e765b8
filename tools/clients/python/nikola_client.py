"""A client of Nikola's spine that needs nothing but pyzmq, protobuf and nikola.proto.

    python nikola_client.py pair CODE --name NAME --keys DIR      the code is what `nikola pair --open` prints
    python nikola_client.py --run RUN --name NAME --keys DIR status
    python nikola_client.py --run RUN --name NAME --keys DIR inject '(amplitude: 0.5, profile: Gaussian(width: {x: 1}))'
    python nikola_client.py --run RUN --name NAME --keys DIR packet 0.5 --width 0,0,0,0,0,0,2,2,0
    python nikola_client.py --run RUN --name NAME --keys DIR plot FILE.png --axes x,y
    python nikola_client.py --run RUN --name NAME --keys DIR plot FILE.png --axes x,y --shm

RUN is the folder of a running `nikola run`. The key is made at the first use and kept in DIR.
"""

import argparse
import json
import mmap
import os
import pathlib
import struct
import sys
import time
import uuid
import zlib

import zmq
from zmq.utils import z85

import nikola_proto

PROTO = nikola_proto.load()
AXES = "rstuvwxyz"
PATIENCE_MILLIS = 30_000


class Refused(Exception):
    """The broker answered no."""


def key_pair(folder, name):
    """The key pair of that name as Z85 bytes; made at the first call."""
    folder = pathlib.Path(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{name}.key"
    if not path.exists():
        public, secret = zmq.curve_keypair()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"public {public.decode()}\nsecret {secret.decode()}\n")
    lines = dict(line.split(" ", 1) for line in path.read_text().splitlines())
    return lines["public"].encode(), lines["secret"].encode()


class Spine:
    """Connections of one key to one broker."""

    def __init__(self, keys, server_key):
        self.context = zmq.Context()
        self.keys, self.server_key = keys, server_key
        self.sequence = 0

    def connect(self, kind, endpoint):
        socket = self.context.socket(kind)
        socket.linger = 0
        socket.curve_publickey, socket.curve_secretkey = self.keys
        socket.curve_serverkey = self.server_key
        socket.connect(endpoint)
        return socket

    def envelope(self, **payload):
        """A message with every field the broker looks at."""
        self.sequence = max(time.time_ns(), self.sequence + 1)
        return PROTO.NeuralSpike(
            request_id=str(uuid.uuid4()),
            timestamp_ms=time.time_ns() // 1_000_000,
            sender=PROTO.COMPONENT_ID_AGENT,
            recipient=PROTO.COMPONENT_ID_SPINE,
            sequence=self.sequence,
            protocol_version=1,
            **payload,
        )

    def ask(self, socket, control):
        """Sends a control message and returns the answer."""
        question = self.envelope(control=control)
        socket.send(question.SerializeToString())
        return self.answer(socket, question.request_id)

    @staticmethod
    def answer(socket, request_id, patience_millis=PATIENCE_MILLIS):
        """The next answer with that id."""
        while socket.poll(patience_millis):
            answer = PROTO.NeuralSpike.FromString(socket.recv())
            if answer.request_id != request_id:
                continue
            if answer.WhichOneof("payload") == "error":
                raise Refused(answer.error.message)
            return answer
        raise TimeoutError("no answer; is this key on the white list?")


def pair(arguments):
    """Brings this key in with a code, and returns what to show."""
    word, token, server, endpoint = arguments.code.split(":", 3)
    if word != "nikola1":
        raise ValueError("this is no pairing code")
    public, secret = key_pair(arguments.keys, arguments.name)
    spine = Spine((public, secret), z85.encode(bytes.fromhex(server)))
    socket = spine.connect(zmq.DEALER, endpoint)
    request = PROTO.Pairing(token=bytes.fromhex(token), name=arguments.name, public_key=public.decode())
    shown = spine.ask(socket, PROTO.Control(verb=PROTO.PAIR_REQUEST, pairing=request))
    print("fingerprint:", shown.control.pairing.fingerprint, flush=True)
    outcome = spine.answer(socket, shown.request_id, 300_000).control.pairing.outcome
    print(outcome)
    return 0 if outcome == "admitted" else 1


def packet(arguments):
    """A Gaussian packet as an Injection."""

    def nine(text):
        return [float(number) for number in text.split(",")] if text else []

    return PROTO.Injection(
        re=arguments.amplitude,
        centre=nine(arguments.centre),
        width=nine(arguments.width),
        momentum=nine(arguments.momentum),
    )


def decode_key(key):
    """Grid coordinates r…z of a 128-bit Morton key: bit k of axis d is bit 9k + d."""
    number = int.from_bytes(key, "big")
    return [sum((number >> (9 * k + d) & 1) << k for k in range(14)) for d in range(9)]


def next_wave(spine, place, theta):
    """The next sparse wave."""
    events = spine.connect(zmq.SUB, place["endpoints"]["events"])
    events.subscribe(b"waveform")
    control = spine.connect(zmq.DEALER, place["endpoints"]["control"])
    spine.ask(control, PROTO.Control(verb=PROTO.SUBSCRIBE, target="waveform", value=theta, period_ticks=10))
    if not events.poll(PATIENCE_MILLIS):
        raise TimeoutError("no wave; does the engine tick?")
    _, body = events.recv_multipart()
    return PROTO.NeuralSpike.FromString(body).sparse_waveform


def next_frame(spine, place):
    """Where the next dense wave lies."""
    events = spine.connect(zmq.SUB, place["endpoints"]["events"])
    events.subscribe(b"frame")
    if not events.poll(PATIENCE_MILLIS):
        raise TimeoutError("no frame; was the run started with --frames 0, or on a GPU?")
    _, body = events.recv_multipart()
    return PROTO.NeuralSpike.FromString(body).waveform_shm


class Segment:
    """A ring of frames in shared memory, as docs/FORMATS.md describes it."""

    HEADER, SLOT = 512, 16

    def __init__(self, path):
        with open(path, "rb") as file:
            self.memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self.memory[:8] != b"NIKOSHM1" or self.word(1) != 1:
            raise ValueError(f"{path} is no segment of version 1")
        self.slots, self.slot_words, self.capacity = self.word(2), self.word(3), self.word(4)
        self.page_nodes, self.scalar_bytes = self.word(5), self.word(6)
        self.extents = [self.word(16 + d) for d in range(9)]
        self.page_shape = [self.word(34 + d) for d in range(9)]
        # Slowest first: longer axes, then r…z.
        axes = (d for d in range(9) if self.extents[d] > 1)
        self.storage = sorted(axes, key=lambda d: (-self.extents[d], d))

    def word(self, index):
        return struct.unpack_from("<Q", self.memory, 8 * index)[0]

    def copy(self, slot):
        """The words of a slot if it was not written to meanwhile."""
        start = 8 * (self.HEADER + slot * self.slot_words)
        before = struct.unpack_from("<Q", self.memory, start)[0]
        if before % 2 or before == 0:
            return None
        copied = self.memory[start : start + 8 * self.slot_words]
        after = struct.unpack_from("<Q", self.memory, start)[0]
        return copied if before == after else None

    def frame(self, descriptor):
        """(tick, {node: |Ψ|²}) of the frame described, or of a newer one if that has been overwritten."""
        slot = descriptor.slot
        for _ in range(1000):
            copied = self.copy(slot)
            if copied and struct.unpack_from("<Q", copied, 0)[0] >= descriptor.sequence:
                return self.unpack(copied)
            slot = (self.word(8) - 1) % self.slots
        raise TimeoutError("the engine overwrites frames faster than they are read")

    def unpack(self, copied):
        tick, n_pages = struct.unpack_from("<Q", copied, 16)[0], struct.unpack_from("<Q", copied, 40)[0]
        pages = struct.unpack_from(f"<{n_pages}Q", copied, 8 * self.SLOT)
        block = -(-self.page_nodes * self.scalar_bytes // 8) * 8
        kind = {4: "f", 8: "d"}[self.scalar_bytes]
        density = {}
        for k, page in enumerate(pages):
            at = 8 * (self.SLOT + self.capacity) + 2 * k * block
            re = struct.unpack_from(f"<{self.page_nodes}{kind}", copied, at)
            im = struct.unpack_from(f"<{self.page_nodes}{kind}", copied, at + block)
            for i, (x, y) in enumerate(zip(re, im)):
                density[self.node(page, i)] = x * x + y * y
        return tick, density

    def node(self, page, i):
        """Grid coordinates r…z."""
        at = [0] * 9
        for d in reversed(self.storage):
            side = self.page_shape[d]
            across = self.extents[d] // side
            at[d] = page % across * side + i % side
            page, i = page // across, i // side
        return tuple(at)


def project(wave, axes):
    """The density of a sparse wave summed onto two axes, as rows of numbers."""
    keys = (decode_key(wave.keys[16 * i : 16 * i + 16]) for i in range(len(wave.re)))
    return flatten(((node, re * re + im * im) for node, re, im in zip(keys, wave.re, wave.im)), axes)


def flatten(nodes, axes):
    """Densities of nodes summed onto two axes."""
    across, up = (AXES.index(axis) for axis in axes)
    density = {}
    for node, value in nodes:
        at = node[across], node[up]
        density[at] = density.get(at, 0.0) + value
    width = max(at[0] for at in density) + 1
    height = max(at[1] for at in density) + 1
    return [[density.get((x, y), 0.0) for x in range(width)] for y in reversed(range(height))]


def write_png(path, rows, scale=8):
    """An 8-bit grey picture, largest value white."""
    top = max(max(row) for row in rows) or 1.0
    lines = []
    for row in rows:
        line = bytes(round(255 * (value / top) ** 0.5) for value in row for _ in range(scale))
        lines += [b"\0" + line] * scale

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", len(rows[0]) * scale, len(lines), 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(lines))) + chunk(b"IEND", b"")
    pathlib.Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def steer(arguments):
    """Everything but pairing."""
    place = json.loads((pathlib.Path(arguments.run) / "spine.json").read_text())
    spine = Spine(key_pair(arguments.keys, arguments.name), place["server_key"].encode())
    if arguments.verb == "plot" and arguments.shm:
        descriptor = next_frame(spine, place)
        tick, density = Segment(descriptor.segment).frame(descriptor)
        write_png(arguments.file, flatten(density.items(), arguments.axes.split(",")))
        print(json.dumps({"tick": tick, "nodes": len(density), "described": descriptor.tick}))
        return 0
    if arguments.verb == "plot":
        wave = next_wave(spine, place, arguments.theta)
        write_png(arguments.file, project(wave, arguments.axes.split(",")))
        print(json.dumps({"tick": wave.tick, "nodes": len(wave.re), "omitted_fraction": wave.omitted_fraction}))
        return 0
    control = {
        "status": lambda: PROTO.Control(verb=PROTO.STATUS),
        "halt": lambda: PROTO.Control(verb=PROTO.HALT),
        "inject": lambda: PROTO.Control(
            verb=PROTO.INJECT, injection=PROTO.Injection(strike=getattr(arguments, "strike", ""))
        ),
        "packet": lambda: PROTO.Control(verb=PROTO.INJECT, injection=packet(arguments)),
    }[arguments.verb]()
    answer = spine.ask(spine.connect(zmq.DEALER, place["endpoints"]["control"]), control)
    if answer.WhichOneof("payload") == "status_report":
        report = answer.status_report
        print(json.dumps({"state": report.state, "tick": report.tick, "figures": dict(report.figures)}))
    else:
        print(json.dumps({"tick": answer.command_response.tick, "text": answer.command_response.stdout.decode()}))
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default=".", help="folder of a running engine")
    parser.add_argument("--name", default="python", help="name of the key")
    parser.add_argument("--keys", default="keys", help="folder of the key")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("status", "halt"):
        verbs.add_parser(verb)
    verbs.add_parser("inject").add_argument("strike")
    pairing = verbs.add_parser("pair")
    pairing.add_argument("code")
    wave = verbs.add_parser("packet")
    wave.add_argument("amplitude", type=float)
    for name in ("centre", "width", "momentum"):
        wave.add_argument(f"--{name}", default="", help="nine numbers along r…z")
    plot = verbs.add_parser("plot")
    plot.add_argument("file")
    plot.add_argument("--axes", default="x,y")
    plot.add_argument("--theta", type=float, default=0.1)
    plot.add_argument("--shm", action="store_true", help="all nodes, from shared memory")
    arguments = parser.parse_args()
    try:
        return pair(arguments) if arguments.verb == "pair" else steer(arguments)
    except Refused as refused:
        print(f"refused: {refused}", file=sys.stderr)
        return 13


if __name__ == "__main__":
    sys.exit(main())
