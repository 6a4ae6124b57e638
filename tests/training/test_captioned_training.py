"""Trainings on captions: what reaches the model, and that no step waits for a GPU."""

from pathlib import Path

import numpy as np
import pytest
import torch

from builders import basis_config, model_config, train_config, train_stage
from host_syncs import counting_syncs
from nextbasis.data.texts import Texts
from nextbasis.data.tokens import TokenCache
from nextbasis.families import find, names
from nextbasis.support.files import result_folder
from nextbasis.training.trainer import Trainer
from pretend_gpu import DEVICE, pretend_gpu
from tokens_at_hand import write_tokens

BATCH = 24  # more images than there are captions
READERS = [name for name in names() if find(name).captions]


def texts() -> Texts:
    """Captions of one to four of seven words, one for each of the five labels."""
    tokens = np.array(
        [[2, 3, 0, 0], [2, 0, 0, 0], [4, 5, 6, 7], [8, 3, 2, 0], [5, 5, 0, 0]], np.int32
    )
    index = {"width": 0, "num_tokens": 4, "vocabulary": list("abcdefg")}
    return Texts(tokens, (tokens > 0).sum(1).astype(np.int64), index)


def trainer(family: str) -> Trainer:
    write_tokens(False)
    changes = {"buffer_size": 4} if family == "mar" else {}
    config = train_stage(
        model_config(family, text_depth=1, label_drop=0.3, **changes),
        basis_config(),
        train_config(steps=4, batch_size=BATCH, lr=1e-3),
        captions="words",
    )
    return Trainer(config, TokenCache(result_folder("test", "tokens", "tokens")), texts())


@pytest.mark.parametrize("family", READERS)
def test_captions_sent_with_a_batch_are_those_that_its_labels_stand_for(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels that are dropped included: the loss is that of a model which looks captions up."""
    monkeypatch.chdir(tmp_path)
    made = trainer(family)
    made.generator.eval()
    for parameter in made.generator.parameters():  # what starts at zero would hide the text
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    tokens, labels = made.batch()
    draws = made.generator.draw(BATCH, 0.0, torch.Generator().manual_seed(1))
    assert draws.label_drop.any() and not draws.label_drop.all()
    sent = made.generator.loss(tokens, labels, draws).value
    made.generator.attach(texts())
    assert torch.equal(made.generator.loss(tokens, labels, draws).value, sent)
    other = made.generator.loss(tokens, (labels + 1) % 5, draws).value
    assert not torch.equal(other, sent)


@pytest.mark.parametrize("family", READERS)
def test_no_step_on_captions_waits_for_the_gpu(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nextbasis.training.trainer.device", lambda: DEVICE)
    with pretend_gpu(deterministic=True):
        made = trainer(family)
        made.advance()
        with counting_syncs() as syncs:
            made.advance()
        assert not syncs
