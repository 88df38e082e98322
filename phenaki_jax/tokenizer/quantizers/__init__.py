"""Quantizers; all of them implement `base.Quantizer`."""

from phenaki_jax.tokenizer.quantizers.base import Quantized, Quantizer
from phenaki_jax.tokenizer.quantizers.fsq import FSQ
from phenaki_jax.tokenizer.quantizers.lfq import LFQ
from phenaki_jax.tokenizer.quantizers.vq import VQ

__all__ = ['FSQ', 'LFQ', 'VQ', 'Quantized', 'Quantizer']
