"""The peer of `nikola gpu --bench`: one Strang step of the cubic Schrödinger equation with torch.fft, complex64.

usage: torch_ref.py SHAPE [SECS]     e.g. torch_ref.py 128x128x128
Prints one JSON object: milliseconds per step (median of batches timed by device events). The step is what a user of
torch writes: V half step with the density, forward transform, phase table, inverse transform, V half step; tables are
computed once, products are done in place where torch can.
"""

import json
import sys

import torch


def main():
    shape = tuple(int(extent) for extent in sys.argv[1].split("x"))
    secs = float(sys.argv[2]) if len(sys.argv) > 2 else 2.0
    device = torch.device("cuda")
    dt, beta = 1e-3, 1.0
    torch.manual_seed(1)
    psi = torch.randn(shape, dtype=torch.complex64, device=device)
    potential = torch.rand(shape, dtype=torch.float32, device=device)
    k2 = torch.zeros(shape, dtype=torch.float64, device=device)
    for axis, extent in enumerate(shape):
        # Lengths equal extents: the spacing is 1.
        k = 2 * torch.pi * torch.fft.fftfreq(extent, d=1.0, dtype=torch.float64, device=device)
        k2 += (k**2).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    kinetic = torch.polar(torch.ones_like(k2), -0.5 * dt * k2).to(torch.complex64)
    del k2
    half = -0.5 * dt

    # cuFFT transforms at most three axes at a time; torch does the rest by itself.
    def local(psi):
        angle = half * (potential + beta * (psi.real.square() + psi.imag.square()))
        return psi.mul_(torch.polar(torch.ones_like(angle), angle))

    def step(psi):
        psi = local(psi)
        psi = torch.fft.ifftn(torch.fft.fftn(psi).mul_(kinetic))
        return local(psi)

    def timed(n):
        nonlocal psi
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(n):
            psi = step(psi)
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / n

    timed(5)
    n = max(3, int(secs * 1e3 / 5 / timed(5)))
    rounds = sorted(timed(n) for _ in range(5))
    report = {
        "shape": sys.argv[1],
        "ms": rounds[2],
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "steps": 5 * n,
        "norm": float(psi.abs().square().sum(dtype=torch.float64)),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
