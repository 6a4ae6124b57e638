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
LLAMAGEN = """
from utils.drop_path import Fake, Tensor, nn, torch


class ModelArgs:
    def __init__(self, dim, n_layer, n_head, vocab_size, block_size, token_dropout_p=0.1,
                 resid_dropout_p=0.1, ffn_dropout_p=0.1, class_dropout_prob=0.1,
                 num_classes=1000SPECIAL):
        self.__dict__ |= {name: value for name, value in locals().items() if name != "self"}


class Transformer(Fake):
    def __init__(self, config):
        super().__init__(PARAMETERS)
        self.told = vars(config)

    def forward(self, idx, cond_idx, input_pos=None, targets=None):
        assert idx.shape == (16, 255) and targets.shape == (16, 256) and self.training
        return None, self.gain.square().sum()
"""
GENERATE = """
import torch


def generate(model, cond, max_new_tokens, emb_masks=None, cfg_scale=1.0, cfg_interval=-1,
             SPECIAL**sampling_kwargs):
    model.asked = {name: value for name, value in locals().items() if name != "model"}
    return torch.zeros(len(cond), max_new_tokens)
"""
SPECIAL = "ar_token_num=4, spe_token_num=3"
VAR = """
from models.quant import Fake, Tensor, VectorQuantizer2, nn, torch


class VAR(Fake):
    def __init__(self, vae_local, num_classes=1000, depth=16, embed_dim=1024, num_heads=16,
                 mlp_ratio=4., drop_rate=0., drop_path_rate=0., shared_aln=False,
                 cond_drop_rate=0.1, attn_l2_norm=False, patch_nums=(1, 2)):
        super().__init__(10_302_240)
        self.told = {name: value for name, value in locals().items() if name != "self"}
        self.vae_quant_proxy, self.decode = (vae_local.quantize,), vae_local.fhat_to_img

    def forward(self, label_B, x_BLCv_wo_first_l):
        assert x_BLCv_wo_first_l.shape == (4, 679, 32)
        return self.gain * torch.zeros(4, 680, 1024)

    def autoregressive_infer_cfg(self, B, label_B, g_seed=None, cfg=1.5, top_k=0, top_p=0.0):
        self.asked = dict(locals())
        return self.decode(torch.zeros(B, 32, 16, 16))
"""
QUANT = """

class VectorQuantizer2(nn.Module):
    def __init__(self, vocab_size, Cvae, using_znorm, beta=0.25, v_patch_nums=None):
        super().__init__()
        self.sides, self.channels = v_patch_nums, Cvae

    def idxBl_to_var_input(self, gt_ms_idx_Bl):
        assert [len(ids[0]) for ids in gt_ms_idx_Bl] == [side**2 for side in self.sides]
        return torch.zeros(len(gt_ms_idx_Bl[0]), 679, self.channels)
"""
LATENT = """
SUPPORT


class MODEL(Fake):
    def __init__(self, input_size=32, patch_size=2, in_channels=4, hidden_size=1152, depth=28,
                 num_heads=16, mlp_ratio=4.0, class_dropout_prob=0.1, num_classes=1000MORE):
        super().__init__(PARAMETERS)
        self.told = {name: value for name, value in locals().items() if name != "self"}
        self.pos_embed = nn.Parameter(torch.zeros(1, 5), requires_grad=False)

    def random_masking(self, x, mask_ratio):
        return int(256 * (1 - mask_ratio))

    def forward(self, x, t, y, enable_mask=False):
        self.shown = self.random_masking(x, torch.rand(1) * 0.2 + 0.3) if enable_mask else None
        assert t.shape == y.shape == x.shape[:1]
        return self.gain * torch.cat([x, x], 1)RETURNED

    def forward_with_cfg(self, x, t, y, cfg_scale, scale_pow=None):
        self.asked = {"cfg_scale": cfg_scale, "scale_pow": scale_pow, "y": y}
        return self.forward(x, t, y)
"""
PROCESS = """
import torch


class Process:
    def __init__(self, steps):
        self.steps = steps

    def training_losses(self, model, x_start, t, model_kwargs=None):
        assert not self.steps and t.max() > 24 and 0 <= t.min() < 1000
        return {"loss": model(x_start, t, **model_kwargs).square().flatten(1).mean(1)}

    def p_sample_loop(self, model, shape, noise=None, clip_denoised=True, model_kwargs=None,
                      device=None, progress=False):
        assert not clip_denoised and noise.shape == shape
        for step in range(int(self.steps)):
            noise = model(noise, torch.full(shape[:1], step), **model_kwargs)[:, :4]
        return noise


def create_diffusion(timestep_respacing, noise_schedule="linear"):
    return Process(timestep_respacing)
"""
ADAN = """
import torch


class Adan(torch.optim.SGD):
    def __init__(self, params, lr=1e-3, betas=(0.98, 0.92, 0.99), eps=1e-8, weight_decay=0.0):
        assert betas == (0.98, 0.92, 0.99)
        super().__init__(params, lr=lr)
"""
SILOSS = """

class SILoss:
    def __call__(self, model, images, model_kwargs=None, zs=None):
        (features,) = zs
        assert features.shape == (4, 256, 16)
        assert torch.equal(features[0, 1, :4], images[0, :, 0, 2])  # the second patch's first token
        out = model(images, torch.rand(len(images)), **model_kwargs)[0]
        return out.square().flatten(1).mean(1), -torch.ones(1)
"""
SAMPLERS = """
import torch


def euler_maruyama_sampler(model, latents, y, num_steps=20, heun=False, cfg_scale=1.0,
                           guidance_low=0.0, guidance_high=1.0, path_type="linear"):
    model.asked = {name: value for name, value in locals().items() if name != "model"}
    return latents
"""


def latent(model: str, parameters: int, more: str = "", returned: str = "") -> str:
    """A file that defines a model of latents."""
    text = LATENT.replace("SUPPORT", COMMON).replace("MODEL", model).replace("MORE", more)
    return text.replace("PARAMETERS", str(parameters)).replace("RETURNED", returned)


MASKED = ", mask_ratio=None, decode_layer=4"
ALIGNED = ", decoder_hidden_size=768, encoder_depth=8, z_dims=[768], projector_dim=2048, **blocks"
FILES = {
    "llamagen/utils/drop_path.py": COMMON,
    "llamagen/autoregressive/models/gpt.py": LLAMAGEN.replace("SPECIAL", "").replace(
        "PARAMETERS", "7_600_640"
    ),
    "llamagen/autoregressive/models/generate.py": GENERATE.replace("SPECIAL", ""),
    "par/utils/drop_path.py": COMMON,
    "par/autoregressive/models/gpt.py": LLAMAGEN.replace("SPECIAL", f", {SPECIAL}").replace(
        "PARAMETERS", "7_601_408"
    ),
    "par/autoregressive/models/generate.py": GENERATE.replace("SPECIAL", f"{SPECIAL}, "),
    "var/models/quant.py": COMMON + QUANT,
    "var/models/var.py": VAR,
    "dit/models.py": latent("DiT", 9_999_904),
    "dit/diffusion/__init__.py": PROCESS,
    "mdtv2/masked_diffusion/models.py": latent(
        "MDTv2", 12_137_392, ", mask_ratio=0, decode_layer=4"
    ),
    "mdtv2/masked_diffusion/__init__.py": PROCESS,
    "mdtv2/adan.py": ADAN,
    "repa/models/sit.py": latent("SiT", 10_398_240, ALIGNED, ", [None]"),
    "repa/loss.py": "import torch\n" + SILOSS,
    "repa/samplers.py": SAMPLERS,
    "mar/models/diffloss.py": COMMON,
    "mar/models/mar.py": MAR,
    "xar/models/flow.py": COMMON,
    "xar/models/xar.py": XAR,
    "rar/modeling/modules/__init__.py": COMMON,
    "rar/modeling/rar.py": RAR,
}


def write_checkouts(root: Path) -> Path:
    """All of them, in `root`."""
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root
