"""What LlamaGen's model and sampler are told: that of all models of its kind."""

from nextbasis.families.common.llama_config import LlamaConfig, LlamaSamplerConfig

MODEL, SAMPLER = LlamaConfig, LlamaSamplerConfig
