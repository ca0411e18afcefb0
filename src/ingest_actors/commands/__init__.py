"""What the commands do, one module each. `cli` declares them; nothing here is imported before it is wanted."""
