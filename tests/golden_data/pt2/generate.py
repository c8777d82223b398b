#!/usr/bin/env python3
"""Writes the cases beside this file: tiny random models of transformers, exported, with what torch computes in f64.

    generate.py            (needs torch, transformers and safetensors; any recent ones)

Each case is a folder with `model.pt2`, `inputs.safetensors` and `outputs.safetensors`; tensors are called
`<sample>.<name>` and have no batch axis. `checkpoint` is the same model as transformers saves it. Text for humans (stack traces, which hold paths) is taken out of the archives.
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
    "roberta": ("RobertaModel", transformers.RobertaConfig(**SHARED | {"num_hidden_layers": 1})),
    "t5_encoder": ("T5EncoderModel", transformers.T5Config(
        d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, vocab_size=50, relative_attention_num_buckets=8,
        relative_attention_max_distance=20, dropout_rate=0.0, feed_forward_proj="gated-gelu")),
    "vit": ("ViTModel", transformers.ViTConfig(
        **{name: SHARED[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")},
        image_size=16, patch_size=8, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)),
}


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
    parser.add_argument("cases", nargs="*", default=list(CASES), help="which cases (default: all)")
    parser.add_argument("--into", default=HERE, help="the folder of the cases (default: this one)")
    options = parser.parse_args()
    for case in options.cases:
        cls, config = CASES[case]
        torch.manual_seed(7)
        cls = getattr(transformers, cls)
        try:
            model = cls._from_config(config, attn_implementation="sdpa")
        except ValueError:
            model = cls._from_config(config, attn_implementation="eager")
        for parameter in model.parameters():
            # Larger than models begin with: every part has to show in the result.
            torch.nn.init.normal_(parameter, std=0.3)
        longest = types.SimpleNamespace(max_length=40, max_batch=64)
        module, example, axes, outputs = export_pt2.prepared(model, longest)
        folder = os.path.join(options.into, case)
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, "model.pt2")
        torch.export.save(export_pt2.export(module, example, axes), path + ".full.pt2")
        scrubbed(path + ".full.pt2", path)
        os.remove(path + ".full.pt2")
        model.save_pretrained(os.path.join(folder, "checkpoint"))
        exact, inputs, expected = model.double(), {}, {}
        for i, length in enumerate(LENGTHS if "input_ids" in example else [0, 0]):
            for name, tensor in example.items():
                if name == "input_ids":
                    tensor = torch.randint(4, config.vocab_size, (1, length))
                elif name == "token_type_ids":
                    tensor = torch.randint(0, config.type_vocab_size, (1, length))
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
