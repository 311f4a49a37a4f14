#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Records a model's inference into a trace: `record.py --model llama-8b --prefill 512 --decode 48
# --out llama8b_cat.tpt`. Exit codes: 0 recorded, 1 failed, 2 wrong arguments, 3 no usable PyTorch.

import argparse
import os
import sys

NAMES = ("llama-8b", "llama-1b", "tiny")  # known before torch is, so that --help needs no torch


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="record.py", description="Record a model's inference into a tidepool trace.",
        epilog="exit codes: 0 recorded, 1 failed, 2 wrong arguments, 3 no usable PyTorch")
    parser.add_argument("--model", choices=NAMES, default="llama-8b", help="default: llama-8b")
    parser.add_argument("--prefill", type=int, default=512, metavar="N",
                        help="tokens of the prompt (default: 512)")
    parser.add_argument("--decode", type=int, default=48, metavar="N",
                        help="tokens generated after it (default: 48)")
    parser.add_argument("--kv", choices=("cat", "paged"), default="cat",
                        help="KV cache: one growing tensor, or pages of 16 tokens (default: cat)")
    parser.add_argument("--device", default="cpu", metavar="NAME",
                        help="what the trace calls its device (default: cpu)")
    parser.add_argument("--align", type=int, default=64, metavar="BYTES",
                        help="alignment of every tensor (default: 64)")
    parser.add_argument("--out", required=True, metavar="FILE", help="the trace to write")
    options = parser.parse_args(arguments)
    if options.prefill < 1 or options.decode < 0:
        parser.error("--prefill has to be at least 1 and --decode at least 0")
    if options.align < 1 or options.align & (options.align - 1):
        parser.error("--align has to be a power of two")
    return options


def record(options, progress):
    import torch
    from models import SHAPES, Decoder
    from recorder import Recorder

    shape = SHAPES[options.model]
    metadata = {"model": options.model, "kv": options.kv, "dtype": str(shape.dtype)[6:],
                "prefill": options.prefill, "decode": options.decode,
                "command": f"record.py --model {options.model} --prefill {options.prefill} "
                           f"--decode {options.decode} --kv {options.kv} "
                           f"--device {options.device} --align {options.align}"}
    partial = options.out + ".part"
    try:
        with Recorder(partial, metadata, options.device, options.align) as recorder:
            progress("building the model")
            with recorder.pause():
                model = Decoder(shape, options.kv).eval()
            recorder.adopt(model)
            caches = model.make_caches()
            with recorder.phase("prefill"):
                tokens = torch.zeros(1, options.prefill, dtype=torch.long)
                token = model(tokens, 0, caches)
                del tokens
            with recorder.phase("decode"):
                for step in range(options.decode):
                    progress(f"decode step {step + 1} of {options.decode}")
                    with recorder.step("token", step):
                        token = model(token, options.prefill + step, caches)
            # The sequence has ended: its result and its cache go, the weights stay.
            with recorder.phase("release"):
                del token, caches
            writer = recorder.writer
        os.replace(partial, options.out)
    finally:
        if os.path.exists(partial):
            os.remove(partial)
    progress("")
    return (f"{options.out}: {writer.events} events, {writer.allocs} allocs, {writer.frees} frees, "
            f"{writer.touches} tensors touched, peak {writer.peak_live_bytes} bytes live, "
            f"{os.path.getsize(options.out)} bytes in the file")


def main(arguments=None):
    options = parse(arguments)
    is_terminal = sys.stderr.isatty()

    def progress(text):
        if is_terminal:
            print("\r\033[K" + text, end="", file=sys.stderr, flush=True)

    try:
        import torch._subclasses.fake_tensor  # noqa: F401
        import torch.utils._python_dispatch  # noqa: F401
    except ImportError as missing:
        print(f"record.py: no usable PyTorch (1.13 or later): {missing}", file=sys.stderr)
        return 3
    try:
        print(record(options, progress), file=sys.stderr)
    except (OSError, RuntimeError, ValueError) as failure:
        print(f"record.py: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
