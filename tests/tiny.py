"""Small stand-ins for what is large: a corpus of five days, a sentence encoder, a language model."""

import hashlib
import re
from pathlib import Path

import numpy as np

from ragtune_lib.records import Chunk, Entity, Relationship, Sentence
from ragtune_lib.store import content_id
from ragtune_lib.text import normalize, sentences

DAYS = {
    "2025-01-06": "# 6 January 2025: Jam\n\nIlse Brandt sold 14 jars of plum jam at the harbour. Tomas painted the boat"
    " green with a brush. It dried in two days.",
    "2025-01-30": "Dr. Weiss met Tomas and Ilse Brandt at the harbour on Friday. My uncle lost a red scarf near the pier.",
    "2025-03-09": "Tomas pulled the boat out of the harbour with a crane. Ilse Brandt boiled plum jam for the crew,\nand"
    " I washed thirty spoons.",
    "2025-04-20": "Ilse Brandt kept nine jars in the cellar because of the heat. Tomas sold the boat to a farmer for 300"
    " euros.",
    "2025-12-02": "Tomas and Ilse Brandt opened a shop at the harbour in December. A gull stole the sign of the shop.",
}
NAMES = {"Ilse Brandt": "name", "Tomas": "name", "Dr. Weiss": "name", "harbour": "phrase", "boat": "phrase"}


def chunks_of(days):
    """One chunk per day; an empty date gives an undated one."""
    return [Chunk(f"c{at}", f"d{at}", 0, len(text), text, date) for at, (date, text) in enumerate(days.items())]


def entities_of(chunks, names):
    """Entities whose evidence is every sentence that holds their name."""
    found = []
    for name, kind in sorted(names.items()):
        evidence = [
            Sentence(text, chunk.id, chunk.date)
            for chunk in chunks
            for text in sentences(chunk.text)
            if re.search(rf"\b{re.escape(name)}\b", text)
        ]
        ids = tuple(sorted({sentence.chunk_id for sentence in evidence}))
        description = " ".join(sentence.text for sentence in evidence)
        found.append(Entity(content_id(name), name, kind, description, tuple(evidence), ids))
    return found


def relationships_of(entities):
    """One edge for every two entities that share an evidence sentence."""
    found = []
    for a in entities:
        for b in entities:
            shared = tuple(sentence for sentence in a.evidence if sentence in b.evidence)
            if a.id < b.id and shared:
                ids = tuple(sorted({sentence.chunk_id for sentence in shared}))
                found.append(Relationship(content_id(a.id, b.id), a.id, b.id, len(shared), "", shared, ids))
    return found


CHUNKS = chunks_of(DAYS)
ENTITIES = entities_of(CHUNKS, NAMES)
RELATIONSHIPS = relationships_of(ENTITIES)


def embed(texts):
    """A bag of words as a row of length 1: texts without a common word are at right angles, equal bags coincide."""
    rows = np.zeros((len(texts), 1 << 12), np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word in normalize(text).split():
            row[int.from_bytes(hashlib.md5(word.encode()).digest()[:4], "big") % len(row)] += 1
    return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-9)


CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_tokenizer():
    """A tokenizer with one token per byte and the three special tokens of ChatML models."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({sign: at for at, sign in enumerate([*special, *alphabet])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHATML,
        padding_side="left",
    )


def one_thread():
    """Fixture body: a model this small is fastest on one thread, and beside other work by far."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def save_model(folder: Path, layers: int = 2, window: int = 512, seed: int = 3, sliding: int = 0) -> str:
    """Write a random Llama of width 32 with its byte tokenizer as safetensors; returns the folder as a model spec.

    With `sliding` it is a Mistral whose layers see as many tokens.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

    tokenizer = byte_tokenizer()
    torch.manual_seed(seed)
    kind, model = (MistralConfig, MistralForCausalLM) if sliding else (LlamaConfig, LlamaForCausalLM)
    config = kind(
        **({"sliding_window": sliding} if sliding else {}),
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=window,
        initializer_range=0.3,  # wide, so that greedy texts vary
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
