"""HiFi-GAN in the form that onnxruntime runs fastest on CPUs."""
