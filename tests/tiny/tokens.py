"""Tokenizers of a few words: each family's scheme, a vocabulary of single symbols and the words that tests write."""

from collections.abc import Iterable, Sequence

from transformers import CLIPTokenizer, Qwen2Tokenizer, T5Tokenizer

WORDS = ("a", "red", "blue", "cat", "fox", "dog", "owl")
MAX_TOKENS = 77  # of one CLIP prompt, the two marks included
_SYMBOLS = [chr(code) for code in range(33, 127)]
_SPACE, _BREAK = "Ġ", "Ċ"  # how a byte-level vocabulary writes a space and a line break
# Qwen-Image cuts 34 tokens off: its fixed words must be one token each, as in the true vocabulary.
_QWEN_WORDS = (
    "system", "user", "assistant", "Describe", "the", "image", "by", "detailing", "color", "shape", "size", "texture",
    "quantity", "text", "spatial", "relationships", "of", "objects", "and", "background",
)  # fmt: skip
_QWEN_MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_QWEN_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's scheme: a word ends in `</w>`, the two marks come last."""
    pieces, merges = _merged([*word[:-1], f"{word[-1]}</w>"] for word in WORDS)
    vocabulary = [*_SYMBOLS, *(f"{symbol}</w>" for symbol in _SYMBOLS), *pieces, "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab=_numbered(vocabulary), merges=merges, model_max_length=MAX_TOKENS)


def t5_tokenizer() -> T5Tokenizer:
    """T5's scheme: likeliest pieces, a space is `▁`."""
    marks = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    words = [(f"▁{word}", -1.0) for word in WORDS]
    return T5Tokenizer(vocab=[*marks, ("▁", -2.0), *words, *((symbol, -5.0) for symbol in _SYMBOLS)], extra_ids=0)


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Qwen's scheme: byte-level merges, a chat template."""
    words = [word for plain in (*WORDS, *_QWEN_WORDS) for word in (plain, _SPACE + plain)]
    pieces, merges = _merged(list(word) for word in words)
    vocabulary = [*_SYMBOLS, _SPACE, _BREAK, *pieces, *_QWEN_MARKS]
    tokenizer = Qwen2Tokenizer(
        vocab=_numbered(vocabulary), merges=merges, extra_special_tokens=list(_QWEN_MARKS[1:]), model_max_length=2048
    )
    tokenizer.chat_template = _QWEN_CHAT
    return tokenizer


def _merged(words: Iterable[Sequence[str]]) -> tuple[list[str], list[tuple[str, str]]]:
    """The pieces and merges that make one token of each word; a later word takes nothing from an earlier one."""
    merges: list[tuple[str, str]] = []
    for word in words:
        parts = list(word)
        for pair in merges:
            parts = _joined(parts, pair)
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts = _joined(parts, merges[-1])
    return ["".join(pair) for pair in merges], merges


def _joined(parts: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """The parts with every neighbouring `pair` made one."""
    done: list[str] = []
    for part in parts:
        if done and (done[-1], part) == pair:
            done[-1] += part
        else:
            done.append(part)
    return done


def _numbered(vocabulary: Iterable[str]) -> dict[str, int]:
    return {symbol: place for place, symbol in enumerate(dict.fromkeys(vocabulary))}
