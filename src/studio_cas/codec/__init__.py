"""How a chunk is stored: raw, zstd, or planes (bytes of numbers by significance). docs/format.md fixes the bytes."""
