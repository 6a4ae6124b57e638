"""Official checkpoints of LlamaGen's kind: names, and sizes read off their shapes."""

from typing import Any

from nextbasis.official.sizes import Votes

CLASSES, TOKENS, LOGITS = (
    "cls_embedding.embedding_table.weight",
    "tok_embeddings.weight",
    "output.weight",
)
# Official part of a name -> ours; every other name is the same.
RENAMES = {
    "cls_embedding.embedding_table": "class_emb",
    "tok_embeddings": "token_emb",
    "layers": "blocks",
    "attention_norm": "norm1",
    "attention.wqkv": "attn.qkv",
    "attention.wo": "attn.proj",
    "ffn_norm": "norm2",
    "feed_forward": "mlp",
    "output": "head",
}
# Section of the file that the official code reads; those of sharded trainings are flat.
SECTIONS: tuple[str, ...] = ("model",)


def sizes(votes: Votes) -> tuple[dict[str, Any], None, dict[str, int]]:
    """Values of the config, and codebook and classes, from the shapes.

    They tell neither heads nor tokens of an image: rotations have no parameters.
    """
    mlp = "layers.0.feed_forward"
    values = {
        "width": votes.size((TOKENS, 1), (CLASSES, 1), (LOGITS, 1)),
        "depth": votes.depth("layers"),
        "mlp_width": votes.size((f"{mlp}.w1.weight", 0), (f"{mlp}.w3.weight", 0)),
    }
    codebook_size = votes.size((TOKENS, 0), (LOGITS, 0))
    classes = votes.size((CLASSES, 0)) - 1  # the last row is the null class
    return values, None, {"codebook_size": codebook_size, "num_classes": classes}
