"""GLM-4.7-Flash's architecture as a GGUF of random weights, 17.7 GB in 4 bits, and a tokenizer of bytes.

The shapes are the published ones, without the block that predicts several tokens; the experts are in Q4_K, the head in
Q6_K, what else is multiplied in Q8_0, which comes to the size of the 4-bit files that are served. Every byte is random
but for the scales of the blocks: those are such that no layer overflows. A byte is a token; the rest of the vocabulary
is there, and nothing is ever written with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind

BYTES_FROM = 3
"""The first of the 256 tokens that are bytes; before them: unknown, beginning, end."""

_SCALES: dict[Kind, tuple[tuple[int, float], ...]] = {
    Kind.Q4_K: ((0, 6e-5), (2, 4.5e-4)),  # the second one is subtracted: 7.5 times the first, half of a quant's range
    Kind.Q6_K: ((208, 1.5e-5),),
    Kind.Q8_0: ((0, 2.7e-4),),
}
"""Where a block has 16-bit scales, and what they are set to: weights with a deviation of about 0.02."""


@dataclass(frozen=True)
class Shape:
    """What of the architecture makes its size."""

    layers: int = 47
    width: int = 2048
    dense_width: int = 10_240
    expert_width: int = 1536
    experts: int = 64
    heads: int = 20
    vocabulary: int = 154_880


FULL = Shape()
TINY = Shape(layers=3, width=256, dense_width=512, expert_width=256, experts=8, heads=4, vocabulary=4096)
"""For a machine without a GPU."""

EXPERTS_USED = 4
Q_RANK, KV_RANK = 768, 512
KEY, ROTATED, VALUE = 192, 64, 256
"""Of a head: what of a key stands still and what is rotated, and a value."""


def write(path: Path, shape: Shape = FULL) -> Path:
    """Write the file; its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(None, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.DEEPSEEK2])
    _describe(writer, shape)
    _add_tokenizer(writer, shape.vocabulary)
    tensors = dict(_tensors(shape))
    for name, (dimensions, kind) in tensors.items():
        writer.add_tensor_info(name, dimensions, np.dtype(np.float16), _size(dimensions, kind), raw_dtype=kind)
    writer.write_header_to_file(path)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = np.random.default_rng(0)
    for name, (dimensions, kind) in tensors.items():
        writer.write_tensor_data(_content(name, dimensions, kind, random))
    writer.close()
    return path


def _describe(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_name("GLM-4.7-Flash, random weights")
    writer.add_block_count(shape.layers)
    writer.add_context_length(202_752)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.dense_width)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(1)  # the latent one, which all heads share
    writer.add_q_lora_rank(Q_RANK)
    writer.add_kv_lora_rank(KV_RANK)
    writer.add_key_length(KV_RANK + ROTATED)
    writer.add_value_length(KV_RANK)
    writer.add_key_length_mla(KEY + ROTATED)
    writer.add_value_length_mla(VALUE)
    writer.add_rope_dimension_count(ROTATED)
    writer.add_rope_freq_base(1_000_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_leading_dense_block_count(1)
    writer.add_expert_count(shape.experts)
    writer.add_expert_used_count(EXPERTS_USED)
    writer.add_expert_shared_count(1)
    writer.add_expert_feed_forward_length(shape.expert_width)
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    writer.add_expert_weights_scale(1.8)
    writer.add_expert_weights_norm(value=True)


def _add_tokenizer(writer: gguf.GGUFWriter, vocabulary: int) -> None:
    kinds = gguf.TokenType
    marks = [("<unk>", kinds.UNKNOWN), ("<s>", kinds.CONTROL), ("</s>", kinds.CONTROL)]
    in_bytes = [(f"<0x{byte:02X}>", kinds.BYTE) for byte in range(256)]
    rest = [(f"<t{index}>", kinds.NORMAL) for index in range(BYTES_FROM + 256, vocabulary)]
    tokens = [*marks, *in_bytes, *rest]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text for text, _ in tokens])
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([kind for _, kind in tokens])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_space_prefix(value=False)


Tensor = tuple[str, tuple[tuple[int, ...], Kind]]


def _tensors(shape: Shape) -> Iterator[Tensor]:
    """Names, dimensions (the innermost last) and kinds, in the order of the file."""
    yield "token_embd.weight", ((shape.vocabulary, shape.width), Kind.Q4_K)
    for layer in range(shape.layers):
        parts = (_attention(shape), _dense(shape) if layer == 0 else _experts(shape))
        yield from ((f"blk.{layer}.{name}", what) for part in parts for name, what in part)
    yield "output_norm.weight", ((shape.width,), Kind.F32)
    yield "output.weight", ((shape.vocabulary, shape.width), Kind.Q6_K)


def _attention(shape: Shape) -> Iterator[Tensor]:
    """As multi-head latent attention is stored, its second halves of keys and values by head."""
    heads, width = shape.heads, shape.width
    yield "attn_norm.weight", ((width,), Kind.F32)
    yield "attn_q_a.weight", ((Q_RANK, width), Kind.Q8_0)
    yield "attn_q_a_norm.weight", ((Q_RANK,), Kind.F32)
    yield "attn_q_b.weight", ((heads * (KEY + ROTATED), Q_RANK), Kind.Q8_0)
    yield "attn_kv_a_mqa.weight", ((KV_RANK + ROTATED, width), Kind.Q8_0)
    yield "attn_kv_a_norm.weight", ((KV_RANK,), Kind.F32)
    yield "attn_k_b.weight", ((heads, KV_RANK, KEY), Kind.Q8_0)
    yield "attn_v_b.weight", ((heads, VALUE, KV_RANK), Kind.Q8_0)
    yield "attn_output.weight", ((width, heads * VALUE), Kind.Q8_0)
    yield "ffn_norm.weight", ((width,), Kind.F32)


def _dense(shape: Shape) -> Iterator[Tensor]:
    yield from _gated("", shape.width, shape.dense_width, Kind.Q8_0)


def _experts(shape: Shape) -> Iterator[Tensor]:
    yield "ffn_gate_inp.weight", ((shape.experts, shape.width), Kind.F32)
    yield "exp_probs_b.bias", ((shape.experts,), Kind.F32)
    yield from _gated("_exps", shape.width, shape.expert_width, Kind.Q4_K, (shape.experts,))
    yield from _gated("_shexp", shape.width, shape.expert_width, Kind.Q8_0)


def _gated(suffix: str, width: int, inner: int, kind: Kind, count: tuple[int, ...] = ()) -> Iterator[Tensor]:
    yield f"ffn_gate{suffix}.weight", ((*count, inner, width), kind)
    yield f"ffn_up{suffix}.weight", ((*count, inner, width), kind)
    yield f"ffn_down{suffix}.weight", ((*count, width, inner), kind)


def _size(dimensions: tuple[int, ...], kind: Kind) -> int:
    in_block, of_bytes = gguf.GGML_QUANT_SIZES[kind]
    return int(np.prod(dimensions)) // in_block * of_bytes


def _content(name: str, dimensions: tuple[int, ...], kind: Kind, random: np.random.Generator) -> np.ndarray[Any, Any]:
    if kind == Kind.F32:
        norm = name.endswith("norm.weight")
        return np.ones(dimensions, np.float32) if norm else random.standard_normal(dimensions, np.float32) / 50
    size = _size(dimensions, kind)
    content = random.integers(0, 2**64, -(-size // 8), np.uint64).view(np.uint8)[:size]
    blocks = content.reshape(-1, gguf.GGML_QUANT_SIZES[kind][1])
    for offset, scale in _SCALES[kind]:
        blocks[:, offset : offset + 2] = np.frombuffer(np.float16(scale).tobytes(), np.uint8)
    return content
