#!/usr/bin/env python3
"""Times a plain BERT encoder in PyTorch on the batches of shapes.json, for comparison with bytec's times.

    python3 peer.py shapes.json peer.json

Ways: `padded` runs the padded batch with a mask through scaled_dot_product_attention; `nested` keeps the texts side by
side and lets attention work on a nested tensor, as FlashAttention's variable lengths do. Weights are random: no time
depends on their values. Times are the host's around a synchronised run, from ids on the host to logits on the host, as
bytec's are.
"""
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


class Layer(nn.Module):
    def __init__(self, hidden, heads, intermediate):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, hidden)
        self.norm1 = nn.LayerNorm(hidden)
        self.up = nn.Linear(hidden, intermediate)
        self.down = nn.Linear(intermediate, hidden)
        self.norm2 = nn.LayerNorm(hidden)

    def forward(self, x, attend):
        x = self.norm1(x + self.out(attend(self.qkv(x), self.heads)))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class Encoder(nn.Module):
    def __init__(self, shape):
        super().__init__()
        hidden = shape["hidden"]
        self.words = nn.Embedding(shape["vocab"], hidden)
        self.places = nn.Embedding(shape["positions"], hidden)
        self.types = nn.Embedding(2, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.layers = nn.ModuleList(
            Layer(hidden, shape["heads"], shape["intermediate"]) for _ in range(shape["layers"])
        )
        self.pooler = nn.Linear(hidden, hidden)
        self.classifier = nn.Linear(hidden, 3)

    def forward(self, ids, positions, attend, firsts):
        x = self.norm(self.words(ids) + self.places(positions) + self.types.weight[0])
        for layer in self.layers:
            x = layer(x, attend)
        return self.classifier(torch.tanh(self.pooler(firsts(x))))


def padded(model, lengths, ids):
    """Rows up to the longest text, and a mask."""
    batch, longest = len(lengths), max(lengths)
    host = torch.zeros(batch, longest, dtype=torch.long)
    for row, text in zip(host, ids):
        row[: len(text)] = text
    extents = torch.tensor(lengths)
    mask = (torch.arange(longest)[None] < extents[:, None])[:, None, None].cuda()
    positions = torch.arange(longest, device="cuda")

    def attend(qkv, heads):
        q, k, v = qkv.view(batch, longest, 3, heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return y.transpose(1, 2).reshape(batch, longest, -1)

    return lambda: model(host.cuda(), positions, attend, lambda x: x[:, 0]).cpu()


def nested(model, lengths, ids):
    """Texts side by side, without padding."""
    host = torch.cat(ids)
    offsets = torch.tensor([0, *lengths]).cumsum(0).cuda()
    positions = torch.cat([torch.arange(length) for length in lengths]).cuda()
    shortest, longest = min(lengths), max(lengths)

    def attend(qkv, heads):
        def rows(x):
            x = x.view(x.shape[0], heads, -1)
            jagged = torch.nested.nested_tensor_from_jagged(
                x, offsets, min_seqlen=shortest, max_seqlen=longest
            )
            return jagged.transpose(1, 2)

        q, k, v = (rows(x) for x in qkv.chunk(3, dim=-1))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return y.values().reshape(qkv.shape[0], -1)

    return lambda: model(host.cuda(), positions, attend, lambda x: x[offsets[:-1]]).cpu()


def median_ms(run, seconds=0.5):
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    times, begun = [], time.perf_counter()
    while len(times) < 5 or (time.perf_counter() - begun < seconds and len(times) < 200):
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def ceilings():
    """What the GPU reaches on a large product of random matrices, and on a copy that fits in no cache."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    product = median_ms(lambda: torch.mm(a, b))
    x = torch.randn(1 << 28, device="cuda")
    y = torch.empty_like(x)
    copy = median_ms(lambda: y.copy_(x))
    return 2 * 8192**3 / product / 1e9, 2 * x.numel() * 4 / copy / 1e6


def main(shapes_file, out_file):
    with open(shapes_file) as file:
        shapes = json.load(file)
    tflops, gb_per_s = ceilings()
    result = {
        "torch": torch.__version__,
        "matmul_tflops": tflops,
        "copy_gb_per_s": gb_per_s,
        "rows": [],
    }

    def note(**row):
        result["rows"].append(row)
        # Kept after each row, so that a limit on time takes only what is left.
        with open(out_file, "w") as file:
            json.dump(result, file, indent=1)

    torch.manual_seed(1)
    ways = {"padded": padded, "nested": nested}
    work = [(name, dtype) for name in shapes for dtype in ("f16", "bf16")]
    for name, dtype in work:
        kind = {"f16": torch.float16, "bf16": torch.bfloat16}[dtype]
        model = Encoder(shapes[name]).eval().cuda().to(kind)
        for lengths in shapes[name]["batches"]:
            ids = [torch.randint(shapes[name]["vocab"], (length,)) for length in lengths]
            for way, make in ways.items():
                row = {"shape": name, "dtype": dtype, "texts": len(lengths), "way": way}
                try:
                    with torch.inference_mode():
                        note(**row, median_ms=median_ms(make(model, lengths, ids)))
                except (RuntimeError, TypeError, ValueError) as error:
                    note(**row, error=str(error).splitlines()[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
