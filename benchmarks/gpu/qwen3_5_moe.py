"""Qwen3.5-35B-A3B in FP8 as a folder that a server can load with dummy weights: its config, and a tokenizer of bytes.

The config is the published one, but for two things that change neither shapes nor kernels: layers that stay in 16 bits
are named by their last name instead of one by one, and the tokenizer has no merges: a byte is a token.
"""

import json
from pathlib import Path
from typing import Any

LAYERS = 40
VOCABULARY = 248_320
SPECIAL = {
    248_044: "<|endoftext|>",
    248_045: "<|im_start|>",
    248_046: "<|im_end|>",
    248_053: "<|vision_start|>",
    248_054: "<|vision_end|>",
    248_056: "<|image_pad|>",
    248_057: "<|video_pad|>",
}
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)

TEXT: dict[str, Any] = {
    "model_type": "qwen3_5_moe_text",
    "dtype": "bfloat16",
    "vocab_size": VOCABULARY,
    "hidden_size": 2048,
    "num_hidden_layers": LAYERS,
    "full_attention_interval": 4,
    "layer_types": ["full_attention" if layer % 4 == 3 else "linear_attention" for layer in range(LAYERS)],  # noqa: PLR2004
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attn_output_gate": True,
    "head_dim": 256,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_value_head_dim": 128,
    "mamba_ssm_dtype": "float32",
    "num_experts": 256,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512,
    "router_aux_loss_coef": 0.001,
    "output_router_logits": False,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-06,
    "initializer_range": 0.02,
    "max_position_embeddings": 262_144,
    "mtp_num_hidden_layers": 1,
    "mtp_use_dedicated_embeddings": False,
    "partial_rotary_factor": 0.25,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10_000_000,
        "partial_rotary_factor": 0.25,
        "mrope_interleaved": True,
        "mrope_section": [11, 11, 10],
    },
    "bos_token_id": None,
    "eos_token_id": 248_044,
    "tie_word_embeddings": False,
    "use_cache": True,
}

VISION: dict[str, Any] = {
    "model_type": "qwen3_5_moe",
    "deepstack_visual_indexes": [],
    "depth": 27,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_size": 1152,
    "in_channels": 3,
    "initializer_range": 0.02,
    "intermediate_size": 4304,
    "num_heads": 16,
    "num_position_embeddings": 2304,
    "out_hidden_size": 2048,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3_5MoeForConditionalGeneration"],
    "model_type": "qwen3_5_moe",
    "dtype": "bfloat16",
    "text_config": TEXT,
    "vision_config": VISION,
    "image_token_id": 248_056,
    "video_token_id": 248_057,
    "vision_start_token_id": 248_053,
    "vision_end_token_id": 248_054,
    "tie_word_embeddings": False,
    "quantization_config": {
        "quant_method": "fp8",
        "fmt": "e4m3",
        "activation_scheme": "dynamic",
        "weight_block_size": [128, 128],
        "modules_to_not_convert": ["lm_head", "in_proj_a", "in_proj_b", "gate", "shared_expert_gate", "visual", "mtp"],
    },
}

_PATCHES = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2}
_NORMAL = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
PREPROCESSORS: dict[str, dict[str, Any]] = {
    "preprocessor_config.json": {
        "image_processor_type": "Qwen2VLImageProcessorFast",
        "processor_class": "Qwen3VLProcessor",
        "size": {"shortest_edge": 65_536, "longest_edge": 16_777_216},
        **_PATCHES,
        **_NORMAL,
    },
    "video_preprocessor_config.json": {
        "video_processor_type": "Qwen3VLVideoProcessor",
        "processor_class": "Qwen3VLProcessor",
        "size": {"shortest_edge": 4096, "longest_edge": 25_165_824},
        **_PATCHES,
        **_NORMAL,
    },
}


def write(folder: Path) -> Path:
    """Write all of it; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": TEXT["max_position_embeddings"],
        "chat_template": CHAT_TEMPLATE,
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "vision_bos_token": "<|vision_start|>",
        "vision_eos_token": "<|vision_end|>",
    }
    files = {"config.json": CONFIG, "tokenizer_config.json": settings, **PREPROCESSORS}
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")
    _tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: PLC0415 - there where SGLang is

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {letter: index for index, letter in enumerate(letters)}
    rest = {SPECIAL.get(index, f"<t{index}>"): index for index in range(len(letters), max(SPECIAL) + 1)}
    tokenizer = Tokenizer(models.BPE(vocab=words | rest, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL.values()))
    return tokenizer
