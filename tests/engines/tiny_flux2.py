"""FLUX.2 [klein] in miniature: the real classes, random weights, a tokenizer of single bytes; written to disk once.

python tests/engines/tiny_flux2.py FOLDER
"""

import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline, Flux2Transformer2DModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import Qwen2TokenizerFast, Qwen3Config, Qwen3ForCausalLM

HIDDEN = 32
TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"


def write(folder: Path) -> Path:
    """The whole pipeline, as its repository on the Hub has it: a few megabytes."""
    torch.manual_seed(0)
    vae = AutoencoderKLFlux2(block_out_channels=(32, 32, 32, 32), layers_per_block=1)
    pipeline(transformer(), text_encoder(len(byte_tokenizer())), vae).to(torch.bfloat16).save_pretrained(folder)
    return folder


def pipeline(
    transformer: Flux2Transformer2DModel, text_encoder: Qwen3ForCausalLM, vae: AutoencoderKLFlux2
) -> Flux2KleinPipeline:
    """These models, with a scheduler as the real one is set and a tokenizer that needs no file."""
    return Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=byte_tokenizer(),
        transformer=transformer,
        is_distilled=True,
    )


def transformer() -> Flux2Transformer2DModel:
    """Two blocks of each kind."""
    return Flux2Transformer2DModel(
        num_layers=2,
        num_single_layers=2,
        num_attention_heads=2,
        attention_head_dim=16,
        axes_dims_rope=(4, 4, 4, 4),
        joint_attention_dim=3 * HIDDEN,  # the pipeline joins the hidden states of three layers
        guidance_embeds=False,
    )


def text_encoder(vocabulary: int) -> Qwen3ForCausalLM:
    """28 layers, since the pipeline takes the hidden states behind layers 9, 18 and 27."""
    config = Qwen3Config(
        hidden_size=HIDDEN,
        num_hidden_layers=28,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        intermediate_size=HIDDEN,
        vocab_size=vocabulary,
    )
    return Qwen3ForCausalLM(config)


def byte_tokenizer() -> Qwen2TokenizerFast:
    """One token a byte, and the two special ones."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    return Qwen2TokenizerFast(tokenizer_object=tokenizer, chat_template=TEMPLATE, **special)


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))  # noqa: T201 - the script's answer
