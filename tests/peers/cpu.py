"""Measures bytec on the CPU beside PyTorch and ONNX Runtime: the same weights, the same lengths, outputs compared first.

    python cpu.py --bytec target/release/bytec --candle candle-peer --minilm .cache/all-MiniLM-L6-v2 --work target/peers
                  --out docs/benchmarks --readme README.md [--rounds N] [--seconds S] [--cell-seconds S] [--only REGEX] [--commit ID] [--dry-run]

Models give a sentence embedding: the mean of the last rows, normalised. MiniLM has its own weights, BERT-base random
ones and the most threads only. Ways:

    torch f32, bf16   padded     transformers' BertModel on the padded batch with its mask (scaled_dot_product_attention)
                      packed     by hand: rows of all samples side by side, q, k, v as one product, attention sample by sample
    candle            alone      candle-transformers' BERT, one sample after the other
    onnxruntime       padded     the same weights in a graph of its own fused operators for BERT
                      alone      the same, one sample after the other
                 int8 alone      the same with weights and products in int8, by onnxruntime's own dynamic quantization
    bytec f32, bf16,  packed     `bytec bench`; its samples have other ids, on which no time depends; bf16 and int8 are plans
          int8                   compiled for cpu:bf16 and cpu:int8

Each way's embeddings of a few samples of every cell are held against torch's in f32, one sample after the other; a way that
is off is named and not timed. Ways take turns, round by round; a round of a way runs all its batches in turn for some
seconds, at least once. A time is from ready inputs to the embeddings; nobody's packing or padding is in it. The table has
medians over rounds, and of each round's ratio, and says how many rounds there were: fewer where they would take longer than
--cell-seconds, and one at least. At the start stands how long all of it will take.

--dry-run goes the whole way with tiny models and writes no record.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import random
import re
import statistics
import subprocess
import sys
import time

import numpy
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file, save_file
from transformers import BertConfig, BertModel

# The largest difference to torch's f32 on a single sample, of embeddings whose norm is 1.
TOLERANCE = {"f32": 1e-4, "bf16": 4e-2, "int8": 1e-1}
LENGTHS = {"short": (5, 30), "uniform": (8, 256), "long": (200, 512)}
SIZES = [1, 8, 64]
# MiniLM's cells have a batch of 16 too where lengths are uniform.
MIDDLE = 16
THREADS = [1, 2]
# Samples of a cell: few batches of many, or many of few, so that a batch of one is not one length.
SAMPLES = 16
# Samples of a cell whose embeddings are compared.
COMPARED = 4
# Ways that are measured, for the estimate of how long it takes: bf16 and int8 count as f32.
WAYS = 12


def lengths(kind, size, longest):
    """The samples' lengths of a cell, a multiple of `size`."""
    low, high = (min(bound, longest) for bound in LENGTHS[kind])
    draw = random.Random(f"{kind} {size}")
    return [draw.randint(low, high) for _ in range(max(size, SAMPLES))]


class Torch:
    """A BertModel, padded or packed."""

    def __init__(self, folder, dtype):
        kind = {"f32": torch.float32, "bf16": torch.bfloat16}[dtype]
        model = BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="sdpa")
        self.model = model.to(kind).eval()
        self.heads = model.config.num_attention_heads
        self.layers = [self.merged(layer) for layer in model.encoder.layer]

    @staticmethod
    def merged(layer):
        """A layer with the weights of q, k and v as one."""
        own = layer.attention.self
        parts = (own.query, own.key, own.value)
        return layer, torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])

    def padded(self, batch):
        longest = max(map(len, batch))
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, sample in enumerate(batch):
            ids[row, : len(sample)] = torch.tensor(sample)
            mask[row, : len(sample)] = 1
        weights = mask[..., None].to(self.model.dtype)
        counts = weights.sum(1)

        def run():
            rows = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
            return F.normalize((rows * weights).sum(1) / counts).float().numpy()

        return run

    def packed(self, batch):
        sizes = [len(sample) for sample in batch]
        ids = torch.tensor([word for sample in batch for word in sample])
        places = torch.cat([torch.arange(size) for size in sizes])
        words = self.model.embeddings

        def attend(qkv):
            def of(rows):
                q, k, v = rows.view(len(rows), 3, self.heads, -1).permute(1, 2, 0, 3)[:, None]
                return F.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1).flatten(1)

            return torch.cat([of(rows) for rows in qkv.split(sizes)])

        def run():
            x = words.word_embeddings(ids) + words.position_embeddings(places)
            x = words.LayerNorm(x + words.token_type_embeddings.weight[0])
            for layer, weight, bias in self.layers:
                out = layer.attention.output
                y = out.dense(attend(F.linear(x, weight, bias)))
                x = out.LayerNorm(x + y)
                y = layer.output.dense(F.gelu(layer.intermediate.dense(x)))
                x = layer.output.LayerNorm(x + y)
            means = torch.stack([rows.mean(0) for rows in x.split(sizes)])
            return F.normalize(means).float().numpy()

        return run


def onnx_graph(model):
    """The embedder in ONNX, with the fused operators for BERT that ONNX Runtime's own optimiser puts in."""
    import onnx
    from onnx import helper, numpy_helper

    weights, nodes, config = {}, [], model.config

    def held(name, value):
        weights[name] = numpy_helper.from_array(numpy.ascontiguousarray(value), name)
        return name

    def of(name, tensor):
        return held(name, tensor.detach().numpy())

    def node(kind, inputs, output, domain="", **attributes):
        nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **attributes))
        return output

    def fused(kind, inputs, output, **attributes):
        return node(kind, inputs, output, "com.microsoft", **attributes)

    def norm(name, layer):
        return [of(f"{name}.gamma", layer.weight), of(f"{name}.beta", layer.bias)]

    words, eps = model.embeddings, config.layer_norm_eps
    length = node("Shape", ["ids"], "length", start=1, end=2)
    zero, one, last = (held(name, numpy.array([value])) for name, value in (("zero", 0), ("one", 1), ("last", -1)))
    places = node("Slice", [of("places", words.position_embeddings.weight), zero, length, zero], "place")
    x = node("Gather", [of("words", words.word_embeddings.weight), "ids"], "word")
    x = node("Add", [x, of("type", words.token_type_embeddings.weight[0])], "typed")
    x = node("Add", [x, places], "placed")
    x = node("LayerNormalization", [x, *norm("embeddings", words.LayerNorm)], "x", axis=-1, epsilon=eps)
    for i, layer in enumerate(model.encoder.layer):
        _, weight, bias = Torch.merged(layer)
        inputs = [x, of(f"{i}.qkv", weight.T), of(f"{i}.qkv.bias", bias), "mask"]
        y = fused("Attention", inputs, f"{i}.attended", num_heads=config.num_attention_heads)
        for name, part in (("attention", layer.attention.output), ("output", layer.output)):
            if name == "output":
                inner = layer.intermediate.dense
                y = node("MatMul", [x, of(f"{i}.inner", inner.weight.T)], f"{i}.inner.y")
                y = fused("BiasGelu", [y, of(f"{i}.inner.bias", inner.bias)], f"{i}.gelu")
            y = node("MatMul", [y, of(f"{i}.{name}", part.dense.weight.T)], f"{i}.{name}.y")
            inputs = [y, x, *norm(f"{i}.{name}", part.LayerNorm), of(f"{i}.{name}.bias", part.dense.bias)]
            x = fused("SkipLayerNormalization", inputs, f"{i}.{name}.x", epsilon=eps)
    mask = node("Unsqueeze", [node("Cast", ["mask"], "real", to=onnx.TensorProto.FLOAT), last], "column")
    total = node("ReduceSum", [node("Mul", [x, mask], "masked"), one], "total", keepdims=0)
    mean = node("Div", [total, node("ReduceSum", [mask, one], "count", keepdims=0)], "mean")
    node("LpNormalization", [mean], "embedding", axis=-1, p=2)
    integer, real = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "embedder",
        [helper.make_tensor_value_info("ids", integer, ["batch", "length"]),
         helper.make_tensor_value_info("mask", onnx.TensorProto.INT32, ["batch", "length"])],
        [helper.make_tensor_value_info("embedding", real, ["batch", config.hidden_size])], list(weights.values()),
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


class Onnx:
    """The same model in ONNX Runtime."""

    def __init__(self, model, work, dtype):
        import onnx
        import onnxruntime
        from onnxruntime.quantization import QuantType, quantize_dynamic

        self.runtime, self.path, self.sessions = onnxruntime, work / f"{dtype}.onnx", {}
        onnx.save(onnx_graph(model), self.path)
        if dtype == "int8":
            # Types behind onnxruntime's own operators are not inferred.
            plain = {"DefaultTensorType": onnx.TensorProto.FLOAT}
            quantize_dynamic(self.path, self.path, per_channel=True, weight_type=QuantType.QInt8, extra_options=plain)

    def session(self, threads):
        if threads not in self.sessions:
            options = self.runtime.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
            providers = ["CPUExecutionProvider"]
            self.sessions[threads] = self.runtime.InferenceSession(str(self.path), options, providers=providers)
        return self.sessions[threads]

    def padded(self, batch, threads):
        longest = max(map(len, batch))
        ids = numpy.zeros((len(batch), longest), dtype=numpy.int64)
        mask = numpy.zeros(ids.shape, dtype=numpy.int32)
        for row, sample in enumerate(batch):
            ids[row, : len(sample)], mask[row, : len(sample)] = sample, 1
        session = self.session(threads)
        return lambda: session.run(None, {"ids": ids, "mask": mask})[0]

    def alone(self, batch, threads):
        runs = [self.padded([sample], threads) for sample in batch]
        return lambda: numpy.concatenate([run() for run in runs])


class Bytec:
    """The program, with plans of the same folder."""

    def __init__(self, program, folder, work):
        self.program, self.work, self.plans = program, work, {}
        for dtype, target in (("f32", "cpu"), ("bf16", "cpu:bf16"), ("int8", "cpu:int8")):
            self.plans[dtype] = plan = work / f"{dtype}.plan"
            self.call("compile", folder, "-o", plan, "--target", target, "--pooling", "mean", "--normalize", "true")

    def call(self, *arguments):
        done = subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"bytec {arguments[0]}: {done.stderr.strip()}")
        return done.stdout

    def embeddings(self, batch, dtype):
        inputs, outputs = self.work / "inputs.safetensors", self.work / "outputs.safetensors"
        save_file({f"{i}.input_ids": numpy.array(sample) for i, sample in enumerate(batch)}, inputs)
        self.call("run", self.plans[dtype], "--inputs", inputs, "-o", outputs)
        found = load_file(outputs)
        return numpy.stack([found[f"{i}.embedding"] for i in range(len(batch))])

    def seconds_per_token(self, dtype, sizes, size, threads, seconds):
        listed = self.work / "lengths.txt"
        listed.write_text("".join(f"{length}\n" for length in sizes))
        said = self.call(
            "bench", self.plans[dtype], "--lengths", f"file:{listed}", "--batch", size, "--threads", threads,
            "--duration", seconds, "--runs", 1, "--json",
        )
        [row] = json.loads(said)["rows"]
        return 1 / row["times"]["tokens_per_s"]


class Candle:
    """candle's own BERT, one sample after the other, in a program of its own."""

    def __init__(self, program, folder, work):
        self.program, self.folder, self.work = program, folder, work

    def call(self, samples, threads, *what):
        ids = self.work / "ids.json"
        ids.write_text(json.dumps(samples))
        done = subprocess.run(
            [self.program, self.folder, ids, *map(str, what)], capture_output=True, text=True,
            env=os.environ | {"RAYON_NUM_THREADS": str(threads)},
        )
        if done.returncode != 0:
            raise RuntimeError(f"candle: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def embeddings(self, batch, threads):
        return numpy.array(self.call(batch, threads, "embed"), dtype=numpy.float32)

    def seconds_per_token(self, samples, threads, seconds):
        return self.call(samples, threads, "time", seconds)


class Cell:
    """One model, number of threads, kind of lengths and size of batch."""

    def __init__(self, model, threads, kind, size):
        self.model, self.threads, self.kind, self.size = model, threads, kind, size

    def draw(self, longest, vocab):
        """Makes the batches."""
        kind, size = self.kind, self.size
        self.sizes = lengths(kind, size, longest)
        draw = random.Random(f"{kind} {size} ids")
        samples = [[draw.randrange(vocab) for _ in range(length)] for length in self.sizes]
        self.batches = [samples[i : i + size] for i in range(0, len(samples), size)]

    def compared(self):
        """The first few samples, in batches."""
        return [batch[:COMPARED] for batch in self.batches[: -(-COMPARED // self.size)]]

    def __str__(self):
        return f"{self.model}, {self.threads} threads, {self.kind}, {self.size} samples"


def timed(runs, tokens, seconds):
    """Seconds a token, over whole turns of all batches."""
    begun, turns = time.perf_counter(), 0
    while turns == 0 or time.perf_counter() - begun < seconds:
        for run in runs:
            run()
        turns += 1
    return (time.perf_counter() - begun) / (turns * tokens)


def rounds_of(turn, args):
    """How many rounds fit where a turn of all ways takes so many seconds."""
    return max(1, min(args.rounds, int(args.cell_seconds / turn))) if turn > 0 else args.rounds


def foreseen(cells, config, args):
    """Minutes that cells of a model will take, by how fast torch multiplies matrices here; and these rates in GFLOP/s."""
    side, rates = 1024, {}
    x = torch.randn(side, side)
    for threads in THREADS:
        torch.set_num_threads(threads)
        x @ x
        begun, runs = time.perf_counter(), 0
        while time.perf_counter() - begun < 0.5:
            x @ x
            runs += 1
        rates[threads] = 2 * side**3 * runs / (time.perf_counter() - begun)
    hidden, inner = config.hidden_size, config.intermediate_size
    flop = 2 * config.num_hidden_layers * hidden * (4 * hidden + 2 * inner)
    total = 0.0
    for cell in cells:
        own = [flop * sum(map(len, batch)) / rates[cell.threads] for batch in cell.batches]
        # A small product is slower than a large one, attention comes on top, and bytec runs everything once before.
        turn = WAYS * max(args.seconds, 2 * sum(own))
        checked = 2 * WAYS * flop * sum(len(ids) for batch in cell.compared() for ids in batch) / rates[cell.threads]
        total += checked + rounds_of(turn, args) * turn
    return total / 60, {threads: rate / 1e9 for threads, rate in rates.items()}


def measure(cell, peers, args):
    """The record of a cell, and what is wrong."""
    torch.set_num_threads(cell.threads)
    exact, wrong, ways = peers["torch f32"], [], {}
    compared = cell.compared()
    expected = [numpy.concatenate([exact.padded([sample])() for sample in batch]) for batch in compared]
    tokens = sum(cell.sizes)
    # Seconds that a turn of all ways will take.
    turn = 0.0

    def way(name, dtype, make, clock=None):
        nonlocal turn
        try:
            runs = [make(batch) for batch in compared]
            off = max(float(numpy.abs(run() - want).max()) for run, want in zip(runs, expected))
            if clock is None:
                # Once more, since the first time brings everything in.
                again = timed(runs, sum(len(ids) for batch in compared for ids in batch), 0.0)
                runs = [make(batch) for batch in cell.batches]
            else:
                again = clock(compared, 0.0)
        except (RuntimeError, ValueError) as error:
            wrong.append(f"{cell}: {name}: {str(error).splitlines()[0]}")
            return
        if not off <= TOLERANCE[dtype]:
            wrong.append(f"{cell}: {name}: expected embeddings within {TOLERANCE[dtype]}, found {off:.2e}")
            return
        turn += max(args.seconds, again * tokens)
        clock = clock or (lambda batches, seconds: timed(runs, tokens, seconds))
        ways[name] = {"error": off, "clock": clock, "seconds_per_token": []}

    for dtype in ("f32", "bf16"):
        peer = peers[f"torch {dtype}"]
        way(f"torch {dtype} padded", dtype, peer.padded)
        way(f"torch {dtype} packed", dtype, peer.packed)
    onnx, candle, own = peers.get("onnxruntime"), peers.get("candle"), peers["bytec"]
    if onnx:
        way("onnxruntime padded", "f32", lambda batch: onnx.padded(batch, cell.threads))
        way("onnxruntime alone", "f32", lambda batch: onnx.alone(batch, cell.threads))
        way("onnxruntime int8 alone", "int8", lambda batch: peers["onnxruntime int8"].alone(batch, cell.threads))
    if candle:
        flat = lambda batches: [sample for batch in batches for sample in batch]
        way("candle alone", "f32", lambda batch: lambda: candle.embeddings(batch, cell.threads),
            lambda batches, seconds: candle.seconds_per_token(flat(batches), cell.threads, seconds))
    for dtype in TOLERANCE:
        way(f"bytec {dtype}", dtype, lambda batch, dtype=dtype: lambda: own.embeddings(batch, dtype),
            lambda batches, seconds, dtype=dtype: own.seconds_per_token(
                dtype, [len(sample) for batch in batches for sample in batch], len(batches[0]), cell.threads, seconds))
    rounds = rounds_of(turn, args)
    for _ in range(rounds):
        for found in ways.values():
            found["seconds_per_token"].append(found["clock"](cell.batches, args.seconds))
    # Each peer beside bytec in its own type.
    own = {dtype: ways.get(f"bytec {dtype}", {}).get("seconds_per_token", []) for dtype in TOLERANCE}
    padded = sum(len(batch) * max(map(len, batch)) for batch in cell.batches)
    record = {
        "model": cell.model, "threads": cell.threads, "lengths": cell.kind, "samples": cell.size,
        "tokens_per_batch": tokens / len(cell.batches), "padding": 1 - tokens / padded, "rounds": rounds, "ways": {},
    }
    for name, found in ways.items():
        times = found["seconds_per_token"]
        ours = own[next((dtype for dtype in TOLERANCE if dtype in name), "f32")]
        record["ways"][name] = {
            "tokens_per_s": 1 / statistics.median(times),
            "ms_per_batch": statistics.median(times) * record["tokens_per_batch"] * 1e3,
            "error": found["error"],
            "bytec_is_faster_by": statistics.median(their / our for their, our in zip(times, ours)) if ours else None,
            "rounds": times,
        }
    return record, wrong


def folder_of(name, args):
    """A model's folder; random models are made."""
    if name == "minilm":
        return args.minilm
    tiny = dict(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, vocab_size=200,
        max_position_embeddings=40,
    )
    torch.manual_seed(1)
    folder = args.work / name
    BertModel(BertConfig(**(tiny if name == "tiny" else {})), add_pooling_layer=False).save_pretrained(folder)
    return folder


def page(record):
    """The record as Markdown."""
    about = record["machine"] | record["versions"]
    lines = [f"# CPUs: bytec beside PyTorch, ONNX Runtime and candle, {record['date']}", ""]
    if record["dry_run"]:
        lines += ["**A dry run** of tiny models, to try the way. None of its times say anything.", ""]
    lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in about.items()), ""]
    lines += [f"Made by `tests/peers/run.sh`. Ways take turns, {record['seconds']} s each, in {record['rounds']} rounds, or",
              f"in fewer where they would take longer than {record['cell_seconds']} s; the tables say how many.", ""]
    lines += [f"- {line}" for line in record["left_out"] + record["wrong"]]
    ways = [name for name in record["order"] if any(name in cell["ways"] for cell in record["cells"])]
    peers = [name for name in ways if not name.startswith("bytec")]
    titles = {
        "Tokens/s": (ways, lambda way: f"{way['tokens_per_s']:.0f}"),
        "bytec is faster by": (peers, lambda way: f"{way['bytec_is_faster_by']:.2f}x" if way["bytec_is_faster_by"] else ""),
    }
    for title, (columns, show) in titles.items():
        lines += ["", f"## {title}", "", "| model | threads | lengths | samples | tokens | padding | rounds | " + " | ".join(columns) + " |"]
        lines += ["|---|---:|---|---:|---:|---:|---:|" + "---:|" * len(columns)]
        for cell in record["cells"]:
            start = [cell["model"], cell["threads"], cell["lengths"], cell["samples"], f"{cell['tokens_per_batch']:.0f}",
                     f"{100 * cell['padding']:.0f} %", cell["rounds"]]
            shown = [show(cell["ways"][name]) if name in cell["ways"] else "" for name in columns]
            lines += ["| " + " | ".join(map(str, start + shown)) + " |"]
    return "\n".join(lines) + "\n"


# The README's heading above what it quotes, up to the next heading.
QUOTED = "### Beside others on a CPU"


def quoted(record, readme):
    """The README with the record's cells of most threads, each peer beside bytec in its own type."""
    columns = ["torch f32 packed", "torch f32 padded", "onnxruntime alone", "candle alone", "torch bf16 packed",
               "torch bf16 padded", "onnxruntime int8 alone"]
    about = record["machine"]
    lines = [f"Tokens/s of bytec, and how many times as long the others take for the same batches, on {max(THREADS)} threads:",
             f"{about['processor']}, {record['date']}. Made by `tests/peers/run.sh`; all rows and versions are in `docs/benchmarks/cpu.md`.", "",
             "| model | lengths | samples | bytec f32 | bytec bf16 | bytec int8 | " + " | ".join(columns) + " |",
             "|---|---|---:|---:|---:|---:|" + "---:|" * len(columns)]
    for cell in record["cells"]:
        if cell["threads"] != max(THREADS):
            continue
        low, high = LENGTHS[cell["lengths"]]
        ways = cell["ways"]
        row = [cell["model"], f"{low} to {high}", cell["samples"]]
        row += [f"{ways[own]['tokens_per_s']:.0f}" if own in ways else "" for own in ("bytec f32", "bytec bf16", "bytec int8")]
        row += [f"{ways[name]['bytec_is_faster_by']:.2f}x" if name in ways else "" for name in columns]
        lines.append("| " + " | ".join(map(str, row)) + " |")
    before, after = readme.split(f"{QUOTED}\n", 1)
    after = after[re.search(r"^#", after, re.MULTILINE).start() :]
    return f"{before}{QUOTED}\n\n" + "\n".join(lines) + f"\n\n{after}"


def replace(path, content):
    """Writes a file whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(content)
    new.rename(path)


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(": ")[1]
    return platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytec", required=True, type=pathlib.Path)
    parser.add_argument("--minilm", type=pathlib.Path)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--readme", type=pathlib.Path, help="where the newest record is quoted, if it is whole")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--cell-seconds", type=float, default=40.0, help="how long a cell may be timed; one round at least")
    parser.add_argument("--candle", type=pathlib.Path, help="the program of tests/peers/candle")
    parser.add_argument("--only", default="", help="cells whose name has this regular expression")
    parser.add_argument("--commit", default="unknown")
    parser.add_argument("--dry-run", action="store_true")
    args = parser.parse_args()
    if args.dry_run:
        args.rounds, args.seconds, args.out = 2, 0.0, None
    elif not (args.out and args.minilm and args.readme):
        parser.error("expected --out, --minilm and --readme, or --dry-run")
    left_out = [] if args.candle else ["candle: not measured, since --candle names no program"]
    # The version that tests/peers/candle names.
    manifest = pathlib.Path(__file__).with_name("candle") / "Cargo.toml"
    candle = re.search(r'candle-transformers = .*"=([^"]+)"', manifest.read_text())
    cells, wrong, versions = [], [], {"torch": torch.__version__, "bytec": ""}
    with torch.inference_mode():
        for name in ["tiny"] if args.dry_run else ["minilm", "bert_base"]:
            every = [
                # BERT-base takes minutes a cell, and longer on one thread.
                Cell(name, threads, kind, size) for threads in THREADS[-1 if name == "bert_base" else 0 :] for kind in LENGTHS
                for size in SIZES + [MIDDLE] * (name != "bert_base" and kind == "uniform")
            ]
            wanted = [cell for cell in every if re.search(args.only, str(cell))]
            if not wanted:
                continue
            folder = folder_of(name, args)
            work = args.work / f"{name}.work"
            work.mkdir(parents=True, exist_ok=True)
            peers = {f"torch {dtype}": Torch(folder, dtype) for dtype in ("f32", "bf16")}
            peers["bytec"] = Bytec(args.bytec, folder, work)
            versions["bytec"] = f"{peers['bytec'].call('--version').split()[1]}, commit {args.commit}"
            try:
                peers["onnxruntime"] = Onnx(peers["torch f32"].model, work, "f32")
                peers["onnxruntime int8"] = Onnx(peers["torch f32"].model, work, "int8")
                versions["onnxruntime"] = peers["onnxruntime"].runtime.__version__
            except ImportError as error:
                left_out.append(f"onnxruntime: {error}")
            if args.candle:
                peers["candle"] = Candle(args.candle, folder, work)
                versions["candle"] = candle[1] if candle else "unknown"
            config = peers["torch f32"].model.config
            for cell in wanted:
                cell.draw(config.max_position_embeddings, config.vocab_size)
            minutes, rates = foreseen(wanted, config, args)
            rates = " and ".join(f"{rate:.0f} GFLOP/s with {threads} threads" for threads, rate in rates.items())
            print(f"{name}: {len(wanted)} cells, about {minutes:.0f} minutes where products of matrices run at {rates}", flush=True)
            for cell in wanted:
                found, off = measure(cell, peers, args)
                cells.append(found)
                wrong += off
                print(cell, {way: round(row["tokens_per_s"]) for way, row in found["ways"].items()}, *off, flush=True)
    order = list(dict.fromkeys(way for cell in cells for way in cell["ways"]))
    record = {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(), "dry_run": args.dry_run,
        "machine": {"processor": processor(), "cores": len(os.sched_getaffinity(0)), "system": platform.platform()},
        "versions": versions | {"python": platform.python_version()}, "rounds": args.rounds, "seconds": args.seconds,
        "cell_seconds": args.cell_seconds,
        "left_out": left_out, "wrong": wrong, "order": order, "cells": cells,
    }
    text = page(record)
    print(text)
    if args.dry_run:
        print("A dry run writes no record.")
    else:
        args.out.mkdir(parents=True, exist_ok=True)
        replace(args.out / "cpu.json", json.dumps(record, indent=1) + "\n")
        replace(args.out / "cpu.md", text)
        if not args.only:
            replace(args.readme, quoted(record, args.readme.read_text()))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
