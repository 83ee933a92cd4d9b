"""Pictures that are also spectrograms: tiny models, data, LoRA training of Stable Diffusion's kind."""
