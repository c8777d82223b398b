"""Random tiny models of many families, exported with torch.export, compiled from their archives, and held against
transformers in f64.

    python archives.py --bytec target/debug/bytec --work target/transformers/archives [--seed N] [--only REGEX]
                       [--forms NAME,..]

An archive is compiled knowing nothing of its family. Every model is exported in one or several forms (FORMS): with the
attention of PyTorch or written out, with the mask of a padded batch or without, with positions and segments or without.
Prints a line for each archive and a summary; exits 1 if a plan gives wrong numbers or bytec fails, but not if bytec says
that it can't compile an archive: those are listed with the reason.
"""

import argparse
import json
import pathlib
import random
import re
import shutil
import sys
import zlib

import numpy
import torch
import transformers
from agree import all_in_f64, bytec, fill
from safetensors.numpy import load_file, save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples"))
import export_pt2

# A plan's f32 may cost twice what PyTorch's costs, and 2e-6 of scale whatever that is; a model of a few columns may round
# luckily, so the error of PyTorch is that of its worst output and sample.
FLOOR, SLACK = 2e-6, 2.0
# attention implementation, further inputs, strict export
FORMS = {
    "plain": ("sdpa", [], False),
    "eager": ("eager", [], False),
    "mask": ("sdpa", ["attention_mask"], False),
    "eager-mask": ("eager", ["attention_mask"], False),
    "all": ("sdpa", ["attention_mask", "token_type_ids", "position_ids"], False),
    "strict": ("sdpa", ["attention_mask"], True),
}


def fields(kind, draw):
    """Config fields of a model type: a few layers of a few columns."""
    heads = draw.choice([2, 4])
    size = 4 * draw.randint(2, 3)
    width, inner = heads * size, draw.randint(20, 70)
    layers = draw.randint(1, 3)
    bert = dict(
        hidden_size=width, num_attention_heads=heads, num_hidden_layers=layers, intermediate_size=inner, vocab_size=61,
        max_position_embeddings=40, pad_token_id=1,
    )
    llama = bert | dict(
        num_key_value_heads=draw.choice([1, heads // 2, heads]), head_dim=size, bos_token_id=2, eos_token_id=3,
        pad_token_id=None, max_position_embeddings=60,
    )
    neox = {key: llama[key] for key in llama if key not in ("num_key_value_heads", "head_dim")}
    image = dict(image_size=8 * draw.randint(1, 3), patch_size=4, num_channels=3)
    vision = {key: bert[key] for key in list(bert)[:4]} | image
    clip = bert | dict(projection_dim=12, bos_token_id=2, eos_token_id=3)
    segments = dict(type_vocab_size=2)
    deberta = bert | dict(
        relative_attention=True, pos_att_type=["c2p", "p2c"], position_biased_input=False, type_vocab_size=0,
        max_relative_positions=-1, pad_token_id=0, legacy=False,
    )
    special = {
        "albert": bert | segments | dict(embedding_size=12),
        "beit": vision | dict(use_relative_position_bias=True, use_mask_token=False, use_mean_pooling=True),
        "bloom": dict(hidden_size=width, n_head=heads, n_layer=layers, vocab_size=61, bos_token_id=2, eos_token_id=3),
        "clip_text_model": clip | dict(max_position_embeddings=40),
        "clip_vision_model": vision | dict(projection_dim=12),
        "convbert": bert | segments | dict(
            embedding_size=12, head_ratio=2, conv_kernel_size=3, num_groups=1, hidden_size=4 * size,
            num_attention_heads=4,
        ),
        "data2vec-text": bert | segments,
        "deberta": deberta,
        "deberta-v2": deberta | dict(
            position_buckets=8, share_att_key=True, norm_rel_ebd="layer_norm",
            conv_kernel_size=draw.choice([0, 3]), conv_act="gelu",
        ),
        "deit": vision,
        "dinov2": {key: vision[key] for key in vision if key != "intermediate_size"} | dict(mlp_ratio=2),
        "dinov2_with_registers": {key: vision[key] for key in vision if key != "intermediate_size"} | dict(mlp_ratio=2),
        "dinov3_vit": {**vision, "hidden_size": heads * 16},
        "distilbert": dict(
            dim=width, n_heads=heads, n_layers=layers, hidden_dim=inner, vocab_size=61, max_position_embeddings=40,
        ),
        "electra": bert | segments | dict(embedding_size=12),
        "esm": bert | dict(pad_token_id=1, mask_token_id=4, position_embedding_type="rotary", token_dropout=draw.random() < 0.5),
        "falcon": dict(
            hidden_size=width, num_attention_heads=heads, num_hidden_layers=layers, vocab_size=61, multi_query=True,
            bos_token_id=2, eos_token_id=3,
        ),
        "flaubert": dict(emb_dim=width, n_heads=heads, n_layers=layers, n_words=61, max_position_embeddings=40, pad_index=1),
        "fnet": {key: bert[key] for key in bert if key != "num_attention_heads"} | segments,
        "funnel": dict(
            block_sizes=[1, 1], d_model=width, n_head=heads, d_head=size, d_inner=inner, vocab_size=61, num_decoder_layers=1,
        ),
        "gemma2_text": llama,
        "gemma2": llama | dict(sliding_window=8, query_pre_attn_scalar=size, attn_logit_softcapping=None, layer_types=None),
        "gemma3_text": llama | dict(sliding_window=8, query_pre_attn_scalar=size),
        "gpt2": dict(n_embd=width, n_head=heads, n_layer=layers, vocab_size=61, n_positions=40, bos_token_id=2, eos_token_id=3),
        "gpt_bigcode": dict(n_embd=width, n_head=heads, n_layer=layers, vocab_size=61, n_positions=40, bos_token_id=2, eos_token_id=3),
        "gpt_neo": dict(
            hidden_size=width, num_heads=heads, num_layers=2, attention_types=[[["global", "local"], 1]], window_size=8,
            intermediate_size=inner, vocab_size=61, max_position_embeddings=40, bos_token_id=2, eos_token_id=3,
        ),
        "gpt_neox": neox | dict(rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5)),
        "gptj": dict(n_embd=width, n_head=heads, n_layer=layers, vocab_size=61, n_positions=40, rotary_dim=4, bos_token_id=2, eos_token_id=3),
        "layoutlm": bert | segments | dict(max_2d_position_embeddings=64),
        "mobilebert": bert | segments | dict(
            embedding_size=12, intra_bottleneck_size=heads * 4, true_hidden_size=heads * 4, num_feedforward_networks=2,
            hidden_size=4 * size, trigram_input=draw.random() < 0.5,
        ),
        "modernbert": bert | dict(
            pad_token_id=0, bos_token_id=2, cls_token_id=2, eos_token_id=1, sep_token_id=1, local_attention=8,
            layer_types=[draw.choice(["full_attention", "sliding_attention"]) for _ in range(layers)],
        ),
        "mpnet": bert,
        "nomic_bert": bert | segments | dict(head_dim=size, rope_parameters=dict(rope_type="default", rope_theta=1000.0)),
        "opt": dict(
            hidden_size=width, num_attention_heads=heads, num_hidden_layers=layers, ffn_dim=inner, vocab_size=61,
            max_position_embeddings=40, word_embed_proj_dim=width, pad_token_id=1,
        ),
        "phi": neox | dict(rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5)),
        "rembert": bert | segments | dict(input_embedding_size=12, output_embedding_size=12),
        "segformer": dict(
            num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 16], patch_sizes=[3, 3],
            strides=[2, 2], num_attention_heads=[1, 2], mlp_ratios=[2, 2], image_size=16,
        ),
        "siglip_text_model": bert | dict(projection_size=width, bos_token_id=2, eos_token_id=3),
        "siglip_vision_model": vision,
        "squeezebert": bert | segments | dict(
            embedding_size=width, q_groups=2, k_groups=2, v_groups=2, post_attention_groups=1, intermediate_groups=2,
            output_groups=2, intermediate_size=4 * draw.randint(4, 16),
        ),
        "swin": dict(
            image_size=16, patch_size=2, embed_dim=12, depths=[2, 2], num_heads=[2, 4], window_size=4,
        ),
        "t5": dict(
            d_model=width, d_kv=size, d_ff=inner, num_layers=layers, num_heads=heads, vocab_size=61,
            feed_forward_proj=draw.choice(["relu", "gated-gelu"]),
        ),
        "umt5": dict(d_model=width, d_kv=size, d_ff=inner, num_layers=layers, num_heads=heads, vocab_size=61),
        "vit": vision,
        "xlm": dict(emb_dim=width, n_heads=heads, n_layers=layers, n_words=61, max_position_embeddings=40, pad_index=1),
    }
    special |= {kind: bert | segments for kind in ["bert", "camembert", "ernie", "ibert", "nezha", "roberta", "roberta-prelayernorm", "roformer", "splinter", "xlm-roberta", "xmod"]}
    special |= {kind: llama for kind in ["llama", "qwen2", "qwen3", "mistral", "gemma", "phi3", "olmo", "olmo2", "smollm3", "stablelm", "cohere", "starcoder2", "granite", "glm"]}
    special["qwen2"] = {key: llama[key] for key in llama if key != "head_dim"}
    return special.get(kind, bert)


HEADS = "ForMaskedLM ForSequenceClassification ForTokenClassification ForQuestionAnswering".split()
# Model types and their classes; the first of a name without further words is the type's own.
MODELS = [
    *((("bert", "Bert" + head)) for head in ["Model", *HEADS]),
    *((("roberta", "Roberta" + head)) for head in ["Model", *HEADS]),
    ("xlm-roberta", "XLMRobertaModel"), ("xlm-roberta", "XLMRobertaForSequenceClassification"),
    ("camembert", "CamembertModel"),
    *((("distilbert", "DistilBert" + head)) for head in ["Model", *HEADS]),
    ("albert", "AlbertModel"), ("albert", "AlbertForSequenceClassification"),
    ("electra", "ElectraModel"), ("electra", "ElectraForSequenceClassification"), ("electra", "ElectraForPreTraining"),
    ("mpnet", "MPNetModel"), ("mpnet", "MPNetForMaskedLM"),
    ("deberta", "DebertaModel"), ("deberta", "DebertaForSequenceClassification"),
    ("deberta-v2", "DebertaV2Model"), ("deberta-v2", "DebertaV2ForSequenceClassification"),
    ("deberta-v2", "DebertaV2ForTokenClassification"),
    ("t5", "T5EncoderModel"), ("umt5", "UMT5EncoderModel"), ("t5", "T5ForTokenClassification"),
    ("modernbert", "ModernBertModel"), ("modernbert", "ModernBertForSequenceClassification"),
    ("modernbert", "ModernBertForMaskedLM"),
    ("nomic_bert", "NomicBertModel"),
    ("gpt2", "GPT2Model"), ("gpt_neo", "GPTNeoModel"), ("gptj", "GPTJModel"), ("gpt_bigcode", "GPTBigCodeModel"),
    ("clip_text_model", "CLIPTextModel"), ("clip_text_model", "CLIPTextModelWithProjection"),
    ("clip_vision_model", "CLIPVisionModel"), ("clip_vision_model", "CLIPVisionModelWithProjection"),
    ("siglip_text_model", "SiglipTextModel"), ("siglip_vision_model", "SiglipVisionModel"),
    ("vit", "ViTModel"), ("vit", "ViTForImageClassification"), ("deit", "DeiTModel"),
    ("deit", "DeiTForImageClassificationWithTeacher"), ("beit", "BeitModel"), ("beit", "BeitForImageClassification"),
    ("dinov2", "Dinov2Model"), ("dinov2", "Dinov2ForImageClassification"), ("dinov2_with_registers", "Dinov2WithRegistersModel"),
    ("dinov3_vit", "DINOv3ViTModel"),
    ("ernie", "ErnieModel"), ("layoutlm", "LayoutLMModel"), ("mobilebert", "MobileBertModel"),
    ("squeezebert", "SqueezeBertModel"), ("convbert", "ConvBertModel"), ("funnel", "FunnelBaseModel"), ("fnet", "FNetModel"),
    ("esm", "EsmModel"), ("esm", "EsmForMaskedLM"), ("roformer", "RoFormerModel"), ("rembert", "RemBertModel"),
    ("xlm", "XLMModel"), ("flaubert", "FlaubertModel"), ("bloom", "BloomModel"), ("falcon", "FalconModel"),
    ("opt", "OPTModel"), ("llama", "LlamaModel"), ("llama", "LlamaForCausalLM"), ("qwen2", "Qwen2Model"), ("qwen3", "Qwen3Model"),
    ("qwen3", "Qwen3ForCausalLM"), ("mistral", "MistralModel"), ("gemma", "GemmaModel"), ("gemma2", "Gemma2Model"),
    ("gemma3_text", "Gemma3TextModel"), ("phi", "PhiModel"), ("phi3", "Phi3Model"), ("gpt_neox", "GPTNeoXModel"), ("olmo2", "Olmo2Model"),
    ("stablelm", "StableLmModel"), ("cohere", "CohereModel"), ("starcoder2", "Starcoder2Model"), ("granite", "GraniteModel"), ("glm", "GlmModel"),
    ("swin", "SwinModel"), ("segformer", "SegformerModel"), ("segformer", "SegformerForImageClassification"),
    ("data2vec-text", "Data2VecTextModel"), ("ibert", "IBertModel"), ("splinter", "SplinterModel"),
    ("roberta-prelayernorm", "RobertaPreLayerNormModel"),
]


def takes(model, name):
    """Whether a model's forward has an argument of this name."""
    return name in model.forward.__code__.co_varnames[: model.forward.__code__.co_argcount]


def texts(model, arguments, draw):
    """Samples: one token, as many as there may be, and lengths between that are not the exported one."""
    config = model.config
    most = min(export_pt2.longest_text(config), 37)
    for length in [1, most, draw.randint(2, 10), draw.randint(13, most - 1)]:
        # From 4 on, so that none is a padding or a special token; one of CLIP's ends.
        ids = [draw.randrange(4, config.vocab_size if hasattr(config, "vocab_size") else 61) for _ in range(length)]
        if config.model_type == "clip_text_model":
            ids[-1] = config.eos_token_id
        given = {
            "input_ids": ids, "attention_mask": [1] * length,
            "token_type_ids": [draw.randrange(2) for _ in range(length)],
            "position_ids": [draw.randrange(2, most) for _ in range(length)],
        }
        yield {name: torch.tensor(given[name]) for name in arguments}


def images(model, draw):
    """Images of the model's size."""
    config = model.config
    size = config.image_size
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    generator = torch.Generator().manual_seed(draw.randrange(1 << 30))
    for _ in range(3):
        yield {"pixel_values": torch.randn(config.num_channels, height, width, generator=generator)}


def of_one(values):
    """A sample as a batch of one."""
    return {name: value[None] for name, value in values.items()}


def arguments_of(model, form):
    """The inputs of an exported model."""
    if model.main_input_name == "pixel_values":
        return ["pixel_values"]
    further = [name for name in FORMS[form][1] if takes(model, name)]
    if getattr(model.config, "type_vocab_size", 2) < 2:
        further = [name for name in further if name != "token_type_ids"]
    return ["input_ids", *further]


def export(folder, model, arguments, form):
    """Writes an archive whose batch and length are dynamic; the names of its outputs."""
    batch = torch.export.Dim("B", min=1, max=64)
    if "pixel_values" in arguments:
        image = next(images(model, random.Random(0)))["pixel_values"]
        example = {"pixel_values": torch.stack([image] * 3)}
        axes = {"pixel_values": {0: batch}}
    else:
        length = torch.export.Dim("S", min=1, max=min(export_pt2.longest_text(model.config), 37))
        ids = torch.randint(4, 61, (3, 11))
        example = {"input_ids": ids}
        example |= {name: torch.ones_like(ids) for name in arguments[1:]}
        axes = {name: {0: batch, 1: length} for name in example}
    if getattr(model.config, "use_cache", None):
        model.config.use_cache = False
    with torch.no_grad():
        outputs = [name for name, value in export_pt2.of_tensors(model(**example, return_dict=True)).items()]
    module = export_pt2.with_arguments(model, list(example))
    with torch.no_grad():
        values, shapes = tuple(example.values()), tuple(axes.values())
        program = torch.export.export(module, values, dynamic_shapes=shapes, strict=FORMS[form][2])
    torch.export.save(program, folder / "model.pt2")
    return outputs


def write(folder, kind, name, form, seed):
    """The archive of a random model, inputs, and what transformers gives for each alone; the names of the outputs, and how
    far PyTorch in f32 is from them, relative to scale."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    draw = random.Random(seed)
    torch.manual_seed(seed)
    cls = getattr(transformers, name)
    config = cls.config_class(**fields(kind, draw))
    config._attn_implementation = FORMS[form][0]
    try:
        model = cls(config).eval()
    except ValueError:
        # Some have no attention but their own.
        config._attn_implementation = "eager"
        model = cls(config).eval()
    fill(model, seed)
    arguments = arguments_of(model, form)
    outputs = export(folder, model, arguments, form)
    with all_in_f64():
        exact = cls(config).double().eval()
    exact.load_state_dict(model.state_dict())
    exact.tie_weights()
    samples = images(model, draw) if "pixel_values" in arguments else texts(model, arguments, draw)
    given, expected, errors, scales = {}, {}, {}, {}
    for sample, values in enumerate(samples):
        given |= {f"{sample}.{name}": x.numpy() for name, x in values.items() if name != "attention_mask"}
        batch = of_one(values)
        with torch.no_grad():
            single = export_pt2.of_tensors(model(**batch, return_dict=True))
            if "pixel_values" in batch:
                batch["pixel_values"] = batch["pixel_values"].double()
            with all_in_f64():
                found = export_pt2.of_tensors(exact(**batch, return_dict=True))
        for name in outputs:
            value = found[name][0].numpy()
            expected[f"{sample}.{name}"] = numpy.ascontiguousarray(value.astype(numpy.float32))
            errors[name] = max(errors.get(name, 0.0), abs(value - single[name][0].numpy()).max())
            scales[name] = max(scales.get(name, 0.0), abs(value).max())
    save_file(given, folder / "inputs.safetensors")
    save_file(expected, folder / "outputs.safetensors")
    return outputs, max(errors[name] / scales[name] for name in outputs)


def look(program, folder, outputs, single):
    """What came of an archive, and words about it."""
    archive, plan = folder / "model.pt2", folder / "model.plan"
    try:
        bytec(program, "compile", archive, "--outputs", ",".join(outputs), "-o", plan)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if not line.startswith("bytec compile: [")]
        more = f" (and {len(lines) - 3} more lines)" if len(lines) > 3 else ""
        return ("FAILED" if "panicked" in str(error) else "refused"), "\n    ".join(lines[:3]) + more
    only_inputs_of(program, plan, folder / "inputs.safetensors")
    tolerance = max(FLOOR, SLACK * single)
    samples = ["--inputs", folder / "inputs.safetensors", "--reference", folder / "outputs.safetensors"]
    found = json.loads(bytec(program, "verify", plan, *samples, "--devices", "cpu", "--tolerance", tolerance, "--json"))
    worst = max(result["errors"]["max_relative"] or 0.0 for result in found["results"])
    return ("ok" if found["passed"] else "FAILED"), f"{worst:.1e} of at most {tolerance:.1e}"


def only_inputs_of(program, plan, path):
    """Takes out of a file of samples what the plan doesn't read: a model may take an argument that it never uses."""
    forward = json.loads(bytec(program, "inspect", plan, "--json"))["programs"][0]
    names = {value["name"] for value in forward["inputs"]}
    given = load_file(path)
    save_file({key: value for key, value in given.items() if key.split(".", 1)[1] in names}, path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bytec", required=True, help="the program")
    parser.add_argument("--work", required=True, type=pathlib.Path, help="a folder for the archives")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="classes whose names match this")
    parser.add_argument("--forms", default="plain", help="which forms, or `every`")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    forms = list(FORMS) if args.forms == "every" else args.forms.split(",")
    counts = {}
    for kind, name in MODELS:
        if not re.search(args.only, name):
            continue
        for form in forms:
            folder = args.work / f"{name}-{form}-{args.seed}"
            try:
                # A seed of its own for each model, the same whichever others are chosen.
                outputs, single = write(folder, kind, name, form, zlib.crc32(f"{name}-{args.seed}".encode()))
            except Exception as error:
                outcome, words = "not exported", f"{type(error).__name__}: {str(error).strip().splitlines()[0][:150]}"
            else:
                try:
                    outcome, words = look(args.bytec, folder, outputs, single)
                except Exception as error:
                    outcome, words = "FAILED", f"{type(error).__name__}: {error}"
            counts[outcome] = counts.get(outcome, 0) + 1
            print(f"{outcome:8} {folder.name:44} {words}", flush=True)
            if outcome == "ok":
                shutil.rmtree(folder)
    print(f"transformers {transformers.__version__}, torch {torch.__version__}: {counts}")
    return 1 if counts.get("FAILED") or not counts.get("ok") else 0


if __name__ == "__main__":
    sys.exit(main())
