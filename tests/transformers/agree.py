"""Random tiny models of every family and head that bytec and transformers both have, held against transformers in f64.

    python agree.py --bytec target/debug/bytec --work target/transformers/models [--rounds N] [--seed N] [--only REGEX]

A model is a folder with config.json, model.safetensors, inputs.safetensors and outputs.safetensors; the last two have
keys `<sample>.<name>`, each sample without batch axis or padding. bytec's interpreter and its plan on the CPU must give
the same outputs. Prints a line for each folder and a summary; exits 1 if anything differs.
"""

import argparse
import contextlib
import inspect
import json
import math
import pathlib
import random
import re
import shutil
import subprocess
import sys
import zlib

import numpy
import torch
import transformers
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

# Both sides compute in f64 and store f32, so this is far above what rounding makes.
INTERPRETER = 2e-6
# What `bytec verify` allows f32 by default, and how much more than the graph's own f32 error the CPU may have: a model of
# a few columns may round luckily, or make much of a small difference where a row has little variance.
CPU, SLACK = 5e-6, 8.0
OUTPUTS = [
    "last_hidden_state", "pooler_output", "logits", "prediction_logits", "sop_logits", "seq_relationship_logits",
    "start_logits", "end_logits", "cls_logits", "distillation_logits",
]
ACTIVATIONS = [
    "gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "relu", "silu", "swish", "tanh", "quick_gelu", "sigmoid",
    "relu2", "relu6", "leaky_relu", "mish",
]
# Samples of families without a position table are up to this long.
LONGEST = 60


class Draw(random.Random):
    """Fields of random configs, by family. Widths are rarely powers of two, and 8 at least: a norm over fewer columns
    often divides by almost nothing, and then f32 says little."""

    def even(self):
        return self.random() < 0.5

    def act(self):
        return self.choice(ACTIVATIONS)

    def width(self, heads):
        """The columns of all heads."""
        return heads * self.randint(max(3, math.ceil(8 / heads)), 14)

    def bert(self):
        heads = self.randint(1, 5)
        return dict(
            hidden_act=self.act(),
            hidden_size=self.width(heads),
            intermediate_size=self.randint(1, 70),
            layer_norm_eps=self.choice([1e-12, 1e-7, 1e-5]),
            max_position_embeddings=self.randint(8, 40),
            num_attention_heads=heads,
            num_hidden_layers=self.randint(1, 3),
            tie_word_embeddings=self.even(),
            type_vocab_size=self.randint(1, 3),
            vocab_size=self.randint(5, 61),
        )

    def roberta(self):
        return self.bert() | dict(pad_token_id=self.randint(0, 3))

    def distilbert(self):
        heads = self.randint(1, 5)
        return dict(
            activation=self.act(),
            dim=self.width(heads),
            hidden_dim=self.randint(1, 70),
            max_position_embeddings=self.randint(8, 40),
            n_heads=heads,
            n_layers=self.randint(1, 3),
            tie_word_embeddings=self.even(),
            vocab_size=self.randint(5, 61),
        )

    def albert(self):
        config = self.bert()
        groups = self.randint(1, config["num_hidden_layers"])
        return config | dict(
            embedding_size=self.randint(8, 40), inner_group_num=self.randint(1, 2), num_hidden_groups=groups
        )

    def electra(self):
        config = self.bert()
        return config | dict(
            embedding_size=self.choice([config["hidden_size"], self.randint(8, 40)]),
            summary_activation=self.act(),
            summary_type=self.choice(["first", "mean"]),
            summary_use_proj=self.even(),
        )

    def mpnet(self):
        config = self.bert()
        del config["type_vocab_size"]
        return config | dict(pad_token_id=1)

    def deberta(self):
        terms = [["c2p", "p2c"], ["c2p"], ["p2c"], []]
        return self.bert() | dict(
            max_relative_positions=self.choice([-1, 12]),
            pos_att_type=self.choice(terms),
            position_biased_input=self.even(),
            relative_attention=self.random() < 0.8,
            tie_word_embeddings=self.even(),
            type_vocab_size=self.randint(0, 2),
        ) | self.choice([dict(legacy=False), {}, dict(embedding_size=self.randint(3, 40))])

    def deberta_v2(self):
        return self.deberta() | dict(
            conv_act=self.act(),
            conv_kernel_size=self.choice([0, 1, 3, 5]),
            max_relative_positions=self.randint(9, 40),
            norm_rel_ebd=self.choice(["none", "layer_norm"]),
            position_buckets=self.choice([-1, 2, 5, 8]),
            share_att_key=self.even(),
        )

    def t5(self):
        return dict(
            d_ff=self.randint(1, 70),
            d_kv=self.randint(3, 14),
            d_model=self.randint(8, 60),
            feed_forward_proj=self.choice(["", "gated-"]) + self.act(),
            layer_norm_epsilon=self.choice([1e-7, 1e-6, 1e-5]),
            num_heads=self.randint(1, 5),
            num_layers=self.randint(1, 3),
            relative_attention_max_distance=self.randint(20, 80),
            relative_attention_num_buckets=self.randint(4, 32),
            vocab_size=self.randint(5, 61),
        )

    def modernbert(self):
        heads, layers = self.randint(1, 5), self.randint(1, 3)
        return dict(
            attention_bias=self.even(),
            classifier_activation=self.act(),
            classifier_bias=self.even(),
            classifier_pooling=self.choice(["cls", "mean"]),
            decoder_bias=self.even(),
            hidden_activation=self.act(),
            hidden_size=heads * 2 * self.randint(4 if heads == 1 else 2, 7),
            intermediate_size=self.randint(1, 70),
            layer_types=[self.choice(["full_attention", "sliding_attention"]) for _ in range(layers)],
            local_attention=self.randint(2, 20),
            max_position_embeddings=self.randint(8, 40),
            mlp_bias=self.even(),
            norm_bias=self.even(),
            norm_eps=self.choice([1e-12, 1e-7, 1e-5]),
            num_attention_heads=heads,
            num_hidden_layers=layers,
            tie_word_embeddings=self.even(),
            vocab_size=self.randint(5, 61),
            pad_token_id=0, bos_token_id=2, cls_token_id=2, eos_token_id=1, sep_token_id=1,
        )

    def nomic_bert(self):
        rope = dict(rope_type="default", rope_theta=1000.0)
        return self.bert() | dict(head_dim=2 * self.randint(2, 7), rope_parameters=rope)

    def vit(self):
        heads = self.randint(1, 5)
        patch = [self.randint(2, 6), self.randint(2, 6)]
        # Pixels past the last whole patch are left out.
        image = [self.randint(1, 4) * size + self.randrange(size) for size in patch]
        return dict(
            hidden_act=self.act(),
            hidden_size=self.width(heads),
            image_size=image,
            intermediate_size=self.randint(1, 70),
            layer_norm_eps=self.choice([1e-12, 1e-7, 1e-5]),
            num_attention_heads=heads,
            num_channels=self.randint(1, 4),
            num_hidden_layers=self.randint(1, 3),
            patch_size=patch,
            qkv_bias=self.even(),
        )

    def deit(self):
        return self.vit()

    def dinov2(self):
        config = self.vit()
        del config["intermediate_size"]
        patch, grid = self.randint(2, 6), self.randint(1, 4)
        return config | dict(
            image_size=patch * grid,
            layerscale_value=1.0,
            mlp_ratio=self.randint(1, 4),
            patch_size=patch,
            use_swiglu_ffn=self.even(),
        )

    def dinov2_with_registers(self):
        return self.dinov2() | dict(num_register_tokens=self.randint(1, 4))


@contextlib.contextmanager
def all_in_f64():
    """Some steps of transformers are in f32 whatever the model's type: norms, softmax, angles. Here they are in f64."""
    kept = torch.float, torch.float32, torch.Tensor.float
    torch.float = torch.float32 = torch.float64
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.float, torch.float32, torch.Tensor.float = kept


def fill(model, seed):
    """Weights with which norms, softmax and activations do real work, where the usual ones would be nearly linear."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            name = name.lower()
            values = torch.randn(weight.shape, generator=generator)
            if weight.dim() == 1 and name.endswith("weight") and ("norm" in name or "_ln." in name):
                values = 1 + 0.2 * values
            elif weight.dim() == 1:
                values = 0.1 * values
            elif "embed" not in name or "mapping" in name or "project" in name:
                values = values * 1.5 / math.sqrt(weight[0].numel())
            weight.copy_(values)
    model.tie_weights()


def longest(family, config):
    """The longest sample that the config's position table has rows for."""
    rows = getattr(config, "max_position_embeddings", LONGEST)
    if family == "roberta":
        return rows - config.pad_token_id - 1
    return rows - 2 if family == "mpnet" else rows


def texts(family, config, takes, draw):
    """Samples of token ids: of one token, as long as may be, and in between."""
    types = getattr(config, "type_vocab_size", 0) if "token_type_ids" in takes else 0
    most = longest(family, config)
    for length in [1, most, draw.randint(1, most), draw.randint(1, most)]:
        given = {"input_ids": draw.choices(range(config.vocab_size), k=length)}
        if types:
            given["token_type_ids"] = [draw.randrange(types) for _ in range(length)]
        yield {name: numpy.array(values) for name, values in given.items()}


def images(config, seed):
    """Three images of the config's size."""
    size = config.image_size
    height, width = (size, size) if isinstance(size, int) else size
    generator = numpy.random.default_rng(seed)
    for _ in range(3):
        pixels = generator.standard_normal((config.num_channels, height, width))
        yield {"pixel_values": pixels.astype(numpy.float32)}


def write(folder, family, cls, seed):
    """The folder of a random model, its inputs, and what transformers gives for each sample alone."""
    draw = Draw(seed)
    fields = getattr(draw, family.replace("-", "_"))()
    if re.search("ForSequenceClassification|ForTokenClassification|ForImageClassification", cls.__name__):
        fields["num_labels"] = draw.randint(1, 5)
    config = cls.config_class(**fields)
    config._attn_implementation = "eager"
    model = cls(config).eval()
    fill(model, seed)
    model.save_pretrained(folder)
    with all_in_f64():
        exact = cls(config).double().eval()
    exact.load_state_dict(model.state_dict())
    exact.tie_weights()

    takes = inspect.signature(exact.forward).parameters
    samples = images(config, seed) if "pixel_values" in takes else texts(family, config, takes, draw)
    inputs, outputs = {}, {}
    for sample, given in enumerate(samples):
        inputs |= {f"{sample}.{name}": values for name, values in given.items()}
        batch = {name: torch.tensor(values)[None] for name, values in given.items()}
        if "pixel_values" in batch:
            batch["pixel_values"] = batch["pixel_values"].double()
        else:
            batch["attention_mask"] = torch.ones_like(batch["input_ids"])
        if cls.__name__.endswith("ForMultipleChoice"):
            batch = {name: values[None] for name, values in batch.items()}
        with torch.no_grad(), all_in_f64():
            found = exact(**batch)
        for name in OUTPUTS:
            if found.get(name) is not None:
                value = found[name][0]
                assert value.dtype == torch.float64, f"{name} is not in f64"
                outputs[f"{sample}.{name}"] = numpy.ascontiguousarray(value.numpy().astype(numpy.float32))
    save_file(inputs, folder / "inputs.safetensors")
    save_file(outputs, folder / "outputs.safetensors")


def bytec(program, *arguments):
    """What the program prints; a mismatch, exit code 1, is for the caller to see in it."""
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode > 1:
        raise RuntimeError(f"bytec {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def interpreter(program, folder):
    """How far the interpreter is from transformers, and f32 from f64 in the interpreter, both relative to scale."""
    path = folder.with_suffix(".golden")
    bytec(program, "golden", folder, "-o", path, "--inputs", folder / "inputs.safetensors")
    with safe_open(path, "numpy") as file:
        single = json.loads(file.metadata()["golden"])["f32_vs_f64"]
        inputs = load_file(folder / "inputs.safetensors")
        found = {key: file.get_tensor(key) for key in file.keys() if key not in inputs}
    path.unlink()
    expected = load_file(folder / "outputs.safetensors")
    shapes = [{key: value.shape for key, value in tensors.items()} for tensors in (expected, found)]
    if shapes[0] != shapes[1]:
        raise RuntimeError(f"expected outputs {shapes[0]}, found {shapes[1]}")
    scales, errors = {}, {}
    for key, value in expected.items():
        name = key.split(".", 1)[1]
        scales[name] = max(scales.get(name, 0.0), float(abs(value).max()))
        # A NaN must not pass for a small error.
        error = float(abs(value.astype(float) - found[key]).max())
        errors[name] = max(errors.get(name, 0.0), error if math.isfinite(error) else math.inf)
    worst = max(errors[name] / (scales[name] or 1.0) for name in errors)
    return worst, max(of["max_abs"] / (of["scale"] or 1.0) for of in single.values())


def cpu(program, folder, tolerance):
    """How far a plan on the CPU is from transformers, relative to scale, and whether `bytec verify` passes."""
    plan = folder.with_suffix(".plan")
    bytec(program, "compile", folder, "-o", plan)
    samples = ["--inputs", folder / "inputs.safetensors", "--reference", folder / "outputs.safetensors"]
    findings = bytec(program, "verify", plan, *samples, "--devices", "cpu", "--tolerance", tolerance, "--json")
    plan.unlink()
    findings = json.loads(findings)
    left_out = {what: names for what, names in findings["left_out"].items() if names}
    if left_out:
        raise RuntimeError(f"bytec verify left out {left_out}")
    worst = max(result["errors"]["max_relative"] or 0.0 for result in findings["results"])
    return worst, findings["passed"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bytec", required=True, help="the program")
    parser.add_argument("--work", required=True, type=pathlib.Path, help="a folder for the models")
    parser.add_argument("--rounds", type=int, default=4, help="models of each head")
    parser.add_argument("--seed", type=int, default=0, help="the first round's")
    parser.add_argument("--only", default="", help="heads whose names match this")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)

    families = json.loads(bytec(args.bytec, "list", "models", "--json"))
    heads, missing = [], []
    for family in families:
        for head in family["architectures"]:
            kept = heads if hasattr(transformers, head) else missing
            kept.append((family["name"], head))
    counted, wrong, largest = 0, [], [0.0, 0.0]
    for seed in range(args.seed, args.seed + args.rounds):
        for family, head in heads:
            if not re.search(args.only, head):
                continue
            counted += 1
            folder = args.work / f"{head}-{seed}"
            shutil.rmtree(folder, ignore_errors=True)
            try:
                # A seed of its own for each head, the same whichever others are chosen.
                write(folder, family, getattr(transformers, head), zlib.crc32(folder.name.encode()))
                exact, single = interpreter(args.bytec, folder)
                tolerance = max(CPU, SLACK * single)
                found, passed = cpu(args.bytec, folder, tolerance)
            except Exception as error:  # One model's failure is reported, and the others are still looked at.
                wrong.append(folder)
                print(f"FAILED {family:12} {folder.name:40} {type(error).__name__}: {error}", flush=True)
                continue
            agrees = passed and exact <= INTERPRETER
            largest = [max(largest[0], exact), max(largest[1], found)]
            print(
                f"{'ok    ' if agrees else 'FAILED'} {family:12} {folder.name:40} interpreter {exact:.1e}"
                f"  cpu {found:.1e} of at most {tolerance:.1e}",
                flush=True,
            )
            if agrees:
                shutil.rmtree(folder)
            else:
                wrong.append(folder)
    if missing:
        print("not in transformers:", ", ".join(head for _, head in missing))
    versions = f"transformers {transformers.__version__}, torch {torch.__version__}"
    print(f"{versions}: {counted - len(wrong)} of {counted} models agree")
    print(f"largest errors of scale: interpreter {largest[0]:.1e}, cpu {largest[1]:.1e}")
    for folder in wrong:
        print(f"kept: {folder}")
    return 1 if wrong or not counted else 0


if __name__ == "__main__":
    sys.exit(main())
