"""Kafka: the sink over librdkafka, the topics, the in-process cluster, the development broker. Knows no market."""
