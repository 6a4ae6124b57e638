"""Folders that look like checkouts of the official repositories: signatures and sizes, no model."""

from pathlib import Path

COMMON = '''
import torch
from torch import Tensor, nn


class Fake(nn.Module):
    """As many parameters as the official model; it multiplies by one of them."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.gain, self.rest = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1, count - 1))
'''
MAR = """
from models.diffloss import Fake, Tensor, nn, torch


class MAR(Fake):
    def __init__(self, img_size=256, vae_stride=16, patch_size=1,
                 encoder_embed_dim=1024, encoder_depth=16, encoder_num_heads=16,
                 decoder_embed_dim=1024, decoder_depth=16, decoder_num_heads=16,
                 mlp_ratio=4., norm_layer=nn.LayerNorm, vae_embed_dim=16, mask_ratio_min=0.7,
                 label_drop_prob=0.1, class_num=1000, attn_dropout=0.1, proj_dropout=0.1,
                 buffer_size=64, diffloss_d=3, diffloss_w=1024, num_sampling_steps='100',
                 diffusion_batch_mul=4):
        super().__init__(8_033_568 - 4)
        self.told, self.diffloss = dict(locals()), nn.Linear(3, 1)
        assert len({img_size // vae_stride // patch_size, 8}) == 1
        self.mask_ratio_generator = None

    def forward(self, imgs, labels):
        assert imgs.shape == (8, 16, 8, 8) and self.training
        self.hidden = int(64 * self.mask_ratio_generator.rvs(1)[0])
        return (self.gain * imgs.cuda()).square().mean()

    def sample_tokens(self, bsz, num_iter=64, cfg=1.0, cfg_schedule="linear", labels=None,
                      temperature=1.0, progress=False):
        assert not self.training and not torch.is_grad_enabled()
        self.asked = dict(locals())
        return torch.zeros(bsz, 16, 8, 8).cuda()
"""
XAR = """
import flash_attn
from flash_attn.modules import something
from models.flow import Fake, Tensor, nn, torch


class Block(nn.Module):
    pass


class Net(Fake):
    def __init__(self, img_size=256, vae_stride=16, patch_size=1, encoder_embed_dim=1024,
                 encoder_depth=16, encoder_num_heads=16, decoder_embed_dim=1024, decoder_depth=16,
                 decoder_num_heads=16, mlp_ratio=4., label_drop_prob=0.1, clusters=4, **leftovers):
        super().__init__(10_060_464)
        self.told = dict(locals())

    def forward(self, imgs, labels):
        assert imgs.shape == (2, 16, 16, 16)
        return (self.gain * imgs.cuda()).square().mean()

    def sample_tokens(self, bsz, num_steps, cfg=1.0, label=None):
        self.asked = dict(locals())
        return torch.zeros(bsz, 16, 16, 16).cuda()
"""
RAR = """
from modeling.modules import Fake, Tensor, nn, torch


class RAR(Fake):
    def __init__(self, config):
        super().__init__(11_137_280)
        self.told = config
        config.model.generator.get("use_checkpoint", False)

    def set_random_ratio(self, new_ratio):
        self.random_ratio = new_ratio

    def preprocess_condition(self, condition, cond_drop_prob=0.0):
        self.dropped = cond_drop_prob
        return condition + 1025

    def forward(self, input_ids, condition, return_labels=False):
        assert input_ids.shape == (16, 256) and return_labels
        return self.gain * torch.zeros(16, 257, 1024), input_ids

    @torch.no_grad()
    def generate(self, condition, guidance_scale, randomize_temperature, guidance_scale_pow,
                 kv_cache=True, **kwargs):
        self.asked = dict(locals())
        return torch.zeros(len(condition), 256)
"""
FILES = {
    "mar/models/diffloss.py": COMMON,
    "mar/models/mar.py": MAR,
    "xar/models/flow.py": COMMON,
    "xar/models/xar.py": XAR,
    "rar/modeling/modules/__init__.py": COMMON,
    "rar/modeling/rar.py": RAR,
}


def write_checkouts(root: Path) -> Path:
    """All three, in `root`."""
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root
