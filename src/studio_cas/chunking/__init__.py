"""Where files are cut: content-defined, fixed, and at tensor boundaries."""
