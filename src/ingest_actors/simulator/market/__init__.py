"""A seeded market: one order flow a symbol, from which everything that is published follows."""
