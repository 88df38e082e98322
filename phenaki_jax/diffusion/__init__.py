"""Diffusion: noise as the corruption, and a space-time U-Net that undoes it."""
