"""A tiny Wan-Animate with random weights, made from configuration: nothing is downloaded, and it runs on a CPU."""

from __future__ import annotations

from pathlib import Path

PROMPT_WORDS = ("视", "频", "中", "的", "人", "在", "做", "动", "作")


def save_tiny_pipeline(folder: Path, seed: int = 0) -> Path:
    """The folder that a published Wan-Animate would be, of 370 kB. All frames are multiples of 16 pixels."""
    import torch
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanAnimatePipeline, WanAnimateTransformer3DModel
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

    torch.manual_seed(seed)
    vae = AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    )
    transformer = WanAnimateTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=36,
        latent_channels=16,
        out_channels=16,
        text_dim=32,
        freq_dim=256,
        ffn_dim=32,
        num_layers=2,
        image_dim=4,
        rope_max_seq_len=32,
        motion_encoder_channel_sizes={"4": 16, "8": 16, "16": 16},
        motion_encoder_size=16,
        motion_style_dim=8,
        motion_dim=4,
        motion_encoder_dim=16,
        face_encoder_hidden_dim=16,
        face_encoder_num_heads=2,
        inject_face_latents_blocks=2,
    )
    vision = CLIPVisionConfig(
        hidden_size=4,
        projection_dim=4,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=4,
        intermediate_size=16,
        patch_size=1,
    )
    text = UMT5Config(
        vocab_size=16, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4, relative_attention_num_buckets=8
    )
    pipe = WanAnimatePipeline(
        tokenizer=_tokenizer(),
        text_encoder=UMT5EncoderModel(text),
        vae=vae,
        scheduler=UniPCMultistepScheduler(flow_shift=3.0, prediction_type="flow_prediction", use_flow_sigmas=True),
        image_processor=CLIPImageProcessor(crop_size=4, size=4),
        image_encoder=CLIPVisionModel(vision),
        transformer=transformer,
    )
    pipe.save_pretrained(folder)
    return folder


def _tokenizer():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from transformers import PreTrainedTokenizerFast

    words = {word: n for n, word in enumerate(("<pad>", "</s>", "<unk>", *PROMPT_WORDS))}
    raw = Tokenizer(WordLevel(words, unk_token="<unk>"))
    raw.pre_tokenizer = Split("", "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def save_tiny_second(folder: Path, seed: int = 0) -> Path:
    """The folder that a published Wan-Animate-2 would be. Its image encoder has the real one's width, 1280."""
    import json

    import torch
    from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanAnimate2Transformer3DModel
    from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

    torch.manual_seed(seed)
    parts = {
        "vae": AutoencoderKLWan(
            base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
        ),
        "transformer": WanAnimate2Transformer3DModel(
            dim=24, ffn_dim=32, freq_dim=256, text_dim=32, num_heads=2, num_layers=2
        ),
        "image_encoder": CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=1280, intermediate_size=16, num_hidden_layers=2, num_attention_heads=4, patch_size=112
            )
        ),
        "text_encoder": UMT5EncoderModel(
            UMT5Config(
                vocab_size=16,
                d_model=32,
                d_kv=8,
                d_ff=37,
                num_layers=2,
                num_heads=4,
                relative_attention_num_buckets=8,
            )
        ),
        "tokenizer": _tokenizer(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
    }
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "WanAnimate2Pipeline"}))
    return folder
