"""How a chunk is stored: raw, zstd, or planes (bytes of numbers grouped by significance). docs/format.md fixes the bytes."""
