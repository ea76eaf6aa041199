"""Every persisted byte: pure encoders and decoders."""
