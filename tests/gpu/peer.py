#!/usr/bin/env python3
"""Times a plain BERT encoder in PyTorch on the batches of shapes.json, for comparison with bytec's times.

    python3 peer.py shapes.json peer.json
    python3 peer.py shapes.json --dry-run      on the CPU, with the first batches alone; times nothing, writes no file

Ways; what this PyTorch lacks is noted as such:

    padded     the padded batch with a mask through scaled_dot_product_attention
    compiled   the same through torch.compile, max-autotune
    nested     texts side by side, attention on a nested tensor, as FlashAttention's variable lengths do
    varlen     texts side by side, attention by torch.nn.attention.varlen, all compiled
    flex       texts side by side, FlexAttention with a mask by text, all compiled

Weights are random: no time depends on their values. All ways have the same, and each one's logits are held against those
of `padded` before it is timed; ways of a batch take turns. Times are the host's around a synchronised run, from ids on the
host to logits on the host, as bytec's are. `linears` are products of the models' shapes by cuBLASLt, as PyTorch calls it:
bare, with a bias, and with a bias and GELU (in its tanh form) in the epilogue; by the device's clock.
"""
import json
import statistics
import sys
import time

import torch
import torch._dynamo
import torch.nn.functional as F
from torch import nn

# Each batch is code of its own to torch.compile, which by default gives up after a few.
for limit in ("recompile_limit", "cache_size_limit"):
    if hasattr(torch._dynamo.config, limit):
        setattr(torch._dynamo.config, limit, 1000)

DRY = "--dry-run" in sys.argv
DEVICE = "cpu" if DRY else "cuda"


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
    mask = (torch.arange(longest)[None] < extents[:, None])[:, None, None].to(DEVICE)
    positions = torch.arange(longest, device=DEVICE)

    def attend(qkv, heads):
        q, k, v = qkv.view(batch, longest, 3, heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return y.transpose(1, 2).reshape(batch, longest, -1)

    return lambda: model(host.to(DEVICE), positions, attend, lambda x: x[:, 0]).cpu()


def nested(model, lengths, ids):
    """Texts side by side, without padding."""
    host = torch.cat(ids)
    offsets = torch.tensor([0, *lengths]).cumsum(0).to(DEVICE)
    positions = torch.cat([torch.arange(length) for length in lengths]).to(DEVICE)
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

    return lambda: model(host.to(DEVICE), positions, attend, lambda x: x[offsets[:-1]]).cpu()


def packed(attention):
    """Texts side by side, with this attention on `[tokens, heads, columns]`."""

    def make(model, lengths, ids):
        host = torch.cat(ids)
        offsets = torch.tensor([0, *lengths]).cumsum(0).to(DEVICE)
        positions = torch.cat([torch.arange(length) for length in lengths]).to(DEVICE)
        of_batch = attention(lengths, offsets)

        def attend(qkv, heads):
            q, k, v = qkv.view(qkv.shape[0], 3, heads, -1).unbind(1)
            return of_batch(q, k, v).reshape(qkv.shape[0], -1)

        run = compiled(lambda ids: model(ids, positions, attend, lambda x: x[offsets[:-1]]))
        return lambda: run(host.to(DEVICE)).cpu()

    return make


def varlen(lengths, offsets):
    from torch.nn.attention.varlen import varlen_attn

    bounds, longest = offsets.int(), max(lengths)
    return lambda q, k, v: varlen_attn(q, k, v, bounds, bounds, longest, longest)


def flex(lengths, offsets):
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    document = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)).to(DEVICE)
    tokens = len(document)

    def same(_batch, _head, query, key):
        return document[query] == document[key]

    mask = create_block_mask(same, None, None, tokens, tokens, device=DEVICE)

    def attend(q, k, v):
        q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
        return flex_attention(q, k, v, block_mask=mask)[0].transpose(0, 1)

    return attend


def compiled(function):
    """torch.compile; without code generation where nothing is timed."""
    return torch.compile(function, backend="eager") if DRY else torch.compile(function, mode="max-autotune")


WAYS = {
    "padded": padded,
    "compiled": lambda model, lengths, ids: padded(compiled(model), lengths, ids),
    "nested": nested,
    "varlen": packed(varlen),
    "flex": packed(flex),
}


def synchronise():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def once_ms(run):
    start = time.perf_counter()
    run()
    synchronise()
    return (time.perf_counter() - start) * 1e3


def median_ms(runs, seconds=0.5):
    """The median for each of the runs, which take turns. A dry run times nothing."""
    if DRY:
        return [None for _ in runs]
    for run in runs * 3:
        run()
    synchronise()
    times, begun = [], time.perf_counter()
    while len(times) < 5 or (time.perf_counter() - begun < seconds * len(runs) and len(times) < 200):
        times.append([once_ms(run) for run in runs])
    return [statistics.median(each) for each in zip(*times)]


def device_ms(run, runs=20):
    """The median by the device's clock. A dry run runs once and times nothing."""
    if DRY:
        run()
        return None
    times = []
    for _ in range(3 + runs):
        before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        before.record()
        run()
        after.record()
        after.synchronize()
        times.append(before.elapsed_time(after))
    return statistics.median(times[3:])


def linears(shape, dtype, kind, tokens):
    """Products of a model's linears at so many tokens."""
    hidden, inner = shape["hidden"], shape["intermediate"]
    for n, k in [(3 * hidden, hidden), (hidden, hidden), (inner, hidden), (hidden, inner)]:
        x = torch.randn(tokens, k, device=DEVICE).to(kind)
        weight = (torch.randn(n, k, device=DEVICE) / k**0.5).to(kind)
        bias = torch.randn(n, device=DEVICE).to(kind)
        forms = {
            "bare": lambda: F.linear(x, weight),
            "bias": lambda: F.linear(x, weight, bias),
            "bias and gelu": lambda: torch._addmm_activation(bias, x, weight.t(), use_gelu=True),
        }
        for form, run in forms.items():
            ms = device_ms(run)
            rate = ms and 2 * tokens * n * k / ms / 1e9
            yield {"dtype": dtype, "tokens": tokens, "n": n, "k": k, "form": form, "ms": ms, "tflops": rate}


def ceilings():
    """What the GPU reaches on a large product of random matrices, and on a copy that fits in no cache."""
    if DRY:
        return None, None
    a, b = (torch.randn(8192, 8192, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    product = device_ms(lambda: torch.mm(a, b))
    x = torch.randn(1 << 28, device=DEVICE)
    y = torch.empty_like(x)
    copy = device_ms(lambda: y.copy_(x))
    return 2 * 8192**3 / product / 1e9, 2 * x.numel() * 4 / copy / 1e6


def measure(shape, dtype, model, lengths, note):
    """Every way of a batch: compared first, then timed in turns."""
    ids = [torch.randint(shape["vocab"], (length,)) for length in lengths]
    row = {"shape": shape["name"], "dtype": dtype, "texts": len(lengths), "tokens": sum(lengths), "longest": max(lengths)}
    runs, expected = {}, None
    for way, make in WAYS.items():
        try:
            run = make(model, lengths, ids)
            logits = run().float()
        # What a version of PyTorch lacks or refuses shows as any error, and must not take the other ways with it.
        except Exception as error:
            note(**row, way=way, error=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:100]}")
            continue
        if expected is None:
            expected = logits
        off = ((logits - expected).abs().max() / expected.abs().max()).item()
        if not off <= {"f16": 1e-2, "bf16": 8e-2}[dtype]:
            note(**row, way=way, error=f"its logits differ from those of padded by {off:.1e} of their scale")
            continue
        runs[way] = run
    for way, ms in zip(runs, median_ms(list(runs.values()))):
        note(**row, way=way, median_ms=ms)


def main(shapes_file, out_file=None):
    with open(shapes_file) as file:
        shapes = json.load(file)
    tflops, gb_per_s = ceilings()
    result = {
        "torch": torch.__version__,
        "matmul_tflops": tflops,
        "copy_gb_per_s": gb_per_s,
        "rows": [],
        "linears": [],
    }

    def keep():
        # Kept after each row, so that a limit on time takes only what is left.
        if not DRY:
            with open(out_file, "w") as file:
                json.dump(result, file, indent=1)

    def note(**row):
        result["rows"].append(row)
        keep()

    torch.manual_seed(1)
    for name, shape in shapes.items():
        shape["name"] = name
        for dtype, kind in (("f16", torch.float16), ("bf16", torch.bfloat16)):
            model = Encoder(shape).eval().to(DEVICE).to(kind)
            with torch.inference_mode():
                for lengths in shape["batches"][:2] if DRY else shape["batches"]:
                    measure(shape, dtype, model, lengths, note)
                for tokens in [8] if DRY else [4096, 16384]:
                    result["linears"] += [{"shape": name} | row for row in linears(shape, dtype, kind, tokens)]
                    keep()
    if DRY:
        print("A dry run of the peers on the CPU: nothing is timed, and no record is written.")
        for row in result["rows"]:
            print(row["shape"], row["dtype"], row["texts"], row["way"], row.get("error", "agrees"))
        print(f"{len(result['linears'])} products of linears ran")


if __name__ == "__main__":
    main(*[word for word in sys.argv[1:] if word != "--dry-run"])
