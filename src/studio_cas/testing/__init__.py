"""What tests share; nothing that is shipped imports it."""
