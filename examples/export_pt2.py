#!/usr/bin/env python3
"""Exports a transformers or timm model to a .pt2 archive that `bytec compile` reads.

    export_pt2.py sentence-transformers/all-MiniLM-L6-v2 -o minilm.pt2
    export_pt2.py ./t5-small --class T5EncoderModel --max-length 512 -o t5.pt2
    export_pt2.py vit_small_patch16_224 --timm -o vit.pt2

The batch axis and, for texts, the length are dynamic. There is no attention mask: bytec runs every sample at its own
length, so there is no padding to mask. The last line printed is the bytec command, with the outputs' names.

Needs torch 2.9 or later, and transformers or timm.
"""

import argparse
import os
import shlex
import sys

import torch
from torch.export import Dim


class Plain(torch.nn.Module):
    """The model with tensors for arguments and a tuple of tensors as its result."""

    def __init__(self, model, arguments):
        super().__init__()
        self.model = model
        self.arguments = arguments

    def forward(self, *tensors):
        given = dict(zip(self.arguments, tensors))
        return tuple(of_tensors(self.model(**given, return_dict=True)).values())


def of_tensors(result):
    """The float tensors of a model's result, by name."""
    return {name: value for name, value in result.items() if torch.is_tensor(value)}


def with_arguments(model, arguments):
    """A module whose forward has these names for its arguments, which the archive keeps."""
    names = ", ".join(arguments)
    space = {}
    exec(f"def forward(self, {names}):\n    return self.run({names})", space)
    kind = type("Exported", (Plain,), {"forward": space["forward"], "run": Plain.forward})
    return kind(model, arguments)


def transformers_model(options):
    import transformers

    cls = getattr(transformers, options.cls)
    try:
        model = cls.from_pretrained(options.model, attn_implementation="sdpa")
    except ValueError:
        # Some models have no attention but their own.
        model = cls.from_pretrained(options.model, attn_implementation="eager")
    return prepared(model, options)


def prepared(model, options):
    """The module to export, an example of its inputs, and which of their axes vary."""
    model.eval()
    config = model.config
    batch = Dim("B", min=1, max=options.max_batch)
    if model.main_input_name == "pixel_values":
        size = config.image_size
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        example = {"pixel_values": torch.randn(3, config.num_channels, height, width)}
        axes = {"pixel_values": {0: batch}}
    else:
        longest = options.max_length or longest_text(config)
        length = Dim("S", min=1, max=longest)
        ids = torch.randint(4, config.vocab_size, (3, min(11, longest - 1)))
        example = {"input_ids": ids}
        if getattr(config, "type_vocab_size", 0) > 1 and "token_type_ids" in model.forward.__code__.co_varnames:
            example["token_type_ids"] = torch.zeros_like(ids)
        axes = {name: {0: batch, 1: length} for name in example}
    if getattr(config, "use_cache", None):
        config.use_cache = False
    with torch.no_grad():
        outputs = list(of_tensors(model(**example, return_dict=True)))
    return with_arguments(model, list(example)), example, axes, outputs


def longest_text(config):
    """How many tokens the model's positions reach, less those that it never uses."""
    rows = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 512
    pads = {"roberta", "xlm-roberta", "mpnet", "camembert", "longformer"}
    return rows - (config.pad_token_id + 1) if config.model_type in pads else rows


def timm_model(options):
    import timm

    model = timm.create_model(options.model, pretrained=not options.random).eval()
    channels, height, width = model.default_cfg["input_size"]
    example = {"x": torch.randn(3, channels, height, width)}
    return model, example, {"x": {0: Dim("B", min=1, max=options.max_batch)}}, ["output"]


def export(module, example, axes):
    # Not strict: the model runs as Python, so that no construct of its source stands in the way.
    with torch.no_grad():
        return torch.export.export(module, tuple(example.values()), dynamic_shapes=tuple(axes.values()), strict=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder or the id of a model of transformers; with --timm a name of timm's")
    parser.add_argument("-o", "--output", required=True, help="the archive to write")
    parser.add_argument("--class", dest="cls", default="AutoModel", metavar="NAME",
                        help="the transformers class, such as AutoModelForSequenceClassification (default: %(default)s)")
    parser.add_argument("--timm", action="store_true", help="a model of timm")
    parser.add_argument("--random", action="store_true", help="with --timm: random weights, nothing is fetched")
    parser.add_argument("--max-batch", type=int, default=64, help="the largest batch of the export; bytec's are not bound by it")
    parser.add_argument("--max-length", type=int, help="the longest text in tokens; by default what the config says")
    options = parser.parse_args()
    if not options.output.endswith(".pt2"):
        parser.error("--output: torch.export.save wants a name that ends in .pt2")
    module, example, axes, outputs = timm_model(options) if options.timm else transformers_model(options)
    program = export(module, example, axes)
    partial = f"{options.output[:-4]}.partial.pt2"
    torch.export.save(program, partial)
    os.replace(partial, options.output)
    archive = shlex.quote(options.output)
    plan = shlex.quote(options.output[:-4] + ".plan")
    print(f"bytec compile {archive} --outputs {','.join(outputs)} -o {plan}")


if __name__ == "__main__":
    sys.exit(main())
