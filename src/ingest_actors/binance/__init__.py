"""What the exchange says and how: stream table, names, parsing, the control protocol, REST.

Knows nothing of actors or Kafka. All of it but `rest` is free of input and output.
"""
