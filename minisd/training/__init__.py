"""Training the small Stable Diffusion from nothing: tokenizer, CLIP, VAE, U-Net."""
