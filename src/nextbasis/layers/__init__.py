"""Transformer parts shared by the backbones."""
