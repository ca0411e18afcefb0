"""Binance market data into Apache Kafka, by supervised trio actors."""
