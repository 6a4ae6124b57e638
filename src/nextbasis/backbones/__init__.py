"""Backbones: MAR, xAR and RAR, one readable file each."""
