"""Denoiser in, denoiser out: conditioning, steering, inversion, editing."""
