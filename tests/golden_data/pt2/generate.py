#!/usr/bin/env python3
"""Writes the cases beside this file: tiny random models of transformers, exported, with what torch computes in f64.

    generate.py            (needs torch, transformers and safetensors; any recent ones)

Each case is a folder with `model.pt2`, `inputs.safetensors` and `outputs.safetensors`; tensors are called
`<sample>.<name>` and have no batch axis. `checkpoint`, where bytec has the family, is the same model as transformers saves it. Text for humans (stack traces, which hold paths) is taken out of the archives.
"""

import argparse
import json
import os
import sys
import types
import zipfile

import torch
import transformers
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "..", "examples"))
import export_pt2  # noqa: E402

LENGTHS = [9, 1, 8, 17, 40]
KEPT = ("nn_module_stack", "torch_fn")
SHARED = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, vocab_size=50,
              max_position_embeddings=42, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
CASES = {
    "bert": ("BertModel", transformers.BertConfig(**SHARED)),
    "deberta_v2": ("DebertaV2Model", transformers.DebertaV2Config(
        **SHARED | {"num_hidden_layers": 1}, relative_attention=True, position_buckets=8, pos_att_type=["p2c", "c2p"], norm_rel_ebd="layer_norm",
        share_att_key=True, position_biased_input=False, type_vocab_size=0)),
    "qwen2": ("Qwen2Model", transformers.Qwen2Config(
        hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=50, max_position_embeddings=42, attention_dropout=0.0)),
    "roberta": ("RobertaModel", transformers.RobertaConfig(**SHARED | {"num_hidden_layers": 1})),
    "t5_encoder": ("T5EncoderModel", transformers.T5Config(
        d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, vocab_size=50, relative_attention_num_buckets=8,
        relative_attention_max_distance=20, dropout_rate=0.0, feed_forward_proj="gated-gelu")),
    "vit": ("ViTModel", transformers.ViTConfig(
        **{name: SHARED[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")},
        image_size=16, patch_size=8, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)),
}

# Only their archives compile: there is no family that reads their checkpoints.
WITHOUT_FAMILY = {"ops", "parts", "qwen2"}


class Ops(torch.nn.Module):
    """Ops that no model above calls; a program only, since a graph has no table of one weight's rows by another's columns."""

    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Parameter(torch.empty(4)), torch.nn.Parameter(torch.empty(6))
        self.weight = torch.nn.Parameter(torch.empty(6, 6))

    def forward(self, x, return_dict=True):
        rows, columns = torch.meshgrid(self.a, self.b, indexing="ij")
        across, down = torch.meshgrid(self.b, self.a, indexing="xy")
        x = x + rows * columns - across + 3 * down + torch.outer(self.a, self.b)
        x = torch.baddbmm(x, x, self.weight.expand(x.shape[0], 6, 6), beta=0.5, alpha=0.25)
        x = torch.baddbmm(x, x.sin(), self.weight.expand(x.shape[0], 6, 6), beta=0)
        return {
            "halves": torch.tanh(x[..., ::2]) - x[..., 1::2],
            "means": torch.nn.functional.adaptive_avg_pool1d(x.transpose(1, 2), 1),
            "whole": torch.nn.functional.adaptive_avg_pool2d(x[:, None], (1, 1)),
        }


class Parts(torch.nn.Module):
    """Parts of models that are no case: what masked tokens are scaled by and rows at the largest or the ending id (ESM, CLIP),
    convolutions of one tap in groups (SqueezeBERT), and positions by a saved buffer, by a table that is no rotation (RoFormer)
    and by numbers of the program (DINOv3)."""

    def __init__(self):
        super().__init__()
        self.config = types.SimpleNamespace(vocab_size=50)
        self.words, self.norm = torch.nn.Embedding(50, 16), torch.nn.LayerNorm(16)
        self.projections = torch.nn.ModuleList(torch.nn.Conv1d(16, 16, 1, groups=2) for _ in range(3))
        self.frequencies = torch.nn.Buffer(10_000.0 ** -(torch.arange(0, 8, 2) / 8))
        self.waves = torch.nn.Parameter(torch.empty(40, 8), requires_grad=False)

    def forward(self, input_ids, return_dict=True):
        (batch, length), places = input_ids.shape, torch.arange(input_ids.shape[1])
        masked = input_ids == 5
        x = self.words(input_ids).masked_fill(masked.unsqueeze(-1), 0.0)
        x = x * 0.88 / (2 - masked.sum(-1).to(x.dtype) / length)[:, None, None]
        x = self.norm(x + torch.cos(torch.arange(0.5, 16, dtype=x.dtype) / 4))
        q, k, v = (project(x.transpose(1, 2)).view(batch, 2, 8, length).transpose(2, 3) for project in self.projections)
        angles = places[:, None].to(x.dtype) * self.frequencies
        angles = torch.cat([angles, angles], -1)
        q = q * angles.cos() + torch.cat([-q[..., 4:], q[..., :4]], -1) * angles.sin()
        sin, cos = torch.nn.functional.embedding(places, self.waves)[None, None].chunk(2, -1)
        sin, cos = (torch.stack([wave, wave], -1).reshape(1, 1, length, 8) for wave in (sin, cos))
        k = k * cos + torch.stack([-k[..., 1::2], k[..., ::2]], -1).reshape_as(k) * sin
        seen = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        x, samples = x + seen.transpose(1, 2).reshape(batch, length, 16), torch.arange(batch)
        return {"ended": x[samples, (input_ids == 7).int().argmax(-1)], "largest": x[samples, input_ids.argmax(-1)], "rows": x}


def prepared(case):
    """The model of a case, the module to export, an example of its inputs, which of their axes vary, and its outputs."""
    if case == "ops":
        model = Ops().eval()
        return model, export_pt2.with_arguments(model, ["x"]), {"x": torch.randn(3, 4, 6)}, \
            {"x": {0: torch.export.Dim("B", min=1, max=64)}}, ["halves", "means", "whole"]
    if case == "parts":
        model = Parts().eval()
        axes = {0: torch.export.Dim("B", min=1, max=64), 1: torch.export.Dim("S", min=1, max=40)}
        return model, export_pt2.with_arguments(model, ["input_ids"]), {"input_ids": torch.randint(4, 50, (3, 11))}, \
            {"input_ids": axes}, ["ended", "largest", "rows"]
    cls, config = CASES[case]
    cls = getattr(transformers, cls)
    try:
        model = cls._from_config(config, attn_implementation="sdpa")
    except ValueError:
        model = cls._from_config(config, attn_implementation="eager")
    return model, *export_pt2.prepared(model, types.SimpleNamespace(max_length=40, max_batch=64))


def scrubbed(source, target):
    """The archive through torch's own writer, without text that only humans read."""
    archive = zipfile.ZipFile(source)
    root = archive.namelist()[0].split("/")[0]
    writer = torch._C.PyTorchFileWriter(target)
    for name in archive.namelist():
        inner = name[len(root) + 1:]
        # The writer adds these itself; sample inputs are a pickle that bytec doesn't read.
        if inner.startswith(".data/") or inner.startswith("data/sample_inputs/") or inner == "byteorder":
            continue
        data = archive.read(name)
        if inner == "models/model.json":
            program = json.loads(data)
            for node in program["graph_module"]["graph"]["nodes"]:
                node["metadata"] = {key: node["metadata"][key] for key in KEPT if key in node["metadata"]}
            data = json.dumps(program, separators=(",", ":")).encode()
        writer.write_record(inner, data, len(data))
    writer.write_record("byteorder", b"little", 6)
    writer.write_end_of_file()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=["ops", "parts", *CASES], help="which cases (default: all)")
    parser.add_argument("--into", default=HERE, help="the folder of the cases (default: this one)")
    options = parser.parse_args()
    for case in options.cases:
        torch.manual_seed(7)
        model, module, example, axes, outputs = prepared(case)
        for parameter in model.parameters():
            # Larger than models begin with: every part has to show in the result.
            torch.nn.init.normal_(parameter, std=0.3)
        folder = os.path.join(options.into, case)
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, "model.pt2")
        torch.export.save(export_pt2.export(module, example, axes), path + ".full.pt2")
        scrubbed(path + ".full.pt2", path)
        os.remove(path + ".full.pt2")
        if case not in WITHOUT_FAMILY:
            model.save_pretrained(os.path.join(folder, "checkpoint"))
        exact, inputs, expected = model.double(), {}, {}
        for i, length in enumerate(LENGTHS if "input_ids" in example else [0, 0]):
            for name, tensor in example.items():
                if name == "input_ids":
                    tensor = torch.randint(4, model.config.vocab_size, (1, length))
                elif name == "token_type_ids":
                    tensor = torch.randint(0, model.config.type_vocab_size, (1, length))
                else:
                    tensor = torch.randn(1, *tensor.shape[1:])
                inputs[f"{i}.{name}"] = tensor[0]
            given = {name: inputs[f"{i}.{name}"][None] for name in example}
            given = {name: x.double() if x.is_floating_point() else x for name, x in given.items()}
            with torch.no_grad():
                result = export_pt2.of_tensors(exact(**given, return_dict=True))
            for name in outputs:
                expected[f"{i}.{name}"] = result[name][0].float().contiguous()
        save_file(inputs, os.path.join(folder, "inputs.safetensors"))
        save_file(expected, os.path.join(folder, "outputs.safetensors"))
        print(case, os.path.getsize(path), outputs)


if __name__ == "__main__":
    main()
